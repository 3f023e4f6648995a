"""Sums over the entries of windows with given keys, and their adjoint.

*Fine* lists hold entries, *coarse* ones windows. ``window_sum`` and ``window_spread`` are linear in the values and each
other's adjoint: reverse mode of any order needs no more.
"""

import jax

from jaxsparse._core.derivatives import backward_of, custom_vjp
from jaxsparse._core.windows import Pooling
from jaxsparse.direct import _kernels


def window_sum(
    geometry: Pooling,
    fine_keys: jax.Array,
    fine: jax.Array,
    coarse_keys: jax.Array,
    count: jax.Array | None = None,
) -> jax.Array:
    """``[B, C, Ko]``: the sum of the fine values in each window, divided by the window's ``count`` where given."""
    return _window_sum(geometry, *_kernels.window_sum.align(fine_keys, fine, coarse_keys, count))


def window_spread(
    geometry: Pooling,
    fine_keys: jax.Array,
    coarse_keys: jax.Array,
    coarse: jax.Array,
    count: jax.Array | None = None,
) -> jax.Array:
    """``[B, C, K]``: for each entry the sum of ``coarse`` (divided by ``count``) over the windows that hold it."""
    return _window_spread(
        geometry, *_kernels.window_spread.align(fine_keys, coarse_keys, coarse, count)
    )


@custom_vjp(static=1)
def _window_sum(geometry, fine_keys, fine, coarse_keys, count):
    (coarse,) = _kernels.window_sum(geometry, fine_keys, fine, coarse_keys, count)
    return coarse


@backward_of(_window_sum)
def _window_sum_bwd(geometry, fine_keys, coarse_keys, count, cotangent):
    return None, window_spread(geometry, fine_keys, coarse_keys, cotangent, count), None, None


@custom_vjp(static=1)
def _window_spread(geometry, fine_keys, coarse_keys, coarse, count):
    (fine,) = _kernels.window_spread(geometry, fine_keys, coarse_keys, coarse, count)
    return fine


@backward_of(_window_spread)
def _window_spread_bwd(geometry, fine_keys, coarse_keys, count, cotangent):
    return None, None, window_sum(geometry, fine_keys, cotangent, coarse_keys, count), None
