"""Rows of one site merged into one, differentiably: sums, means and maxima, and the way back.

Sums and means are linear, and merging and spreading are each other's adjoint; so are picking and placing for maxima.
Reverse mode of any order needs no more.
"""

from typing import NamedTuple

import jax

from jaxsparse._core.derivatives import backward_of, custom_vjp
from jaxsparse.voxel import _kernels


class Groups(NamedTuple):
    """Which rows belong together.

    Attributes:
      order: int32 ``[N]``, the rows, those of a group one after the other and in their given order.
      starts: int32 ``[M + 1]``, where each group begins in ``order``.
      row_of: int32 ``[N]``, the group of each row, or M.
    """

    order: jax.Array
    starts: jax.Array
    row_of: jax.Array


def merge(features: jax.Array, groups: Groups, *, mean: bool) -> jax.Array:
    """``[N, C]`` to ``[M, C]``: the sum of a group's rows in their order, or the mean; 0 where there are none."""
    return _merge(mean, *_aligned(features, *groups))


def spread(values: jax.Array, groups: Groups, *, mean: bool) -> jax.Array:
    """``[M, C]`` to ``[N, C]``: what a row's group has (over how many rows it has); 0 for rows without a group."""
    return _spread(mean, *_aligned(values, *groups))


def maximum(features: jax.Array, groups: Groups) -> jax.Array:
    """``[N, C]`` to ``[M, C]``: the largest of a group (NaN is; of equal ones the first); 0 where there are none."""
    features, order, starts, row_of = _aligned(features, *groups)
    (winner,) = _kernels.max_rows(None, jax.lax.stop_gradient(features), order, starts)
    return _pick(features, row_of, winner)


def _aligned(values, order, starts, row_of):
    return _kernels.spread_rows.align(values, order, starts, row_of)


@custom_vjp(static=1)
def _merge(mean, features, order, starts, row_of):
    (out,) = _kernels.merge_rows(mean, features, order, starts)
    return out


@backward_of(_merge)
def _merge_bwd(mean, order, starts, row_of, cotangent):
    return _spread(mean, cotangent, order, starts, row_of), None, None, None


@custom_vjp(static=1)
def _spread(mean, values, order, starts, row_of):
    (out,) = _kernels.spread_rows(mean, values, order, starts, row_of)
    return out


@backward_of(_spread)
def _spread_bwd(mean, order, starts, row_of, cotangent):
    return _merge(mean, cotangent, order, starts, row_of), None, None, None


@custom_vjp(static=0)
def _pick(features, row_of, winner):
    (out,) = _kernels.pick_rows(None, features, winner)
    return out


@backward_of(_pick)
def _pick_bwd(row_of, winner, cotangent):
    return _place(cotangent, row_of, winner), None, None


@custom_vjp(static=0)
def _place(values, row_of, winner):
    (out,) = _kernels.place_rows(None, values, row_of, winner)
    return out


@backward_of(_place)
def _place_bwd(row_of, winner, cotangent):
    return _pick(cotangent, row_of, winner), None, None
