"""Windows that slide over a volume: kernel, strides, padding, dilation, output shape, as XLA defines them."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxsparse._core.checks import LARGEST, expected, integer, integers, is_sequence

Padding = str | int | Sequence[int | tuple[int, int]]

MAX_DIMS = 4


class Convolution(NamedTuple):
    """The geometry of a convolution; a tuple for each field, one item (or pair) a spatial dimension."""

    spatial_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    kernel_shape: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    @property
    def volume(self) -> int:
        """Voxels of the input."""
        return math.prod(self.spatial_shape)

    @property
    def out_volume(self) -> int:
        """Voxels of the output."""
        return math.prod(self.out_shape)

    @property
    def reach(self) -> int:
        """How many outputs one input can reach at most."""
        return math.prod(-(-k // s) for k, s in zip(self.kernel_shape, self.strides, strict=True))


class Pooling(NamedTuple):
    """The geometry of a pooling: windows start at multiples of the stride and are cut at the end.

    Neither window nor stride is larger than the input.
    """

    spatial_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def out_volume(self) -> int:
        """Voxels of the output."""
        return math.prod(self.out_shape)


def check_volume(function: str, argument: str, spatial_shape: Sequence[int]) -> int:
    """The number of voxels; int32 keys must be able to count them."""
    volume = math.prod(spatial_shape)
    if volume > LARGEST:
        what = f"{tuple(spatial_shape)} with {volume}"
        raise ValueError(expected(function, argument, f"of at most {LARGEST} voxels", what))
    return volume


def dense_spatial_shape(function: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The spatial sizes of a dense array ``x`` of this shape."""
    if not 3 <= len(shape) <= MAX_DIMS + 2 or 0 in shape[1:]:
        wording = f"of shape [batch, *spatial, channels] with 1 to {MAX_DIMS} spatial dimensions"
        raise ValueError(expected(function, "x", wording, f"shape {tuple(shape)}"))
    return tuple(shape[1:-1])


def spatial_shape(function: str, value: Any) -> tuple[int, ...]:
    """A sequence of 1 to 4 positive integers with a volume below 2^31."""
    if not is_sequence(value) or isinstance(value, (str, bytes)):
        wording = f"a sequence of 1 to {MAX_DIMS} integers"
        raise TypeError(expected(function, "spatial_shape", wording, repr(value)))
    if not 1 <= len(value) <= MAX_DIMS:
        wording = f"1 to {MAX_DIMS} integers"
        raise ValueError(expected(function, "spatial_shape", wording, tuple(value)))
    sizes = integers(function, "spatial_shape", value, dims=len(value))
    check_volume(function, "spatial_shape", sizes)
    return sizes


def convolution(
    function: str,
    spatial_shape: tuple[int, ...],
    kernel_shape: tuple[int, ...],
    strides: Any,
    padding: Any,
    kernel_dilation: Any,
    *,
    argument: str = "kernel",
) -> Convolution:
    """The geometry of ``lax.conv_general_dilated`` with these arguments; ``argument`` is the caller's name of ``kernel``.

    Raises:
      ValueError, TypeError: an argument is no good; the window does not fit; the output has too many voxels.
    """
    dims = len(spatial_shape)
    strides, padding, dilation = sliding(function, dims, strides, padding, kernel_dilation)
    extent = tuple((k - 1) * r + 1 for k, r in zip(kernel_shape, dilation, strict=True))
    if padding == "SAME":
        out = tuple(-(-n // s) for n, s in zip(spatial_shape, strides, strict=True))
        pairs = tuple(
            _same(n, o, s, e)
            for n, o, s, e in zip(spatial_shape, out, strides, extent, strict=True)
        )
    else:
        pairs = padding
        room = tuple(n + lo + hi for n, (lo, hi) in zip(spatial_shape, pairs, strict=True))
        if any(e > n for e, n in zip(extent, room, strict=True)):
            wording = f"at most as large as the padded input, {room}"
            what = f"{kernel_shape}, which spans {extent} with kernel_dilation {dilation}"
            raise ValueError(expected(function, argument, wording, what))
        out = tuple((n - e) // s + 1 for n, e, s in zip(room, extent, strides, strict=True))
    check_volume(function, "the output", out)
    return Convolution(spatial_shape, out, kernel_shape, strides, pairs, dilation)


Pairs = tuple[tuple[int, int], ...]


def sliding(
    function: str, dims: int, strides: Any, padding: Any, kernel_dilation: Any
) -> tuple[tuple[int, ...], Literal["SAME"] | Pairs, tuple[int, ...]]:
    """Strides, padding (``"SAME"`` or pairs) and dilation of a convolution, checked without its input."""
    strides = integers(function, "strides", strides, dims=dims)
    dilation = integers(function, "kernel_dilation", kernel_dilation, dims=dims)
    if isinstance(padding, str) and padding.upper() == "SAME":
        return strides, "SAME", dilation
    return strides, _explicit(function, padding, dims), dilation


# What the tables of the kernels for overlapping windows hold: all voxels of a window; all places in a stride.
LARGEST_WINDOW = 2**24
LARGEST_STEP = 2**20


def pooling(
    function: str,
    spatial_shape: tuple[int, ...],
    window: Any,
    strides: Any,
    *,
    argument: str = "window",
    listed: bool = False,
) -> Pooling:
    """The geometry of a pooling; ``strides`` None: the window. ``argument`` is the caller's name of ``window``.

    ``listed``: the kernels list the voxels of a window even where windows do not overlap.

    Raises:
      ValueError, TypeError: an argument is no good; windows overlap or are listed and are too large for that.
    """
    dims = len(spatial_shape)
    window = integers(function, argument, window, dims=dims)
    strides = window if strides is None else integers(function, "strides", strides, dims=dims)
    # A window is cut at the end of the input, and a stride behind the end leads nowhere.
    window = tuple(min(w, n) for w, n in zip(window, spatial_shape, strict=True))
    strides = tuple(min(s, n) for s, n in zip(strides, spatial_shape, strict=True))
    if any(w > s for w, s in zip(window, strides, strict=True)):
        _check_overlap(function, argument, window, strides)
    elif listed and math.prod(window) > LARGEST_STEP:
        wording = f"of at most {LARGEST_STEP} voxels"
        raise ValueError(expected(function, argument, wording, window))
    out = tuple(-(-n // s) for n, s in zip(spatial_shape, strides, strict=True))
    return Pooling(spatial_shape, out, window, strides)


def unpooling(
    function: str,
    fine: tuple[int, ...],
    coarse: tuple[int, ...],
    strides: Any,
    *,
    listed: bool = False,
) -> Pooling:
    """The pooling, its windows as large as its strides, that leads from the shape ``fine`` to ``coarse``, that of ``x``.

    ``strides`` None: the smallest that do.

    Raises:
      ValueError, TypeError: an argument is no good; the strides do not lead there.
    """
    if strides is None:
        strides = tuple(-(-n // m) for n, m in zip(fine, coarse, strict=True))
    geometry = pooling(function, fine, strides, None, argument="strides", listed=listed)
    if geometry.out_shape != coarse:
        wording = f"of spatial shape ceil({fine} / {geometry.strides}) = {geometry.out_shape}"
        raise ValueError(expected(function, "x", wording, coarse))
    return geometry


def _check_overlap(function, argument, window, strides) -> None:
    what = f"{window} with strides {strides}"
    if math.prod(window) > LARGEST_WINDOW:
        wording = f"of at most {LARGEST_WINDOW} voxels, or strides at least as large as {argument}"
        raise ValueError(expected(function, argument, wording, what))
    if math.prod(min(w, s) for w, s in zip(window, strides, strict=True)) > LARGEST_STEP:
        wording = f"at least as large as {argument}, or of a product of at most {LARGEST_STEP}"
        raise ValueError(expected(function, "strides", wording, what))


def _same(size: int, out: int, stride: int, extent: int) -> tuple[int, int]:
    total = max((out - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def _explicit(function: str, padding: Any, dims: int) -> Pairs:
    wording = f'"SAME", "VALID", an integer, or {dims} integers or (low, high) pairs'
    if isinstance(padding, str):
        if padding.upper() != "VALID":
            raise ValueError(expected(function, "padding", wording, repr(padding)))
        return ((0, 0),) * dims
    if isinstance(padding, np.ndarray):
        padding = padding.tolist()
    if not is_sequence(padding):
        side = integer(function, "padding", padding, minimum=-LARGEST, wording=wording)
        return ((side, side),) * dims
    if len(padding) != dims:
        raise ValueError(expected(function, "padding", wording, tuple(padding)))

    def pair(item) -> tuple[int, int]:
        if not is_sequence(item):
            side = integer(function, "padding", item, minimum=-LARGEST)
            return side, side
        if isinstance(item, str) or len(item) != 2:
            raise ValueError(expected(function, "padding", wording, padding))
        low, high = (integer(function, "padding", side, minimum=-LARGEST) for side in item)
        return low, high

    return tuple(pair(item) for item in padding)
