"""Restricted back-propagation of `direct.conv`: equal to the oracle's and to finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import direct
from tests import oracle
from tests.direct.common import (
    F32,
    F64,
    assert_equal,
    assert_same,
    entries,
    precision,
    random_input,
    tensor,
)
from tests.direct.grid import GRID, case_of, number, parameters


def value_and_gradients(x, kernel, bias, gy, mask=None, **static):
    """The output, and the cotangents of values, kernel and (if there is one) bias for those `gy` of its values."""

    def run(x, values, kernel, bias, mask, gy):
        def values_of(values, kernel, bias):
            y = direct.conv(x.replace(values=values), kernel, bias, mask=mask, **static)
            return y.values, y

        _, vjp, y = jax.vjp(values_of, values, kernel, bias, has_aux=True)
        return y, vjp(gy)

    with precision(kernel.dtype):
        operands = [
            None if a is None else jax.device_put(a) for a in (x.values, kernel, bias, mask, gy)
        ]
        y, gradients = jax.jit(run)(tensor(x), *operands)
    return y, jax.tree.map(np.asarray, gradients)


@pytest.mark.parametrize("case", parameters(GRID[1::2]))
def test_gradients_equal_the_oracle(case, rng):
    c = case_of(case, rng)
    expected = oracle.conv(c.x, c.kernel, c.bias, mask=c.mask, **c.window, **c.selection)
    # cotangents that are not finite must not hide what inputs that are not finite do
    for kind in ("integers", "non-finite") if case["values"] == "non-finite" else ("integers",):
        gy = number(rng, expected.values.shape, kind, c.dtype)
        y, gradients = value_and_gradients(
            c.x, c.kernel, c.bias, gy, c.mask, **c.window, **c.selection
        )
        assert_same(y, expected)
        gx, gw, gb = oracle.conv_gradients(c.x, c.kernel, expected, gy, mask=c.mask, **c.window)
        assert_equal(gradients[0], gx)
        assert_equal(gradients[1], gw)
        if c.bias is not None:
            assert_equal(gradients[2], gb)


def arrange(rng, dtype=F64):
    """Random numbers, a mask, a cut."""
    x = random_input(rng, 2, (6, 5, 4), 3, 0.3, dtype)
    kernel = rng.normal(size=(3, 2, 3, 3, 4)).astype(dtype)
    bias = rng.normal(size=4).astype(dtype)
    mask = rng.random(kernel.shape) < 0.7
    return x, kernel, bias, mask


@pytest.mark.core
@pytest.mark.parametrize("select", ["value", "magnitude", "relu"])
def test_gradients_equal_finite_differences_at_fixed_selection(select, rng):
    x, kernel, bias, mask = arrange(rng)
    static = {"mask": mask, "strides": (1, 2, 1), "select": select, "capacity": 9}
    gy = rng.normal(size=(2, 4, 9))
    y, gradients = value_and_gradients(x, kernel, bias, gy, **static)
    used = np.asarray(y.keys) < 6 * 3 * 4

    def loss(values, kernel, bias):
        moved = oracle.conv(x._replace(values=values), kernel, bias, **static)
        np.testing.assert_array_equal(moved.keys, y.keys)  # the same selection on both sides
        return (np.where(used, gy, 0) * moved.values).sum()

    at, step = (x.values, kernel, bias), 1e-6
    for i, gradient in enumerate(gradients):
        for _ in range(4):  # in random directions
            direction = rng.normal(size=at[i].shape)
            if i == 0:
                direction = np.where(x.keys < x.volume, direction, 0)
            sides = [
                loss(*(a + (s * step * direction if j == i else 0) for j, a in enumerate(at)))
                for s in (1, -1)
            ]
            slope = (sides[0] - sides[1]) / (2 * step)
            np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-6, atol=1e-7)
    assert not np.asarray(gradients[1])[~mask].any()


@pytest.mark.core
def test_a_dropped_response_has_no_gradient_even_where_weights_are_not_finite():
    # two outputs, 3 * 1 kept and 1 * 1 dropped; the tap that leads to the dropped one alone holds inf
    x = entries((2,), [[[0, 1]]], [[[1, 3]]])
    kernel = np.array([[[1.0]]], F32)
    y, (gx, gw, gb) = value_and_gradients(
        x, kernel, np.zeros(1, F32), np.full((1, 1, 1), 5, F32), capacity=1
    )
    np.testing.assert_array_equal(y.keys, [[[1]]])
    np.testing.assert_array_equal(gx, [[[0, 5]]])
    np.testing.assert_array_equal((gw.item(), gb.item()), (15, 5))

    x = entries((3,), [[[1]]], [[[2]]])
    kernel = np.array([np.inf, 1.0, np.nan], F32).reshape(3, 1, 1)  # outputs NaN, 2, inf
    y, (gx, gw, _) = value_and_gradients(x, kernel, None, np.ones((1, 1, 1), F32), capacity=1)
    np.testing.assert_array_equal(y.keys, [[[0]]])
    assert_equal(gx, np.array([[[np.nan]]], F32))
    np.testing.assert_array_equal(np.ravel(gw), [0, 0, 2])
    mask = np.array([True, True, False]).reshape(3, 1, 1)
    y, (gx, gw, _) = value_and_gradients(x, kernel, None, np.ones((1, 1, 1), F32), mask, capacity=1)
    np.testing.assert_array_equal(y.keys, [[[2]]])
    assert_equal(gx, np.array([[[np.inf]]], F32))


@pytest.mark.core
def test_a_masked_weight_gets_zero_even_from_infinite_inputs():
    x = entries((2,), [[[0, 1]]], [[[np.inf, 1]]])
    mask = np.array([[[True, False]]])
    _, (gx, gw, _) = value_and_gradients(
        x, np.array([[[2.0, np.nan]]], F32), None, np.ones((1, 2, 2), F32), mask, capacity=2
    )
    np.testing.assert_array_equal(gx, [[[2, 2]]])
    np.testing.assert_array_equal(np.ravel(gw), [np.inf, 0])


def test_a_stored_zero_has_a_gradient_and_unused_slots_have_none():
    x = entries((6,), [[[3, 4]]], [[[0, 3]]], capacity=4)
    kernel = np.ones((3, 1, 1), F32)
    y, (gx, _, _) = value_and_gradients(x, kernel, None, np.ones((1, 1, 6), F32), capacity=6)
    np.testing.assert_array_equal(y.keys, [[[3, 4, 5, 6, 6, 6]]])
    np.testing.assert_array_equal(gx, [[[2, 3, 0, 0]]])


def test_cotangents_of_unused_output_slots_are_not_read():
    x = entries((6,), [[[1]]], [[[2]]])
    gy = np.full((1, 1, 6), np.nan, F32)
    gy[0, 0, :3] = 1
    y, (gx, gw, gb) = value_and_gradients(
        x, np.ones((3, 1, 1), F32), np.zeros(1, F32), gy, capacity=6
    )
    np.testing.assert_array_equal(y.nnz, [[3]])
    np.testing.assert_array_equal((gx.item(), gb.item()), (3, 3))
    np.testing.assert_array_equal(np.ravel(gw), [2, 2, 2])


# Ordinary numbers: custom_vjp makes the zeros of unused cotangents real, and 0 * inf is NaN; XLA adds the two parts of a
# cotangent, and flushes subnormals.
ORDINARY = [f for f in GRID if f["values"] in ("integers", "negative")]


@pytest.mark.parametrize("case", parameters(ORDINARY[::3]))
def test_gradients_of_gradients_equal_the_oracle(case, rng):
    """The gradients of both gradients: each is again one of the three bilinear maps, at the same keys."""
    c = case_of(case, rng)
    y = oracle.conv(c.x, c.kernel, mask=c.mask, **c.window, **c.selection)
    gy, u, v = (number(rng, a.shape, "integers", c.dtype) for a in (y.values, c.x.values, c.kernel))

    @jax.jit
    def second(x, values, kernel, gy, u, v):
        def gradients(values, kernel, gy):
            def values_of(values, kernel):
                y = direct.conv(
                    x.replace(values=values), kernel, mask=c.mask, **c.window, **c.selection
                )
                return y.values

            return jax.vjp(values_of, values, kernel)[1](gy)

        return jax.vjp(gradients, values, kernel, gy)[1]((u, v))

    with precision(c.dtype):
        got = second(tensor(c.x), *map(jax.device_put, (c.x.values, c.kernel, gy, u, v)))
    at = {"mask": c.mask, **c.window}
    from_u = oracle.conv_gradients(c.x._replace(values=u), c.kernel, y, gy, **at)
    from_v = oracle.conv_gradients(c.x, v, y, gy, **at)
    assert_equal(got[0], from_v[0])
    assert_equal(got[1], from_u[1])
    responses = [
        oracle.conv_at(c.x._replace(values=u), c.kernel, y.keys, **at),
        oracle.conv_at(c.x, v, y.keys, **at),
    ]
    assert_equal(got[2], sum(oracle.rounded(r, c.dtype) for r in responses))


def dense_loss(x, kernel, values):
    """The same network on dense arrays: the cube keeps the second derivative of empty voxels at 0."""
    volume = int(np.prod(x.spatial_shape))
    b, c, _ = np.indices(x.keys.shape)
    flat = jnp.zeros((x.keys.shape[0], volume + 1, x.keys.shape[1]), values.dtype)
    dense = flat.at[b, x.keys, c].set(values)[:, :volume].reshape(2, *x.spatial_shape, -1)
    y = jax.lax.conv_general_dilated(
        dense, kernel, (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return (y**3).sum()


@pytest.mark.core
def test_second_derivatives_equal_the_dense_ones(rng):
    x = random_input(rng, 2, (5, 6), 2, 0.4, F64)
    kernel = rng.normal(size=(3, 3, 2, 3))
    with jax.enable_x64(True):
        sparse_x = tensor(x)

        def sparse_loss(kernel, values):
            return (
                direct.conv(sparse_x.replace(values=values), kernel, strides=(2, 1)).values ** 3
            ).sum()

        def slopes(loss):
            """The gradient of the squared gradient: every derivative of every derivative takes part."""

            def squared(*at):
                return sum((g**2).sum() for g in jax.grad(loss, (0, 1))(*at))

            return jax.jit(jax.grad(squared, (0, 1)))(
                jax.device_put(kernel), jax.device_put(x.values)
            )

        sparse, dense = slopes(sparse_loss), slopes(lambda k, v: dense_loss(x, k, v))
    used = x.keys < x.volume
    np.testing.assert_allclose(sparse[0], dense[0], rtol=1e-10)
    np.testing.assert_allclose(
        np.where(used, sparse[1], 0), np.where(used, dense[1], 0), rtol=1e-10
    )


@pytest.mark.core
def test_third_derivative(rng):
    x = random_input(rng, 1, (4,), 1, 0.9, F64)
    kernel = rng.normal(size=(2, 1, 1))
    with jax.enable_x64(True):
        sparse_x = tensor(x)

        def loss(k):
            return (direct.conv(sparse_x, k).values ** 4).sum()

        def thrice(f):
            for _ in range(3):
                f = jax.grad(lambda k, f=f: f(k).sum())
            return f

        got = jax.jit(thrice(loss))(jax.device_put(kernel))
        volume = np.append(oracle.to_dense(x).ravel(), 0)

        def by_hand(k):
            return ((volume[:-1] * k[0, 0, 0] + volume[1:] * k[1, 0, 0]) ** 4).sum()

        np.testing.assert_allclose(got, thrice(by_hand)(jnp.asarray(kernel)), rtol=1e-12)


@pytest.mark.core
@pytest.mark.parametrize("transform", [jax.jacfwd, jax.hessian])
def test_forward_mode_says_that_there_is_none(transform, rng):
    x = tensor(random_input(rng, 1, (4,), 1, 0.9))
    with pytest.raises(TypeError, match=r"forward-mode|jvp"):
        transform(lambda k: direct.conv(x, k).values.sum())(jnp.ones((2, 1, 1)))
    with pytest.raises(TypeError, match=r"forward-mode|jvp"):
        jax.jvp(lambda k: direct.conv(x, k).values, (jnp.ones((2, 1, 1)),), (jnp.ones((2, 1, 1)),))


def test_gradients_flow_through_a_whole_network(rng):
    """from_dense, conv, relu, max_pool, conv, to_dense: one chain, against finite differences of itself."""
    image = rng.normal(size=(2, 6, 6, 1)) * (rng.random((2, 6, 6, 1)) < 0.6)
    kernels = [rng.normal(size=(3, 3, 1, 4)), rng.normal(size=(2, 2, 4, 2))]
    with jax.enable_x64(True):

        @jax.jit
        def loss(image, kernels):
            x = direct.SparseTensor.from_dense(image, capacity=36)
            x = direct.relu(direct.conv(x, kernels[0], jnp.asarray([0.1, -0.1, 0.2, 0.0])))
            x = direct.max_pool(x, 2)
            return (
                direct.conv(x, kernels[1], select="magnitude", capacity=5).to_dense() ** 2
            ).sum()

        at = (jax.device_put(image), [jax.device_put(k) for k in kernels])
        gradient = jax.jit(jax.grad(loss, (0, 1)))(*at)
        for _ in range(3):
            step = jax.tree.map(lambda a: 1e-6 * jnp.asarray(rng.normal(size=a.shape)), at)
            step = (jnp.where(at[0] != 0, step[0], 0), step[1])
            ahead, behind = (
                loss(*jax.tree.map(lambda a, s, sign=sign: a + sign * s, at, step))
                for sign in (1, -1)
            )
            along = sum(jax.tree.leaves(jax.tree.map(lambda g, s: (g * s).sum(), gradient, step)))
            np.testing.assert_allclose(2 * along, ahead - behind, rtol=1e-5)
        assert not np.asarray(gradient[0])[image == 0].any()
