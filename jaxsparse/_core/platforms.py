"""The platforms that have kernels."""

from collections.abc import Sequence

import jax

import xla_kernels

SUPPORTED = ("cpu", "cuda")


def current() -> str:
    """The platform that is used where nobody names one."""
    backend = jax.default_backend()
    return {"gpu": "cuda"}.get(backend, backend)


def require_kernels(target: str, platforms: Sequence[str], exporting: bool) -> None:
    """Raises ``NotImplementedError`` for platforms without a kernel for this target.

    A program may be exported for CUDA on a machine that has none.
    """
    missing = [name for name in platforms if name not in SUPPORTED]
    if missing:
        raise NotImplementedError(
            f"jaxsparse has no kernels for the platform {', '.join(missing)}; "
            f"it runs on {' and '.join(SUPPORTED)}"
        )
    if "cuda" in platforms and not xla_kernels.has_cuda_kernel(target):
        raise NotImplementedError(f"jaxsparse has no CUDA kernel for {target} yet; it runs on cpu")
    if "cuda" in platforms and not exporting:
        cuda = xla_kernels.available()["cuda"]
        if not cuda.usable:
            raise NotImplementedError(f"jaxsparse has no CUDA kernels here; {cuda.detail}")
