"""The block room's meanings (design.md, section 4) as plain NumPy loops: the specification that tests hold the library to.

A tiling is (spatial shape, size, stride, offset), a tuple each: box i covers [offset + i * stride, + size). Lists are int
arrays [n, 1 + d] of the rows that are in use. Sums are in float64.
"""

import itertools
import math

import numpy as np

silently = np.errstate(all="ignore")  # NaN and infinity are ordinary here


def pixels(tiling, position):
    """(pixel of the box, pixel of the image) for every pixel of a box that lies in the image."""
    shape, size, stride, offset = tiling
    for inside in np.ndindex(*size):
        at = tuple(
            o + i * s + p for o, i, s, p in zip(offset, position, stride, inside, strict=True)
        )
        if all(0 <= a < n for a, n in zip(at, shape, strict=True)):
            yield inside, at


# --- which blocks are active ---------------------------------------------------------------------------------------


@silently
def responses(mask, tiling, grid, mode):
    """{(batch, *position): pooled mask} of the blocks that have pixels in the image."""
    out = {}
    for row in np.ndindex(len(mask), *grid):
        values = [float(mask[(row[0], *at)]) for _, at in pixels(tiling, row[1:])]
        if values:
            out[row] = max(values) if mode == "max" else float(np.sum(values)) / len(values)
            if any(map(math.isnan, values)):
                out[row] = math.nan
    return out


def reduce_mask(mask, tiling, grid, *, threshold=0.0, mode="max", capacity=None):
    """(indices [M, 1 + d] with rows (batch, 0, ...) at the end, count)."""
    wide = np.float64 if mask.dtype == np.float64 else np.float32
    found = {
        row: wide(value)
        for row, value in responses(mask, tiling, grid, mode).items()
        if wide(value) > wide(threshold) or math.isnan(value)
    }
    if capacity is None:
        capacity = max(1, len(mask) * math.prod(grid))

    def strongest_first(row):
        value = found[row]
        return (0, 0, row) if math.isnan(value) else (1, -value, row)

    kept = sorted(sorted(found, key=strongest_first)[:capacity])
    indices = np.zeros((capacity, 1 + len(grid)), np.int32)
    indices[:, 0] = len(mask)
    for i, row in enumerate(kept):
        indices[i] = row
    return indices, len(found)


def stored(indices, grid, batch):
    """The rows that count: the longest prefix in ascending raster order inside the batch and the grid."""
    last = None
    for n, row in enumerate(map(tuple, np.asarray(indices).tolist())):
        inside = all(0 <= i < m for i, m in zip(row, (batch, *grid), strict=True))
        if not inside or (last is not None and row <= last):
            return np.asarray(indices)[:n]
        last = row
    return np.asarray(indices)


# --- moving blocks -------------------------------------------------------------------------------------------------


def gather(x, tiling, rows, capacity):
    """[capacity, *size, C]: 0 outside the image and in rows that are not in use."""
    out = np.zeros((capacity, *tiling[1], x.shape[-1]), x.dtype)
    for i, (b, *position) in enumerate(rows):
        for inside, at in pixels(tiling, position):
            out[(i, *inside)] = x[(b, *at)]
    return out


def scatter(y, tiling, rows, base):
    """The later block wins."""
    out = base.copy()
    for i, (b, *position) in enumerate(rows):
        for inside, at in pixels(tiling, position):
            out[(b, *at)] = y[(i, *inside)]
    return out


@silently
def scatter_add(y, tiling, rows, base):
    """base + block + block + ... in float32 (float64), rounded last."""
    out = base.astype(np.float64 if base.dtype == np.float64 else np.float32)
    for i, (b, *position) in enumerate(rows):
        for inside, at in pixels(tiling, position):
            out[(b, *at)] += y[(i, *inside)].astype(out.dtype)
    return out.astype(base.dtype)


def owner(tiling, rows, batch):
    """int [batch, *spatial]: the last block of each pixel, -1 for none."""
    out = np.full((batch, *tiling[0]), -1)
    for i, (b, *position) in enumerate(rows):
        for _, at in pixels(tiling, position):
            out[(b, *at)] = i
    return out


def gather_gradient(g, tiling, rows, batch):
    return scatter_add(g, tiling, rows, np.zeros((batch, *tiling[0], g.shape[-1]), g.dtype))


def scatter_gradients(g, tiling, rows, capacity):
    """(y', base') for cotangents g of the image."""
    last = owner(tiling, rows, len(g))
    gy = np.zeros((capacity, *tiling[1], g.shape[-1]), g.dtype)
    for i, (b, *position) in enumerate(rows):
        for inside, at in pixels(tiling, position):
            if last[(b, *at)] == i:
                gy[(i, *inside)] = g[(b, *at)]
    return gy, np.where(last[..., None] < 0, g, 0).astype(g.dtype)


# --- convolution ---------------------------------------------------------------------------------------------------


def same_padding(n, kernel, stride, dilation):
    """XLA's: (low, high) along one dimension."""
    total = max((-(-n // stride) - 1) * stride + (kernel - 1) * dilation + 1 - n, 0)
    return total // 2, total - total // 2


def dense_conv(x, kernel, bias, strides, padding, dilation):
    """Cross-correlation of x [B, *S, in] with kernel [*K, in, out], float64; padding as (low, high) pairs."""
    x = x.astype(np.float64)
    dims = kernel.ndim - 2
    low = [max(p[0], 0) for p in padding]
    padded = np.pad(x, [(0, 0), *(tuple(max(q, 0) for q in p) for p in padding), (0, 0)])
    out_shape = [
        (n + sum(p) - (k - 1) * r - 1) // s + 1
        for n, p, k, r, s in zip(
            x.shape[1:-1], padding, kernel.shape, dilation, strides, strict=False
        )
    ]
    out = np.zeros((len(x), *out_shape, kernel.shape[-1]))
    for tap in np.ndindex(*kernel.shape[:dims]):
        index = [slice(None)]
        for d in range(dims):
            first = low[d] - padding[d][0] + tap[d] * dilation[d]
            index.append(slice(first, first + (out_shape[d] - 1) * strides[d] + 1, strides[d]))
        out += padded[tuple(index)] @ kernel[tap].astype(np.float64)
    return out + bias


# --- geometry ------------------------------------------------------------------------------------------------------


def reads(chain, wanted):
    """The input pixels, along one dimension, that outputs `wanted` of a chain of (kernel, stride, low, dilation) read.

    Pixels outside the image count: they are padding, and a window has to hold them.
    """
    for kernel, stride, low, dilation in reversed(chain):
        wanted = {
            o * stride - low + k * dilation for o, k in itertools.product(wanted, range(kernel))
        }
    return wanted
