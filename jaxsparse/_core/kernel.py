"""A native kernel, described once; every JAX rule is built from the description.

    conv = Kernel("conv", "batch xk, batch xv, kernel, bias, mask -> batch yk, batch yv, batch nnz", ...)

``batch`` marks the operands and results whose axis 0 is the batch: the axis that ``vmap`` joins and that may be sharded.
Operands without it are shared by the whole batch. Results marked ``sum`` are sums over the batch.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xla_kernels
from jaxsparse._core import batching, manual_axes, partitioning
from jaxsparse._core.platforms import require_kernels

Shape = tuple[Any, ...]  # the batch may be symbolic
Attributes = Mapping[str, int | Sequence[int]]


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """One FFI target, and all that JAX's rules need to know of it.

    Attributes:
      name: the target's name without the prefix.
      signature: operands and results as above.
      results: from the static parameters and the operands to the results' (shape, dtype).
      attributes: from the static parameters to the target's attributes.
      workspace: from the static parameters and the operands to the sizes that
        ``xla_kernels.workspace_bytes`` takes; None: the kernel has no workspace.
    """

    name: str
    signature: str
    results: Callable[..., Sequence[tuple[Shape, Any]]]
    attributes: Callable[[Any], Attributes] = lambda static: {}
    workspace: Callable[..., Attributes] | None = None

    @functools.cached_property
    def batched(self) -> tuple[bool, ...]:
        """Which operands carry the batch."""
        return tuple(kind == "batch" for kind in _kinds(self.signature.split("->")[0]))

    @functools.cached_property
    def summed(self) -> tuple[bool, ...]:
        """Which results are sums over the batch; the others carry it."""
        return tuple(kind == "sum" for kind in _kinds(self.signature.split("->")[1]))

    def __call__(self, static: Hashable, *operands: jax.Array) -> tuple[jax.Array, ...]:
        """Calls the kernel under all rules. ``static`` must be hashable: the rules are built once for each."""
        return _with_rules(self, static)(*operands)

    def workspace_bytes(self, static: Hashable, *operands: Any) -> int:
        """Bytes of workspace of one call; ``operands`` need shapes and dtypes only."""
        if self.workspace is None:
            return 0
        return xla_kernels.workspace_bytes(self.name, **self.workspace(static, *operands))

    def native(self, static: Hashable, *operands: jax.Array) -> tuple[jax.Array, ...]:
        """The bare FFI call: no rules. The workspace, its last result, is not handed on."""
        axes = manual_axes.varying(*operands)
        results = list(self.results(static, *operands))
        if self.workspace is not None:
            results.append(((self.workspace_bytes(static, *operands),), jnp.uint8))
        first, *others = operands
        outputs = jax.ffi.ffi_call(
            xla_kernels.PREFIX + self.name,
            [manual_axes.result_type(shape, dtype, axes) for shape, dtype in results],
        )(require_kernels(first), *others, **_cast(self.attributes(static)))
        return tuple(outputs[: len(self.summed)])


def _kinds(side: str) -> list[str]:
    """``"batch xk, mask"`` to ``["batch", ""]``."""
    return [" ".join(term.split()[:-1]) for term in side.split(",")]


def _cast(attributes: Attributes) -> dict[str, Any]:
    """Attributes as the handlers bind them: int64, scalar or vector.

    Nowhere else: the eager cache compares attributes by value, so that one call with another type of the same value
    would poison all later ones.
    """
    return {
        name: np.int64(value) if isinstance(value, int) else np.asarray(value, np.int64)
        for name, value in attributes.items()
    }


@functools.cache
def _with_rules(kernel: Kernel, static: Hashable) -> Callable[..., tuple[jax.Array, ...]]:
    """vmap over automatic partitioning over the FFI call; one dispatch when called outside of ``jit``."""
    native = functools.partial(kernel.native, static)

    def call(*operands):
        if manual_axes.inside_shard_map():
            return native(*operands)
        ranks = tuple(len(shape) for shape, _ in kernel.results(static, *operands))
        return partitioning.partitioned(
            native, kernel.batched, kernel.summed, tuple(x.ndim for x in operands), ranks
        )(*operands)

    return jax.jit(batching.vmappable(call, kernel.batched, kernel.summed), inline=True)
