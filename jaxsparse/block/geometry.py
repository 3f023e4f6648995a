"""The grid of blocks: which pixels a block reads, and which it writes."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxsparse._core import checks, windows
from jaxsparse._core.checks import LARGEST, expected
from jaxsparse._core.windows import Padding

MAX_DIMS = 3


class Tiling(NamedTuple):
    """Boxes of one size at regular places of an image: box ``i`` covers ``[offset + i * stride, + size)``.

    A tuple for each field, one number a spatial dimension. Boxes may overlap, leave holes and lie outside in part.

    Attributes:
      spatial_shape: sizes of the image.
      size: pixels of a box.
      stride: from one box to the next.
      offset: where box 0 starts; may be negative.
    """

    spatial_shape: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Geometry:
    """A grid of blocks over images of one size, for a chain of convolutions; static and hashable.

    A block has a *window*, what is gathered, halo included, and a *tile*, what is scattered: the part that all its
    convolutions reach. Between them it has a box at the input of each further convolution. Make one with
    :func:`geometry` or :meth:`regular`.

    Attributes:
      grid: blocks along each spatial dimension.
      levels: boxes of the blocks at the input of each convolution of the chain, and last at its output.

    Raises:
      ValueError, TypeError: levels or numbers that do not fit; an image or a block of more than 2^31 - 1 pixels; more
        than 2^31 - 1 blocks.

    Example::

      >>> from jaxsparse import block

      >>> g = block.geometry((20, 30), 8, kernel_sizes=(3, 3))
      >>> g.block_size, g.stride, g.offset, g.grid
      ((8, 8), (4, 4), (-2, -2), (5, 8))
      >>> g.tile.size, g.tile.stride, g.tile.offset, g.out_shape
      ((4, 4), (4, 4), (0, 0), (20, 30))
    """

    grid: tuple[int, ...]
    levels: tuple[Tiling, ...]

    def __post_init__(self):
        grid, levels = self.grid, self.levels
        if not checks.is_sequence(grid) or not 1 <= len(grid) <= MAX_DIMS:
            wording = f"1 to {MAX_DIMS} integers"
            raise TypeError(expected("Geometry", "grid", wording, repr(grid)))
        dims = len(grid)
        grid = checks.integers("Geometry", "grid", grid, dims=dims)
        _check_product("Geometry", "grid", "blocks", grid)
        if not checks.is_sequence(levels) or not levels:
            what = repr(levels)
            raise TypeError(expected("Geometry", "levels", "a sequence of block.Tiling", what))
        object.__setattr__(self, "grid", grid)
        checked = tuple(_tiling(f"levels[{i}]", level, dims) for i, level in enumerate(levels))
        object.__setattr__(self, "levels", checked)

    @classmethod
    def regular(
        cls,
        spatial_shape: Sequence[int],
        block_size: int | Sequence[int],
        *,
        stride: int | Sequence[int] | None = None,
        offset: int | Sequence[int] = 0,
        grid: int | Sequence[int] | None = None,
    ) -> "Geometry":
        """Blocks at free places, windows and tiles the same: for gathering and scattering without a convolution.

        Args:
          spatial_shape: sizes of the 1 to 3 spatial dimensions.
          block_size: pixels of a block, an integer or one a dimension.
          stride: from one block to the next; None: the block size. Below it blocks overlap, above it they leave holes.
          offset: where the first block starts; may be negative.
          grid: blocks along each dimension; None: as many as start inside the image, but no more than it takes to
            reach its end.

        Raises:
          ValueError, TypeError: bad sizes; see the class.

        >>> from jaxsparse import block
        >>> block.Geometry.regular((10, 10), 4, stride=3, offset=(-1, 2)).grid
        (4, 3)
        """
        shape = _spatial_shape("regular", spatial_shape)
        dims = len(shape)
        size = _block_size("regular", block_size, dims)
        steps = size if stride is None else checks.integers("regular", "stride", stride, dims=dims)
        start = checks.integers("regular", "offset", offset, dims=dims, minimum=-LARGEST)
        if grid is None:
            counts = tuple(
                max(1, min(-(-(n - o) // s), -(-(n - o - k) // s) + 1))
                for n, k, s, o in zip(shape, size, steps, start, strict=True)
            )
        else:
            counts = checks.integers("regular", "grid", grid, dims=dims)
            _check_product("regular", "grid", "blocks", counts)
        return cls(counts, (Tiling(shape, size, steps, start),))

    @property
    def window(self) -> Tiling:
        """What is gathered."""
        return self.levels[0]

    @property
    def tile(self) -> Tiling:
        """What is scattered."""
        return self.levels[-1]

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Sizes of the input."""
        return self.window.spatial_shape

    @property
    def block_size(self) -> tuple[int, ...]:
        """Pixels of a window."""
        return self.window.size

    @property
    def stride(self) -> tuple[int, ...]:
        """From one window to the next."""
        return self.window.stride

    @property
    def offset(self) -> tuple[int, ...]:
        """Where the first window starts; may be negative."""
        return self.window.offset

    @property
    def tile_size(self) -> tuple[int, ...]:
        """Pixels of a tile."""
        return self.tile.size

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Sizes of the output of the chain."""
        return self.tile.spatial_shape

    @property
    def dims(self) -> int:
        """Spatial dimensions."""
        return len(self.grid)

    @property
    def blocks(self) -> int:
        """Blocks of one image."""
        return math.prod(self.grid)


def geometry(
    spatial_shape: Sequence[int],
    block_size: int | Sequence[int],
    *,
    kernel_sizes: int | Sequence[Any],
    strides: int | Sequence[Any] = 1,
    kernel_dilations: int | Sequence[Any] = 1,
    padding: Padding | Sequence[Padding] = "SAME",
) -> Geometry:
    """The grid of blocks for a chain of convolutions.

    Tiles lie side by side from the first output pixel on; the last ones may reach beyond the end. A window is what a tile
    depends on: it starts before the image by the padding, and neighbours overlap by the halo. Where strides leave pixels
    at the end of a window unused, they are gathered for nothing.

    Args:
      spatial_shape: sizes of the 1 to 3 spatial dimensions of the input.
      block_size: pixels of a window, an integer or one a spatial dimension.
      kernel_sizes: one entry a convolution, an integer or one a spatial dimension; a single integer: one convolution.
      strides: an integer for all, or one entry a convolution (an integer or one a spatial dimension).
      kernel_dilations: as ``strides``.
      padding: ``"SAME"`` (XLA's, which depends on the size of the image), ``"VALID"`` or an integer for all, or one
        entry a convolution, each as the ``padding`` of ``lax.conv_general_dilated``.

    Returns:
      :class:`Geometry`.

    Raises:
      ValueError: sizes out of range, chains of several lengths, a window larger than a padded input, a block that is
        too small for a single output pixel (the error says the least size).
      TypeError: what should be integers is not.

    Source: SBNet's block parameters (Ren et al., 2018), with strides, dilation and further dimensions.

    Example::

      >>> from jaxsparse import block

      >>> block.geometry((400, 704), (16, 24), kernel_sizes=(1, 3, 1)).tile_size
      (14, 22)
      >>> block.geometry((9,), 4, kernel_sizes=(3, 3))
      Traceback (most recent call last):
          ...
      ValueError: geometry: block_size must be at least (5,) for one output pixel of this chain, got (4,)
    """
    shape = _spatial_shape("geometry", spatial_shape)
    dims = len(shape)
    size = _block_size("geometry", block_size, dims)
    chain = _chain(shape, kernel_sizes, strides, kernel_dilations, padding)
    sizes = [size]
    for conv in chain:
        sizes.append(
            tuple(
                (n - extent) // s + 1
                for n, extent, s in zip(sizes[-1], _extent(conv), conv.strides, strict=True)
            )
        )
    if min(map(min, sizes)) < 1:
        wording = f"at least {_least(chain, dims)} for one output pixel of this chain"
        raise ValueError(expected("geometry", "block_size", wording, size))
    tile, out = sizes[-1], chain[-1].out_shape
    levels = [Tiling(out, tile, tile, (0,) * dims)]
    for conv, box in zip(reversed(chain), reversed(sizes[:-1]), strict=True):
        after = levels[0]
        stride = tuple(a * s for a, s in zip(after.stride, conv.strides, strict=True))
        offset = tuple(
            a * s - low
            for a, s, (low, _) in zip(after.offset, conv.strides, conv.padding, strict=True)
        )
        levels.insert(0, Tiling(conv.spatial_shape, box, stride, offset))
    grid = tuple(-(-n // t) for n, t in zip(out, tile, strict=True))
    return Geometry(grid, tuple(levels))


def least_block_size(
    spatial_shape: Sequence[int], *, kernel_sizes: Any, strides: Any, kernel_dilations: Any,
    padding: Any,
) -> tuple[int, ...]:  # fmt: skip
    """The smallest block size that :func:`geometry` takes with these arguments."""
    shape = _spatial_shape("geometry", spatial_shape)
    return _least(_chain(shape, kernel_sizes, strides, kernel_dilations, padding), len(shape))


def _chain(shape, kernel_sizes, strides, dilations, padding) -> list[windows.Convolution]:
    """The convolutions one after the other, each with the size of its own input."""
    if not checks.is_sequence(kernel_sizes) or isinstance(kernel_sizes, (str, bytes)):
        kernel_sizes = (kernel_sizes,)
    length, dims = len(kernel_sizes), len(shape)
    if length == 0:
        raise ValueError(expected("geometry", "kernel_sizes", "one entry a convolution", "none"))

    def entries(argument, value):
        if not checks.is_sequence(value) or isinstance(value, (str, bytes)):
            return (value,) * length
        if len(value) != length:
            wording = f"one for all or one entry for each of {length} convolutions"
            raise ValueError(expected("geometry", argument, wording, tuple(value)))
        return value

    chain = []
    each = zip(
        kernel_sizes,
        entries("strides", strides),
        entries("kernel_dilations", dilations),
        entries("padding", padding),
        strict=True,
    )
    for i, (kernel, stride, dilation, pad) in enumerate(each):
        arguments = {"kernel_sizes": kernel, "strides": stride, "kernel_dilations": dilation}
        kernel, stride, dilation = (
            checks.integers("geometry", f"{name}[{i}]", value, dims=dims)
            for name, value in arguments.items()
        )
        name = f"kernel_sizes[{i}]"
        conv = windows.convolution("geometry", shape, kernel, stride, pad, dilation, argument=name)
        chain.append(conv)
        shape = chain[-1].out_shape
    return chain


def _extent(conv: windows.Convolution) -> tuple[int, ...]:
    return tuple((k - 1) * r + 1 for k, r in zip(conv.kernel_shape, conv.dilation, strict=True))


def _least(chain: Sequence[windows.Convolution], dims: int) -> tuple[int, ...]:
    """Input pixels that one output pixel depends on."""
    least = (1,) * dims
    for conv in reversed(chain):
        terms = zip(least, conv.strides, _extent(conv), strict=True)
        least = tuple((n - 1) * s + extent for n, s, extent in terms)
    return least


def _spatial_shape(function: str, value: Any) -> tuple[int, ...]:
    shape = windows.spatial_shape(function, value)
    if len(shape) > MAX_DIMS:
        wording = f"1 to {MAX_DIMS} integers"
        raise ValueError(expected(function, "spatial_shape", wording, shape))
    return shape


def _block_size(function: str, value: Any, dims: int) -> tuple[int, ...]:
    size = checks.integers(function, "block_size", value, dims=dims)
    _check_product(function, "block_size", "pixels", size)
    return size


def _tiling(argument: str, value: Any, dims: int) -> Tiling:
    if not isinstance(value, Tiling):
        raise TypeError(expected("Geometry", argument, "a block.Tiling", repr(value)))
    fields = {
        name: checks.integers(
            "Geometry",
            f"{argument}.{name}",
            tuple(given) if checks.is_sequence(given) else given,
            dims=dims,
            minimum=-LARGEST if name == "offset" else 1,
        )
        for name, given in value._asdict().items()
    }
    _check_product("Geometry", f"{argument}.spatial_shape", "pixels", fields["spatial_shape"])
    _check_product("Geometry", f"{argument}.size", "pixels", fields["size"])
    return Tiling(**fields)


def _check_product(function: str, argument: str, what: str, sizes: tuple[int, ...]) -> None:
    if math.prod(sizes) > LARGEST:
        found = f"{sizes} with {math.prod(sizes)}"
        raise ValueError(expected(function, argument, f"of at most {LARGEST} {what}", found))
