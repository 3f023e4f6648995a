"""The operations of a network beside convolution, activation and maximum pooling, as plain NumPy; see `tests/oracle.py`.

Means of windows and products are in the accumulator (float32, or float64) in the stated order, so that results are
equal; statistics of channels and whole lists in float64.
"""

import math

import numpy as np

from tests.oracle import (
    Geometry,
    Sparse,
    each,
    entries,
    gather_dense,
    pack,
    rounded,
    silently,
    stated,
    stored,
    to_dense,
)


def accumulator(dtype):
    return stated(dtype).dtype


# --- windows -----------------------------------------------------------------------------------------------------


def pooling(spatial, window, strides=None) -> tuple[Geometry, tuple[int, ...]]:
    """Windows start at multiples of the stride and are cut at the end; and the taps that can hold an entry."""
    dims = len(spatial)
    window = each(window, dims)
    strides = window if strides is None else each(strides, dims)
    out = tuple(-(-n // s) for n, s in zip(spatial, strides, strict=True))
    g = Geometry(tuple(spatial), out, window, strides, (0,) * dims, (1,) * dims)
    return g, tuple(np.minimum(window, spatial))


def taps_of(keys, g: Geometry, taps):
    """(windows, entries) that each tap brings together, taps in row-major order: the entries of a window by key."""
    for tap in np.ndindex(*taps):
        yield g.reach(keys, tap)


@silently
def avg_pool(x: Sparse, window, strides=None, capacity=None) -> tuple[Sparse, np.ndarray]:
    """Sum of a window's stored entries by key, over how many they are; and that number, 0 in unused slots."""
    g, taps = pooling(x.spatial_shape, window, strides)
    batch, channels, slots = x.keys.shape
    volume = math.prod(g.out)
    total = np.zeros((batch, volume, channels), accumulator(x.values.dtype))
    count = np.zeros((batch, volume, channels), np.int32)
    for b, c in np.ndindex(batch, channels):
        keys, values = entries(x, b, c)
        for out, source in taps_of(keys, g, taps):
            total[b, out, c] += values[source].astype(total.dtype)
            count[b, out, c] += 1
    mean = total / count.astype(total.dtype)
    capacity = slots if capacity is None else capacity
    y = pack(count > 0, mean, g.out, capacity, "value", x.values.dtype)
    return y, gather_dense(y.keys, count.reshape(batch, *g.out, channels), g.out)


@silently
def window_sum(fine: Sparse, coarse: Sparse, window, strides=None, count=None):
    """The sum of the fine values in each stored window (over its count), [B, C, Ko]; values of `coarse` are not used."""
    g, taps = pooling(fine.spatial_shape, window, strides)
    dtype = fine.values.dtype
    out = np.zeros(coarse.keys.shape, accumulator(dtype))
    for b, c in np.ndindex(*out.shape[:2]):
        keys, values = entries(fine, b, c)
        n = stored(coarse.keys[b, c], coarse.volume)
        slot = {key: i for i, key in enumerate(coarse.keys[b, c, :n])}
        for windows, source in taps_of(keys, g, taps):
            for o, i in zip(windows, source, strict=True):
                if o in slot:
                    out[b, c, slot[o]] += values[i].astype(out.dtype)
        if count is not None:
            out[b, c, :n] /= count[b, c, :n].astype(out.dtype)
    return rounded(out, dtype)


@silently
def window_spread(fine: Sparse, coarse: Sparse, window, strides=None, count=None):
    """The adjoint: each stored fine entry gets the sum over its stored windows, in the order of the taps, [B, C, K]."""
    g, taps = pooling(fine.spatial_shape, window, strides)
    dtype = coarse.values.dtype
    out = np.zeros(fine.keys.shape, accumulator(dtype))
    for b, c in np.ndindex(*out.shape[:2]):
        keys, _ = entries(fine, b, c)
        coarse_keys, values = entries(coarse, b, c)
        term = values.astype(out.dtype)
        if count is not None:
            term = term / count[b, c, : len(term)].astype(out.dtype)
        of_window = dict(zip(coarse_keys, term, strict=True))
        for windows, source in taps_of(keys, g, taps):
            for o, i in zip(windows, source, strict=True):
                if o in of_window:
                    out[b, c, i] += of_window[o]
    return rounded(out, dtype)


def unpool(x: Sparse, onto: Sparse, strides) -> Sparse:
    """Each entry of `onto` with the value of the voxel `coordinate // strides` of x, 0 where that is not stored."""
    strides = each(strides, len(onto.spatial_shape))
    dense = to_dense(x)
    values = np.zeros(onto.keys.shape, x.values.dtype)
    for b, c in np.ndindex(*onto.keys.shape[:2]):
        keys, _ = entries(onto, b, c)
        voxels = np.stack(np.unravel_index(keys, onto.spatial_shape), -1)
        for i, voxel in enumerate(voxels // strides):
            values[b, c, i] = dense[(b, *voxel, c)]
    return onto._replace(values=values)


# --- whole lists -------------------------------------------------------------------------------------------------


@silently
def global_max_pool(x: Sparse) -> tuple[np.ndarray, np.ndarray]:
    """[B, C]: the maximum of each list, 0 where it is empty; and its slot, -1: none. NaN first, then the lowest key."""
    out, source = np.zeros(x.nnz.shape, x.values.dtype), np.full(x.nnz.shape, -1)
    for b, c in np.ndindex(*x.nnz.shape):
        _, values = entries(x, b, c)
        if len(values):
            source[b, c] = np.argmax(values.astype(np.float64))  # NumPy's takes the first NaN, too
            out[b, c] = values[source[b, c]]
    return out, source


@silently
def global_avg_pool(x: Sparse) -> np.ndarray:
    """[B, C]: the mean of each list, 0 where it is empty."""
    out = np.zeros(x.nnz.shape)
    for b, c in np.ndindex(*x.nnz.shape):
        _, values = entries(x, b, c)
        if len(values):
            out[b, c] = values.astype(np.float64).sum() / len(values)
    return rounded(out.astype(accumulator(x.values.dtype)), x.values.dtype)


@silently
def global_avg_pool_gradient(x: Sparse, g) -> np.ndarray:
    """[B, C, K]: each stored entry's share of its list's cotangent."""
    out = np.zeros(x.values.shape, accumulator(g.dtype))
    for b, c in np.ndindex(*x.nnz.shape):
        n = len(entries(x, b, c)[0])
        if n:
            out[b, c, :n] = g[b, c].astype(out.dtype) / out.dtype.type(n)
    return rounded(out, g.dtype)


# --- entry by entry ----------------------------------------------------------------------------------------------


@silently
def masked_scale(x: Sparse, mask, factors, values=None):
    """Stored values (or cotangents) times one of two factors; 0 in unused slots, and of a factor 0 whatever comes."""
    values = x.values if values is None else values
    wide = accumulator(values.dtype)
    factor = np.where(mask, wide(factors[0]), wide(factors[1]))
    out = np.where(factor == 0, wide(0), values.astype(wide) * factor)
    for b, c in np.ndindex(*x.nnz.shape):
        out[b, c, len(entries(x, b, c)[0]) :] = 0
    return rounded(out, values.dtype)


def not_negative(values):
    return ~(values.astype(np.float64) < 0)


# --- merging -----------------------------------------------------------------------------------------------------


@silently
def add(x: Sparse, y: Sparse, capacity=None) -> tuple[Sparse, np.ndarray, np.ndarray]:
    """Entries of either, added in the accumulator, cut by magnitude; and the slots of x and of y they came from."""
    batch, channels, _ = x.keys.shape
    capacity = x.keys.shape[-1] + y.keys.shape[-1] if capacity is None else capacity
    wide = accumulator(x.values.dtype)
    there = np.zeros((2, batch, x.volume, channels), bool)
    value = np.zeros((2, batch, x.volume, channels), wide)
    slot = np.full((2, batch, x.volume, channels), -1)
    for i, part in enumerate((x, y)):
        for b, c in np.ndindex(batch, channels):
            keys, values = entries(part, b, c)
            there[i, b, keys, c], value[i, b, keys, c] = True, values.astype(wide)
            slot[i, b, keys, c] = np.arange(len(keys))
    total = np.where(there.all(0), value[0] + value[1], np.where(there[0], value[0], value[1]))
    out = pack(there.any(0), total, x.spatial_shape, capacity, "magnitude", x.values.dtype)
    sources = np.full((2, *out.keys.shape), -1)
    for b, c in np.ndindex(batch, channels):
        n = stored(out.keys[b, c], x.volume)
        sources[:, b, c, :n] = slot[:, b, out.keys[b, c, :n], c]
    return out, sources[0], sources[1]


def concat(xs) -> Sparse:
    """The lists of all, in the largest capacity."""
    slots = max(x.keys.shape[-1] for x in xs)

    def padded(array, value):
        return np.pad(array, ((0, 0), (0, 0), (0, slots - array.shape[-1])), constant_values=value)

    return Sparse(
        np.concatenate([padded(x.keys, x.volume) for x in xs], 1),
        np.concatenate([padded(x.values, 0) for x in xs], 1),
        np.concatenate([x.nnz for x in xs], 1),
        xs[0].spatial_shape,
    )


# --- statistics --------------------------------------------------------------------------------------------------


@silently
def batch_statistics(x: Sparse):
    """(mean, biased variance, count) of each channel's stored entries over the batch, float64; 0 where there is none."""
    channels = x.nnz.shape[1]
    mean, var, count = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    for c in range(channels):
        values = np.concatenate(
            [np.zeros(0), *(entries(x, b, c)[1].astype(np.float64) for b in range(len(x.nnz)))]
        )
        count[c] = len(values)
        if len(values):
            mean[c] = values.sum() / len(values)
            var[c] = ((values - mean[c]) ** 2).sum() / len(values)
    return mean, var, count


@silently
def batch_norm(x: Sparse, scale, bias, mean, var, epsilon):
    """Stored values, normalised, float64; 0 in unused slots."""
    out = np.zeros(x.values.shape)
    for b, c in np.ndindex(*x.nnz.shape):
        _, values = entries(x, b, c)
        y = (values.astype(np.float64) - mean[c]) / np.sqrt(var[c] + epsilon)
        out[b, c, : len(values)] = y * scale[c] + bias[c]
    return out


@silently
def batch_norm_gradients(x: Sparse, scale, g, epsilon):
    """(values', scale', bias') for cotangents g, through the statistics of x; float64."""
    mean, var, count = batch_statistics(x)
    unit = batch_norm(x, np.ones_like(mean), np.zeros_like(mean), mean, var, epsilon)
    gx, gs, gb = np.zeros(x.values.shape), np.zeros_like(mean), np.zeros_like(mean)
    for b, c in np.ndindex(*x.nnz.shape):
        n = len(entries(x, b, c)[0])
        gs[c] += (g[b, c, :n].astype(np.float64) * unit[b, c, :n]).sum()
        gb[c] += g[b, c, :n].astype(np.float64).sum()
    for b, c in np.ndindex(*x.nnz.shape):
        n = len(entries(x, b, c)[0])
        if n:
            centred = g[b, c, :n] - gb[c] / count[c] - unit[b, c, :n] * gs[c] / count[c]
            gx[b, c, :n] = centred * scale[c] / np.sqrt(var[c] + epsilon)
    return gx, gs, gb
