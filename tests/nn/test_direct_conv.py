"""DirectConv: what nnx.Conv computes where nothing is cut, and the layer's own state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsparse import direct, nn

pytestmark = pytest.mark.core


def image(shape, key=0, density=0.3):
    rng = np.random.default_rng(key)
    x = rng.normal(size=shape).astype(np.float32)
    return jnp.asarray(np.where(rng.random(shape) < density, x, 0))


@pytest.mark.parametrize(
    ("spatial", "options"),
    [
        ((9,), {}),
        ((9, 7), {"strides": 2}),
        ((9, 7), {"padding": "VALID", "kernel_dilation": (2, 1)}),
        ((5, 6, 4), {"padding": [(1, 0), (2, 2), (0, 1)], "strides": [1, 2, 1]}),
    ],
)
def test_equals_nnx_conv_without_bias(spatial, options):
    kernel = (3,) * len(spatial)
    dense = nnx.Conv(3, 4, kernel, use_bias=False, **options, rngs=nnx.Rngs(1))
    sparse = nn.DirectConv(3, 4, kernel, use_bias=False, **options, rngs=nnx.Rngs(2))
    sparse.kernel[...] = dense.kernel[...]
    x = image((2, *spatial, 3))
    y = nnx.jit(lambda layer, x: layer(x))(sparse, direct.SparseTensor.from_dense(x, density=1.0))
    np.testing.assert_allclose(y.to_dense(), dense(x), atol=1e-5)


def test_same_parameters_as_nnx_conv():
    dense = nnx.state(nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(7)), nnx.Param)
    sparse = nnx.state(nn.DirectConv(3, 4, (3, 3), rngs=nnx.Rngs(7)), nnx.Param)
    jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(sparse), nnx.to_pure_dict(dense))


def test_bias_on_active_responses_only():
    layer = nn.DirectConv(1, 2, (3, 3), bias_init=nnx.initializers.constant(5.0), rngs=nnx.Rngs(0))
    x = jnp.zeros((1, 9, 9, 1)).at[0, 4, 4, 0].set(1.0)
    y = layer(direct.SparseTensor.from_dense(x, density=1.0))
    assert y.nnz.tolist() == [[9, 9]]
    dense = np.asarray(y.to_dense())
    assert (dense[0, 0, 0] == 0).all() and (dense[0, 4, 4] != 0).all()


def test_mask_takes_weights_out_of_result_and_gradient():
    mask = jnp.zeros((3, 3, 1, 2), bool).at[1, 1, 0, 0].set(True)
    layer = nn.DirectConv(1, 2, (3, 3), mask=mask, use_bias=False, rngs=nnx.Rngs(0))
    x = direct.SparseTensor.from_dense(image((1, 6, 6, 1)), density=1.0)

    @nnx.jit
    def gradient(layer, x):
        return nnx.grad(lambda layer: layer(x).values.sum())(layer)

    assert np.asarray(layer(x).nnz)[0, 1] == 0
    kernel = np.asarray(gradient(layer, x)["kernel"][...])
    assert kernel[1, 1, 0, 0] != 0
    assert np.count_nonzero(kernel) == 1


def test_density_is_what_was_found_before_the_cut():
    layer = nn.DirectConv(
        1, 1, (1, 1), kernel_init=nnx.initializers.ones_init(), capacity=2, rngs=nnx.Rngs(0)
    )
    x = jnp.zeros((2, 4, 5, 1)).at[0, 0].set(1.0).at[1, 0, 0].set(1.0)
    y = layer(direct.SparseTensor.from_dense(x, density=1.0))
    assert y.keys.shape == (2, 1, 2)
    np.testing.assert_allclose(layer.density[...], [(5 + 1) / 2 / 20])


def test_eval_records_nothing_and_closes_over():
    layer = nn.DirectConv(1, 2, (3, 3), density=0.5, rngs=nnx.Rngs(0))
    layer.eval()
    x = direct.SparseTensor.from_dense(image((3, 6, 6, 1)), density=1.0)
    y = jax.jit(lambda x: layer(x).values)(x)
    assert y.shape == (3, 2, 18)
    assert not np.asarray(layer.density[...]).any()
    layer.train()
    layer(x)
    assert np.asarray(layer.density[...]).all()
    assert nnx.view(layer, use_running_average=True).use_running_average


def test_state_kinds():
    layer = nn.DirectConv(1, 2, (3, 3), rngs=nnx.Rngs(0))
    params, masks, densities, rest = nnx.state(layer, nnx.Param, nn.PruningMask, nn.Density, ...)
    assert set(params) == {"kernel", "bias"}
    assert masks["mask"][...].dtype == jnp.bool_ and masks["mask"][...].all()
    assert densities["density"][...].shape == (2,)
    assert not rest


def test_trains_under_nnx_jit_with_one_compilation():
    layer = nn.DirectConv(1, 2, (3, 3), density=0.4, select="relu", rngs=nnx.Rngs(0))
    x = direct.SparseTensor.from_dense(image((3, 6, 6, 1)), density=1.0)
    traces = []

    @nnx.jit
    def step(layer, x):
        traces.append(1)
        grads = nnx.grad(lambda layer: (layer(x).values ** 2).sum())(layer)
        nnx.update(
            layer, jax.tree.map(lambda p, g: p - 1e-3 * g, nnx.state(layer, nnx.Param), grads)
        )

    before = np.asarray(layer.kernel[...])
    step(layer, x)
    step(layer, x)
    assert len(traces) == 1
    assert (np.asarray(layer.kernel[...]) != before).any()
    assert np.asarray(layer.density[...]).any()


def test_dtype_casts_as_nnx_conv_does():
    layer = nn.DirectConv(1, 2, (3, 3), dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    x = direct.SparseTensor.from_dense(image((1, 6, 6, 1)), density=1.0)
    assert layer(x).values.dtype == jnp.bfloat16
    assert layer.kernel[...].dtype == jnp.float32


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"capacity": 3, "density": 0.1}, ValueError, "capacity=3 and density=0.1"),
        ({"mask": np.ones((3, 3, 1, 2))}, TypeError, "mask must be of dtype bool, got float"),
        (
            {"mask": np.ones((3, 3, 2, 1), bool)},
            ValueError,
            r"\(3, 3, 1, 2\) .*got shape \(3, 3, 2, 1\)",
        ),
    ],
)
def test_bad_arguments(options, error, text):
    with pytest.raises(error, match=text):
        nn.DirectConv(1, 2, (3, 3), **options, rngs=nnx.Rngs(0))


def test_bad_inputs():
    layer = nn.DirectConv(1, 2, (3, 3), rngs=nnx.Rngs(0))
    wording = r"x must be a direct\.SparseTensor, got an array of shape \(1, 6, 6, 1\); direct"
    for call in (layer, jax.jit(layer)):  # a tracer is an array, too
        with pytest.raises(TypeError, match=wording):
            call(jnp.zeros((1, 6, 6, 1)))
    with pytest.raises(ValueError, match="channel"):
        layer(direct.SparseTensor.from_dense(image((1, 6, 6, 3)), density=1.0))
    with pytest.raises(ValueError, match=r"spatial|dimension"):
        layer(direct.SparseTensor.from_dense(image((1, 6, 6, 6, 1)), density=1.0))
