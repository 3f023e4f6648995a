"""Reverse mode of any order against dense JAX, adjoints, dtypes, and forward mode refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import direct
from jaxsparse._core import windows
from jaxsparse.direct import (
    SparseTensor,
    _bilinear,
    _channels,
    _kernels,
    _scaling,
    _sources,
    _sums,
    _windows,
    convert,
)
from tests.direct.jax_rules import (
    IN,
    NAMES,
    OUT,
    assert_trees_close,
    direction_of,
    floats,
    image,
    loss,
    normal,
    operations,
    parameters,
    slope_along,
    some,
    sparse,
)

pytestmark = pytest.mark.core


# ---- The dense twin: selection fixed, everything else plain JAX ----------------------------------------------------------


def scatter(x: SparseTensor, values=None):
    """`to_dense` in plain JAX: [B, volume, C] with a slot for unused keys, cut off."""
    batch, channels, _ = x.keys.shape
    values = x.values if values is None else values
    dense = jnp.zeros((batch, channels, x.volume + 1), values.dtype)
    b, c = np.ogrid[:batch, :channels]
    dense = dense.at[b[..., None], c[..., None], x.keys].add(values)[..., :-1]
    return jnp.moveaxis(dense, 1, -1).reshape(x.shape)


def gather(dense, y: SparseTensor):
    """The values of a dense array at the entries of `y`."""
    flat = jnp.moveaxis(dense.reshape(dense.shape[0], -1, dense.shape[-1]), -1, 1)
    return jnp.take_along_axis(flat, y.keys, -1, mode="fill", fill_value=0)


def dense_conv(x, kernel, bias, mask, y: SparseTensor, strides, padding):
    dims = len(y.spatial_shape)
    letters = "DEFG"[:dims]
    response = jax.lax.conv_general_dilated(
        x,
        jnp.where(mask, kernel, 0),
        (strides,) * dims,
        padding,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        precision="highest",
    )
    return gather(response + bias[(None,) * (dims + 1)], y)


@pytest.mark.parametrize("select", ["value", "magnitude", "relu"])
@pytest.mark.parametrize(
    "dims, strides, padding", [(1, 1, "SAME"), (2, 2, "VALID"), (3, 1, "SAME")]
)
def test_derivatives_of_conv_equal_those_of_dense_jax(dims, strides, padding, select):
    with jax.enable_x64(True):
        spatial, dtype = (6, 5, 4)[:dims], np.float64
        x = sparse(image(2, spatial, dtype=dtype))
        kernel = normal(*(3, 2, 2)[:dims], IN, OUT, dtype=dtype)
        bias, mask = normal(OUT, dtype=dtype, seed=8), some(*kernel.shape)

        def ours(values, kernel, bias):
            x_ = x.replace(values=values)
            return direct.conv(
                x_, kernel, bias, mask=mask, capacity=5, select=select, strides=strides,
                padding=padding,
            )  # fmt: skip

        y = ours(x.values, kernel, bias)

        def dense(values, kernel, bias):
            return dense_conv(scatter(x, values), kernel, bias, mask, y, strides, padding)

        def derivatives(f):
            def first(*args):
                return jax.grad(lambda *a: jnp.sum(jnp.sin(f(*a)) ** 2), (0, 1, 2))(*args)

            def second(*args):
                return jax.grad(lambda *a: sum(jnp.sum(g**3) for g in first(*a)), (0, 1, 2))(*args)

            def third(*args):
                return jax.grad(lambda *a: sum(jnp.sum(g**2) for g in second(*a)), (0, 1, 2))(*args)

            args = (x.values, kernel, bias)
            return jax.jit(lambda *a: (f(*a), first(*a), second(*a), third(*a)))(*args)

        actual = derivatives(lambda *a: ours(*a).values)
        assert_trees_close(actual, derivatives(dense), rtol=1e-8, atol=1e-8)


def test_second_derivatives_of_a_network():
    # Selection and maxima are constant near a point: finite differences of the gradient are the second derivative.
    with jax.enable_x64(True):
        params, x = parameters(np.float64), image(dtype=np.float64)
        gradient = jax.jit(jax.grad(loss))
        direction = direction_of(params)
        along = jax.jit(
            jax.grad(
                lambda p: sum(
                    jnp.vdot(g, d)
                    for g, d in zip(
                        jax.tree.leaves(jax.grad(loss)(p, x)),
                        jax.tree.leaves(direction),
                        strict=True,
                    )
                )
            )
        )(params)
        slope = slope_along(lambda p: gradient(p, x), params, direction)
        assert_trees_close(along, slope, rtol=1e-5, atol=1e-8)


# ---- Adjoints ------------------------------------------------------------------------------------------------------------


def linear_maps():
    """name -> (function, argument): every operation that is linear, in the argument it is linear in."""
    x = sparse(image(dtype=np.float64))
    y = direct.conv(x, normal(3, 2, IN, OUT, dtype=np.float64), capacity=6)
    mask, kernel = some(3, 2, IN, OUT), normal(3, 2, IN, OUT, dtype=np.float64)
    geometry = windows.convolution("test", x.spatial_shape, (3, 2), 1, "SAME", 1)
    source = jnp.asarray(np.random.default_rng(0).integers(-1, 13, (2, IN, 7)), jnp.int32)
    gy = normal(*y.values.shape, dtype=np.float64)
    pooled = windows.pooling("test", x.spatial_shape, (2, 3), (1, 2))
    coarse = direct.max_pool(x, (2, 3), (1, 2), capacity=7)
    count, scale = jnp.full(coarse.keys.shape, 3, jnp.int32), normal(IN, dtype=np.float64)
    return {
        "to_dense": (lambda v: convert.to_dense(x.spatial_shape, x.keys, v), x.values),
        "gather_dense": (lambda d: convert.gather_dense(x.spatial_shape, x.keys, d), x.to_dense()),
        "take": (lambda v: _sources.take(v, source), x.values),
        "put_add": (
            lambda v: _sources.put_add(12, v, source),
            normal(*source.shape, dtype=np.float64),
        ),
        "channel_sum": (lambda v: _sums.channel_sum(x.volume, x.keys, v), x.values),
        "window_sum": (
            lambda v: _windows.window_sum(pooled, x.keys, v, coarse.keys, count),
            x.values,
        ),
        "window_spread": (
            lambda g: _windows.window_spread(pooled, x.keys, coarse.keys, g),
            coarse.values,
        ),
        "masked_scale": (
            lambda v: _scaling.masked_scale(x.volume, (2.0, 0.5), x.keys, v, x.values > 0),
            x.values,
        ),
        "global_avg_pool": (lambda v: direct.global_avg_pool(x.replace(values=v)), x.values),
        "channel_dot": (
            lambda v: _channels.channel_dot(
                _kernels.ChannelDot(x.volume, "float64"), x.keys, x.values, None, v, None
            ),
            x.values,
        ),
        "channel_dot shift": (
            lambda m: (
                _channels.channel_dot(
                    _kernels.ChannelDot(x.volume, "float64"), x.keys, None, None, x.values, m
                )
                - _sums.channel_sum(x.volume, x.keys, x.values)
            ),
            scale,
        ),
        "channel_affine scale": (
            lambda s: _channels.channel_affine(x.volume, x.keys, x.values, scale, s, None),
            scale,
        ),
        "channel_affine ones": (
            lambda s: _channels.channel_affine(x.volume, x.keys, None, None, s, s),
            scale,
        ),
        "conv_at values": (
            lambda v: _bilinear.conv_at(geometry, x.keys, v, kernel, mask, y.keys),
            x.values,
        ),
        "conv_at kernel": (
            lambda k: _bilinear.conv_at(geometry, x.keys, x.values, k, None, y.keys),
            kernel,
        ),
        "input_grad kernel": (
            lambda k: _bilinear.input_grad(geometry, x.keys, k, mask, y.keys, gy),
            kernel,
        ),
        "input_grad cotangent": (
            lambda g: _bilinear.input_grad(geometry, x.keys, kernel, None, y.keys, g),
            gy,
        ),
        "kernel_grad values": (
            lambda v: _bilinear.kernel_grad(geometry, x.keys, v, mask, y.keys, gy),
            x.values,
        ),
        "kernel_grad cotangent": (
            lambda g: _bilinear.kernel_grad(geometry, x.keys, x.values, None, y.keys, g),
            gy,
        ),
    }


@pytest.mark.parametrize(
    "name",
    [
        "to_dense", "gather_dense", "take", "put_add", "channel_sum", "conv_at values",
        "conv_at kernel", "input_grad kernel", "input_grad cotangent", "kernel_grad values",
        "kernel_grad cotangent", "window_sum", "window_spread", "masked_scale", "global_avg_pool",
        "channel_dot", "channel_dot shift", "channel_affine scale", "channel_affine ones",
    ],
)  # fmt: skip
def test_transposes_are_adjoint_to_any_depth(name):
    with jax.enable_x64(True):
        function, argument = linear_maps()[name]
        u = normal(*argument.shape, dtype=np.float64, seed=11)
        out, transpose = jax.vjp(function, u)
        v = normal(*out.shape, dtype=np.float64, seed=12)
        np.testing.assert_allclose(jnp.vdot(out, v), jnp.vdot(u, transpose(v)[0]), rtol=1e-12)
        # The transpose of the transpose is the function.
        again = jax.vjp(lambda v: transpose(v)[0], v)[1](u)[0]
        np.testing.assert_allclose(again, out, rtol=1e-12, atol=1e-12)


# ---- Conventions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_gradients_have_the_dtype_of_their_operand(dtype):
    with jax.enable_x64(dtype == "float64"):
        params = parameters(jnp.dtype(dtype))
        x = image(dtype=jnp.dtype(dtype))
        gradients = jax.grad(lambda p, x: loss(p, x).astype(dtype), (0, 1))(params, x)
        assert {g.dtype.name for g in jax.tree.leaves(gradients)} == {dtype}
        assert jax.tree.map(jnp.shape, gradients) == jax.tree.map(jnp.shape, (params, x))


def test_unused_slots_and_masked_weights_have_no_gradient():
    x, mask = sparse(image(density=0.1), 20), some(3, 3, IN, OUT)

    def total(values, kernel):
        return jnp.sum(direct.conv(x.replace(values=values), kernel, mask=mask).values ** 2)

    values, kernel = jax.grad(total, (0, 1))(x.values, normal(3, 3, IN, OUT))
    assert not np.any(np.asarray(values)[np.asarray(x.keys) == x.volume])
    assert not np.any(np.asarray(kernel)[~np.asarray(mask)])
    assert np.any(np.asarray(values)) and np.any(np.asarray(kernel))


def test_bias_gradient_is_the_sum_over_kept_responses():
    x, kernel = sparse(image()), normal(3, 3, IN, OUT)
    weights = normal(2, OUT, 5)

    def total(bias):
        return jnp.sum(weights * direct.conv(x, kernel, bias, capacity=5).values)

    bias = normal(OUT)
    y = direct.conv(x, kernel, bias, capacity=5)
    kept = np.asarray(y.keys) < y.volume
    expected = np.where(kept, weights, 0).sum((0, 2))
    np.testing.assert_allclose(jax.grad(total)(bias), expected, rtol=1e-6)


def test_values_are_what_one_differentiates_with_respect_to():
    x = sparse(image())
    gradient = jax.grad(lambda values: jnp.sum(x.replace(values=values).to_dense() ** 2))(x.values)
    np.testing.assert_array_equal(gradient, 2 * x.values)
    whole = jax.grad(lambda x: jnp.sum(x.to_dense() ** 2), allow_int=True)(x)
    np.testing.assert_array_equal(whole.values, gradient)
    assert whole.keys.dtype == jax.dtypes.float0


@pytest.mark.parametrize(
    "duplicates, expected", [("sum", [1, 1, 1, 1]), ("max", [0, 1, 1, 1]), ("last", [0, 0, 1, 1])]
)
def test_gradient_of_points(duplicates, expected):
    coords = np.array([[0, 2], [0, 2], [0, 2], [0, 1]])
    values = jnp.array([1.0, 3.0, 2.0, 5.0])
    if duplicates == "max":
        expected = [0, 1, 0, 1]

    def total(values):
        x = SparseTensor.from_coords(
            coords, values, batch_size=1, spatial_shape=(4,), duplicates=duplicates
        )
        return jnp.sum(x.values)

    assert jax.grad(total)(values).tolist() == expected
    assert jax.jit(jax.grad(total))(values).tolist() == expected


def test_gradient_of_bcoo_reaches_its_data():
    matrix = sparse(image()).to_bcoo()

    def total(data):
        from jax.experimental import sparse as jsparse

        x = jsparse.BCOO((data, matrix.indices), shape=matrix.shape)
        return jnp.sum(SparseTensor.from_bcoo(x).values ** 2)

    np.testing.assert_array_equal(jax.grad(total)(matrix.data), 2 * matrix.data)


def test_dropped_entries_have_no_gradient():
    x = jnp.array([[[1.0], [-3.0], [0.0], [2.0]]])
    gradient = jax.grad(
        lambda x: jnp.sum(SparseTensor.from_dense(x, capacity=2, select="value").values)
    )
    assert gradient(x).ravel().tolist() == [1.0, 0.0, 0.0, 1.0]


# ---- Forward mode --------------------------------------------------------------------------------------------------------

FORWARD = {
    "jvp": lambda f, x: jax.jvp(f, (x,), (jnp.ones_like(x),)),
    "linearize": lambda f, x: jax.linearize(f, x)[1](x),
    "jacfwd": lambda f, x: jax.jacfwd(f)(x),
    "hessian": lambda f, x: jax.hessian(f)(x),
    "jvp of jit": lambda f, x: jax.jit(lambda x: jax.jvp(jax.jit(f), (x,), (x,)))(x),
}


@pytest.mark.parametrize("mode", FORWARD)
@pytest.mark.parametrize("name", NAMES)
def test_forward_mode_raises_a_type_error_that_says_so(name, mode):
    f = operations()[name]

    def total(x):
        y = f(x)
        return jnp.sum(y.to_dense() if name == "from_coords" else floats(y))  # points are plain JAX

    x = image()
    with pytest.raises(TypeError, match=r"forward-mode .*\(jvp\)"):
        FORWARD[mode](total, x)


def test_jacobians_and_hessians_by_reverse_mode():
    x, kernel = sparse(image(1, (4,)), 4), normal(3, IN, OUT)

    def f(kernel):
        return jnp.sum(jnp.sin(direct.conv(x, kernel).to_dense()))

    hessian = jax.jacrev(jax.jacrev(f))(kernel)
    size = kernel.size
    flat = hessian.reshape(size, size)
    np.testing.assert_allclose(flat, flat.T, rtol=1e-4, atol=1e-5)
