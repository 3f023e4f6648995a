"""Every argument of every public function, each class of odd value once: what happens.

Here those of `jaxsparse.direct`; `argument_block.py` has those of `jaxsparse.block`, `argument_voxel_conv.py` of `jaxsparse.voxel`, `argument_layers.py` of `jaxsparse.nn`,
`jaxsparse.models`, `xla_kernels`, `argument_optim.py` of `jaxsparse.optim`, `argument_data.py` of `jaxsparse.data`.

The rows are run by `tests/direct/test_errors.py`; `docs/arguments.md` is written from them:

    python -m tests.argument_table > docs/arguments.md
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse

from jaxsparse import direct
from jaxsparse.direct import SparseTensor
from tests.argument_block import BLOCK
from tests.argument_block_layers import BLOCK_LAYERS
from tests.argument_data import DATA
from tests.argument_kit import KIT
from tests.argument_kit_layers import KIT_LAYERS
from tests.argument_layers import LAYERS
from tests.argument_optim import OPTIM
from tests.argument_rows import (
    CAPACITY,
    CONTAINER,
    DENSITY,
    EMPTY,
    EMPTY_BATCH,
    ENDS_EARLY,
    HOLES,
    KERNEL,
    POOLED,
    UNSORTED,
    WINDOWS,
    Defined,
    Late,
    Row,
    Traced,
    container,
    f32,
    i32,
    keeps,
    roomy,
    section,
    type_error,
    value_error,
    x,
)
from tests.argument_voxel_conv import VOXEL_CONV
from tests.argument_voxel_kit import VOXEL_KIT
from tests.argument_voxel_layers import VOXEL_LAYERS
from tests.argument_voxel_points import VOXEL_POINTS

PAGE = """# Arguments: what is refused, and what odd values mean

Written from `tests/argument_table.py` and the other `tests/argument_*.py`, every row of which is a test. Do not edit: run
`python -m tests.argument_table > docs/arguments.md`.

Shapes and dtypes are checked always, inside `jit` at trace time; contents (keys, coordinates, counts) outside `jit` only.
An error names the function, the argument, what came and what was expected; a part of it is quoted here. In every row the
other arguments are good ones: a container of 4 x 5 voxels, 2 channels and capacity 3, a kernel `[3, 3, 2, 4]`. Names without
a module are those of `jaxsparse.direct`; `block`, `voxel`, `nn`, `models`, `optim` and `data` are of `jaxsparse`. In rows of `block` the
good arguments are an image of 6 x 7 pixels and 2 channels and the blocks of a 3 x 3 convolution; in rows of `voxel` two sites of
6 x 7 voxels with 2 channels, capacity 3.
"""

# --- the functions -----------------------------------------------------------------------------------------------


def conv_rows(name: str, run: Callable, *more: tuple) -> Iterator[Row]:
    """What `conv` and `conv_workspace` have in common."""
    return section(
        name,
        run,
        {"x": x(), "kernel": KERNEL},
        *CONTAINER,
        ("kernel", "of rank 3", f32(3, 2, 4), value_error("kernel must be of rank 4")),
        ("kernel", "other input channels than x", f32(3, 3, 5, 4), value_error("in = 2, the channels of x")),
        ("kernel", "an empty axis", f32(3, 0, 2, 4), value_error("kernel must be of no empty axis")),
        ("kernel", "another dtype than x", KERNEL.astype(np.float16), type_error("kernel must be of the dtype of x, float32")),
        ("kernel", "not an array", object(), type_error("kernel must be an array")),
        ("kernel", "larger than the input, padding VALID", {"kernel": f32(5, 5, 2, 4), "padding": "VALID"}, value_error("kernel must be at most as large as the padded input")),
        *CAPACITY,
        *DENSITY,
        *WINDOWS,
        ("kernel_dilation", "a JAX array", Late(lambda: jnp.array([1, 2])), type_error("kernel_dilation must be an integer or 2 of them")),
    ("strides", "2^31", 2**31, value_error("strides must be at most 2147483647")),
    ("padding", "None", None, type_error('padding must be "SAME", "VALID", an integer')),
        ("padding", "an unknown word", "FULL", value_error('padding must be "SAME", "VALID"')),
        ("padding", "pairs for another number of dimensions", ((1, 1),), value_error('padding must be "SAME", "VALID"')),
        ("padding", "a triple", ((1, 1, 1), (1, 1)), value_error('padding must be "SAME", "VALID"')),
        ("padding", "floats", ((0.5, 1), (1, 1)), type_error("padding must be an integer")),
        ("padding", "so negative that nothing is left", ((-2, -1), (0, 0)), value_error("kernel must be at most as large as the padded input")),
        ("padding", "so large that the output has 2^31 voxels", ((2**16, 0), (2**16, 0)), value_error("the output must be of at most 2147483647 voxels")),
        ("kernel_dilation", "0", 0, value_error("kernel_dilation must be at least 1, got 0")),
        ("kernel_dilation", "of another length", (1,), value_error("kernel_dilation must be an integer or 2 of them")),
        ("kernel_dilation", "a float", 2.0, type_error("kernel_dilation must be an integer")),
        *more,
    )  # fmt: skip


CONV = conv_rows(
    "conv",
    direct.conv,
    ("x", "an empty batch", EMPTY_BATCH, Defined("an empty batch", lambda y: y.shape == (0, 4, 5, 4))),
    ("x", "keys that are unsorted, repeated or out of range", UNSORTED, Defined("a list ends at the first such key; nothing is read or written out of bounds", lambda y: y.nnz.max() == 9)),
    ("x", "spatial_shape that the keys exceed", x(spatial_shape=(2, 2)), Defined("a list ends at the first key that is out of range", lambda y: y.nnz.max() == 4)),
    ("kernel", "larger than the input, padding SAME", f32(9, 9, 2, 4), Defined("ordinary: zeros surround the input", lambda y: y.shape == (1, 4, 5, 4))),
    ("x", "shapes and dtypes only (`jax.ShapeDtypeStruct`)", Late(lambda: jax.eval_shape(container)), type_error("x.keys must be an array")),
    ("kernel", "a `jax.ShapeDtypeStruct`", jax.ShapeDtypeStruct(KERNEL.shape, np.float32), type_error("kernel must be an array")),
    ("bias", "of rank 2", f32(1, 4), value_error("bias must be of shape (4,)")),
    ("bias", "of another length", f32(3), value_error("bias must be of shape (4,)")),
    ("bias", "another dtype than x", np.ones(4, np.float16), type_error("bias must be of the dtype of x, float32")),
    ("mask", "of floats", KERNEL, type_error("mask must be of dtype bool")),
    ("mask", "of another shape", np.ones((3, 3, 2, 1), bool), value_error("mask must be of shape (3, 3, 2, 4)")),
    ("mask", "all False", np.zeros(KERNEL.shape, bool), Defined("no entries", lambda y: not y.nnz.any())),
    roomy("the volume"),
    ("density", "above 1", 2.5, Defined("legal: that many times the volume", keeps(50))),
    ("select", "an unknown word", "strongest", value_error("select must be one of ['value', 'magnitude', 'relu']")),
    ("select", "not a string", 0, type_error("select must be one of")),
    ("strides", "2^31 - 1", 2**31 - 1, Defined("one output voxel a dimension", lambda y: y.shape == (1, 1, 1, 4))),
    ("strides", "larger than the input", 100, Defined("one output voxel a dimension", lambda y: y.shape == (1, 1, 1, 4))),
    ("padding", "an integer", 2, Defined("that many voxels on every side", lambda y: y.shape == (1, 6, 7, 4))),
    ("padding", "so that no voxel is left but padding", ((2**31 - 1, 5 - 2**31), (0, 0)), Defined("no entries", lambda y: y.shape == (1, 6, 3, 4) and not y.nnz.any())),
    ("padding", "negative", ((-1, 1), (0, -2)), Defined("the input is cropped", lambda y: y.shape == (1, 2, 1, 4))),
)  # fmt: skip

CONV_WORKSPACE = conv_rows(
    "conv_workspace",
    direct.conv_workspace,
    ("x", "shapes and dtypes only (`jax.ShapeDtypeStruct`)", Late(lambda: jax.eval_shape(container)), Defined("the same bytes: nothing else is read", lambda n: n == direct.conv_workspace(container(), KERNEL))),
    ("kernel", "a `jax.ShapeDtypeStruct`", jax.ShapeDtypeStruct(KERNEL.shape, np.float32), Defined("the same bytes", lambda n: n == direct.conv_workspace(container(), KERNEL))),
)  # fmt: skip

MAX_POOL = section(
    "max_pool",
    direct.max_pool,
    {"x": x(), "window": 2},
    *CONTAINER,
    *POOLED,
    ("window", "larger than the input", 100, Defined("one output voxel: windows are cut at the end", lambda y: y.shape == (1, 1, 1, 2))),
    ("window", "2^31 - 1, as its strides", 2**31 - 1, Defined("one output voxel", lambda y: y.nnz.tolist() == [[1, 1]])),
    ("window", "of more than 2^24 voxels that overlap", {"x": x(spatial_shape=(2**13, 2**13)), "window": 2**13, "strides": 1}, value_error("window must be of at most 16777216 voxels, or strides at least as large")),
    *WINDOWS,
    ("strides", "of a product above 2^20 where windows overlap", {"x": x(spatial_shape=(2**12, 2**12)), "window": 2**11, "strides": (2**11, 2**10)}, value_error("strides must be at least as large as window, or of a product of at most 1048576")),
    HOLES,
    *CAPACITY,
    roomy("the output's volume"),
)  # fmt: skip

RELU = section(
    "relu",
    direct.relu,
    {"x": x()},
    *CONTAINER,
    EMPTY,
    ENDS_EARLY,
)  # fmt: skip


def from_dense(x, **static):
    """Of a specification: what tracing says."""
    if isinstance(x, jax.ShapeDtypeStruct):
        return jax.eval_shape(lambda x: SparseTensor.from_dense(x, **static), x)
    return SparseTensor.from_dense(x, **static)


DENSE = f32(1, 4, 5, 2)
SELECT = (
    ("select", "an unknown word", "strongest", value_error("select must be one of")),
    ("select", "not a string", 0, type_error("select must be one of")),
)
FROM_DENSE = section(
    "SparseTensor.from_dense",
    from_dense,
    {"x": DENSE},
    ("x", "of rank 2", f32(4, 5), value_error("x must be of shape [batch, *spatial, channels]")),
    ("x", "5 spatial dimensions", f32(1, 2, 2, 2, 2, 2, 1), value_error("with 1 to 4 spatial dimensions")),
    ("x", "integers", i32([[[1], [2]]]), type_error("x must be of dtype float16, bfloat16, float32, float64")),
    ("x", "complex numbers", np.ones((1, 4, 1), np.complex64), type_error("x must be of dtype float16")),
    ("x", "no channels", f32(1, 4, 0), value_error("x must be of shape")),
    ("x", "a spatial size of 0", f32(1, 0, 1), value_error("x must be of shape")),
    ("x", "a volume of 2^31 voxels", Late(lambda: jax.ShapeDtypeStruct((1, 2**31, 1), jnp.float32)), value_error("x must be of at most 2147483647 voxels")),
    ("x", "not an array", object(), type_error("x must be an array")),
    ("x", "an empty batch", f32(0, 4, 1), Defined("an empty batch", lambda y: y.keys.shape == (0, 1, 4))),
    ("x", "all zeros", np.zeros((1, 4, 1), np.float32), Defined("no entries", lambda y: not y.nnz.any())),
    *CAPACITY,
    ("capacity", "fewer than there are entries, no `select`", 3, value_error("do not fit into a capacity of 3")),
    ("capacity", "fewer than there are entries, inside `jit`", Traced(capacity=3), Defined("cut by magnitude, counted in `nnz`", lambda y: y.nnz.tolist() == [[20, 20]] and y.capacity == 3)),
    roomy("the volume"),
    *DENSITY,
    *SELECT,
)  # fmt: skip


COORDS = i32([[0, 1, 2], [0, 3, 4], [0, 0, 0]])
FROM_COORDS = section(
    "SparseTensor.from_coords",
    SparseTensor.from_coords,
    {"coords": COORDS, "values": f32(3), "batch_size": 1, "spatial_shape": (4, 5)},
    ("coords", "of rank 1", COORDS[0], value_error("coords must be of shape [N, 3]")),
    ("coords", "of another number of columns", COORDS[:, :2], value_error("coords must be of shape [N, 3]")),
    ("coords", "a ragged list", [[0, 1, 2], [0, 3]], type_error("coords must be an array, got list")),
    ("coords", "floats", COORDS.astype(np.float32), type_error("coords must be of an integer dtype")),
    ("coords", "a voxel out of range", COORDS + i32([0, 0, 1]), value_error("coords must be inside (batch_size, *spatial_shape)")),
    ("coords", "a negative voxel", COORDS - i32([0, 1, 0]), value_error("coords must be inside")),
    ("coords", "a batch element out of range", COORDS + i32([1, 0, 0]), value_error("coords must be inside")),
    ("coords", "a coordinate above 2^31", COORDS.astype(np.int64) + np.array([2**32, 0, 0]), value_error("coords must be inside")),
    ("coords", "out of range, inside `jit`", Traced(coords=COORDS + i32([0, 0, 1])), Defined("such rows are dropped", lambda y: y.nnz.tolist() == [[2]])),
    ("coords", "no rows", {"coords": COORDS[:0], "values": f32(0)}, Defined("no entries, capacity 1", lambda y: y.keys.tolist() == [[[20]]])),
    ("values", "of rank 3", f32(3, 1, 1), value_error("values must be of shape [N] or [N, C]")),
    ("values", "of another length", f32(4), value_error("with N = 3, the rows of coords")),
    ("values", "no channels", f32(3, 0), value_error("values must be of shape [N] or [N, C]")),
    ("values", "integers", i32([1, 2, 3]), type_error("values must be of dtype float16")),
    ("values", "a zero", f32(3) * 0, Defined("an entry all the same", lambda y: y.nnz.tolist() == [[3]])),
    ("batch_size", "0", 0, value_error("batch_size must be at least 1")),
    ("batch_size", "a float", 1.0, type_error("batch_size must be an integer")),
    ("spatial_shape", "an integer", 20, type_error("spatial_shape must be a sequence")),
    ("spatial_shape", "5 dimensions", (2, 2, 2, 2, 2), value_error("spatial_shape must be 1 to 4 integers")),
    ("spatial_shape", "a size of 0", (4, 0), value_error("spatial_shape[1] must be at least 1")),
    ("spatial_shape", "a volume of 2^31 voxels", (2**16, 2**15), value_error("spatial_shape must be of at most 2147483647 voxels")),
    *CAPACITY,
    ("capacity", "fewer than there are entries, no `select`", 2, value_error("do not fit into a capacity of 2")),
    *DENSITY,
    *SELECT,
    ("duplicates", "an unknown word", "mean", value_error("duplicates must be one of")),
    ("duplicates", "a voxel twice, `\"error\"`", {"coords": COORDS[[0, 1, 0]]}, value_error("coords must be free of duplicates")),
    ("duplicates", "a voxel twice, `\"error\"`, inside `jit`", Traced(coords=COORDS[[0, 1, 0]]), Defined("added up, as `\"sum\"`", lambda y: y.values.tolist() == [[[2, 1, 0]]])),
    ("count", "a float", 2.0, type_error("count must be an integer scalar")),
    ("count", "a vector", i32([2]), type_error("count must be an integer scalar")),
    ("count", "0 or negative", -1, Defined("every row is padding", lambda y: not y.nnz.any())),
    ("count", "more than the rows", 99, Defined("every row counts", lambda y: y.nnz.tolist() == [[3]])),
)  # fmt: skip


def bcoo(indices, values=None, shape=(1, 4, 5, 2)) -> Late:
    values = f32(len(indices)) if values is None else values
    return Late(lambda: sparse.BCOO((jnp.asarray(values), jnp.asarray(i32(indices))), shape=shape))


INDICES = [[0, 1, 2, 0], [0, 3, 4, 1]]
FROM_BCOO = section(
    "SparseTensor.from_bcoo",
    SparseTensor.from_bcoo,
    {"x": bcoo(INDICES)},
    ("x", "a dense array", DENSE, type_error("x must be a jax.experimental.sparse.BCOO")),
    ("x", "of rank 2", bcoo([[0, 1]], shape=(1, 2)), value_error("x must be of shape [batch, *spatial, channels]")),
    ("x", "integers", bcoo(INDICES, i32([1, 2])), type_error("x.data must be of dtype float16")),
    ("x", "a volume of 2^31 voxels", bcoo(INDICES, shape=(1, 2**16, 2**15, 2)), value_error("x must be of at most 2147483647 voxels")),
    ("x", "indices out of bounds", bcoo([[0, 1, 2, 0], [0, 4, 5, 1]]), Defined("padding, as BCOO has it: dropped", lambda y: y.nnz.tolist() == [[1, 0]])),
    *CAPACITY,
    ("capacity", "fewer than there are entries, no `select`", {"x": bcoo([*INDICES, [0, 0, 0, 1]]), "capacity": 1}, value_error("do not fit into a capacity of 1")),
    *DENSITY,
    *SELECT,
    ("duplicates", "an unknown word", "mean", value_error("duplicates must be one of")),
    ("duplicates", "an element twice, `\"error\"`", {"x": bcoo([INDICES[0]] * 2)}, value_error("x must be free of duplicates")),
)  # fmt: skip

KEYS = i32([[[3, 7, 11], [0, 20, 20]]])
BAD_KEYS = (
    ("keys", "unsorted", i32([[[7, 3, 11], [0, 20, 20]]]), value_error("keys must be strictly ascending, got 3 after 7")),
    ("keys", "a key twice", i32([[[3, 3, 11], [0, 20, 20]]]), value_error("keys must be free of duplicates, got 3 after 3")),
    ("keys", "a key above the volume", i32([[[3, 7, 21], [0, 20, 20]]]), value_error("keys must be in [0, 20)")),
    ("keys", "a negative key", i32([[[-3, 7, 11], [0, 20, 20]]]), value_error("keys must be in [0, 20)")),
    ("keys", "an entry behind an unused slot", i32([[[3, 7, 11], [20, 0, 20]]]), value_error("keys must be without entries behind unused slots")),
    ("keys", "of rank 2", i32([[3, 7]]), value_error("keys must be of rank 3")),
    ("keys", "a float in a list", {"keys": [[[0.5, 1.5, 2.5]] * 2]}, type_error("keys must be ")),
    ("keys", "a ragged list", {"keys": [[[1, 2], [3]]]}, type_error("keys must be an array, got list")),
    ("keys", "of dtype uint32", KEYS.astype(np.uint32), type_error("keys must be of dtype int32")),
    ("keys", "capacity 0", {"keys": KEYS[..., :0], "values": f32(1, 2, 0)}, value_error("at least one channel and one slot")),
    ("values", "of another shape than keys", f32(1, 2, 4), value_error("values must be of shape (1, 2, 3)")),
    ("values", "integers", KEYS, type_error("values must be of dtype float16")),
    ("nnz", "fewer than the keys", i32([[2, 1]]), value_error("nnz must be 3, the number of keys")),
    ("nnz", "more than the keys where slots are free", i32([[3, 2]]), value_error("nnz must be 1, the number of keys")),
    ("nnz", "negative", i32([[-1, 1]]), value_error("nnz must be 3")),
    ("nnz", "more than the capacity, all slots used", i32([[9, 1]]), Defined("the producer found more than it could keep", lambda y: y.overflow.tolist() == [[6, 0]])),
    ("nnz", "of another shape", i32([[3, 1, 0]]), value_error("nnz must be of shape (1, 2)")),
    ("nnz", "floats", f32(1, 2), type_error("nnz must be of dtype int32")),
    ("spatial_shape", "5 dimensions", (2, 2, 2, 2, 2), value_error("spatial_shape must be 1 to 4 integers")),
    ("spatial_shape", "a volume of 2^31 voxels", (2**16, 2**15), value_error("spatial_shape must be of at most 2147483647 voxels")),
    ("spatial_shape", "that the keys exceed", (2, 5), value_error("keys must be in [0, 10)")),
)  # fmt: skip
FROM_ENTRIES = section(
    "SparseTensor.from_entries",
    SparseTensor.from_entries,
    {"keys": KEYS, "values": f32(1, 2, 3), "spatial_shape": (4, 5)},
    *BAD_KEYS,
    ("keys", "unsorted, inside `jit`", Traced(keys=KEYS[..., ::-1]), Defined("not seen; operations end the list at that key", lambda y: y.to_dense().sum() == 1)),
    ("values", "not 0 in unused slots", f32(1, 2, 3), Defined("set to 0", lambda y: y.values.tolist() == [[[1, 1, 1], [1, 0, 0]]])),
    ("spatial_shape", "an integer", 20, type_error("spatial_shape must be a sequence")),
)  # fmt: skip


def validate(**fields):
    return container(**fields).validate()


VALIDATE = section("SparseTensor.validate", validate, {}, *BAD_KEYS)


def method(name: str):
    def run(x):
        return getattr(SparseTensor, name)(x)

    return run


BAD_SELF = tuple(
    ("self", given, {"x": value}, outcome) for _, given, value, outcome in CONTAINER[1:]
)
TO_DENSE = section("SparseTensor.to_dense", method("to_dense"), {}, *BAD_SELF)
TO_BCOO = section("SparseTensor.to_bcoo", method("to_bcoo"), {}, *BAD_SELF)

TABLE: list[Row] = [
    *CONV, *CONV_WORKSPACE, *MAX_POOL, *RELU, *KIT, *FROM_DENSE, *FROM_COORDS, *FROM_BCOO, *FROM_ENTRIES, *VALIDATE, *TO_DENSE,
    *TO_BCOO, *LAYERS, *KIT_LAYERS, *OPTIM, *BLOCK, *BLOCK_LAYERS, *VOXEL_CONV, *VOXEL_POINTS, *VOXEL_KIT, *VOXEL_LAYERS, *DATA,
]  # fmt: skip


def page() -> str:
    """The table as Markdown."""
    lines, last = [PAGE.rstrip()], None
    for row in TABLE:
        if row.function != last:
            lines += ["", f"## `{row.function}`", ""]
            lines += ["| argument | given | what happens |", "|---|---|---|"]
            last = row.function
        lines.append(f"| `{row.argument}` | {row.given} | {row.outcome} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
