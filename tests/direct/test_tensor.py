"""The container: what it holds, what it derives, how it is built from points, BCOO and its own arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import sparse

from jaxsparse.direct import SparseTensor
from tests import oracle
from tests.direct.common import (
    BF16,
    DTYPES,
    F16,
    F32,
    F64,
    assert_equal,
    assert_same,
    entries,
    plain,
    precision,
    random_input,
    tensor,
)
from tests.direct.grid import parameters
from tests.pairwise import pairwise


@pytest.fixture
def x():
    """Two batch elements, two channels; the last list found five entries and kept three."""
    found = entries((3, 4), [[[0, 5], []], [[11], [2, 3, 7]]])
    found.nnz[1, 1] = 5
    return found


# --- what it is --------------------------------------------------------------------------------------------------


def test_derived_quantities(x):
    t = tensor(x)
    assert (t.shape, t.dtype, t.channels, t.capacity, t.volume) == ((2, 3, 4, 2), F32, 2, 3, 12)
    np.testing.assert_array_equal(t.stored, [[2, 0], [1, 3]])
    np.testing.assert_array_equal(t.overflow, [[0, 0], [0, 2]])
    np.testing.assert_allclose(t.density, np.array([[2, 0], [1, 5]]) / 12)
    assert t.coords().dtype == np.int32
    np.testing.assert_array_equal(t.coords()[0, 0], [[0, 0], [1, 1], [3, 0]])
    np.testing.assert_array_equal(t.coords()[1, 1], [[0, 2], [0, 3], [1, 3]])


@pytest.mark.parametrize("dtype, entry", [(F32, 8), (F64, 12), (BF16, 6), (F16, 6)], ids=str)
def test_storage_is_one_key_and_one_value_an_entry(dtype, entry):
    with precision(dtype):
        t = SparseTensor.from_dense(jnp.zeros((5, 10, 10, 3), dtype), capacity=7)
        assert t.nbytes == 5 * 3 * (7 * entry + 4)
        assert t.nbytes == sum(a.nbytes for a in jax.tree.leaves(t))


def test_it_is_a_pytree_with_a_static_shape(x):
    t = tensor(x)
    leaves, tree = jax.tree.flatten(t)
    assert [leaf.shape for leaf in leaves] == [(2, 2, 3), (2, 2, 3), (2, 2)]
    assert_same(jax.tree.unflatten(tree, leaves), x)
    assert_same(jax.jit(lambda t: t)(t), x)
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(t)]
    assert names == [".keys", ".values", ".nnz"]
    assert tree != jax.tree.structure(t.replace(spatial_shape=(4, 3)))
    # JAX builds containers of anything: specifications, None, objects
    assert jax.tree.map(lambda _: None, t).spatial_shape == (3, 4)
    assert jax.eval_shape(lambda t: t, t).keys.shape == (2, 2, 3)
    assert "spatial_shape=(3, 4)" in repr(t)
    assert "spatial_shape=(3, 4)" in repr(jax.tree.map(lambda _: object(), t))


def test_it_is_frozen_and_replace_copies(x):
    t = tensor(x)
    with pytest.raises(AttributeError):
        t.values = t.values + 1
    doubled = t.replace(values=2 * t.values)
    assert_same(doubled, x._replace(values=2 * x.values))
    assert_same(t, x)


def test_only_values_carry_gradients(x):
    t = tensor(x)
    g = jax.grad(lambda v: (t.replace(values=v).to_dense() ** 2).sum())(t.values)
    np.testing.assert_array_equal(g, 2 * x.values)


def test_it_travels_through_scan_vmap_and_cond(x):
    t = tensor(x)
    stacked = jax.tree.map(lambda a: jnp.stack([a, a]), t)
    assert jax.vmap(SparseTensor.to_dense)(stacked).shape == (2, 2, 3, 4, 2)
    last, _ = jax.lax.scan(lambda c, _: (c.replace(values=c.values * 2), None), t, length=3)
    assert_same(last, x._replace(values=8 * x.values))
    chosen = jax.lax.cond(True, lambda t: t, lambda t: t.replace(values=-t.values), t)
    assert_same(chosen, x)


# --- its own arrays ----------------------------------------------------------------------------------------------


def test_from_entries_takes_sound_arrays_and_empties_unused_slots(x):
    x.values[0, 1] = 7
    t = SparseTensor.from_entries(x.keys, x.values, spatial_shape=(3, 4), nnz=x.nnz)
    x.values[0, 1] = 0
    assert_same(t, x)
    t = SparseTensor.from_entries(x.keys, x.values, spatial_shape=[3, 4])  # nnz: what is stored
    np.testing.assert_array_equal(t.nnz, [[2, 0], [1, 3]])
    assert t.validate() is t


FAULTS = {
    "unsorted": ([[[5, 3, 12]]], "ascending"),
    "twice": ([[[3, 3, 12]]], "duplicates"),
    "negative": ([[[-1, 3, 12]]], "range|in \\[0, 12"),
    "too large": ([[[3, 13, 12]]], "range|in \\[0, 12"),
    "a hole": ([[[3, 12, 5]]], "unused"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_keys_are_refused_outside_jit_only(fault):
    keys, says = FAULTS[fault]
    keys, values = np.array(keys, np.int32), np.ones((1, 1, 3), F32)
    with pytest.raises(ValueError, match=says):
        SparseTensor.from_entries(keys, values, spatial_shape=(12,))
    faulty = SparseTensor(jnp.asarray(keys), jnp.asarray(values), jnp.full((1, 1), 2), (12,))
    with pytest.raises(ValueError, match=says):
        faulty.validate()
    inside = jax.jit(lambda k, v: SparseTensor.from_entries(k, v, spatial_shape=(12,)).validate())
    assert inside(keys, values).keys.shape == (1, 1, 3)


@pytest.mark.parametrize("nnz", [0, 1, 3, -1])
def test_counts_must_fit_the_keys(nnz):
    keys = np.array([[[2, 5, 12]]], np.int32)
    with pytest.raises(ValueError, match="nnz"):
        SparseTensor.from_entries(
            keys, np.ones((1, 1, 3), F32), spatial_shape=(12,), nnz=np.array([[nnz]], np.int32)
        )


# --- points ------------------------------------------------------------------------------------------------------

POINTS = pairwise(
    {
        "dims": (1, 2, 3, 4),
        "channels": (None, 1, 3),
        "batch": (1, 5),
        "rows": (0, 1, 60),
        "duplicates": ("sum", "max", "last"),
        "dtype": DTYPES,
        "select": (None, "value", "magnitude", "relu"),
        "capacity": (1, 4, "volume", "above"),
        "count": (None, 0, 0.7),
        "inside": (True, False),
    }
)
SPATIAL = {1: (17,), 2: (3, 5), 3: (2, 3, 3), 4: (2, 1, 3, 2)}


@pytest.mark.parametrize("case", parameters(POINTS))
def test_from_coords_equals_the_oracle(case, rng):
    spatial, n, batch = SPATIAL[case["dims"]], case["rows"], case["batch"]
    volume = int(np.prod(spatial))
    coords = np.stack([rng.integers(0, size, n) for size in (batch, *spatial)], -1)
    if not case["inside"]:
        coords += rng.integers(-1, 2, coords.shape) * (rng.random((n, 1)) < 0.2)
    shape = (n,) if case["channels"] is None else (n, case["channels"])
    values = rng.integers(-4, 5, shape).astype(case["dtype"])
    if n > 1:
        values[1] = np.nan
    count = None if case["count"] is None else int(case["count"] * n)
    capacity = {"volume": volume, "above": volume + 2}.get(case["capacity"], case["capacity"])
    static = {"batch_size": batch, "spatial_shape": spatial, "capacity": capacity}
    static |= {"duplicates": case["duplicates"], "select": case["select"]}
    with precision(case["dtype"]):
        x = jax.jit(lambda c, v, n: SparseTensor.from_coords(c, v, count=n, **static))(
            jnp.asarray(coords.astype(np.int32)), jnp.asarray(values), count
        )
    assert_same(x, oracle.from_coords(coords, values, count=count, **static))


def from_coords(coords, values, **changes):
    static = {"batch_size": 2, "spatial_shape": (2, 3)} | changes
    return SparseTensor.from_coords(np.array(coords), np.array(values, F32), **static)


def test_outside_jit_what_cannot_be_an_entry_raises():
    for row in ([0, 2, 0], [2, 0, 0], [0, 0, -1]):
        with pytest.raises(ValueError, match="coords"):
            from_coords([[0, 0, 0], row], [1, 2])
    with pytest.raises(ValueError, match="duplicates"):
        from_coords([[0, 1, 0], [0, 1, 0]], [1, 2])
    with pytest.raises(ValueError, match="capacity"):
        from_coords([[0, 1, 0], [0, 1, 1]], [1, 2], capacity=1)
    # rows from count on are padding, whatever they say
    x = from_coords([[0, 1, 0], [0, 1, 0], [-5, 9, 9]], [1, 2, 3], count=1)
    assert_same(x, entries((2, 3), [[[3]], [[]]], capacity=3))


def test_inside_jit_repeated_points_add_up_and_others_are_dropped():
    coords = jnp.asarray([[0, 1, 0], [0, 1, 0], [0, 5, 5], [1, 0, 2]])
    build = jax.jit(
        lambda c: SparseTensor.from_coords(
            c, jnp.asarray([1.0, 2, 3, 4]), batch_size=2, spatial_shape=(2, 3)
        )
    )
    assert_same(build(coords), entries((2, 3), [[[3]], [[2]]], [[[3]], [[4]]], capacity=4))


def test_left_out_capacity_holds_every_row():
    for rows, capacity in ((2, 2), (9, 6), (0, 1)):
        coords, values = np.zeros((rows, 3), int), np.zeros(rows)
        x = jax.eval_shape(lambda c=coords, v=values: from_coords(c, v, duplicates="sum"))
        assert x.keys.shape == (2, 1, capacity)


def test_coordinates_of_any_integer_type():
    for dtype in (np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64):
        x = from_coords(np.array([[1, 1, 2]], dtype), [3])
        np.testing.assert_array_equal(x.keys[:, 0, 0], [6, 5])
    with pytest.raises(ValueError, match="coords"):
        from_coords(np.array([[2**32, 0, 0]]), [3])  # must not wrap around
    with jax.enable_x64(True):
        far = jnp.asarray([[0, 2**33, 2**33 + 1], [0, 0, 1]])
        x = jax.jit(
            lambda c: SparseTensor.from_coords(
                c, jnp.ones(2, F32), batch_size=1, spatial_shape=(2, 3)
            )
        )(far)
        np.testing.assert_array_equal(x.keys, [[[1, 6]]])


def test_a_row_is_an_entry_even_where_its_value_is_zero():
    x = from_coords([[0, 1, 0], [0, 0, 1], [1, 0, 0]], [[0, 5], [6, 0], [0, 0]], capacity=3)
    np.testing.assert_array_equal(x.nnz, [[2, 2], [1, 1]])
    np.testing.assert_array_equal(x.keys[0], [[1, 3, 6], [1, 3, 6]])


@pytest.mark.parametrize("dtype", [F32, BF16, F16, F64], ids=str)
def test_subnormal_values_are_kept(dtype):
    coords = np.array([[0, 0], [0, 1], [0, 2]])
    least = {F32: 2.0**-149, F64: 5e-324, BF16: 2.0**-133, F16: 2.0**-24}[dtype]
    with precision(dtype):
        values = jnp.asarray(np.array([2 * least, -3 * least, least], dtype))
        build = jax.jit(
            lambda v: SparseTensor.from_coords(
                coords, v, batch_size=1, spatial_shape=(4,), capacity=2
            )
        )
        assert_same(build(values), oracle.from_coords(coords, np.asarray(values), 1, (4,), 2))


GRADIENTS = {  # rows 0, 2 and 3 share a voxel, row 4 is padding, row 5 out of range
    "sum": [10, 20, 10, 10, 0, 0],
    "max": [0, 20, 10, 0, 0, 0],  # of equal maxima the first
    "last": [0, 20, 0, 10, 0, 0],
}


@pytest.mark.parametrize("duplicates", GRADIENTS)
def test_gradient_of_the_values(duplicates):
    coords = np.array([[0, 1], [0, 2], [0, 1], [0, 1], [0, 3], [0, 9]])
    values = jnp.asarray([1.0, 4, 2, 2, 5, 6])
    weights = jnp.asarray([10.0, 20, 40])

    def loss(values):
        x = SparseTensor.from_coords(
            coords[[0, 1, 2, 3, 5, 4]],
            values[jnp.asarray([0, 1, 2, 3, 5, 4])],
            batch_size=1,
            spatial_shape=(4,),
            capacity=3,
            duplicates=duplicates,
            count=5,
        )
        return (x.values[0, 0] * weights).sum()

    np.testing.assert_array_equal(jax.jit(jax.grad(loss))(values), GRADIENTS[duplicates])


# --- BCOO --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims, dtype", list(enumerate(DTYPES, 1)), ids=str)
def test_to_bcoo_and_back(dims, dtype, rng):
    x = random_input(rng, 3, SPATIAL[dims], 2, 0.3, dtype)

    @jax.jit
    def there_and_back(t):
        b = t.to_bcoo()
        return b, b.todense(), SparseTensor.from_bcoo(b, capacity=t.capacity)

    with precision(dtype):
        b, dense, back = there_and_back(tensor(x))
    assert (b.shape, b.dtype) == ((3, *SPATIAL[dims], 2), dtype)
    assert_equal(dense, oracle.to_dense(x))
    assert_same(back, x)


@pytest.mark.parametrize("n_batch, n_dense", [(0, 0), (1, 1), (0, 2)])
def test_from_bcoo_of_every_layout(n_batch, n_dense, rng):
    dense = rng.integers(-2, 3, (3, 4, 2, 3)).astype(F32)
    b = sparse.BCOO.fromdense(dense, n_batch=n_batch, n_dense=n_dense)
    x = jax.jit(lambda b: SparseTensor.from_bcoo(b, capacity=8))(b)
    np.testing.assert_array_equal(x.to_dense(), dense)
    if n_batch == n_dense == 0:  # what is specified is an entry, here only what is not 0
        assert_same(x, oracle.from_dense(dense, 8))
        assert_same(SparseTensor.from_bcoo(b, capacity=8), plain(x))


def test_from_bcoo_duplicates_and_padding():
    indices = np.array([[0, 1, 0], [0, 1, 0], [0, 3, 0], [0, 0, 0]])  # the third is out of bounds
    b = sparse.BCOO((jnp.asarray([1.0, 2, 3, 4]), jnp.asarray(indices)), shape=(1, 3, 1))
    with pytest.raises(ValueError, match="duplicates"):
        SparseTensor.from_bcoo(b)
    for duplicates, expected in (("sum", 3.0), ("max", 2.0)):
        x = jax.jit(SparseTensor.from_bcoo, static_argnames="duplicates")(b, duplicates=duplicates)
        assert_same(x, entries((3,), [[[0, 1]]], [[[4, expected]]], capacity=3))
    x = jax.jit(SparseTensor.from_bcoo)(b)
    np.testing.assert_array_equal(x.values, [[[4, 3, 0]]])


def test_from_bcoo_that_does_not_fit(rng):
    dense = jnp.asarray([1.0, -3, 2])[None, :, None]
    b = sparse.BCOO.fromdense(dense)
    with pytest.raises(ValueError, match="capacity"):
        SparseTensor.from_bcoo(b, capacity=2)
    x = jax.jit(lambda b: SparseTensor.from_bcoo(b, capacity=2))(b)
    assert_same(x, oracle.from_dense(np.asarray(dense), 2, "magnitude"))
    x = jax.jit(lambda b: SparseTensor.from_bcoo(b, density=0.5, select="value"))(b)
    assert_same(x, oracle.from_dense(np.asarray(dense), 2, "value"))


def test_gradients_through_bcoo(x):
    t = tensor(x)

    def loss(values):
        back = SparseTensor.from_bcoo(t.replace(values=values).to_bcoo(), capacity=4)
        return (back.values**3).sum()

    assert_equal(jax.jit(jax.grad(loss))(t.values), 3 * x.values**2)
