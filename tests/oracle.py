"""The direct room's meanings (design.md, section 4) as plain NumPy: the specification that the tests hold the library to.

Nothing here is fast.  Every function takes and returns NumPy arrays; sums run in float64 (`EXACT`), or in the stated
order with the fused multiply-add (`stated(dtype)`), in which case the results are promised to the bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tests.fma import fma32, fma64


class Sparse(NamedTuple):
    """`direct.SparseTensor` with NumPy leaves: keys int32[B, C, K], values [B, C, K], nnz int32[B, C]."""

    keys: np.ndarray
    values: np.ndarray
    nnz: np.ndarray
    spatial_shape: tuple[int, ...]

    @property
    def volume(self) -> int:
        return math.prod(self.spatial_shape)


@dataclass(frozen=True)
class Arithmetic:
    """The number type of an accumulator and how one product joins it."""

    dtype: type
    multiply_add: Callable

    def of(self, values):
        return np.asarray(values).astype(self.dtype)


EXACT = Arithmetic(np.float64, lambda a, b, c: a * b + c)


def stated(dtype) -> Arithmetic:
    """The promised arithmetic: float32 accumulators (float64 for float64), fused multiply-add."""
    return Arithmetic(np.float64, fma64) if dtype == np.float64 else Arithmetic(np.float32, fma32)


silently = np.errstate(all="ignore")  # NaN, inf and numbers that round to 0 are ordinary here


@silently
def rounded(values, dtype):
    """Accumulators to the storage type, last of all."""
    return np.asarray(values).astype(dtype)


# --- the container -----------------------------------------------------------------------------------------------


def stored(keys, volume: int) -> int:
    """How many slots of one list hold entries: the longest strictly ascending prefix of keys inside the volume."""
    before = np.concatenate([[-1], keys[:-1]])
    bad = np.flatnonzero((keys <= before) | (keys >= volume))
    return int(bad[0]) if bad.size else len(keys)


def entries(x: Sparse, b: int, c: int):
    """Keys and values of the entries of batch element b, channel c."""
    n = stored(x.keys[b, c], x.volume)
    return x.keys[b, c, :n], x.values[b, c, :n]


def keep(candidate, score, capacity: int, select: str):
    """Positions of the `capacity` best candidates, ascending.  NaN ranks above +inf; equal scores: the lower position."""
    score = np.abs(score) if select == "magnitude" else score
    nan = np.isnan(score)
    position = np.flatnonzero(candidate)
    best_first = np.lexsort((position, -np.where(nan, 0, score)[position], ~nan[position]))
    return np.sort(position[best_first[:capacity]])


def pack(active, values, spatial_shape, capacity: int, select: str, dtype) -> Sparse:
    """Select among `active` (bool [B, V, C]) by accumulator `values` [B, V, C]; then round to `dtype`."""
    batch, volume, channels = active.shape
    positive = (values > 0) | np.isnan(values)
    candidate = active & positive if select == "relu" else active
    keys = np.full((batch, channels, capacity), volume, np.int32)
    out = np.zeros((batch, channels, capacity), dtype)
    for b, c in np.ndindex(batch, channels):
        kept = keep(candidate[b, :, c], values[b, :, c], capacity, select)
        keys[b, c, : len(kept)] = kept
        out[b, c, : len(kept)] = rounded(values[b, kept, c], dtype)
    return Sparse(keys, out, candidate.sum(1).astype(np.int32), tuple(spatial_shape))


@silently
def from_dense(x, capacity: int | None = None, select: str | None = None) -> Sparse:
    """Entries of x [B, *spatial, C] that are not exactly 0 (`"relu"`: the positive ones); NaN is one."""
    batch, *spatial, channels = x.shape
    volume = math.prod(spatial)
    flat = x.reshape(batch, volume, channels).astype(np.float64)
    return pack(
        flat != 0,
        flat,
        spatial,
        volume if capacity is None else capacity,
        select or "magnitude",
        x.dtype,
    )


def to_dense(x: Sparse):
    """[B, *spatial, C]: stored values at their voxels, 0 elsewhere."""
    batch, channels, _ = x.keys.shape
    dense = np.zeros((batch, x.volume, channels), x.values.dtype)
    for b, c in np.ndindex(batch, channels):
        keys, values = entries(x, b, c)
        dense[b, keys, c] = values
    return dense.reshape(batch, *x.spatial_shape, channels)


def gather_dense(keys, dense, spatial_shape):
    """The gradient of `to_dense` (and of `from_dense`, read backwards): dense values at the stored keys, 0 in unused slots."""
    batch, channels, _ = keys.shape
    volume = math.prod(spatial_shape)
    flat = dense.reshape(batch, volume, channels)
    out = np.zeros(keys.shape, dense.dtype)
    for b, c in np.ndindex(batch, channels):
        n = stored(keys[b, c], volume)
        out[b, c, :n] = flat[b, keys[b, c, :n], c]
    return out


@silently
def from_coords(
    coords, values, batch_size, spatial_shape, capacity, duplicates="error", count=None, select=None
) -> Sparse:
    """Rows (batch, *voxel) with a value per channel.  Rows from `count` on and rows out of range are no entries."""
    values = values[:, None] if values.ndim == 1 else values
    volume, channels = math.prod(spatial_shape), values.shape[1]
    rows: dict[tuple[int, int], list[int]] = {}
    for i, (b, *voxel) in enumerate(coords[:count].tolist()):
        if 0 <= b < batch_size and all(
            0 <= v < n for v, n in zip(voxel, spatial_shape, strict=True)
        ):
            rows.setdefault((b, int(np.ravel_multi_index(voxel, spatial_shape))), []).append(i)
    merge = {
        "error": lambda v: v.sum(0),  # inside jit, where nothing can be raised, as "sum"
        "sum": lambda v: v.sum(0),
        "max": lambda v: v.max(0),  # NumPy's maximum of NaN and a number is NaN
        "last": lambda v: v[-1],
    }[duplicates]
    active = np.zeros((batch_size, volume, channels), bool)
    dense = np.zeros((batch_size, volume, channels))
    for (b, key), where in rows.items():
        active[b, key] = True
        dense[b, key] = merge(values[where].astype(np.float64))
    return pack(active, dense, spatial_shape, capacity, select or "magnitude", values.dtype)


def density_capacity(density: float, volume: int) -> int:
    return math.ceil(density * volume - 1e-6)


# --- geometry ----------------------------------------------------------------------------------------------------


class Geometry(NamedTuple):
    spatial: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    lo: tuple[int, ...]
    dilation: tuple[int, ...]

    def reach(self, keys, tap):
        """Output keys that voxels `keys` reach through `tap`, and which voxels reach one.  Injective for one tap."""
        voxel = np.stack(np.unravel_index(keys, self.spatial), -1)
        start = voxel + self.lo - np.multiply(tap, self.dilation)
        hit = np.all(
            (start % self.strides == 0) & (start >= 0) & (start // self.strides < self.out), -1
        )
        return np.ravel_multi_index(
            tuple((start[hit] // self.strides).T), self.out
        ), np.flatnonzero(hit)


def each(value, dims: int) -> tuple[int, ...]:
    """An argument that is given once for all axes, or one an axis."""
    return (value,) * dims if np.ndim(value) == 0 else tuple(value)


def geometry(spatial, kernel, strides=1, padding="SAME", dilation=1) -> Geometry:
    """XLA's convention for SAME, VALID and explicit (lo, hi) padding."""
    dims = len(spatial)
    strides, dilation = each(strides, dims), each(dilation, dims)
    extent = [(k - 1) * r + 1 for k, r in zip(kernel, dilation, strict=True)]
    if padding == "SAME":
        out = [-(-n // s) for n, s in zip(spatial, strides, strict=True)]
        total = [
            max((o - 1) * s + e - n, 0)
            for o, s, e, n in zip(out, strides, extent, spatial, strict=True)
        ]
        pads = [(p // 2, p - p // 2) for p in total]
    else:
        pads = [(0, 0)] * dims if padding == "VALID" else list(padding)
        out = [
            (n + lo + hi - e) // s + 1
            for n, (lo, hi), e, s in zip(spatial, pads, extent, strides, strict=True)
        ]
    return Geometry(
        tuple(spatial), tuple(out), tuple(kernel), strides, tuple(lo for lo, _ in pads), dilation
    )


# --- convolution -------------------------------------------------------------------------------------------------


@silently
def response(x: Sparse, kernel, mask, g: Geometry, arithmetic: Arithmetic):
    """Cross-correlation of the stored entries with the unmasked weights: [B, output volume, Co].

    One accumulator per output; input channels ascending and, within one, taps in row-major order.
    """
    batch, in_channels, _ = x.keys.shape
    weight, live = arithmetic.of(kernel), np.ones(kernel.shape, bool) if mask is None else mask
    y = np.zeros((batch, math.prod(g.out), kernel.shape[-1]), arithmetic.dtype)
    for b, ci in np.ndindex(batch, in_channels):
        keys, values = entries(x, b, ci)
        for tap in np.ndindex(g.kernel):
            out, source = g.reach(keys, tap)
            value = arithmetic.of(values[source])[:, None]
            joined = arithmetic.multiply_add(value, weight[tap][ci], y[b, out])
            y[b, out] = np.where(live[tap][ci], joined, y[b, out])
    return y


@silently
def conv(
    x: Sparse, kernel, bias=None, *, mask=None, capacity=None, select="value", strides=1, padding="SAME",
    kernel_dilation=1, arithmetic=EXACT,
) -> Sparse:  # fmt: skip
    """Response, bias on active (non-zero) responses only, selection on the accumulator, rounding last."""
    g = geometry(x.spatial_shape, kernel.shape[:-2], strides, padding, kernel_dilation)
    if capacity is None:
        reach = math.prod(-(-k // s) for k, s in zip(g.kernel, g.strides, strict=True))
        capacity = min(math.prod(g.out), kernel.shape[-2] * x.keys.shape[-1] * reach)
    y = response(x, kernel, mask, g, arithmetic)
    active = y != 0
    if bias is not None:
        y = np.where(active, y + arithmetic.of(bias), y)
    return pack(active, y, g.out, capacity, select, x.values.dtype)


@silently
def conv_at(x: Sparse, kernel, y_keys, *, mask=None, strides=1, padding="SAME", kernel_dilation=1):
    """The response at given output keys [B, Co, Ko], before bias and rounding; 0 in unused slots."""
    g = geometry(x.spatial_shape, kernel.shape[:-2], strides, padding, kernel_dilation)
    y = response(x, kernel, mask, g, EXACT)
    return gather_dense(y_keys, y.reshape(y.shape[0], *g.out, -1), g.out)


@silently
def conv_gradients(
    x: Sparse,
    kernel,
    y: Sparse,
    gy,
    *,
    mask=None,
    strides=1,
    padding="SAME",
    kernel_dilation=1,
    arithmetic=EXACT,
):
    """Restricted back-propagation of cotangents gy [B, Co, Ko] of the kept responses y: (values', kernel', bias').

    Stored inputs and unmasked weights only; a dropped response has no part.  Input gradient: one accumulator per output
    channel over the taps in row-major order, then the output channels added in ascending order.
    """
    g = geometry(x.spatial_shape, kernel.shape[:-2], strides, padding, kernel_dilation)
    batch, in_channels, _ = x.keys.shape
    weight, live = arithmetic.of(kernel), np.ones(kernel.shape, bool) if mask is None else mask
    kept = to_dense(y._replace(values=np.ones(y.values.shape))).reshape(batch, y.volume, -1) != 0
    flat = arithmetic.of(to_dense(y._replace(values=gy))).reshape(batch, y.volume, -1)
    gx, gw = np.zeros(x.values.shape, arithmetic.dtype), np.zeros(kernel.shape)
    for b, ci in np.ndindex(batch, in_channels):
        keys, values = entries(x, b, ci)
        per_channel = np.zeros((len(keys), kernel.shape[-1]), arithmetic.dtype)
        for tap in np.ndindex(g.kernel):
            out, source = g.reach(keys, tap)
            here = kept[b, out] & live[tap][ci]
            joined = arithmetic.multiply_add(flat[b, out], weight[tap][ci], per_channel[source])
            per_channel[source] = np.where(here, joined, per_channel[source])
            product = values[source].astype(np.float64)[:, None] * flat[b, out]
            gw[tap][ci] += np.where(here, product, 0).sum(0)
        total = np.zeros(len(keys), arithmetic.dtype)
        for co in range(kernel.shape[-1]):
            total = total + per_channel[:, co]
        gx[b, ci, : len(keys)] = total
    gb = np.where(kept, flat, 0).astype(np.float64).sum((0, 1))
    dtype = x.values.dtype
    return rounded(gx, dtype), rounded(gw, dtype), rounded(gb, dtype)


# --- pooling and activation --------------------------------------------------------------------------------------


@silently
def max_pool(x: Sparse, window, strides=None, capacity=None) -> tuple[Sparse, np.ndarray]:
    """Maximum over the stored entries of each window, and the slot of x it came from (-1: unused).

    Windows start at multiples of the stride and are cut at the end.  NaN is the maximum; equal maxima: the lowest key.
    """
    dims = len(x.spatial_shape)
    window = each(window, dims)
    strides = window if strides is None else each(strides, dims)
    out = tuple(-(-n // s) for n, s in zip(x.spatial_shape, strides, strict=True))
    g = Geometry(x.spatial_shape, out, window, strides, (0,) * dims, (1,) * dims)
    taps = np.minimum(window, x.spatial_shape)  # beyond, a window holds nothing
    batch, channels, slots = x.keys.shape
    volume = math.prod(out)
    active = np.zeros((batch, volume, channels), bool)
    best = np.zeros((batch, volume, channels), x.values.dtype)
    slot = np.full((batch, volume, channels), -1)
    for b, c in np.ndindex(batch, channels):
        keys, values = entries(x, b, c)
        reached = [
            (o, i) for tap in np.ndindex(*taps) for o, i in zip(*g.reach(keys, tap), strict=True)
        ]
        for o, i in sorted(reached):  # entries of a window in ascending order of their keys
            new = np.isnan(values[i]) and not np.isnan(best[b, o, c])
            if not active[b, o, c] or new or values[i] > best[b, o, c]:
                active[b, o, c], best[b, o, c], slot[b, o, c] = True, values[i], i
    y = pack(
        active,
        best.astype(np.float64),
        out,
        slots if capacity is None else capacity,
        "value",
        x.values.dtype,
    )
    source = np.full(y.keys.shape, -1, np.int32)
    for b, c in np.ndindex(batch, channels):
        n = stored(y.keys[b, c], volume)
        source[b, c, :n] = slot[b, y.keys[b, c, :n], c]
    return y, source


@silently
def relu(x: Sparse) -> tuple[Sparse, np.ndarray]:
    """The positive entries (NaN is one), keys ascending in the same capacity, and the slot each came from."""
    keys, values = np.full_like(x.keys, x.volume), np.zeros_like(x.values)
    nnz, source = np.zeros_like(x.nnz), np.full_like(x.keys, -1)
    for b, c in np.ndindex(*x.nnz.shape):
        k, v = entries(x, b, c)
        slot = np.flatnonzero((v > 0) | np.isnan(v))
        keys[b, c, : len(slot)], values[b, c, : len(slot)] = k[slot], v[slot]
        source[b, c, : len(slot)], nnz[b, c] = slot, len(slot)
    return Sparse(keys, values, nnz, x.spatial_shape), source


def put_add(g, source, slots: int):
    """Cotangents back to the slots they came from: the gradient of pooling and relu, [B, C, slots]."""
    out = np.zeros((*g.shape[:2], slots))
    for b, c, i in np.ndindex(*g.shape):
        if source[b, c, i] >= 0:
            out[b, c, source[b, c, i]] += float(g[b, c, i])
    return rounded(out, g.dtype)
