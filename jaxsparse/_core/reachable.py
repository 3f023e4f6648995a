"""The part of a kernel that can meet the input at all, and what the kernels' tables hold of it."""

import math
from typing import NamedTuple

import numpy as np

from jaxsparse._core.checks import expected
from jaxsparse._core.windows import LARGEST_STEP, LARGEST_WINDOW, Convolution


class Reachable(NamedTuple):
    """A convolution without the outer taps that meet padding only."""

    geometry: Convolution
    taps: tuple[slice, ...]  # what is left of the kernel's window


def reachable(function: str, geometry: Convolution) -> Reachable:
    """The same responses from fewer taps: with a dilation beyond the input most of a kernel never meets it.

    Raises:
      ValueError: what is left is more than the tables of the kernels hold.
    """
    taps = tuple(_meeting(geometry, axis) for axis in range(len(geometry.spatial_shape)))
    sizes = tuple(t.stop - t.start for t in taps)
    padding = tuple(
        (low - t.start * r, high - (k - t.stop) * r)
        for (low, high), t, k, r in zip(
            geometry.padding, taps, geometry.kernel_shape, geometry.dilation, strict=True
        )
    )
    trimmed = geometry._replace(kernel_shape=sizes, padding=padding)
    if math.prod(sizes) > LARGEST_WINDOW:
        wording = f"of at most {LARGEST_WINDOW} taps that can meet the input"
        raise ValueError(expected(function, "kernel", wording, f"{sizes} of them"))
    # Strides sort the input by remainders; so many of them occur.
    remainders = math.prod(
        min(k, s // math.gcd(s, r))
        for k, s, r in zip(sizes, geometry.strides, geometry.dilation, strict=True)
    )
    if remainders > LARGEST_STEP:
        wording = f"of a product of at most {LARGEST_STEP} for a kernel of {sizes}"
        raise ValueError(expected(function, "strides", wording, geometry.strides))
    return Reachable(trimmed, taps)


def _meeting(geometry: Convolution, axis: int) -> slice:
    """From the first to the last tap of an axis that meets a voxel of the input for some output."""
    n, out = geometry.spatial_shape[axis], geometry.out_shape[axis]
    stride, low = geometry.strides[axis], geometry.padding[axis][0]
    start = np.arange(geometry.kernel_shape[axis]) * geometry.dilation[axis] - low
    # Output o reads voxel o * stride + start: the outputs for which that lies in [0, n).
    first = np.maximum(-(start // stride), 0)
    last = np.minimum((n - 1 - start) // stride, out - 1)
    meeting = np.flatnonzero(first <= last)
    if not len(meeting):
        return slice(0, 1)  # no response at all, and a kernel has at least one tap
    return slice(int(meeting[0]), int(meeting[-1]) + 1)
