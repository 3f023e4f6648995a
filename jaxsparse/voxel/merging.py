"""Sums and concatenation of tensors whose sites may differ."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks
from jaxsparse._core.checks import expected, is_sequence
from jaxsparse.voxel import _pooling, _sites
from jaxsparse.voxel._sites import Sites
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor


def add(x: VoxelTensor, y: VoxelTensor, capacity: int | None = None) -> VoxelTensor:
    """The sum; a site is active that is in either, where the other's background (0 without one) is added.

    With ground states the whole tensor equals the sum of the dense ones. Differentiable in reverse mode, to any order.

    Args:
      x: :class:`VoxelTensor`.
      y: :class:`VoxelTensor` of the same batch size, spatial shape, channels and dtype, with a background if ``x`` has one.
      capacity: rows of the output; of too many sites the first in canonical order stay. None: room for all sites of both.
        Where ``x`` and ``y`` have one and the same ``coords`` array, as layers hand it on that keep their sites, nothing is
        merged and None means the capacity of ``x``.

    Returns:
      :class:`VoxelTensor`.

    Raises:
      ValueError: shapes that do not fit, only one has a background, a capacity of 0.
      TypeError: not ``VoxelTensor``, dtypes differ.

    Source: residual connections, as MinkowskiEngine's union.

    Example::

      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords([[0, 1]], [[1.0]], batch_size=1, spatial_shape=(4,))
      >>> y = voxel.VoxelTensor.from_coords([[0, 0], [0, 1]], [[2.0], [3.0]], batch_size=1, spatial_shape=(4,))
      >>> voxel.add(x, y).to_dense().ravel().tolist()
      [2.0, 4.0, 0.0, 0.0]
    """
    _check_alike("add", {"x": x, "y": y})
    if x.channels != y.channels:
        raise ValueError(expected("add", "y", f"of {x.channels} channels, as x", y.channels))
    sites, (at_x, at_y) = _together("add", [x, y], capacity)
    background = None
    if x.background is not None and y.background is not None:
        background = x.background + y.background
    return _tensor(sites, at_x + at_y, background)


def concat(xs: Sequence[VoxelTensor], capacity: int | None = None) -> VoxelTensor:
    """The channels of several tensors, one's after the other's; a site is active that is in any of them.

    Where a tensor is not active its channels hold its background, 0 without one, so that with ground states the whole tensor
    equals the dense concatenation. Differentiable in reverse mode, to any order.

    Args:
      xs: one :class:`VoxelTensor` or more, of one batch size, spatial shape and dtype, with backgrounds all or none.
      capacity: as for :func:`add`.

    Returns:
      :class:`VoxelTensor` with the sum of the channels.

    Raises:
      ValueError: ``xs`` is empty, shapes that do not fit, some have a background and others do not, a capacity of 0.
      TypeError: no sequence of ``VoxelTensor``, dtypes differ.

    Source: SparseConvNet's JoinTable, here for sites that differ, too.

    Example::

      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords([[0, 1]], [[1.0]], batch_size=1, spatial_shape=(2,))
      >>> y = voxel.VoxelTensor.from_coords([[0, 0], [0, 1]], [[2.0], [3.0]], batch_size=1, spatial_shape=(2,))
      >>> voxel.concat([x, y]).to_dense().tolist()
      [[[0.0, 2.0], [1.0, 3.0]]]
    """
    if not is_sequence(xs) or isinstance(xs, str | bytes):
        what = type(xs).__name__
        raise TypeError(expected("concat", "xs", "a sequence of voxel.VoxelTensor", what))
    if not len(xs):
        raise ValueError(expected("concat", "xs", "at least one voxel.VoxelTensor", "none"))
    _check_alike("concat", {f"xs[{i}]": x for i, x in enumerate(xs)})
    sites, features = _together("concat", list(xs), capacity)
    grounds = [x.background for x in xs if x.background is not None]
    background = jnp.concatenate(grounds) if grounds else None
    return _tensor(sites, jnp.concatenate(features, axis=1), background)


def _check_alike(function: str, tensors: dict[str, Any]) -> None:
    """Raises unless all are ``VoxelTensor`` that can stand in one list."""
    first_name, first = next(iter(tensors.items()))
    for name, x in tensors.items():
        check_tensor(function, name, x)
        checks.same_dtype(function, name, x, first_name, first.dtype)
        for what, ours, theirs in (
            ("batch size", x.batch_size, first.batch_size),
            ("spatial shape", x.spatial_shape, first.spatial_shape),
        ):
            if ours != theirs:
                wording = f"of {what} {theirs}, as {first_name}"
                raise ValueError(expected(function, name, wording, ours))
        if (x.background is None) != (first.background is None):
            with_one = first.background is not None
            wording = f"{'with' if with_one else 'without'} background, as {first_name}"
            what = f"one {'without' if with_one else 'with'}"
            raise ValueError(expected(function, name, wording, what))


class _Move(NamedTuple):
    """Where rows go.

    Attributes:
      source: int32 ``[M]``, the row of a tensor at each common site, its capacity where it has none.
      place: int32 ``[N]``, the common site of each row, M where there is none.
    """

    source: jax.Array
    place: jax.Array


def _together(function: str, xs: list[VoxelTensor], capacity: Any) -> tuple[Sites, list[jax.Array]]:
    """The sites of all, and the features of each at them."""
    first = xs[0]
    capacity, _ = capacities.check(function, capacity, None)
    same = all(x.coords is first.coords for x in xs)
    if same and capacity in (None, first.capacity):
        return _sites.of(first), [x.features for x in xs]
    sites, moves = _union(function, xs, capacity)
    used = jnp.zeros((sites.coords.shape[0], 1), bool)
    for x, move in zip(xs, moves, strict=True):
        used = used | (move.source < x.capacity)[:, None]
    features = []
    for x, move in zip(xs, moves, strict=True):
        y = _pooling.moved(x.features, move.source, move.place)
        if x.background is not None:
            absent = used & (move.source == x.capacity)[:, None]
            y = jnp.where(absent, x.background[None], y)
        features.append(y)
    return sites, features


def _union(function: str, xs: list[VoxelTensor], capacity: int | None) -> tuple[Sites, list[_Move]]:
    first = xs[0]
    rows = sum(x.capacity for x in xs)
    if capacity is None and isinstance(rows, int):
        voxels = first.batch_size * first.volume
        capacity = capacities.resolve(function, None, None, volume=voxels, bound=min(rows, voxels))
    capacity = rows if capacity is None else capacity  # symbolic
    unused = jnp.zeros((1, first.coords.shape[1]), jnp.int32).at[0, 0].set(first.batch_size)
    lists = [jnp.where(x.in_use()[:, None], x.coords, unused) for x in xs]
    coords = jnp.concatenate(lists)
    sites, groups = _sites.sort(
        coords, jnp.asarray(rows, jnp.int32), first.batch_size, first.spatial_shape, capacity
    )
    moves, begin = [], 0
    for x in xs:
        place = groups.row_of[begin : begin + x.capacity]
        begin += x.capacity
        row = jnp.arange(x.capacity, dtype=jnp.int32)
        nowhere = jnp.full((capacity,), x.capacity, jnp.int32)
        moves.append(_Move(nowhere.at[place].set(row, mode="drop"), place))
    return sites, moves


def _tensor(sites: Sites, features: jax.Array, background: jax.Array | None) -> VoxelTensor:
    return VoxelTensor(
        sites.coords, features, sites.count, sites.batch_size, sites.spatial_shape, background
    )
