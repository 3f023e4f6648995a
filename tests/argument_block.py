"""Rows of the table of arguments: `jaxsparse.block`."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse import block
from jaxsparse.block import BlockIndices, Geometry, Tiling
from tests.argument_rows import (
    CAPACITY,
    WINDOWS,
    Defined,
    Late,
    Traced,
    f32,
    i32,
    section,
    type_error,
    value_error,
)

SHAPE, SIZE = (6, 7), 5  # 2 x 3 blocks with tiles of 3 x 3
G = block.geometry(SHAPE, SIZE, kernel_sizes=3)
ROWS = i32([[0, 0, 1], [0, 1, 2], [1, 0, 0]])  # the last one is not in use
IMAGE, KERNEL, TILES = f32(1, *SHAPE, 2), f32(3, 3, 2, 4), f32(3, 3, 3, 2)


def lists(**changes) -> Late:
    """Unchecked: two blocks of an image, capacity 3."""
    fields = {"indices": ROWS, "count": i32(2), "geometry": G} | changes
    return Late(
        lambda: BlockIndices(
            **{k: jax.device_put(v) if isinstance(v, np.ndarray) else v for k, v in fields.items()}
        )
    )


BLOCKS = (
    ("blocks", "an array", ROWS, type_error("blocks must be a block.BlockIndices, got an array of shape (3, 3)")),
    ("blocks", "indices of rank 1", lists(indices=i32([0, 0, 1])), value_error("blocks.indices must be of rank 2")),
    ("blocks", "indices of another number of columns", lists(indices=ROWS[:, :2]), value_error("blocks.indices must be of shape [M, 3]")),
    ("blocks", "capacity 0", lists(indices=ROWS[:0]), value_error("blocks.indices must be of shape [M, 3] with at least one row")),
    ("blocks", "indices of floats", lists(indices=f32(3, 3)), type_error("blocks.indices must be of dtype int32")),
    ("blocks", "a count of rank 1", lists(count=i32([2])), value_error("blocks.count must be of rank 0")),
    ("blocks", "a count that is no array", lists(count=2), type_error("blocks.count must be an array")),
    ("blocks", "no geometry", lists(geometry=None), type_error("blocks.geometry must be a block.Geometry")),
)  # fmt: skip
UNSORTED = lists(indices=i32([[0, 0, 1], [0, 0, 1], [0, 1, 2]]))
ENDS = "the list ends at the first such row"
BATCH_SIZE = (
    ("batch_size", "negative", -1, value_error("batch_size must be at least 0, got -1")),
    ("batch_size", "a float", 1.0, type_error("batch_size must be an integer")),
)
LAYOUT = ("channels_first", "1", 1, type_error("channels_first must be True or False, got 1 (int)"))


SIZES = (
        ("spatial_shape", "an integer", 20, type_error("spatial_shape must be a sequence")),
        ("spatial_shape", "4 dimensions", (6, 7, 1, 1), value_error("spatial_shape must be 1 to 3 integers")),
        ("spatial_shape", "a size of 0", (6, 0), value_error("spatial_shape[1] must be at least 1")),
        ("spatial_shape", "2^31 pixels", (2**16, 2**15), value_error("spatial_shape must be of at most 2147483647 voxels")),
        ("block_size", "0", 0, value_error("block_size must be at least 1, got 0")),
        ("block_size", "of another length", (5, 5, 5), value_error("block_size must be an integer or 2 of them")),
        ("block_size", "a float", 5.0, type_error("block_size must be an integer")),
    )  # fmt: skip

GEOMETRY = section(
    "block.geometry",
    block.geometry,
    {"spatial_shape": SHAPE, "block_size": SIZE, "kernel_sizes": (3,)},
    *SIZES,
    ("block_size", "too small for one output pixel", 2, value_error("block_size must be at least (3, 3) for one output pixel of this chain, got (2, 2)")),
    ("block_size", "larger than the image", 100, Defined("one block", lambda g: g.grid == (1, 1) and g.tile_size == (98, 98))),
    ("kernel_sizes", "an integer", 3, Defined("a chain of one convolution", lambda g: g == G)),
    ("kernel_sizes", "empty", (), value_error("kernel_sizes must be one entry a convolution, got none")),
    ("kernel_sizes", "0", (3, 0), value_error("kernel_sizes[1] must be at least 1, got 0")),
    ("kernel_sizes", "a string", "33", type_error("kernel_sizes[0] must be an integer or 2 of them")),
    ("kernel_sizes", "an entry of another length", ((3, 3, 3),), value_error("kernel_sizes[0] must be an integer or 2 of them")),
    ("kernel_sizes", "larger than the image, padding VALID", {"kernel_sizes": (7,), "padding": "VALID"}, value_error("kernel_sizes[0] must be at most as large as the padded input")),
    ("kernel_sizes", "larger than the image, padding SAME", {"kernel_sizes": (9,), "block_size": 10}, Defined("ordinary: zeros surround the image", lambda g: g.offset == (-4, -4))),
    ("strides", "0", 0, value_error("strides[0] must be at least 1, got 0")),
    ("strides", "of another length than the chain", (1, 1), value_error("strides must be one for all or one entry for each of 1 convolutions")),
    ("strides", "a float", (1.5,), type_error("strides[0] must be an integer")),
    ("strides", "larger than the image", 100, Defined("one output pixel a dimension", lambda g: g.out_shape == (1, 1))),
    ("kernel_dilations", "0", 0, value_error("kernel_dilations[0] must be at least 1, got 0")),
    ("kernel_dilations", "of another length than the chain", (1, 1), value_error("kernel_dilations must be one for all or one entry")),
    ("padding", "an unknown word", "FULL", value_error('padding must be "SAME", "VALID"')),
    ("padding", "None", None, type_error('padding must be "SAME", "VALID", an integer')),
    ("padding", "of another length than the chain", ("SAME", "SAME"), value_error("padding must be one for all or one entry")),
    ("padding", "negative", (((-2, 1), (0, 0)),), Defined("the image is cropped: the first window starts inside", lambda g: g.offset == (2, 0) and g.out_shape == (3, 5))),
)  # fmt: skip

REGULAR = section(
    "block.Geometry.regular",
    Geometry.regular,
    {"spatial_shape": SHAPE, "block_size": SIZE},
    *SIZES,
    ("block_size", "of 2^31 pixels", (2**16, 2**15), value_error("block_size must be of at most 2147483647 pixels")),
    ("stride", "0", 0, value_error("stride must be at least 1, got 0")),
    ("stride", "above the block size", 6, Defined("pixels between the blocks take no part", lambda g: g.grid == (1, 2))),
    ("stride", "a float", 2.5, type_error("stride must be an integer")),
    ("offset", "-2^31", -(2**31), value_error("offset must be at least -2147483647")),
    ("offset", "a float", 0.5, type_error("offset must be an integer")),
    ("offset", "behind the image", 100, Defined("one block, without pixels", lambda g: g.grid == (1, 1))),
    ("grid", "0", 0, value_error("grid must be at least 1, got 0")),
    ("grid", "of 2^31 blocks", (2**16, 2**15), value_error("grid must be of at most 2147483647 blocks")),
    ("grid", "more than reach the image", 9, Defined("legal; such blocks have no pixels", lambda g: g.blocks == 81)),
)  # fmt: skip

LEVEL = Tiling(SHAPE, (5, 5), (3, 3), (-1, -1))
CONSTRUCTOR = section(
    "block.Geometry",
    Geometry,
    {"grid": (2, 3), "levels": (LEVEL,)},
    ("grid", "an integer", 6, type_error("grid must be 1 to 3 integers, got 6")),
    ("grid", "a size of 0", (2, 0), value_error("grid[1] must be at least 1, got 0")),
    ("grid", "of another length than the levels", (2,), value_error("levels[0].spatial_shape must be an integer or 1 of them")),
    ("levels", "none", (), type_error("levels must be a sequence of block.Tiling, got ()")),
    ("levels", "plain tuples", (tuple(LEVEL),), type_error("levels[0] must be a block.Tiling")),
    ("levels", "a size of 0", (LEVEL._replace(size=(5, 0)),), value_error("levels[0].size[1] must be at least 1, got 0")),
    ("levels", "an image of 2^31 pixels", (LEVEL._replace(spatial_shape=(2**16, 2**15)),), value_error("levels[0].spatial_shape must be of at most 2147483647 pixels")),
)  # fmt: skip

BAD_ROWS = (
    ("indices", "outside of the grid", i32([[0, 0, 3], [0, 1, 0], [1, 0, 0]]), value_error("indices must be inside a batch and the grid (2, 3), got [0, 0, 3]")),
    ("indices", "out of order", ROWS[[1, 0, 2]], value_error("indices must be in strictly ascending raster order, got [0, 0, 1] after [0, 1, 2]")),
    ("indices", "a block twice", ROWS[[0, 0, 2]], value_error("indices must be in strictly ascending raster order")),
    ("indices", "unused rows that are not (batch_size, 0, ...)", i32([[0, 0, 1], [0, 1, 2], [1, 0, 1]]), value_error("indices must be (batch_size, 0, ...) in unused rows")),
    ("indices", "of rank 1", i32([0, 0, 1]), value_error("indices must be of rank 2")),
    ("indices", "floats", f32(3, 3), type_error("indices must be of dtype int32")),
    ("count", "less than the rows in use", i32(1), value_error("count must be 2, the number of rows in use")),
    ("count", "more than the rows, all in use", {"indices": ROWS[:2], "count": i32(9)}, Defined("the producer found more than it could keep", lambda b: int(b.overflow) == 7)),
    ("count", "a vector", i32([2]), value_error("count must be of rank 0")),
    ("geometry", "None", None, type_error("geometry must be a block.Geometry")),
)  # fmt: skip
FROM_INDICES = section(
    "block.BlockIndices.from_indices",
    BlockIndices.from_indices,
    {"indices": ROWS, "geometry": G, "batch_size": 1},
    *BAD_ROWS,
    ("indices", "out of order, inside `jit`", Traced(indices=ROWS[[1, 0, 2]]), Defined("not seen; operations end the list at that row", lambda b: int(b.count) == 2)),
    *BATCH_SIZE,
    ("batch_size", "more than the list was made for", 2, Defined("the last row is then a block of the second image", lambda b: int(b.count) == 3)),
)  # fmt: skip


def validate(batch_size=1, **fields):
    return lists(**fields).make().validate(batch_size)


VALIDATE = section(
    "block.BlockIndices.validate",
    validate,
    {},
    *BAD_ROWS,
    ("indices", "unsorted, inside `jit`", Traced(indices=ROWS[[1, 0, 2]]), Defined("not seen", lambda b: int(b.count) == 2)),
    *BATCH_SIZE,
    ("batch_size", "None", None, Defined("what the list says", lambda b: int(b.count) == 2)),
)  # fmt: skip

MASK = f32(1, *SHAPE)
REDUCE_MASK = section(
    "block.reduce_mask",
    block.reduce_mask,
    {"mask": MASK, "geometry": G},
    ("mask", "with channels", f32(1, *SHAPE, 1), value_error("mask must be of shape [batch, 6, 7], as the geometry, without channels")),
    ("mask", "of another spatial shape", f32(1, 7, 6), value_error("mask must be of shape [batch, 6, 7]")),
    ("mask", "integers", i32(np.ones((1, *SHAPE))), type_error("mask must be of dtype bool, float16")),
    ("mask", "not an array", object(), type_error("mask must be an array")),
    ("mask", "an empty batch", MASK[:0], Defined("no block, capacity 1", lambda b: b.capacity == 1 and int(b.count) == 0)),
    ("mask", "all NaN", MASK * np.float32(np.nan), Defined("every block is active", lambda b: int(b.count) == 6)),
    ("mask", "so many images that there are 2^31 blocks", {"mask": np.broadcast_to(f32(1, 1), (2**16, 1)), "geometry": Geometry.regular((1,), 1, grid=2**15)}, value_error("mask must be of at most 2147483647 blocks in all")),
    ("geometry", "an integer", 5, type_error("geometry must be a block.Geometry, got int")),
    ("threshold", "NaN", float("nan"), value_error("threshold must be a number, got nan")),
    ("threshold", "a string", "0.5", type_error("threshold must be a number")),
    ("threshold", "a vector", Late(lambda: jnp.ones(2)), value_error("threshold must be a scalar, got shape (2,)")),
    ("threshold", "-inf", -np.inf, Defined("every block with a pixel above it", lambda b: int(b.count) == 6)),
    ("mode", "an unknown word", "median", value_error("mode must be one of ['max', 'mean']")),
    ("mode", "not a string", 0, type_error("mode must be one of")),
    *CAPACITY,
    ("capacity", "more than there are blocks", 50, Defined("legal; the other rows are not in use", lambda b: b.capacity == 50 and int(b.count) == 6)),
)  # fmt: skip

GATHER = section(
    "block.gather",
    block.gather,
    {"x": IMAGE, "blocks": lists()},
    ("x", "of another spatial shape", f32(1, 7, 6, 2), value_error("x must be of shape [batch, 6, 7, channels], as blocks.geometry")),
    ("x", "without channels", f32(1, 6, 7), value_error("x must be of shape [batch, 6, 7, channels]")),
    ("x", "0 channels", f32(1, 6, 7, 0), value_error("x must be of shape [batch, 6, 7, channels]")),
    ("x", "complex numbers", IMAGE.astype(np.complex64), type_error("x must be of a floating point, integer or bool dtype")),
    ("x", "integers", i32(IMAGE), Defined("gathered as they are", lambda y: y.dtype == jnp.int32 and y.sum() == 2 * (4 * 5 + 4 * 2))),
    ("x", "fewer images than the list was made for", IMAGE[:0], Defined("rows of other images are not in use", lambda y: not y.any())),
    *BLOCKS,
    ("blocks", "rows that are unsorted, repeated or out of range", UNSORTED, Defined(ENDS, lambda y: y[0].any() and not y[1:].any())),
    LAYOUT,
)  # fmt: skip


def onto(name: str) -> list:
    return list(
        section(
            f"block.{name}",
            getattr(block, name),
            {"y": TILES, "blocks": lists(), "base": IMAGE},
            ("y", "of another number of rows", TILES[:2], value_error("y must be of shape (3, 3, 3, 2) ([M, *tile size, channels of base])")),
            ("y", "windows instead of tiles", f32(3, 5, 5, 2), value_error("y must be of shape (3, 3, 3, 2)")),
            ("y", "channels first, not said", f32(3, 2, 3, 3), value_error("y must be of shape (3, 3, 3, 2)")),
            ("y", "another dtype than base", TILES.astype(np.float16), type_error("y must be of the dtype of base, float32")),
            ("y", "not an array", object(), type_error("y must be an array")),
            *BLOCKS,
            ("blocks", "rows that are unsorted, repeated or out of range", UNSORTED, Defined(ENDS, lambda y: y.shape == IMAGE.shape)),
            ("base", "of another spatial shape", f32(1, 7, 6, 2), value_error("base must be of shape [batch, 6, 7, channels], as blocks.geometry")),
            ("base", "other channels than y", f32(1, 6, 7, 3), value_error("y must be of shape (3, 3, 3, 3)")),
            LAYOUT,
        )
    )  # fmt: skip


SCATTER = [
    *onto("scatter"),
    *onto("scatter_add"),
    *section("block.scatter_add", block.scatter_add, {"y": TILES, "blocks": lists(), "base": IMAGE},
        ("base", "integers", i32(IMAGE), type_error("base must be of dtype float16, bfloat16, float32, float64")),
    ),
]  # fmt: skip

CONV = section(
    "block.conv",
    block.conv,
    {"x": IMAGE, "kernel": KERNEL, "blocks": lists()},
    ("x", "of another spatial shape", f32(1, 7, 6, 2), value_error("x must be of shape [batch, 6, 7, channels], as blocks.geometry")),
    ("x", "integers", i32(IMAGE), type_error("x must be of dtype float16, bfloat16, float32, float64")),
    ("kernel", "of rank 3", f32(3, 2, 4), value_error("kernel must be of rank 4")),
    ("kernel", "an empty axis", f32(3, 0, 2, 4), value_error("kernel must be of rank 4, [*window, in, out], and of no empty axis")),
    ("kernel", "other input channels than x", f32(3, 3, 5, 4), value_error("in = 2, the channels of x")),
    ("kernel", "another dtype than x", KERNEL.astype(np.float16), type_error("kernel must be of the dtype of x, float32")),
    ("kernel", "not an array", object(), type_error("kernel must be an array")),
    ("kernel", "larger than the geometry was made for", f32(5, 5, 2, 4), value_error("blocks.geometry must be such that a window holds all")),
    ("kernel", "smaller than the geometry was made for", f32(1, 1, 2, 4), Defined("ordinary: the halo takes no part", lambda y: y.shape == (1, 6, 7, 4))),
    ("bias", "of another length", f32(3), value_error("bias must be of shape (4,) ([out])")),
    ("bias", "another dtype than x", np.ones(4, np.float16), type_error("bias must be of the dtype of x, float32")),
    *BLOCKS,
    ("blocks", "rows that are unsorted, repeated or out of range", UNSORTED, Defined(ENDS, lambda y: int((y != 0).sum()) == 4 * 9)),
    ("base", "of other channels than the kernel's", IMAGE, value_error("base must be of shape (1, 6, 7, 4) ([batch, *output spatial, out])")),
    ("base", "another dtype than x", np.ones((1, 6, 7, 4), np.float16), type_error("base must be of the dtype of x, float32")),
    *WINDOWS,
    ("strides", "other than the geometry's", 2, value_error("blocks.geometry must be of output shape (3, 4), that of this convolution, got (6, 7)")),
    ("padding", "an unknown word", "FULL", value_error('padding must be "SAME", "VALID"')),
    ("padding", "other than the geometry's", "VALID", value_error("blocks.geometry must be of output shape (4, 5)")),
    ("kernel_dilation", "0", 0, value_error("kernel_dilation must be at least 1, got 0")),
    ("kernel_dilation", "other than the geometry's", 2, value_error("blocks.geometry must be such that a window holds all")),
    ("precision", "None", None, Defined("XLA's default, which on a GPU may be TF32", lambda y: y.shape == (1, 6, 7, 4))),
)  # fmt: skip

SPLIT = section(
    "block.split",
    block.split,
    {"blocks": lists(), "parts": 1, "batch_size": 1},
    *BLOCKS,
    ("blocks", "rows that are unsorted, repeated or out of range", UNSORTED, Defined(ENDS, lambda b: b.count.tolist() == [1])),
    ("parts", "0", 0, value_error("parts must be at least 1, got 0")),
    ("parts", "no divisor of the batch", 2, value_error("parts must be a divisor of batch_size, 1, got 2")),
    ("parts", "a float", 1.0, type_error("parts must be an integer")),
    *BATCH_SIZE,
    *CAPACITY,
    ("capacity", "fewer than there are blocks", 1, Defined("the first stay, `count` tells", lambda b: b.count.tolist() == [2] and b.indices.tolist() == [[[0, 0, 1]]])),
)  # fmt: skip

INSIDE = section(
    "block.inside",
    block.inside,
    {"blocks": lists(), "batch_size": 1},
    *BLOCKS,
    ("blocks", "rows that are unsorted, repeated or out of range", UNSORTED, Defined(ENDS, lambda m: m[0].any() and not m[1:].any())),
    ("level", "one that there is not", 2, value_error("level must be one of 2 levels, 0 to 1 or from the end, got 2")),
    ("level", "too far from the end", -3, value_error("level must be at least -2, got -3")),
    ("level", "a string", "tile", type_error("level must be an integer")),
    ("level", "-1", -1, Defined("the tile", lambda m: m.shape == (3, 3, 3))),
    *BATCH_SIZE,
)  # fmt: skip


def layer(blocks, image, kernel):
    return block.conv(image, kernel, blocks=blocks)


def tune(run=layer, mask=MASK, operands=(IMAGE, KERNEL), **arguments):
    return block.tune(run, mask, *operands, **arguments)


TUNE = section(
    "block.tune",
    tune,
    {"kernel_sizes": 3, "block_sizes": (5,), "repeats": 1},
    ("run", "no function", 3, type_error("run must be a function run(blocks, *operands)")),
    ("mask", "traced", Traced(mask=MASK), type_error("mask must be known: tune measures, which jit cannot")),
    ("mask", "integers", i32(np.ones((1, *SHAPE))), type_error("mask must be of dtype bool, float16")),
    ("operands", "that do not fit", (f32(1, 7, 6, 2), KERNEL), value_error("x must be of shape [batch, 6, 7, channels]")),
    ("kernel_sizes", "other than those of `run`", 1, value_error("blocks.geometry must be such that a window holds all")),
    ("kernel_sizes", "0", 0, value_error("kernel_sizes[0] must be at least 1")),
    ("strides", "other than those of `run`", 2, value_error("blocks.geometry must be of output shape (6, 7)")),
    ("kernel_dilations", "0", 0, value_error("kernel_dilations[0] must be at least 1")),
    ("padding", "an unknown word", "FULL", value_error('padding must be "SAME", "VALID"')),
    ("threshold", "NaN", float("nan"), value_error("threshold must be a number, got nan")),
    ("mode", "an unknown word", "median", value_error("mode must be one of ['max', 'mean']")),
    ("block_sizes", "an integer", 5, type_error("block_sizes must be a sequence of block sizes, got 5")),
    ("block_sizes", "empty", (), type_error("block_sizes must be a sequence of block sizes, got ()")),
    ("block_sizes", "an entry of another length", ((5, 5, 5),), value_error("block_sizes[0] must be an integer or 2 of them")),
    ("block_sizes", "all too small", (1, (2, 9)), value_error("block_sizes must be at least (3, 3) in one entry")),
    ("block_sizes", "some too small", (1, 5), Defined("left out", lambda t: list(t.seconds) == [(5, 5)])),
    ("donate_argnums", "an integer", 1, type_error("donate_argnums must be a sequence of integers, got 1")),
    ("donate_argnums", "an operand that does not exist", (2,), value_error("donate_argnums must be below 2, the number of operands")),
    ("donate_argnums", "below 0", (-1,), value_error("donate_argnums[0] must be at least 0")),
    ("repeats", "0", 0, value_error("repeats must be at least 1, got 0")),
)  # fmt: skip

BLOCK = [
    *GEOMETRY, *CONSTRUCTOR, *REGULAR, *FROM_INDICES, *VALIDATE, *REDUCE_MASK, *GATHER, *SCATTER, *CONV,
    *SPLIT, *INSIDE, *TUNE,
]  # fmt: skip
