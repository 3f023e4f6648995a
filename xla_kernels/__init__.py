"""The compiled kernels of jaxsparse, and the one place that registers them with XLA.

Importing this package loads the CPU module (required) and the CUDA module (where one was built) and hands their
handlers to ``jax.ffi``. It starts no backend: JAX keeps the handlers until one is used.
"""

import dataclasses
import functools
import importlib
import operator
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

__all__ = ["Backend", "available", "isa", "targets", "workspace_bytes"]

PREFIX = "jaxsparse_"
"""Of every target's name; then follow the room and the operation: ``jaxsparse_direct_conv``."""

INSTRUCTION_SETS = ("portable", "avx2", "avx512")


def _check_isa(wish: str) -> None:
    """The compiled module takes no notice of a word that it does not know."""
    if wish and wish not in INSTRUCTION_SETS:
        raise ValueError(
            f"the environment variable JAXSPARSE_ISA must be one of {list(INSTRUCTION_SETS)} or "
            f"unset, got {wish!r}"
        )


_check_isa(os.environ.get("JAXSPARSE_ISA", ""))

try:
    _cpu = importlib.import_module("xla_kernels._cpu")
except ImportError as error:
    raise ImportError(
        f"the compiled module xla_kernels._cpu cannot be loaded from {__path__[0]} ({error}). "
        "Build it with `pip install --editable .` in the checkout of jaxsparse; it needs a C++17 "
        "compiler, CMake comes along. After a plain `pip install .` run Python outside of the "
        "checkout, whose folders hide the installed ones."
    ) from error


def _check_ffi_version(module: ModuleType) -> None:
    """Turns away a module that was built with FFI headers newer than this jax has.

    The runtime would refuse its handlers at the first use of JAX, and with them the whole backend.
    """
    header = Path(jax.ffi.include_dir(), "xla", "ffi", "api", "c_api.h")
    if not header.exists():
        return
    found = dict(re.findall(r"#define XLA_FFI_API_(MAJOR|MINOR) (\d+)", header.read_text()))
    runtime = int(found["MAJOR"]), int(found["MINOR"])
    built = getattr(module, "ffi_api_version", lambda: (0, 0))()
    if built > runtime:
        raise ImportError(
            f"{module.__name__} was built with version {built[0]}.{built[1]} of XLA's FFI, and jax "
            f"{jax.__version__} has {runtime[0]}.{runtime[1]}. Build it again for this jax: "
            "`pip install --force-reinstall --no-deps --editable .`"
        )


_check_ffi_version(_cpu)


@dataclasses.dataclass(frozen=True)
class Backend:
    """Whether jaxsparse has kernels for a platform, and what kind, or why not.

    Attributes:
      usable: the module is loaded, its handlers are registered, and there is a device.
      detail: the instruction set or the architectures, and what is missing.
    """

    usable: bool
    detail: str


def _load_cuda() -> tuple[ModuleType | None, str]:
    try:
        module = importlib.import_module("xla_kernels._cuda")
        _check_ffi_version(module)
        return module, "loaded"
    except ImportError as error:
        # Only if it is this module that is missing, and not one that it needs.
        if isinstance(error, ModuleNotFoundError) and error.name == "xla_kernels._cuda":
            return (
                None,
                "not built: install with JAXSPARSE_CUDA=ON or JAXSPARSE_CUDA=wheels (docs/building.md)",
            )
        return None, f"built, but it cannot be loaded: {error}"


_cuda, _cuda_detail = _load_cuda()

# One name on both platforms, with the same operands and attributes: one traced program serves both.
for _platform, _module in (("cpu", _cpu), ("CUDA", _cuda)):
    if _module is not None:
        for _name, _handler in _module.targets().items():
            jax.ffi.register_ffi_target(_name, _handler, platform=_platform)


def targets() -> list[str]:
    """The names of the FFI targets, sorted.

    >>> import xla_kernels
    >>> "jaxsparse_direct_conv" in xla_kernels.targets()
    True
    """
    return sorted({*_cpu.targets(), *(_cuda.targets() if _cuda is not None else ())})


def has_cuda_kernel(target: str) -> bool:
    """Whether the CUDA module, where one is built, has this target."""
    return target in _cuda_targets()


@functools.cache
def _cuda_targets() -> frozenset[str]:
    return frozenset(_cpu.cuda_targets())


def isa() -> str:
    """The instruction set that the CPU kernels use here: ``"avx512"``, ``"avx2"`` or ``"portable"``.

    The environment variable ``JAXSPARSE_ISA``, one of these words, lowers it (one that the processor lacks is not taken,
    any other word is an error at import); results do not depend on it.

    >>> import xla_kernels
    >>> xla_kernels.isa() in ("avx512", "avx2", "portable")
    True
    """
    return _cpu.isa()


def available() -> dict[str, Backend]:
    """What there is: platform (``"cpu"``, ``"cuda"``) to :class:`Backend`.

    >>> import xla_kernels
    >>> xla_kernels.available()["cpu"].usable
    True
    """
    return {"cpu": Backend(True, isa()), "cuda": _cuda_backend()}


@functools.cache
def _cuda_backend() -> Backend:
    """Asks the driver, so not at import: a process that starts others must not have used it."""
    if _cuda is None:
        return Backend(False, _cuda_detail)
    count, says = _cuda.devices()
    detail = f"built for {_cuda.architectures()}"
    return Backend(count > 0, detail if count else f"{detail}, but there is no GPU to use: {says}")


_CONVOLUTIONS = ("conv", "conv_at", "conv_input_grad", "conv_kernel_grad")
_POOLINGS = ("max_pool", "avg_pool", "window_sum", "window_spread")
_MAP_CONVOLUTIONS = ("map_conv", "map_conv_kernel_grad")
_OTHERS = ("from_dense", "put_add", "add")
_WITHOUT_WORKSPACE = (
    "to_dense", "gather_dense", "channel_sum", "channel_dot", "channel_affine", "relu", "masked_scale", "take",
    "global_max_pool", "global_avg_pool", "global_avg_pool_grad",
)  # fmt: skip


def workspace_bytes(op: str, **sizes: int | Sequence[int]) -> int:
    """Bytes of scratch memory that one call of a kernel asks XLA for. The batch size plays no part.

    Args:
      op: the target's name without ``jaxsparse_direct_`` or ``jaxsparse_voxel_``; those that are not named here need
        nothing.
      **sizes: integers and lists of integers, by op:

        * ``conv``, ``conv_at``, ``conv_input_grad``, ``conv_kernel_grad``: ``spatial_shape``, ``out_shape``,
          ``kernel_shape``, ``strides``, ``padding`` (flat: low, high, low, ...), ``dilation``, ``in_channels``,
          ``out_channels``, ``capacity``, ``out_capacity``, ``itemsize``
        * ``from_dense``: ``spatial_shape``, ``channels``, ``out_capacity``, ``itemsize``
        * ``max_pool``, ``avg_pool``, ``window_sum``, ``window_spread``: ``spatial_shape``, ``out_shape``, ``window``,
          ``strides``, ``capacity``, ``out_capacity``, ``itemsize``
        * ``add``: ``x_capacity``, ``y_capacity``, ``out_capacity``, ``itemsize``
        * ``put_add``: ``capacity``, ``itemsize``
        * ``map_conv``, ``map_conv_kernel_grad``: ``taps``, ``in_rows``, ``out_rows``, ``in_channels``, ``out_channels``,
          ``groups``, ``itemsize``
        * the others take nothing and need nothing: 0

    Raises:
      ValueError: there is no such op, or the sizes are impossible.
      TypeError: a size is missing, there is one too many, or it is no integer (no list of integers).

    >>> import xla_kernels
    >>> xla_kernels.workspace_bytes("to_dense")
    0
    >>> xla_kernels.workspace_bytes("put_add", capacity=100, itemsize=4) >= 0
    True
    """
    if op in _CONVOLUTIONS:
        return _measure(_cpu.conv_workspace_bytes, op, sizes, op)
    if op in _POOLINGS:
        return _measure(_cpu.pool_workspace_bytes, op, sizes, op)
    if op in _MAP_CONVOLUTIONS:
        return _measure(_cpu.map_conv_workspace_bytes, op, sizes, op)
    if op in _OTHERS:
        return _measure(getattr(_cpu, f"{op}_workspace_bytes"), op, sizes)
    if op not in _WITHOUT_WORKSPACE:
        known = [*_CONVOLUTIONS, *_POOLINGS, *_MAP_CONVOLUTIONS, *_OTHERS, *_WITHOUT_WORKSPACE]
        raise ValueError(f"workspace_bytes: op must be one of {known}, got {op!r}")
    if sizes:
        raise TypeError(f"workspace_bytes: {op} takes no sizes, got {sorted(sizes)}")
    return 0


def cuda_workspace_bytes(op: str, batch: int | None, **sizes: int | Sequence[int]) -> int:
    """Bytes of scratch memory that one call of a CUDA kernel asks XLA for.

    They grow with the batch up to 256 MiB (up to 32 MiB where the batch is not known), unless one element needs more:
    larger batches are worked off in stretches.

    Args:
      op: the target's name without prefix and room.
      batch: the batch size; None where it is not known yet, or plays no part.
      **sizes: what the kernel's description passes; more than it needs is ignored.

    >>> import xla_kernels
    >>> xla_kernels.cuda_workspace_bytes("relu", 2, channels=3, capacity=100000) > 0
    True
    """
    return _cpu.cuda_workspace_bytes(op, batch, sizes)


def _measure(measure: Callable[..., int], op: str, sizes: dict[str, Any], *args: str) -> int:
    """Calls a function of the compiled module, whose own errors would speak of C++."""
    name = "workspace_bytes"
    kinds = re.findall(r"(\w+): (int|collections\.abc\.Sequence\[int\])", measure.__doc__ or "")
    if {size for size, _ in kinds} != set(sizes):
        wanted = ", ".join(size for size, _ in kinds)
        raise TypeError(f"{name}: the sizes of {op} must be {wanted}, got {', '.join(sizes)}")
    for size, kind in kinds:
        if kind == "int":
            wording, numbers = "an integer", (sizes[size],)
        else:
            wording, numbers = "a list of integers", sizes[size]
        try:
            if any(isinstance(n, bool | np.bool_) for n in numbers):
                raise TypeError
            numbers = [operator.index(n) for n in numbers]
        except TypeError:
            raise TypeError(f"{name}: {size} must be {wording}, got {sizes[size]!r}") from None
        if any(abs(n) >= 2**63 for n in numbers):
            raise ValueError(f"{name}: {size} must be within int64, got {sizes[size]!r}")
    try:
        return measure(*args, **sizes)
    except ValueError as error:
        raise ValueError(f"{name}: the sizes of {op} do not fit: {error}, got {sizes}") from None
