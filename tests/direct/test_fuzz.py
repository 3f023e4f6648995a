"""Contents that no constructor would make: the process lives on, and lists end where their keys stop ascending."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from jaxsparse import direct
from jaxsparse.direct import SparseTensor
from tests import oracle, oracle_kit
from tests.direct.common import DTYPES, F32, assert_equal, assert_same, precision, tensor
from tests.oracle import Sparse

pytestmark = pytest.mark.asan

# spatial shape, kernel, static arguments: few, because each is compiled once
SHAPES = {
    "1d": ((9,), (3,), {"capacity": 4}),
    "2d": ((3, 4), (2, 3), {"strides": (1, 2), "select": "magnitude", "capacity": 20}),
    "3d": ((3, 2, 3), (3, 1, 2), {"kernel_dilation": 2, "select": "relu", "capacity": 1}),
    "4d": (
        (2, 3, 1, 2),
        (1, 2, 1, 2),
        {"padding": ((1, 0), (-1, 2), (0, 3), (1, 1)), "capacity": 7},
    ),
}
BATCH, IN, OUT, SLOTS = 2, 2, 3, 6


def keys_near(volume):
    """Keys in range, at its edges, far outside; often an ascending list with a fault somewhere."""
    wild = st.one_of(
        st.integers(-3, volume + 3),
        st.sampled_from([-(2**31), 2**31 - 1, -1, volume, volume - 1, 0]),
        st.integers(-(2**31), 2**31 - 1),
    )
    lists = npst.arrays(np.int32, (BATCH, IN, SLOTS), elements=wild)
    ascending = lists.map(lambda k: np.sort(k % (volume + 1), -1))
    return st.one_of(lists, ascending, lists.map(lambda k: np.sort(k, -1)))


floats = st.one_of(
    st.floats(width=32),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1.0, 2.0, 1e-45, np.inf, -np.inf, np.nan]),
)


def values_of(shape):
    return npst.arrays(F32, shape, elements=floats)


@st.composite
def corrupt(draw, spatial):
    return Sparse(
        draw(keys_near(int(np.prod(spatial)))),
        draw(values_of((BATCH, IN, SLOTS))),
        draw(npst.arrays(np.int32, (BATCH, IN))),
        spatial,
    )


@functools.cache
def network(name):
    """Every operation on one input, compiled once: results and gradients."""
    _, _, static = SHAPES[name]

    @jax.jit
    def run(x, kernel, bias, gy):
        def conv(values, kernel, bias):
            y = direct.conv(x.replace(values=values), kernel, bias, **static)
            return y.values, y

        _, vjp, y = jax.vjp(conv, x.values, kernel, bias, has_aux=True)
        pooled = direct.max_pool(x, 2, capacity=3)
        back = jax.grad(lambda v: direct.max_pool(x.replace(values=v), 2).values.sum())(x.values)
        other = x.replace(keys=x.keys[::-1], values=x.values[::-1])
        kit = {
            "avg_pool": direct.avg_pool(x, 2, capacity=3),
            "add": direct.add(x, other, 7),
            "global_max_pool": direct.global_max_pool(x),
            "global_avg_pool": direct.global_avg_pool(x),
            "leaky_relu": direct.leaky_relu(x, 0.5).values,
            "unpool": direct.unpool(pooled, x, 2).values,
            "count": direct.batch_statistics(x).entries,
        }
        return y, vjp(gy), pooled, back, direct.relu(x), x.to_dense(), x.coords(), kit

    return run


@pytest.mark.core
@pytest.mark.parametrize("name", SHAPES)
@given(data=st.data())
def test_any_contents_give_a_defined_result(name, data):
    spatial, kernel_shape, static = SHAPES[name]
    x = data.draw(corrupt(spatial))
    kernel = data.draw(values_of((*kernel_shape, IN, OUT)))
    bias = data.draw(values_of((OUT,)))
    gy = data.draw(values_of((BATCH, OUT, static["capacity"])))
    y, gradients, pooled, back, positive, dense, coords, kit = network(name)(
        tensor(x), *map(jax.device_put, (kernel, bias, gy))
    )

    arithmetic = oracle.stated(F32)
    expected = oracle.conv(x, kernel, bias, arithmetic=arithmetic, **static)
    assert_same(y, expected)
    window = {k: v for k, v in static.items() if k not in ("select", "capacity")}
    gx, gw, _ = oracle.conv_gradients(x, kernel, expected, gy, arithmetic=arithmetic, **window)
    assert_equal(gradients[0], gx)
    assert gradients[1].shape == gw.shape
    assert gradients[2].shape == bias.shape

    assert_same(pooled, oracle.max_pool(x, 2, capacity=3)[0])
    assert back.shape == x.values.shape
    assert_same(positive, oracle.relu(x)[0])
    assert_equal(dense, oracle.to_dense(x))
    assert coords.shape == (BATCH, IN, SLOTS, len(spatial))

    other = x._replace(keys=x.keys[::-1], values=x.values[::-1])
    assert_same(kit["avg_pool"], oracle_kit.avg_pool(x, 2, capacity=3)[0])
    assert_same(kit["add"], oracle_kit.add(x, other, 7)[0])
    assert_equal(kit["global_max_pool"], oracle_kit.global_max_pool(x)[0])
    assert_equal(kit["global_avg_pool"], oracle_kit.global_avg_pool(x))
    halved = oracle_kit.masked_scale(x, oracle_kit.not_negative(x.values), (1, 0.5))
    assert_equal(kit["leaky_relu"], halved)
    coarse = oracle.max_pool(x, 2, capacity=3)[0]
    assert_equal(kit["unpool"], oracle_kit.unpool(coarse, x, 2).values)
    np.testing.assert_array_equal(kit["count"], oracle_kit.batch_statistics(x)[2])


@pytest.mark.core
@given(
    where=st.integers(0, 299),
    fault=st.one_of(st.integers(-1, 1001), st.sampled_from([-(2**31), 2**31 - 1])),
    used=st.integers(0, 300),
)
def test_a_long_list_ends_at_its_first_fault(where, fault, used):
    keys = np.where(np.arange(300) < used, 3 * np.arange(300) + 5, 1000).astype(np.int32)
    keys[where] = fault
    values = np.ones((1, 1, 300), F32)
    x = Sparse(keys[None, None], values, np.full((1, 1), used, np.int32), (1000,))
    positive, dense = long_list(tensor(x))
    assert_same(positive, oracle.relu(x)[0])
    assert_equal(dense, oracle.to_dense(x))


@jax.jit
def long_list(x):
    return direct.relu(x), x.to_dense()


@st.composite
def keys_and_counts(draw):
    """Half of the time sound, else with one number changed or all of them wild."""
    keys = np.full((BATCH, IN, SLOTS), 9, np.int32)
    nnz = np.zeros((BATCH, IN), np.int32)
    for b, c in np.ndindex(BATCH, IN):
        chosen = sorted(draw(st.sets(st.integers(0, 8), max_size=SLOTS)))
        keys[b, c, : len(chosen)] = chosen
        nnz[b, c] = len(chosen) + (draw(st.integers(0, 5)) if len(chosen) == SLOTS else 0)
    match draw(st.sampled_from(["sound", "sound", "a key", "a count", "wild"])):
        case "a key":
            keys.flat[draw(st.integers(0, keys.size - 1))] = draw(st.integers(-2, 11))
        case "a count":
            nnz.flat[draw(st.integers(0, nnz.size - 1))] = draw(st.integers(-2, 11))
        case "wild":
            keys = draw(keys_near(9))
    return keys, nnz


def is_sound(keys, nnz):
    """What `validate` promises: keys that ascend in range, the volume in unused slots, counts that agree."""
    for b, c in np.ndindex(BATCH, IN):
        n = oracle.stored(keys[b, c], 9)
        if (keys[b, c, n:] != 9).any() or min(nnz[b, c], SLOTS) != n:
            return False
    return True


@pytest.mark.core
@given(drawn=keys_and_counts())
def test_validate_and_from_entries_tell_sound_from_unsound(drawn):
    keys, nnz = drawn
    x = Sparse(keys, np.zeros(keys.shape, F32), nnz, (9,))
    if is_sound(keys, nnz):
        assert_same(tensor(x).validate(), x)
        assert_same(SparseTensor.from_entries(keys, x.values, nnz=nnz, spatial_shape=(9,)), x)
        return
    with pytest.raises(ValueError, match=r"keys|nnz"):
        tensor(x).validate()
    with pytest.raises(ValueError, match=r"keys|nnz"):
        SparseTensor.from_entries(keys, x.values, nnz=nnz, spatial_shape=(9,))


@pytest.mark.core
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(data=st.data())
def test_any_bits_are_selected_alike(dtype, data):
    """Random bit patterns, often repeated: ties, subnormals, NaN of every payload."""
    word = np.dtype(f"u{dtype.itemsize}")
    some = data.draw(
        st.lists(st.integers(0, 2 ** (8 * dtype.itemsize) - 1), min_size=1, max_size=6)
    )
    raw = data.draw(npst.arrays(word, (2, 9, 2), elements=st.sampled_from([0, *some])))
    with precision(dtype):
        for select in ("value", "magnitude", "relu"):
            x = sparsified(select)(jax.device_put(raw.view(dtype)))
            assert_same(x, oracle.from_dense(raw.view(dtype), 3, select))


@functools.cache
def sparsified(select):
    return jax.jit(lambda dense: SparseTensor.from_dense(dense, capacity=3, select=select))


@pytest.mark.core
@pytest.mark.parametrize("duplicates", ["sum", "max", "last"])
@given(data=st.data())
def test_any_coordinates_convert_inside_jit(duplicates, data):
    wild = st.one_of(st.integers(-2, 4), st.sampled_from([-(2**31), 2**31 - 1]))
    coords = data.draw(npst.arrays(np.int32, (7, 3), elements=wild))
    values = data.draw(npst.arrays(F32, (7, 2), elements=st.integers(-5, 5)))
    count = data.draw(st.integers(0, 7))
    x = from_coords(duplicates)(*map(jax.device_put, (coords, values, np.int32(count))))
    expected = oracle.from_coords(coords, values, 2, (2, 3), 4, duplicates, count)
    assert_same(x, expected)


@functools.cache
def from_coords(duplicates):
    return jax.jit(
        lambda coords, values, count: SparseTensor.from_coords(
            coords,
            values,
            batch_size=2,
            spatial_shape=(2, 3),
            capacity=4,
            duplicates=duplicates,
            count=count,
        )
    )
