"""Which input sites meet which output sites, tap by tap: what all convolutions and poolings of this room come down to."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxsparse._core import checks, windows
from jaxsparse._core.checks import expected
from jaxsparse._core.kernel import Attributes
from jaxsparse._core.windows import Convolution

LARGEST_KERNEL = 2**24
"""Taps that the kernels count."""


class Relation(NamedTuple):
    """Input ``i`` and output ``o`` are related at tap ``k`` iff, along every axis,

        ``in_stride * i == out_stride * o + offset + k * step``

    A convolution has ``in_stride`` 1, a transposed one ``out_stride`` 1. For one tap it is injective both ways.
    """

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    kernel_size: tuple[int, ...]
    in_stride: tuple[int, ...]
    out_stride: tuple[int, ...]
    offset: tuple[int, ...]
    step: tuple[int, ...]

    @property
    def taps(self) -> int:
        """Taps, row-major over the kernel."""
        return math.prod(self.kernel_size)

    @property
    def reach(self) -> int:
        """How many outputs one input can meet at most."""
        # Taps of one input differ by multiples of out_stride / gcd(out_stride, step).
        return math.prod(
            -(-k // (s // math.gcd(s, r)))
            for k, s, r in zip(self.kernel_size, self.out_stride, self.step, strict=True)
        )

    @property
    def symmetric(self) -> bool:
        """Whether the relation read backwards is itself with its taps in reverse order."""
        reflected = all(
            2 * o == -(k - 1) * r
            for o, k, r in zip(self.offset, self.kernel_size, self.step, strict=True)
        )
        strides = set(self.in_stride + self.out_stride)
        return reflected and strides == {1} and self.in_shape == self.out_shape

    def reversed(self) -> "Relation":
        """With inputs and outputs exchanged; taps keep their numbers."""
        return Relation(
            self.out_shape,
            self.in_shape,
            self.kernel_size,
            self.out_stride,
            self.in_stride,
            tuple(-o for o in self.offset),
            tuple(-r for r in self.step),
        )

    def attributes(self, batch: int) -> Attributes:
        """What the kernels take."""
        return {
            "batch": batch,
            "in_shape": self.in_shape,
            "out_shape": self.out_shape,
            "kernel": self.kernel_size,
            "in_stride": self.in_stride,
            "out_stride": self.out_stride,
            "offset": self.offset,
            "step": self.step,
        }


def of_convolution(geometry: Convolution) -> Relation:
    """``i = o * stride - padding_low + k * dilation``: XLA's cross-correlation."""
    dims = len(geometry.spatial_shape)
    return Relation(
        in_shape=geometry.spatial_shape,
        out_shape=geometry.out_shape,
        kernel_size=geometry.kernel_shape,
        in_stride=(1,) * dims,
        out_stride=geometry.strides,
        offset=tuple(-low for low, _ in geometry.padding),
        step=geometry.dilation,
    )


def convolution(
    function: str,
    spatial_shape: tuple[int, ...],
    kernel_size: Any,
    strides: Any,
    padding: Any,
    kernel_dilation: Any,
    *,
    argument: str = "kernel",
) -> Relation:
    """The relation of ``lax.conv_general_dilated`` with these arguments.

    Raises:
      ValueError, TypeError: an argument is no good; ``argument`` is the caller's name of the kernel.
    """
    size = _kernel_size(function, argument, kernel_size, len(spatial_shape))
    geometry = windows.convolution(
        function, spatial_shape, size, strides, padding, kernel_dilation, argument=argument
    )
    return of_convolution(geometry)


def transposed(
    function: str,
    spatial_shape: tuple[int, ...],
    kernel_size: Any,
    strides: Any,
    padding: Any,
    kernel_dilation: Any,
    *,
    argument: str = "kernel",
) -> Relation:
    """The relation of ``lax.conv_transpose(..., transpose_kernel=False)``: ``i * stride = o - padding_low + k * dilation``.

    Raises:
      ValueError, TypeError: as :func:`convolution`; the output would be empty.
    """
    dims = len(spatial_shape)
    size = _kernel_size(function, argument, kernel_size, dims)
    strides, pairs, dilation = windows.sliding(function, dims, strides, padding, kernel_dilation)
    extent = tuple((k - 1) * r + 1 for k, r in zip(size, dilation, strict=True))
    if isinstance(padding, str) or isinstance(pairs, str):
        same = str(padding).upper() == "SAME"
        pairs = tuple(_around(e, s, same) for e, s in zip(extent, strides, strict=True))
    out = tuple(
        (n - 1) * s + 1 + low + high - e + 1
        for n, s, (low, high), e in zip(spatial_shape, strides, pairs, extent, strict=True)
    )
    if min(out) < 1:
        what = f"{padding!r}, which leaves an output of {out}"
        raise ValueError(
            expected(function, "padding", "such that an output voxel remains in each axis", what)
        )
    windows.check_volume(function, "the output", out)
    return Relation(
        in_shape=spatial_shape,
        out_shape=out,
        kernel_size=size,
        in_stride=strides,
        out_stride=(1,) * dims,
        offset=tuple(-low for low, _ in pairs),
        step=dilation,
    )


def _around(extent: int, stride: int, same: bool) -> tuple[int, int]:
    """``lax.conv_transpose``'s padding of the input with ``stride - 1`` zeros between voxels."""
    if same:
        total = extent + stride - 2
        low = extent - 1 if stride > extent - 1 else -(-total // 2)
    else:
        total = extent + stride - 2 + max(extent - stride, 0)
        low = extent - 1
    return low, total - low


def _kernel_size(function: str, argument: str, value: Sequence[int], dims: int) -> tuple[int, ...]:
    size = checks.integers(function, argument, value, dims=dims)
    if math.prod(size) > LARGEST_KERNEL:
        wording = f"of at most {LARGEST_KERNEL} taps"
        raise ValueError(expected(function, argument, wording, size))
    return size
