"""A native kernel, described once; every JAX rule is built from the description.

    conv = Kernel("conv", "batch xk, batch xv, kernel, bias, mask -> batch yk, batch yv, batch nnz", ...)

``batch`` marks the operands and results whose axis 0 is the batch: the axis that ``vmap`` joins and that may be sharded.
Operands without it are shared by the whole batch. Results marked ``sum`` are sums over the batch. A kernel that goes over the
whole batch as one list has no marks at all: it is not shared out to devices, and ``vmap`` calls it once for each element.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

import xla_kernels
from jaxsparse._core import batching, explicit_axes, manual_axes, partitioning
from jaxsparse._core.native_call import native_call
from jaxsparse._core.platforms import SUPPORTED, current

Array = jax.Array
Shape = tuple[Any, ...]  # the batch may be symbolic
Attributes = Mapping[str, int | Sequence[int]]


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """One FFI target, and all that JAX's rules need to know of it.

    Attributes:
      name: the target's name without prefix and room. No two rooms share one that needs a workspace.
      signature: operands and results as above.
      results: from the static parameters and the operands to the results' (shape, dtype).
      attributes: from the static parameters to the target's attributes.
      workspace: from the static parameters and the operands to the sizes that ``xla_kernels.workspace_bytes`` takes;
        None: no workspace on the CPU.
      cuda_workspace: the same for ``xla_kernels.cuda_workspace_bytes``, less the batch; None: no workspace on the GPU.
      cuda_bytes: instead of it, from the static parameters and the operands to the bytes themselves: an expression, where
        sizes are symbolic.
      optional: operands that may be None, with their dtype or the operand that has it. The target gets an empty array.
      in_place: operands whose memory a result takes over, with that result's number. Where somebody else still needs the
        operand XLA copies it before.
      room: which room the target belongs to.
    """

    name: str
    signature: str
    results: Callable[..., Sequence[tuple[Shape, Any]]]
    attributes: Callable[[Any], Attributes] = lambda static: {}
    workspace: Callable[..., Attributes] | None = None
    cuda_workspace: Callable[..., Attributes] | None = None
    cuda_bytes: Callable[..., Any] | None = None
    optional: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    in_place: Mapping[str, int] = dataclasses.field(default_factory=dict)
    room: str = "direct"

    @functools.cached_property
    def operands(self) -> dict[str, bool]:
        """Name of each operand, and whether it carries the batch."""
        return {name: kind == "batch" for name, kind in _terms(self.signature.split("->")[0])}

    @functools.cached_property
    def summed(self) -> tuple[bool, ...]:
        """Which results are of the whole batch; the others carry it."""
        return tuple(kind != "batch" for _, kind in _terms(self.signature.split("->")[1]))

    def __call__(self, static: Hashable, *operands: Array | None) -> tuple[Array, ...]:
        """Calls the kernel under all rules. ``static`` must be hashable: the rules are built once for each."""
        present = tuple(x is not None for x in operands)
        return _with_rules(self, static, present)(*(x for x in operands if x is not None))

    def align(self, *operands: Array | None) -> tuple[Any, ...]:
        """The operands, cast to vary alike over manual mesh axes and to be sharded along the batch on explicit ones.

        To be done outside of a custom derivative: JAX then transposes the casts, and so sums the gradients of what the
        devices share and gives every cotangent the type of its operand. Operands that are None stay so.
        """
        terms = zip(operands, self.operands.values(), strict=True)
        arrays, batched = zip(*((x, b) for x, b in terms if x is not None), strict=True)
        aligned = iter(explicit_axes.align(manual_axes.unify(*arrays), batched))
        return tuple(None if x is None else next(aligned) for x in operands)

    def workspace_bytes(self, static: Hashable, *operands: Any, platform: str | None = None) -> int:
        """Bytes of workspace of one call; ``operands`` need shapes and dtypes only.

        Of ``"cpu"`` or ``"cuda"``; None: the platform in use.
        """
        platform = current() if platform is None else platform
        if platform != "cuda":
            if self.workspace is None:
                return 0
            return xla_kernels.workspace_bytes(self.name, **self.workspace(static, *operands))
        if self.cuda_bytes is not None:
            return self.cuda_bytes(static, *operands)
        if self.cuda_workspace is None:
            return 0
        sizes = self.cuda_workspace(static, *operands)
        return xla_kernels.cuda_workspace_bytes(self.name, self._batch_size(operands), **sizes)

    def _batch_size(self, operands: Sequence[Any]) -> int | None:
        """None for a symbolic one, and where no operand carries a batch."""
        sizes = (x.shape[0] for x, b in zip(operands, self.operands.values(), strict=True) if b)
        size = next(sizes, None)
        return size if isinstance(size, int) else None

    def native(self, static: Hashable, *operands: Array | None) -> tuple[Array, ...]:
        """The bare FFI call: no rules. The workspace is not handed on."""
        arrays = manual_axes.unify(*self._filled(operands))
        axes = manual_axes.varying(arrays[0])
        return native_call(
            f"{xla_kernels.PREFIX}{self.room}_{self.name}",
            [manual_axes.result_type(*result, axes) for result in self.results(static, *operands)],
            {
                platform: self.workspace_bytes(static, *operands, platform=platform)
                for platform in SUPPORTED
            },
            self.attributes(static),
            *arrays,
            in_place={list(self.operands).index(name): i for name, i in self.in_place.items()},
        )

    def _filled(self, operands: Sequence[Array | None]) -> list[Array]:
        """Empty arrays for absent operands.

        They exist for the call only. The compiler of jax 0.11 dies of an empty array at the border of a ``shard_map``,
        which operands and residuals may be.
        """
        named: dict[str, Any] = dict(zip(self.operands, operands, strict=True))
        for name, dtype in self.optional.items():
            if named[name] is None:
                dtype = named[dtype].dtype if isinstance(dtype, str) else dtype
                named[name] = jnp.zeros((0,), dtype)
        return list(named.values())


def _terms(side: str) -> list[tuple[str, str]]:
    """``"batch xk, mask"`` to ``[("xk", "batch"), ("mask", "")]``."""
    words = [term.split() for term in side.split(",")]
    return [(name, " ".join(kind)) for *kind, name in words]


# As many as JAX's own cache of compiled calls holds. One that was dropped is traced again when it is needed.
REMEMBERED = 4096


@functools.lru_cache(maxsize=REMEMBERED)
def _with_rules(
    kernel: Kernel, static: Hashable, present: tuple[bool, ...]
) -> Callable[..., tuple[Array, ...]]:
    """The kernel as a function of the operands that are present: vmap over partitioning over the FFI call.

    Called outside of ``jit`` it is one dispatch.
    """
    batched = tuple(b for b, here in zip(kernel.operands.values(), present, strict=True) if here)

    def restored(operands):
        rest = iter(operands)
        return [next(rest) if here else None for here in present]

    def native(*operands):
        return kernel.native(static, *restored(operands))

    def call(*operands):
        if manual_axes.inside_shard_map():
            return native(*operands)
        ranks = tuple(len(shape) for shape, _ in kernel.results(static, *restored(operands)))
        if explicit_axes.in_use():
            return explicit_axes.call(native, operands, batched, kernel.summed, ranks)
        return partitioning.partitioned(
            native, batched, kernel.summed, tuple(x.ndim for x in operands), ranks
        )(*operands)

    return jax.jit(batching.vmappable(call, batched, kernel.summed), inline=True)
