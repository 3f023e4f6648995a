"""The compiled kernels of jaxsparse, and the one place that registers them with XLA.

Importing this package loads the CPU module (required) and the CUDA module (where one was built) and hands their
handlers to ``jax.ffi``. It starts no backend: JAX keeps the handlers until one is used.
"""

import dataclasses
import importlib
from collections.abc import Sequence
from types import ModuleType

import jax

__all__ = ["Backend", "available", "isa", "targets", "workspace_bytes"]

PREFIX = "jaxsparse_direct_"

# Handlers carry the version of the FFI headers they were built with, and a runtime that is older refuses them at its
# first use, with all of its backend. So an old jax is turned away here.
OLDEST_JAX = (0, 10, 0)
if jax.__version_info__ < OLDEST_JAX:
    raise ImportError(
        f"jaxsparse needs jax {'.'.join(map(str, OLDEST_JAX))} or newer, found {jax.__version__}"
    )

try:
    _cpu = importlib.import_module("xla_kernels._cpu")
except ImportError as error:
    raise ImportError(
        f"the compiled module xla_kernels._cpu cannot be loaded from {__path__[0]} ({error}). "
        "Build it with `pip install --editable .` in the checkout of jaxsparse; it needs a C++17 "
        "compiler, CMake comes along. After a plain `pip install .` run Python outside of the "
        "checkout, whose folders hide the installed ones."
    ) from error


@dataclasses.dataclass(frozen=True)
class Backend:
    """Whether jaxsparse has kernels for a platform, and what kind, or why not.

    Attributes:
      usable: the module is loaded and its handlers are registered.
      detail: the instruction set, or the reason.
    """

    usable: bool
    detail: str


def _load_cuda() -> tuple[ModuleType | None, str]:
    try:
        return importlib.import_module("xla_kernels._cuda"), "loaded"
    except ModuleNotFoundError:
        return None, "not built: no CUDA compiler was found when jaxsparse was installed"
    except ImportError as error:
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


def isa() -> str:
    """The instruction set that the CPU kernels use here: ``"avx512"``, ``"avx2"`` or ``"portable"``.

    The environment variable ``JAXSPARSE_ISA`` lowers it; results do not depend on it.

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
    return {"cpu": Backend(True, isa()), "cuda": Backend(_cuda is not None, _cuda_detail)}


_CONVOLUTIONS = ("conv", "conv_at", "conv_input_grad", "conv_kernel_grad")
_WITHOUT_WORKSPACE = ("to_dense", "gather_dense", "channel_sum", "relu", "take")


def workspace_bytes(op: str, **sizes: int | Sequence[int]) -> int:
    """Bytes of scratch memory that one call of a kernel asks XLA for. The batch size plays no part.

    Args:
      op: the target's name without ``jaxsparse_direct_``.
      **sizes: integers and lists of integers, by op:

        * ``conv``, ``conv_at``, ``conv_input_grad``, ``conv_kernel_grad``: ``spatial_shape``, ``out_shape``,
          ``kernel_shape``, ``strides``, ``padding`` (flat: low, high, low, ...), ``dilation``, ``in_channels``,
          ``out_channels``, ``capacity``, ``out_capacity``, ``itemsize``
        * ``from_dense``: ``spatial_shape``, ``channels``, ``out_capacity``, ``itemsize``
        * ``max_pool``: ``spatial_shape``, ``out_shape``, ``window``, ``strides``, ``capacity``, ``out_capacity``,
          ``itemsize``
        * ``put_add``: ``capacity``, ``itemsize``
        * the others take nothing and need nothing: 0

    Raises:
      ValueError: there is no such op.
      TypeError: a size is missing, or there is one too many.

    >>> import xla_kernels
    >>> xla_kernels.workspace_bytes("to_dense")
    0
    >>> xla_kernels.workspace_bytes("put_add", capacity=100, itemsize=4) >= 0
    True
    """
    if op in _CONVOLUTIONS:
        return _cpu.conv_workspace_bytes(op, **sizes)
    if op in ("from_dense", "max_pool", "put_add"):
        return getattr(_cpu, f"{op}_workspace_bytes")(**sizes)
    if op not in _WITHOUT_WORKSPACE:
        known = [*_CONVOLUTIONS, "from_dense", "max_pool", "put_add", *_WITHOUT_WORKSPACE]
        raise ValueError(f"workspace_bytes: op must be one of {known}, got {op!r}")
    if sizes:
        raise TypeError(f"workspace_bytes: {op} takes no sizes, got {sorted(sizes)}")
    return 0
