"""OctNet3: twins from one definition, bounded densities, the sizes of Table 4."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsparse import direct, models, nn

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


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize(
    ("size", "dims", "classes", "convolutions", "connected"),
    [
        (16, 3, 40, 21_024, 8_430_632),
        (24, 2, 10, 7_056, 12 * 12 * 16 * 1024 + 1024 + 10_250),
        (28, 2, 10, 7_056, 14 * 14 * 16 * 1024 + 1024 + 10_250),
        (32, 3, 40, 62_568, 12_624_936),
        (64, 3, 40, 138_696, 16_819_240),
        (128, 3, 40, 259_776, 21_013_544),
        (256, 3, 40, 436_176, 25_207_848),
    ],
)
def test_parameters_of_table_4(size, dims, classes, convolutions, connected, sparse):
    """The counts of the authors' own networks; those of the fully connected layers are printed there in millions."""
    # Shapes alone: drawing the random numbers of eight million weights takes seconds.
    model = nnx.eval_shape(
        lambda: models.OctNet3((size,) * dims, classes, sparse=sparse, rngs=nnx.Rngs(0))
    )
    assert count(nnx.state(model.convs, nnx.Param)) == convolutions
    assert count(nnx.state((model.hidden, model.logits), nnx.Param)) == connected


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
def test_networks_end_at_eight_voxels_a_dimension(size):
    graph, state = nnx.split(
        nnx.eval_shape(lambda: models.OctNet3((size,) * 3, 40, rngs=nnx.Rngs(0)))
    )
    outputs = {}

    def trace(state, image):
        model = nnx.merge(graph, state)
        model.eval()
        outputs.update(model.activations(image))

    jax.eval_shape(trace, state, jax.ShapeDtypeStruct((1, size, size, size, 1), jnp.float32))
    sparse = {k: x for k, x in outputs.items() if isinstance(x, direct.SparseTensor)}
    last = list(outputs.values())[-1]
    assert (last.spatial_shape if size <= 32 else last.shape[1:-1]) == (8, 8, 8)
    assert sum(name.startswith("conv") for name in sparse) == (6 if size == 16 else 9)
    # A pooling layer stores what is left of the volume at most.
    assert all(x.capacity <= x.volume for x in sparse.values())


SMALL_SOLID = {"stages": ((4, 4), (6,)), "dense_stages": ((5, 5), (3,)), "hidden": 16}


@pytest.mark.parametrize(
    ("shape", "options"),
    [((16,) * 3, {"hidden": 16}), ((32,) * 3, {"hidden": 4}), ((11, 8, 9), SMALL_SOLID)],
    ids=str,
)
def test_twins_of_solids_agree_at_density_one_without_bias(shape, options):
    options = {"use_bias": False, "rngs": nnx.Rngs(0), **options}
    sparse = models.OctNet3(shape, 5, **options)
    dense = models.OctNet3(shape, 5, sparse=False, **options)
    nnx.update(dense, nnx.state(sparse, nnx.Param))
    sparse.eval()
    dense.eval()
    rng = np.random.default_rng(0)
    x = jnp.asarray((rng.random((1, *shape, 1)) < 0.1).astype(np.float32))

    @nnx.jit
    def run(model, x):
        outputs = model.activations(x)
        last = list(outputs.values())[-1]
        return {name: nn.to_dense(y) for name, y in outputs.items()}, model.head(last)

    for found, expected in zip(run(sparse, x), run(dense, x), strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)


def test_presets_of_the_appendix():
    def bounds(shape, preset):
        options = {"hidden": 1, "densities": preset}
        model = nnx.eval_shape(lambda: models.OctNet3(shape, 2, **options, rngs=nnx.Rngs(0)))
        return tuple(conv.density_bound for conv in model.convs if hasattr(conv, "density_bound"))

    def three(*rho):
        return tuple(bound for bound in rho for _ in range(3))

    assert bounds((32,) * 3, "modelnet40") == three(0.14, 0.33, 0.66)
    assert bounds((128,) * 3, "modelnet40") == three(0.02, 0.06, 0.14)
    assert bounds((256,) * 3, "scannet-extreme") == three(0.01, 0.03, 0.07)
    assert bounds((16,) * 3, "modelnet40-0.12") == three(0.12, 0.24)
    assert bounds((24, 24), "mnist-0.035") == three(0.035, 0.07)
    for by_size in models.OCTNET3_DENSITIES.values():
        for size, rho in by_size.items():
            assert len(rho) == (2 if size < 32 else 3) and all(0 < r <= 1 for r in rho)


def test_dropout_only_while_training():
    model = models.octnet3_24(rho1=0.2, hidden=32, rngs=nnx.Rngs(0))
    x = digit_like(2, 28)
    first = model(x, rngs=nnx.Rngs(dropout=1))
    second = model(x, rngs=nnx.Rngs(dropout=2))
    assert (np.asarray(first) != np.asarray(second)).any()
    model.eval()
    np.testing.assert_array_equal(model(x), model(x))


def test_a_dropout_stream_of_its_own():
    """Only where the constructor was given one by name; the call's takes precedence."""
    options = {"rho1": 0.2, "hidden": 32}
    named = models.octnet3_24(**options, rngs=nnx.Rngs(params=0, dropout=3))
    plain = models.octnet3_24(**options, rngs=nnx.Rngs(params=0))
    assert not nnx.to_flat_state(
        nnx.state(models.octnet3_24(**options, rngs=nnx.Rngs(0)), nnx.RngState)
    )
    weights = (nnx.to_pure_dict(nnx.state(model, nnx.Param)) for model in (named, plain))
    jax.tree.map(np.testing.assert_array_equal, *weights)
    x = digit_like(2, 28)
    call = nnx.Rngs(dropout=1), nnx.Rngs(dropout=1)
    np.testing.assert_array_equal(named(x, rngs=call[0]), plain(x, rngs=call[1]))
    first, second = named(x), named(x)
    assert (np.asarray(first) != np.asarray(second)).any()
    with pytest.raises(ValueError, match="in training mode, here or in the constructor, got None"):
        plain(x)


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
        models.OctNet3((16, 16, 16), 10, densities=(0.1,), rngs=nnx.Rngs(0))
    with pytest.raises(
        ValueError,
        match=r"stages must be given .* \(there: \(16, 16, 16\), .* got None and \(8, 8, 8\)",
    ):
        models.OctNet3((8, 8, 8), 10, rngs=nnx.Rngs(0))
    with pytest.raises(
        ValueError,
        match=r"densities must .* preset .*'modelnet40', .* got 'imagenet', which is none",
    ):
        models.OctNet3((16, 16, 16), 10, densities="imagenet", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"'scannet-extreme'.*'modelnet40', which has no bounds"):
        models.OctNet3((256,) * 3, 10, densities="modelnet40", rngs=nnx.Rngs(0))
    model = models.octnet3_24(hidden=8, rngs=nnx.Rngs(0))
    with pytest.raises(
        ValueError, match=r"x must be of shape \[batch, 28, 28, 1\], got shape \(1, 24, 24, 1\)"
    ):
        model(digit_like(1, 24))
    twin = models.octnet3_24(hidden=8, sparse=False, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="got a SparseTensor"):
        twin(direct.SparseTensor.from_dense(digit_like(1, 28), density=1.0))
