"""resize_mask: a coarse pixel has the largest of its fine ones, a fine one that of its coarse pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import nn

pytestmark = pytest.mark.core


@pytest.mark.parametrize("dtype", [bool, np.float32])
@pytest.mark.parametrize(
    "coarse, fine, factor", [((3, 4), (5, 8), (2, 2)), ((2, 7), (11, 7), (6, 1))]
)
def test_both_ways(rng, dtype, coarse, fine, factor):
    mask = (rng.normal(size=(2, *fine)) - 1.0).astype(np.float32)
    mask = mask > 0 if dtype is bool else mask
    wanted = np.zeros((2, *coarse), mask.dtype)
    for i, j in np.ndindex(*coarse):
        f, g = factor
        wanted[:, i, j] = mask[:, i * f : (i + 1) * f, j * g : (j + 1) * g].max((1, 2))
    found = nn.resize_mask(mask, coarse)
    assert found.dtype == mask.dtype
    np.testing.assert_array_equal(found, wanted)
    back = wanted.repeat(factor[0], 1).repeat(factor[1], 2)[:, : fine[0], : fine[1]]
    np.testing.assert_array_equal(nn.resize_mask(found, fine), back)
    np.testing.assert_array_equal(nn.resize_mask(mask, fine), mask)


def test_gradient():
    gradient = jax.grad(lambda m: jnp.sum(nn.resize_mask(m, (2,)) * jnp.array([[1.0, 2.0]])))
    assert gradient(jnp.array([[0.5, 0.1, 0.3]])).tolist() == [[1.0, 0.0, 2.0]]
