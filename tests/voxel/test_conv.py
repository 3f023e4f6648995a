"""The convolutions against the dense definitions: XLA's convolutions of the volume, and the oracle's with a background."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

from jaxsparse import voxel
from tests import oracle_voxel
from tests.voxel.common import BATCH, CASES, some_rows, tensor, window_of

LETTERS = "DHWXYZ"


def numbers(rng, *shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


def kernel_of(arguments, dims):
    """The window of a case, and what else its convolution takes."""
    rest = dict(arguments)
    size = rest.pop("kernel_size")
    return (size,) * dims if isinstance(size, int) else tuple(size), rest


def layout(dims):
    letters = LETTERS[:dims]
    return (f"N{letters}C", f"{letters}IO", f"N{letters}C")


def dense_conv(x, kernel, *, strides=1, padding="SAME", kernel_dilation=1, groups=1):
    """``lax.conv_general_dilated`` on NumPy's float64."""
    dims = kernel.ndim - 2
    each = functools.partial(np.broadcast_to, shape=(dims,))
    with jax.enable_x64(True):
        out = lax.conv_general_dilated(
            jnp.asarray(x, jnp.float64),
            jnp.asarray(kernel, jnp.float64),
            each(strides).tolist(),
            padding,
            rhs_dilation=each(kernel_dilation).tolist(),
            dimension_numbers=layout(dims),
            feature_group_count=groups,
        )
        return np.asarray(out)


def close(found, wanted, **tolerance):
    np.testing.assert_allclose(
        np.asarray(found, np.float64), wanted, **{"rtol": 1e-4, "atol": 1e-4, **tolerance}
    )


def case(name, rng, share=0.3, channels=3, spare=2, background=None):
    """(x with unused rows, its rows, spatial shape, window, further arguments)"""
    spatial, arguments = CASES[name]
    window, rest = kernel_of(arguments, len(spatial))
    rows = some_rows(rng, spatial, share=share)
    features = numbers(rng, len(rows), channels)
    capacity = len(rows) + spare
    x = tensor(rows, spatial, features, capacity=capacity, background=background)
    return x, rows, spatial, window, rest


# in, out, groups
CHANNELS = [(3, 17, 1), (18, 12, 2), (4, 4, 4)]


@pytest.mark.core
@pytest.mark.parametrize("name", CASES)
def test_conv_is_the_dense_convolution(name, rng):
    channels, out, groups = CHANNELS[list(CASES).index(name) % len(CHANNELS)]
    x, rows, _, window, rest = case(name, rng, channels=channels)
    kernel = numbers(rng, *window, channels // groups, out)
    y = voxel.conv(x, jnp.asarray(kernel), **rest, feature_group_count=groups)
    assert not bool(y.overflow) and y.validate() is y
    dense = dense_conv(x.to_dense(), kernel, **rest, groups=groups)
    close(y.to_dense(), dense)
    reached = oracle_voxel.reached(rows, window_of(*CASES[name]))
    np.testing.assert_array_equal(y.coords[: int(y.count)], reached)


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("name", ["1d even", "2d uneven", "3d stride"])
def test_empty_lists_and_full_volumes(name, share, rng):
    x, _, _, window, rest = case(name, rng, share=share)
    kernel, bias = numbers(rng, *window, 3, 5), numbers(rng, 5)
    y = voxel.conv(x, jnp.asarray(kernel), jnp.asarray(bias), **rest)
    assert y.validate() is y and int(y.count) == (0 if share == 0 else y.batch_size * y.volume)
    dense = dense_conv(x.to_dense(), kernel, **rest)
    close(y.to_dense(), dense + bias if share else dense)


def test_one_row(rng):
    x = tensor(np.array([[1, 2, 0]], np.int32), (4, 3), numbers(rng, 1, 2))
    kernel = numbers(rng, 3, 3, 2, 1)
    close(voxel.conv(x, jnp.asarray(kernel)).to_dense(), dense_conv(x.to_dense(), kernel))


def test_bias_goes_to_active_sites_only_and_a_cut_list_keeps_the_first(rng):
    x, rows, _, window, rest = case("2d", rng)
    kernel, bias = numbers(rng, *window, 3, 4), numbers(rng, 4)
    reached = oracle_voxel.reached(rows, window_of(*CASES["2d"]))
    wanted = oracle_voxel.conv_rows(rows, x.features[: len(rows)], kernel, reached, window_of(*CASES["2d"]), BATCH)  # fmt: skip
    for capacity in (len(reached) + 3, len(reached) - 7):
        y = voxel.conv(x, jnp.asarray(kernel), jnp.asarray(bias), **rest, capacity=capacity)
        assert int(y.count) == len(reached) and y.capacity == capacity and y.validate() is y
        close(y.features[: len(reached)], (wanted + bias)[:capacity])


@pytest.mark.core
@pytest.mark.parametrize("window", [(3, 3), (2, 4), (1, 1)])
@pytest.mark.parametrize("channels, out, groups", CHANNELS)
def test_submanifold_conv_is_the_dense_one_at_its_sites(window, channels, out, groups, rng):
    for dilation in (1, 2):
        x, rows, _, _, _ = case("2d", rng, channels=channels)
        kernel = numbers(rng, *window, channels // groups, out)
        bias = numbers(rng, out)
        y = voxel.submanifold_conv(
            x, jnp.asarray(kernel), jnp.asarray(bias), kernel_dilation=dilation,
            feature_group_count=groups,
        )  # fmt: skip
        assert y.validate() is y
        np.testing.assert_array_equal(y.coords, x.coords)
        dense = dense_conv(x.to_dense(), kernel, kernel_dilation=dilation, groups=groups)
        close(y.features[: len(rows)], dense[tuple(rows.T)] + bias)


@pytest.mark.core
@pytest.mark.parametrize(
    "name",
    ["1d even", "1d stride above the kernel", "2d uneven", "2d pool 3/2", "2d explicit", "2d negative padding", "3d stride", "4d"],
)  # fmt: skip
def test_conv_transpose_is_that_of_lax(name, rng):
    x, _, spatial, window, rest = case(name, rng)
    rest = {"strides": 1, **rest}
    dims = len(spatial)
    if (
        not isinstance(rest.get("padding", "SAME"), str)
        and min(min(p) for p in rest["padding"]) < 0
    ):
        rest["padding"] = tuple((low + 1, high + 1) for low, high in rest["padding"])
    kernel = numbers(rng, *window, 3, 4)
    y = voxel.conv_transpose(x, jnp.asarray(kernel), **rest)
    each = functools.partial(np.broadcast_to, shape=(dims,))
    dense = lax.conv_transpose(
        x.to_dense(),
        jnp.asarray(kernel),
        each(rest["strides"]).tolist(),
        rest.get("padding", "SAME"),
        rhs_dilation=each(rest.get("kernel_dilation", 1)).tolist(),
        dimension_numbers=layout(dims),
        precision="highest",
    )
    assert y.validate() is y
    close(y.to_dense(), dense)


@pytest.mark.parametrize(
    "name, groups",
    [("1d even", 1), ("1d stride", 2), ("2d uneven", 1), ("2d negative padding", 2), ("2d pool 3/2", 1), ("3d stride", 2), ("4d", 1)],
)  # fmt: skip
def test_inverse_conv_is_the_adjoint_placement(name, groups, rng):
    """With its channels transposed the kernel gives the gradient of the dense convolution."""
    fine, rows, spatial, window, rest = case(name, rng, channels=4)
    forward = numbers(rng, *window, 4 // groups, 6)
    coarse = voxel.conv(fine, jnp.asarray(forward), **rest, feature_group_count=groups)
    back = forward.reshape(*window, 4 // groups, groups, 6 // groups)
    back = back.swapaxes(-3, -1).reshape(*window, 6 // groups, 4)
    strides = rest.pop("strides", 1)
    found = voxel.inverse_conv(
        coarse, jnp.asarray(back), onto=fine, strides=strides, **rest, feature_group_count=groups
    )
    assert found.validate() is found
    np.testing.assert_array_equal(found.coords, fine.coords)
    with jax.enable_x64(True):
        dims = len(spatial)
        each = functools.partial(np.broadcast_to, shape=(dims,))
        _, pull = jax.vjp(
            lambda x: lax.conv_general_dilated(
                x,
                jnp.asarray(forward, jnp.float64),
                each(strides).tolist(),
                rest.get("padding", "SAME"),
                rhs_dilation=each(rest.get("kernel_dilation", 1)).tolist(),
                dimension_numbers=layout(dims),
                feature_group_count=groups,
            ),
            jnp.zeros((BATCH, *spatial, 4), jnp.float64),
        )
        (dense,) = pull(jnp.asarray(np.asarray(coarse.to_dense()), jnp.float64))
        dense = np.asarray(dense)
    close(found.features[: len(rows)], dense[tuple(rows.T)])


def test_convolution_onto_given_sites(rng):
    x, _, _, window, _ = case("2d", rng)
    target = some_rows(rng, (3, 4), share=0.7)
    onto = tensor(target, (3, 4), capacity=len(target) + 4)
    kernel, bias = numbers(rng, *window, 3, 2), numbers(rng, 2)
    y = voxel.conv(x, jnp.asarray(kernel), jnp.asarray(bias), strides=2, onto=onto)
    assert y.validate() is y
    np.testing.assert_array_equal(y.coords, onto.coords)
    dense = dense_conv(x.to_dense(), kernel, strides=2)
    close(y.features[: len(target)], dense[tuple(target.T)] + bias)
    up = voxel.conv_transpose(onto, jnp.asarray(numbers(rng, 2, 2, 1, 3)), strides=2, onto=tensor(some_rows(rng, (6, 8)), (6, 8)))  # fmt: skip
    assert up.spatial_shape == (6, 8) and up.validate() is up


# ---- Ground state ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, groups",
    [("1d even", 1), ("2d uneven", 2), ("2d explicit", 1), ("2d negative padding", 2), ("3d stride", 1)],
)  # fmt: skip
def test_with_a_background_all_of_it_is_the_dense_convolution(name, groups, rng):
    ground = numbers(rng, 4)
    x, _, _, window, rest = case(name, rng, channels=4, background=ground)
    kernel, bias = numbers(rng, *window, 4 // groups, 6), numbers(rng, 6)
    y = voxel.conv(x, jnp.asarray(kernel), jnp.asarray(bias), **rest, feature_group_count=groups)
    assert y.validate() is y
    dense = oracle_voxel.dense_conv(x.to_dense(), kernel, window_of(*CASES[name]), groups, ground)
    close(y.to_dense(), dense + bias)
    close(y.background, oracle_voxel.background_conv(ground, kernel, groups) + bias)


def chain(x, layers):
    for kernel, bias, strides in layers:
        x = voxel.conv(x, kernel, bias, strides=strides)
        x = x.replace(features=jax.nn.relu(x.features), background=jax.nn.relu(x.background))
    return x


def padded_chain(x, ground, layers):
    for kernel, bias, strides in layers:
        w = oracle_voxel.window(x.shape[1:-1], kernel.shape[:-2], strides)
        x = np.maximum(oracle_voxel.dense_conv(x, kernel, w, background=ground) + bias, 0)
        ground = np.maximum(oracle_voxel.background_conv(ground, kernel) + bias, 0)
    return x, ground


@pytest.mark.core
def test_a_chain_of_four_layers_equals_the_padded_dense_network_everywhere(rng):
    rows = some_rows(rng, (7, 9), share=0.1)
    ground = numbers(rng, 2)
    x = tensor(rows, (7, 9), numbers(rng, len(rows), 2), capacity=len(rows) + 5, background=ground)
    shapes = [((3, 3, 2, 5), 1), ((3, 3, 5, 4), 2), ((2, 2, 4, 6), 1), ((3, 2, 6, 3), 2)]
    layers = [(numbers(rng, *s) / 3, numbers(rng, s[-1]) / 3, strides) for s, strides in shapes]
    y = jax.jit(lambda x: chain(x, layers))(x)
    dense, last = padded_chain(np.asarray(x.to_dense()), ground, layers)
    assert int(y.count) < y.batch_size * y.volume  # some of it is background
    close(y.to_dense(), dense)
    close(y.background, last)


# ---- Derivatives ---------------------------------------------------------------------------------------------------------


def test_gradients_are_those_of_differences_to_second_order(rng):
    with jax.enable_x64(True):
        rows = some_rows(rng, (4, 5), share=0.4)
        x = tensor(
            rows, (4, 5), numbers(rng, len(rows), 4, dtype=np.float64), capacity=len(rows) + 2
        )
        kernel, bias, ground = (
            numbers(rng, *s, dtype=np.float64) for s in ((3, 2, 2, 6), (6,), (4,))
        )

        def through(features, kernel, bias, ground, back):
            y = voxel.conv(
                x.replace(features=features, background=ground), kernel, bias, strides=(1, 2),
                kernel_dilation=(1, 2), feature_group_count=2,
            )  # fmt: skip
            z = voxel.inverse_conv(
                y.without_background(), back, onto=x, strides=(1, 2), kernel_dilation=(1, 2)
            )
            return jnp.sin(y.features).sum() + jnp.sin(y.background).sum() + jnp.cos(z.features).sum()  # fmt: skip

        arguments = (
            x.features,
            kernel,
            bias,
            ground,
            0.3 * numbers(rng, 3, 2, 6, 2, dtype=np.float64),
        )
        check_grads(through, arguments, order=2, modes=["rev"], atol=1e-5, rtol=1e-5)

        def upwards(features, kernel):
            y = voxel.conv_transpose(x.replace(features=features), kernel, strides=2)
            z = voxel.submanifold_conv(y, kernel[:1, :, :, :].swapaxes(-1, -2)[..., :4])
            return jnp.sin(y.features).sum() + jnp.sin(z.features).sum()

        arguments = x.features, 0.3 * numbers(rng, 2, 2, 4, 4, dtype=np.float64)
        check_grads(upwards, arguments, order=2, modes=["rev"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_gradients_are_the_dense_ones(groups, rng):
    x, rows, _, window, rest = case("3d stride", rng, channels=4)
    kernel = jnp.asarray(numbers(rng, *window, 4 // groups, 8))
    wanted = dense_conv(x.to_dense(), kernel, **rest, groups=groups)
    cotangent = jnp.asarray(numbers(rng, *wanted.shape))

    def loss(features, kernel):
        y = voxel.conv(x.replace(features=features), kernel, **rest, feature_group_count=groups)
        return jnp.vdot(y.to_dense(), cotangent)

    def dense_loss(dense, kernel):
        y = lax.conv_general_dilated(
            dense, kernel, (2, 2, 2), "SAME", dimension_numbers=layout(3),
            feature_group_count=groups, precision="highest",
        )  # fmt: skip
        return jnp.vdot(y, cotangent)

    to_features, to_kernel = jax.grad(loss, (0, 1))(x.features, kernel)
    dense, dense_kernel = jax.grad(dense_loss, (0, 1))(x.to_dense(), kernel)
    close(to_kernel, dense_kernel)
    close(to_features[: len(rows)], dense[tuple(rows.T)])
    assert not to_features[len(rows) :].any()  # unused rows


def test_forward_mode_says_that_there_is_none(rng):
    x, _, _, window, rest = case("1d", rng)
    kernel = jnp.asarray(numbers(rng, *window, 3, 2))
    with pytest.raises(TypeError, match="jvp"):
        jax.jvp(lambda k: voxel.conv(x, k, **rest).features, (kernel,), (kernel,))
