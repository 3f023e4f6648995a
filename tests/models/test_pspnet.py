"""PSPNet: its size, its pyramid, its resolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsparse import models
from jaxsparse.models.pspnet import _averages
from tests.models.test_block_detector import count


def unit(n, out, projection):
    return 9 * n * out + 9 * out * out + projection * n * out + 2 * (n + out)


def test_parameters_of_the_papers_size():
    stages = (
        2 * unit(32, 32, False)
        + unit(32, 64, True) + unit(64, 64, False)
        + unit(64, 128, True) + unit(128, 128, False)
        + unit(128, 256, True) + unit(256, 256, False)
    )  # fmt: skip
    pyramid = 4 * (256 * 64 + 2 * 64)
    fusion = 9 * 512 * 64 + 2 * 64
    wanted = 9 * 33 * 32 + stages + 2 * 256 + pyramid + fusion + 64 + 1
    assert count(lambda: models.PSPNet(rngs=nnx.Rngs(0))) == wanted


def test_resolution_of_the_papers_size():
    """Shapes only: a mask pixel is 8 x 8 of the map's; with an odd rest as well."""
    model = nnx.eval_shape(lambda: models.PSPNet(rngs=nnx.Rngs(0)))
    model.eval()
    graph, state = nnx.split(model)
    for shape, wanted in (((800, 1400), (100, 175)), ((81, 95), (11, 12))):
        x = jax.ShapeDtypeStruct((1, *shape, 33), jnp.float32)
        y = jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x), state, x)
        assert y.shape == (1, *wanted)


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_averages_over_parts(rng, bins):
    x = rng.normal(size=(2, 7, 5, 3)).astype(np.float32)
    y = _averages(jnp.asarray(x), bins)
    assert y.shape == (2, bins, bins, 3)
    for i in range(bins):
        for j in range(bins):
            rows = slice(int(np.floor(i * 7 / bins)), int(np.ceil((i + 1) * 7 / bins)))
            columns = slice(int(np.floor(j * 5 / bins)), int(np.ceil((j + 1) * 5 / bins)))
            wanted = x[:, rows, columns].mean((1, 2))
            np.testing.assert_allclose(y[:, i, j], wanted, rtol=1e-4, atol=1e-6)
