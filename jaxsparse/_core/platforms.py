"""An error at lowering for platforms that have no kernels.

XLA would only say that a custom call target is missing, once it compiles. This identity sits in front of every kernel
call; nothing is left of it in the lowered program.
"""

import jax
from jax.extend.core import Primitive
from jax.interpreters import mlir

import xla_kernels

SUPPORTED = ("cpu", "cuda")

_has_kernels_p = Primitive("jaxsparse_has_kernels")
_has_kernels_p.def_impl(lambda x: x)
_has_kernels_p.def_abstract_eval(lambda x: x)


def require_kernels(x: jax.Array) -> jax.Array:
    """Returns ``x``; lowering it for a platform without kernels raises ``NotImplementedError``."""
    return _has_kernels_p.bind(x)


def _lower(context, x):
    platforms = context.platforms or context.module_context.platforms
    missing = [name for name in platforms if name not in SUPPORTED]
    if missing:
        raise NotImplementedError(
            f"jaxsparse has no kernels for the platform {', '.join(missing)}; "
            f"it runs on {' and '.join(SUPPORTED)}"
        )
    # A program may be exported for CUDA on a machine that has none.
    exporting = context.module_context.lowering_parameters.for_export
    cuda = xla_kernels.available()["cuda"]
    if "cuda" in platforms and not cuda.usable and not exporting:
        raise NotImplementedError(f"jaxsparse has no CUDA kernels here; {cuda.detail}")
    return [x]


# One rule for all platforms: a program for several of them does not branch.
mlir.register_lowering(_has_kernels_p, _lower)
