"""What is known of contents, and when: tracers, stacked containers, arrays of several processes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import direct
from jaxsparse._core import checks
from jaxsparse.direct import SparseTensor
from tests.argument_rows import container

pytestmark = pytest.mark.core

OVERFULL = jnp.arange(1.0, 5.0).reshape(1, 4, 1)


def fill(x):
    return SparseTensor.from_dense(x, capacity=2).values.sum()


@pytest.mark.parametrize(
    "transform",
    [
        jax.grad,
        lambda f: lambda x: jax.vjp(f, x),
        lambda f: jax.grad(lambda x: jax.grad(f)(x).sum()),
    ],
    ids=["grad", "vjp", "grad of grad"],
)
def test_what_does_not_fit_is_an_error_under_grad_alone(transform):
    with pytest.raises(ValueError, match="do not fit into a capacity of 2"):
        transform(fill)(OVERFULL)


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: jax.jit(jax.grad(f)),
        lambda f: jax.grad(jax.jit(f)),
        lambda f: jax.grad(jax.checkpoint(f)),
        lambda f: lambda x: jax.vmap(jax.grad(f))(x[None])[0],
        lambda f: lambda x: jax.grad(lambda x: jax.vmap(f)(x[None]).sum())(x),
    ],
    ids=["jit grad", "grad jit", "checkpoint", "vmap grad", "grad vmap"],
)
def test_it_is_cut_where_contents_are_unknown(transform):
    assert transform(fill)(OVERFULL).ravel().tolist() == [0, 0, 1, 1]


def test_points_and_duplicates_under_grad_alone():
    def build(coords):
        def f(values):
            x = SparseTensor.from_coords(coords, values, batch_size=1, spatial_shape=(4,))
            return x.values.sum()

        return jax.grad(f)(jnp.ones(2, jnp.float32))

    assert build([[0, 1], [0, 2]]).tolist() == [1, 1]
    with pytest.raises(ValueError, match="free of duplicates"):
        build([[0, 1], [0, 1]])


def test_coordinates_with_traced_values_in_a_list():
    def build(column):
        x = SparseTensor.from_coords(
            [[0, column], [0, 1]], np.ones(2, np.float32), batch_size=1, spatial_shape=(4,)
        )
        return x.keys

    assert jax.jit(build)(jnp.int32(3)).tolist() == [[[1, 3]]]


@pytest.mark.parametrize("x64", [False, True])
def test_entries_from_lists(x64):
    with jax.enable_x64(x64):
        x = SparseTensor.from_entries(
            [[[1, 3]]], np.ones((1, 1, 2), np.float32), spatial_shape=(4,), nnz=[[5]]
        )
        assert x.keys.dtype == x.nnz.dtype == jnp.int32
        with pytest.raises(ValueError, match="keys must be within int32, got numbers from 1 to"):
            SparseTensor.from_entries(
                [[[1, 2**31]]], np.ones((1, 1, 2), np.float32), spatial_shape=(4,)
            )


def test_traced_sizes_say_that_they_must_be_known():
    with pytest.raises(TypeError, match=r"strides must be an integer or 2 of them.*traced value"):
        jax.jit(lambda s: direct.max_pool(container(), 2, s))(2)
    with pytest.raises(TypeError, match="capacity must be an integer, got a traced value"):
        jax.jit(lambda k: direct.max_pool(container(), 2, capacity=k))(2)


def test_stacked_containers_tell_the_truth():
    x = container()
    _, stacked = jax.lax.scan(lambda c, _: (c, x), 0, None, length=5)
    assert stacked.keys.shape == (5, 1, 2, 3)
    assert stacked.shape == (5, 1, 4, 5, 2)
    assert (stacked.channels, stacked.capacity, stacked.volume) == (2, 3, 20)
    assert stacked.stored.tolist() == [[[3, 1]]] * 5
    assert stacked.density.shape == (5, 1, 2) and not stacked.overflow.any()
    np.testing.assert_array_equal(stacked.coords()[2], x.coords())
    np.testing.assert_array_equal(
        jax.vmap(SparseTensor.to_dense)(stacked), jnp.stack([x.to_dense()] * 5)
    )
    with pytest.raises(ValueError, match=r"x\.keys must be of rank 3"):
        direct.relu(stacked)


class ElsewhereToo:
    """An array of which other processes hold a part."""

    is_fully_addressable = False

    def __array__(self, *_, **__):
        raise AssertionError("it must not be fetched")


def test_arrays_of_several_processes_are_not_fetched():
    assert checks.concrete(ElsewhereToo()) is None
    assert checks.concrete(jnp.arange(3)).tolist() == [0, 1, 2]
