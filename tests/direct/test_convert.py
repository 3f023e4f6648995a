"""`SparseTensor.from_dense` and `to_dense`, and the gradients of both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse.direct import SparseTensor
from tests import oracle
from tests.direct.common import DTYPES, F32, assert_equal, assert_same, precision
from tests.direct.grid import number, parameters
from tests.pairwise import pairwise

SPATIAL = {1: (11,), 2: (5, 6), 3: (4, 3, 5), 4: (3, 4, 2, 3)}
GRID = pairwise(
    {
        "dims": (1, 2, 3, 4),
        "batch": (1, 5),
        "channels": (1, 3, 17),
        "fill": (0.0, 0.3, 1.0),
        "values": ("integers", "negative", "non-finite", "subnormal"),
        "dtype": DTYPES,
        "select": ("value", "magnitude", "relu"),
        "capacity": (1, "cut", "volume", "above"),
    }
)


def arrange(f, rng):
    shape = (f["batch"], *SPATIAL[f["dims"]], f["channels"])
    volume = int(np.prod(SPATIAL[f["dims"]]))
    x = number(rng, shape, f["values"], f["dtype"])
    x = np.where(rng.random(shape) < f["fill"], x, np.zeros((), f["dtype"]))
    sizes = {"cut": volume // 4, "volume": volume, "above": volume + 2}
    return x, {"select": f["select"], "capacity": sizes.get(f["capacity"], f["capacity"])}


@pytest.mark.parametrize("case", parameters(GRID))
def test_there_and_back_and_the_gradients(case, rng):
    dense, static = arrange(case, rng)
    expected = oracle.from_dense(dense, **static)
    g_values = number(rng, expected.values.shape, "integers", case["dtype"])
    g_dense = number(rng, dense.shape, "integers", case["dtype"])

    @jax.jit
    def run(dense, g_values, g_dense):
        def build(dense):
            x = SparseTensor.from_dense(dense, **static)
            return x.values, x

        _, build_vjp, x = jax.vjp(build, dense, has_aux=True)
        back, dense_vjp = jax.vjp(lambda v: x.replace(values=v).to_dense(), x.values)
        return x, back, build_vjp(g_values)[0], dense_vjp(g_dense)[0]

    with precision(case["dtype"]):
        x, back, gx, gv = run(*map(jax.device_put, (dense, g_values, g_dense)))
    assert_same(x, expected)
    assert_equal(back, oracle.to_dense(expected))
    assert_equal(gx, oracle.to_dense(expected._replace(values=g_values)))
    assert_equal(gv, oracle.gather_dense(expected.keys, g_dense, expected.spatial_shape))


@pytest.mark.core
def test_an_entry_is_what_is_not_exactly_zero():
    dense = np.array([0.0, -0.0, 1e-45, np.nan, -np.nan, -np.inf, 2], F32)[None, :, None]
    x = SparseTensor.from_dense(jnp.asarray(dense))
    assert_same(x, oracle.from_dense(dense))
    np.testing.assert_array_equal(x.keys, [[[2, 3, 4, 5, 6, 7, 7]]])
    x = SparseTensor.from_dense(jnp.asarray(dense), select="relu")
    np.testing.assert_array_equal(x.keys, [[[2, 3, 4, 6, 7, 7, 7]]])


def test_left_out_capacity_is_the_volume(rng):
    x = SparseTensor.from_dense(jnp.asarray(rng.normal(size=(2, 4, 5, 3)).astype(F32)))
    assert x.keys.shape == (2, 3, 20)


@pytest.mark.parametrize("density, capacity", [(0.5, 10), (0.51, 11), (1.5, 30), (0.05, 1)])
def test_density_is_a_share_of_the_volume(density, capacity):
    x = SparseTensor.from_dense(jnp.zeros((1, 4, 5, 1)), density=density)
    assert x.keys.shape == (1, 1, capacity)


@pytest.mark.core
def test_without_a_rule_what_does_not_fit_raises_outside_jit_and_is_cut_by_magnitude_inside():
    dense = jnp.asarray([1.0, -3, 2, 0, -2, 0])[None, :, None]
    with pytest.raises(ValueError, match="capacity"):
        SparseTensor.from_dense(dense, capacity=2)
    np.testing.assert_array_equal(SparseTensor.from_dense(dense, capacity=4).nnz, [[4]])
    x = jax.jit(lambda d: SparseTensor.from_dense(d, capacity=2))(dense)
    np.testing.assert_array_equal(x.keys, [[[1, 2]]])
    np.testing.assert_array_equal(x.nnz, [[4]])
    # naming a rule selects in both
    x = SparseTensor.from_dense(dense, capacity=2, select="value")
    np.testing.assert_array_equal(x.keys, [[[0, 2]]])


LARGE = {"line": (200_003,), "map": (701, 503), "volume": (61, 67, 71), "many rows": (9000, 3, 2)}


@pytest.mark.parametrize("shape", LARGE)
@pytest.mark.parametrize("select", ["value", "magnitude", "relu"])
def test_large_inputs(shape, select, rng):
    dense = rng.integers(-2000, 2001, (2, *LARGE[shape], 2)).astype(F32)
    dense *= rng.random(dense.shape) < 0.1
    capacity = dense[0, ..., 0].size // 25
    x = SparseTensor.from_dense(jax.device_put(dense), capacity=capacity, select=select)
    assert_same(x, oracle.from_dense(dense, capacity, select))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_selection_among_all_magnitudes(dtype, rng):
    """Random bit patterns: every exponent, subnormals, infinities, NaN of both signs."""
    raw = rng.integers(0, 2**63, (1, 3000, 2)).astype(f"u{dtype.itemsize}")
    dense = raw.view(dtype)
    with precision(dtype):
        for select in ("value", "magnitude", "relu"):
            x = SparseTensor.from_dense(jax.device_put(dense), capacity=700, select=select)
            assert_same(x, oracle.from_dense(dense, 700, select))
