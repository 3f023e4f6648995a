"""OctNet3: twins from one definition, bounded densities, the sizes of Table 4."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsparse import direct, models

pytestmark = pytest.mark.core


def digit_like(batch, size, key=0):
    rng = np.random.default_rng(key)
    x = rng.random((batch, size, size, 1)).astype(np.float32)
    return jnp.asarray(np.where(rng.random(x.shape) < 0.2, x, 0))


def count(state):
    return sum(leaf.size for leaf in jax.tree.leaves(state))


def test_twins_have_the_same_parameters():
    sparse = nnx.state(models.octnet3_24(rho1=0.05, hidden=16, rngs=nnx.Rngs(0)), nnx.Param)
    dense = nnx.state(models.octnet3_24(sparse=False, hidden=16, rngs=nnx.Rngs(0)), nnx.Param)
    jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(sparse), nnx.to_pure_dict(dense))


@pytest.mark.parametrize("size", [24, 27, 28])
@pytest.mark.parametrize("select", ["relu", "value", "magnitude"])
def test_twins_agree_at_density_one_without_bias(size, select):
    options = {"use_bias": False, "hidden": 32, "rngs": nnx.Rngs(0)}
    sparse = models.octnet3_24(size, rho1=1.0, select=select, **options)
    dense = models.octnet3_24(size, sparse=False, **options)
    nnx.update(dense, nnx.state(sparse, nnx.Param))
    sparse.eval()
    dense.eval()
    x = digit_like(2, size)
    np.testing.assert_allclose(sparse(x), dense(x), atol=1e-5)
    for name, value in dense.activations(x).items():
        ours = sparse.activations(x)[name]
        np.testing.assert_allclose(ours.to_dense(), value, atol=1e-5, err_msg=name)


def test_densities_are_bounded_layer_by_layer():
    model = models.octnet3_24(rho1=0.05, input_density=0.3, rngs=nnx.Rngs(0))
    model.eval()
    outputs = model.activations(digit_like(3, 28))
    assert list(outputs) == [
        "input", "conv1", "conv2", "conv3", "pool1", "conv4", "conv5", "conv6",
    ]  # fmt: skip
    capacities = {name: x.keys.shape[-1] for name, x in outputs.items()}
    assert capacities == {
        "input": 236, "conv1": 40, "conv2": 40, "conv3": 40, "pool1": 40,
        "conv4": 20, "conv5": 20, "conv6": 20,
    }  # fmt: skip
    assert outputs["pool1"].spatial_shape == (14, 14)
    for x in outputs.values():
        assert (np.asarray(x.stored) <= x.keys.shape[-1]).all()


def test_sizes_of_table_4():
    # Shapes alone: drawing the random numbers of eight million weights takes seconds.
    image = nnx.eval_shape(lambda: models.octnet3_24(rngs=nnx.Rngs(0)))
    kernels = 9 * (1 * 8 + 8 * 8 + 8 * 8 + 8 * 16 + 16 * 16 + 16 * 16)
    assert count(nnx.state(image.convs, nnx.Param)) == kernels + 3 * 8 + 3 * 16

    solid = nnx.eval_shape(
        lambda: models.OctNet3(
            (16, 16, 16), 40, densities=(0.06, 0.12), use_bias=False, rngs=nnx.Rngs(0)
        )
    )
    assert count(nnx.state(solid.convs, nnx.Param)) == 27 * (8 + 64 + 64 + 128 + 256 + 256)
    head = 16 * 8**3 * 1024 + 1024 + 1024 * 40 + 40
    assert count(nnx.state((solid.hidden, solid.logits), nnx.Param)) == head


def test_dropout_only_while_training():
    model = models.octnet3_24(rho1=0.2, hidden=32, rngs=nnx.Rngs(0))
    x = digit_like(2, 28)
    first = model(x, rngs=nnx.Rngs(dropout=1))
    second = model(x, rngs=nnx.Rngs(dropout=2))
    assert (np.asarray(first) != np.asarray(second)).any()
    model.eval()
    np.testing.assert_array_equal(model(x), model(x))


def test_takes_a_sparse_tensor():
    model = models.octnet3_24(rho1=0.2, hidden=32, rngs=nnx.Rngs(0))
    model.eval()
    x = digit_like(2, 28)
    np.testing.assert_array_equal(model(direct.SparseTensor.from_dense(x, density=1.0)), model(x))


def test_gradient_reaches_every_parameter():
    model = models.octnet3_24(rho1=0.2, hidden=32, rngs=nnx.Rngs(0))
    x = digit_like(4, 28)

    @nnx.jit
    def gradient(model, x):
        return nnx.grad(lambda m: (m(x, rngs=nnx.Rngs(dropout=0)) ** 2).sum())(model)

    for path, leaf in nnx.to_flat_state(gradient(model, x)):
        values = np.asarray(leaf[...])
        assert np.isfinite(values).all() and values.any(), path


def test_errors():
    with pytest.raises(
        ValueError, match="densities must be a sequence of 2 densities, one a stage"
    ):
        models.OctNet3((8, 8), 10, densities=(0.1,), rngs=nnx.Rngs(0))
    model = models.octnet3_24(hidden=8, rngs=nnx.Rngs(0))
    with pytest.raises(
        ValueError, match=r"x must be of shape \[batch, 28, 28, 1\], got shape \(1, 24, 24, 1\)"
    ):
        model(digit_like(1, 24))
    twin = models.octnet3_24(hidden=8, sparse=False, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="got a SparseTensor"):
        twin(direct.SparseTensor.from_dense(digit_like(1, 28), density=1.0))
