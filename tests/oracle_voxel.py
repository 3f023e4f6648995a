"""The voxel room's meanings (design.md, section 4) as plain NumPy: the specification that tests hold the library to.

Sites are int arrays ``[n, 1 + d]`` of the rows that are in use, in canonical order (batch element, then row-major). A list
with its capacity is `Sites`. Convolutions of dense volumes are loops over taps, in float64.
"""

import itertools
from typing import NamedTuple

import numpy as np

from tests import oracle
from tests.oracle import each

silently = np.errstate(all="ignore")  # NaN and infinity are ordinary here


class Window(NamedTuple):
    """Input i, output o: ``in_stride * i == out_stride * o + offset + k * step`` along every axis."""

    in_shape: tuple
    out_shape: tuple
    kernel: tuple
    in_stride: tuple
    out_stride: tuple
    offset: tuple
    step: tuple

    def reversed(self):
        """Inputs and outputs exchanged."""
        negative = (tuple(-n for n in numbers) for numbers in (self.offset, self.step))
        return Window(
            self.out_shape, self.in_shape, self.kernel, self.out_stride, self.in_stride, *negative
        )

    def output(self, at, tap):
        """The output that an input meets at a tap, or None."""
        return self._meets(at, tap, self.in_stride, self.out_stride, self.out_shape, -1)

    def input(self, at, tap):
        """The input that an output meets at a tap, or None."""
        return self._meets(at, tap, self.out_stride, self.in_stride, self.in_shape, 1)

    def _meets(self, at, tap, stride, divisor, shape, sign):
        found = []
        for axis, (x, k) in enumerate(zip(at, tap, strict=True)):
            scaled = int(x) * stride[axis] + sign * (self.offset[axis] + k * self.step[axis])
            place, rest = divmod(scaled, divisor[axis])
            if rest or not 0 <= place < shape[axis]:
                return None
            found.append(place)
        return tuple(found)


def window(spatial, kernel, strides=1, padding="SAME", dilation=1) -> Window:
    """Of a convolution, as XLA lays it; a pooling's has padding "VALID"."""
    g = oracle.geometry(spatial, each(kernel, len(spatial)), strides, padding, dilation)
    offset, ones = tuple(-low for low in g.lo), (1,) * len(spatial)
    return Window(g.spatial, g.out, g.kernel, ones, g.strides, offset, g.dilation)


def transposed_window(spatial, kernel, strides, padding="SAME", dilation=1) -> Window:
    """Of ``lax.conv_transpose(..., transpose_kernel=False)``: a convolution of the input with zeros between its voxels."""
    dims = len(spatial)
    kernel, strides, dilation = (each(v, dims) for v in (kernel, strides, dilation))
    out, offset = [], []
    for axis in range(dims):
        extent, s = (kernel[axis] - 1) * dilation[axis] + 1, strides[axis]
        if padding == "SAME":  # the output has n * s voxels
            total = extent + s - 2
            low = extent - 1 if s >= extent else (total + 1) // 2
            high = total - low
        elif padding == "VALID":  # all that any input reaches, at least n * s
            low, high = extent - 1, s - 1 + max(extent - s, 0)
        else:
            low, high = padding[axis]
        out.append((spatial[axis] - 1) * s + 1 + low + high - extent + 1)
        offset.append(-low)
    ones = (1,) * dims
    return Window(tuple(spatial), tuple(out), kernel, strides, ones, tuple(offset), dilation)


def taps(w: Window):
    """The taps in their order: row-major."""
    return list(itertools.product(*map(range, w.kernel)))


# --- sites and maps --------------------------------------------------------------------------------------------------


def in_use(coords, batch, spatial):
    """The rows that count: the longest prefix that ascends inside the batch and the box."""
    last = None
    for n, row in enumerate(map(tuple, np.asarray(coords).tolist())):
        inside = all(0 <= i < m for i, m in zip(row, (batch, *spatial), strict=True))
        if not inside or (last is not None and row <= last):
            return np.asarray(coords)[:n]
        last = row
    return np.asarray(coords)


def listed(rows, batch, capacity):
    """A list of this capacity: the first rows, and ``(batch, 0, ...)`` behind them."""
    rows = np.asarray(rows, np.int32)
    coords = np.zeros((capacity, rows.shape[1]), np.int32)
    coords[:, 0] = batch
    kept = min(len(rows), capacity)
    coords[:kept] = rows[:kept]
    return coords


def reached(rows, w: Window):
    """The output sites that input sites reach."""
    found = set()
    for b, *at in np.asarray(rows).tolist():
        for tap in taps(w):
            place = w.output(at, tap)
            if place is not None:
                found.add((b, *place))
    return np.array(sorted(found), np.int32).reshape(-1, 1 + len(w.kernel))


def kernel_map(rows, in_capacity, out_rows, capacity, w: Window):
    """(inputs [K, M], outputs [K, N]) between lists of these rows and capacities."""
    number = {tuple(row): n for n, row in enumerate(np.asarray(rows).tolist())}
    every = taps(w)
    inputs = np.full((len(every), capacity), in_capacity, np.int32)
    outputs = np.full((len(every), in_capacity), capacity, np.int32)
    for k, tap in enumerate(every):
        for m, (b, *at) in enumerate(np.asarray(out_rows).tolist()):
            place = w.input(at, tap)
            n = None if place is None else number.get((b, *place))
            if n is not None:
                inputs[k, m] = n
                outputs[k, n] = m
    return inputs, outputs


@silently
def from_coords(coords, features, batch, spatial, capacity=None, duplicates="sum", count=None):
    """(coords [N, 1 + d], features [N, C], count): rows out of range are dropped."""
    features = np.asarray(features)
    wide = np.float64 if features.dtype == np.float64 else np.float32
    groups = {}
    for n, row in enumerate(np.asarray(coords).tolist()[:count]):
        if all(0 <= i < m for i, m in zip(row, (batch, *spatial), strict=True)):
            groups.setdefault(tuple(row), []).append(n)
    rows = sorted(groups)
    if capacity is None:
        capacity = max(1, min(len(coords), batch * int(np.prod(spatial))))
    out = np.zeros((capacity, features.shape[1]), features.dtype)
    for m, row in enumerate(rows[:capacity]):
        several = features[groups[row]].astype(wide)
        if duplicates == "max":
            value = several[0]
            for other in several[1:]:
                larger = (other > value) | (np.isnan(other) & ~np.isnan(value))
                value = np.where(larger, other, value)
        else:
            value = several[0]
            for other in several[1:]:
                value = value + other
            if duplicates == "mean":
                value = value / wide(len(several))
        out[m] = value.astype(features.dtype)
    shape = (-1, 1 + len(spatial))
    return listed(np.array(rows, np.int32).reshape(shape), batch, capacity), out, len(rows)


def to_dense(rows, features, batch, spatial, background=None):
    """[B, *S, C]: the background, or 0, where no site is."""
    features = np.asarray(features)
    ground = np.zeros(features.shape[1]) if background is None else np.asarray(background)
    out = np.empty((batch, *spatial, features.shape[1]), features.dtype)
    out[...] = ground
    for row, value in zip(np.asarray(rows).tolist(), features, strict=False):
        out[tuple(row)] = value
    return out


# --- convolution of dense volumes --------------------------------------------------------------------------------------


@silently
def dense_conv(dense, kernel, w: Window, groups=1, background=None):
    """[B, *in, C] with a kernel [*k, C / groups, F] -> [B, *out, F], float64: padded with the background (0 without one).

    The ground state's meaning: every voxel, inactive ones and padding alike, has a value, and all of them take part.
    A transposed window sees zeros between voxels.
    """
    dense, kernel = np.asarray(dense, np.float64), np.asarray(kernel, np.float64)
    batch, channels = dense.shape[0], dense.shape[-1]
    filters = kernel.shape[-1]
    each_in, each_out = channels // groups, filters // groups
    ground = np.zeros(channels) if background is None else np.asarray(background, np.float64)
    if background is not None and set(w.in_stride) != {1}:
        raise ValueError("a transposed window has no single background")
    out = np.zeros((batch, *w.out_shape, filters))
    for place in np.ndindex(*w.out_shape):
        for tap in taps(w):
            at = w.input(place, tap)
            if at is None and background is None:
                continue
            x = (
                np.broadcast_to(ground, (batch, channels))
                if at is None
                else dense[(slice(None), *at)]
            )
            for g in range(groups):
                mine = slice(g * each_out, (g + 1) * each_out)
                out[(slice(None), *place, mine)] += (
                    x[:, g * each_in : (g + 1) * each_in] @ kernel[(*tap, slice(None), mine)]
                )
    return out


def background_conv(background, kernel, groups=1):
    """The new ground state: what a window of nothing but background gives."""
    kernel = np.asarray(kernel, np.float64)
    total = kernel.sum(axis=tuple(range(kernel.ndim - 2)))
    each_in, each_out = total.shape[0], total.shape[1] // groups
    return np.concatenate([
        np.asarray(background, np.float64)[g * each_in : (g + 1) * each_in]
        @ total[:, g * each_out : (g + 1) * each_out]
        for g in range(groups)
    ])  # fmt: skip


def conv_rows(rows, features, kernel, out_rows, w: Window, batch, groups=1, background=None):
    """[len(out_rows), F], float64: the dense convolution at the output sites, without bias."""
    dense = to_dense(rows, np.asarray(features, np.float64), batch, w.in_shape, background)
    out = dense_conv(dense, kernel, w, groups, background)
    return np.array([out[tuple(row)] for row in np.asarray(out_rows).tolist()]).reshape(
        len(out_rows), -1
    )


def interpolated(dense, ground, place, batch, method):
    """A dense volume ``[B, *spatial, C]``, continued by ``ground`` everywhere, at places ``[P, d]`` in voxels; float64."""
    spatial = dense.shape[1:-1]

    def voxel(element, at):
        inside = 0 <= element < len(dense) and all(
            0 <= i < n for i, n in zip(at, spatial, strict=True)
        )
        return dense[(element, *(int(i) for i in at))] if inside else ground

    out = np.zeros((len(place), dense.shape[-1]))
    for number, (element, point) in enumerate(zip(batch, place.astype(np.float64), strict=True)):
        if method == "nearest":
            out[number] = voxel(element, np.floor(point))
            continue
        low = np.floor(point - 0.5)
        above = point - 0.5 - low
        for up in np.ndindex((2,) * len(spatial)):
            weight = np.prod(np.where(up, above, 1 - above))
            out[number] += weight * voxel(element, low + up)
    return out


def voxelized(points, features, lower, edge, spatial, batch, batch_size, merge):
    """Voxels that hold points: canonical sites ``[n, 1 + d]``, features in float64, the site of each point or -1."""
    place = np.floor((points - points.dtype.type(lower)) * points.dtype.type(1 / edge))
    held = {}
    for number, (element, at) in enumerate(zip(batch, place, strict=True)):
        if 0 <= element < batch_size and all(0 <= i < n for i, n in zip(at, spatial, strict=True)):
            held.setdefault((int(element), *(int(i) for i in at)), []).append(number)
    sites = sorted(held)
    function = {"mean": np.mean, "sum": np.sum, "max": np.max}[merge]
    merged = [function(features[held[site]].astype(np.float64), axis=0) for site in sites]
    owner = np.full(len(points), -1)
    for row, site in enumerate(sites):
        owner[held[site]] = row
    return np.array(sites).reshape(-1, 1 + len(spatial)), np.array(merged), owner
