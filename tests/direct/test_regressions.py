"""Defects that a review found, each in the order of events that showed it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import sparse
from jax.sharding import PartitionSpec as P

import xla_kernels
from jaxsparse import direct

pytestmark = pytest.mark.core
from_coords = direct.SparseTensor.from_coords


def test_numpy_sizes_neither_fail_nor_spoil_the_calls_after_them():
    x = direct.SparseTensor.from_dense(jnp.arange(16.0).reshape(1, 4, 4, 1))
    for shape in (tuple(np.array([4, 4])), (4, 4)):
        assert direct.relu(x.replace(spatial_shape=shape)).nnz.tolist() == [[15]]


def test_bcoo_with_batch_dimensions_of_size_1():
    ones = jnp.ones((1, 2), jnp.float32)
    x = sparse.BCOO((ones, jnp.array([[[0, 0], [1, 0]]])), shape=(3, 4, 1))
    found = direct.SparseTensor.from_bcoo(x).to_dense()
    np.testing.assert_array_equal(found, x.todense())


@pytest.mark.parametrize(
    ("count", "found"), [(np.int64(2**32 + 1), 2), (2**40, 2), (-3, 0), (1, 1), (jnp.int32(5), 2)]
)
def test_counts_beyond_int32_do_not_wrap(count, found):
    coords, values = np.array([[0, 1], [0, 2]], np.int32), jnp.ones(2, jnp.float32)
    x = from_coords(coords, values, batch_size=1, spatial_shape=(4,), count=count)
    assert x.nnz.tolist() == [[found]]


def test_largest_duplicate_where_only_the_values_vary_over_devices():
    coords = jnp.array([[0, 1], [0, 1]], jnp.int32)

    def largest(values):
        x = from_coords(coords, values[0], batch_size=1, spatial_shape=(4,), duplicates="max")
        return x.values[None]

    mesh = jax.make_mesh((2,), ("b",), axis_types=(jax.sharding.AxisType.Auto,))
    mapped = jax.shard_map(largest, mesh=mesh, in_specs=P("b"), out_specs=P("b"))
    values = jnp.array([[1.0, 2.0], [4.0, 3.0]], jnp.float32)
    assert mapped(values)[:, 0, 0, 0].tolist() == [2, 4]
    gradient = jax.grad(lambda v: mapped(v).sum())(values)
    assert gradient.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("op", "sizes"),
    [
        ("from_dense", {"spatial_shape": [0], "channels": 1, "out_capacity": 4}),
        ("from_dense", {"spatial_shape": [-5], "channels": 1, "out_capacity": -4}),
        ("from_dense", {"spatial_shape": [], "channels": 1, "out_capacity": 4}),
        ("put_add", {"capacity": -(10**18)}),
    ],
)
def test_workspace_of_impossible_sizes_is_an_error(op, sizes):
    with pytest.raises(ValueError, match=r"at least 1|1 to"):
        xla_kernels.workspace_bytes(op, **sizes, itemsize=4)


@pytest.mark.parametrize("density", ["1.0", True], ids=str)
def test_a_density_is_a_number(density):
    with pytest.raises(TypeError, match="density must be a number"):
        direct.SparseTensor.from_dense(jnp.ones((1, 4, 1), jnp.float32), density=density)
