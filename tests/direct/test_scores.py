"""Scores of entries: integers of the order of the values, for every rule, inside jit and out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse._core import entries

SPECIAL = [np.nan, np.inf, 2.5, 1e-40, 1e-45, 0.0, -0.0, -1e-45, -1e-40, -2.5, -np.inf, -np.nan]


def by_definition(values: np.ndarray, select: str) -> np.ndarray:
    """What scores are ordered by, in float64, where no float32 is subnormal."""
    numbers = values.astype(np.float64)
    numbers = np.clip(numbers, -1e100, 1e100)
    key = np.abs(numbers) if select == "magnitude" else numbers
    return np.where(np.isnan(key), 1e300, key)


@pytest.mark.core
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("select", ["value", "magnitude", "relu"])
def test_scores_have_the_order_of_the_values_and_subnormals_are_no_zeros(select, dtype):
    values = jnp.asarray(np.array(SPECIAL, np.float32)).astype(dtype)
    key = by_definition(np.asarray(values.astype(jnp.float32)), select)
    plain = np.asarray(entries.score(values, select))
    np.testing.assert_array_equal(plain[:, None] > plain[None], key[:, None] > key[None])
    np.testing.assert_array_equal(plain[:, None] == plain[None], key[:, None] == key[None])

    # Each alone in its program: XLA may then compare without making the score.
    np.testing.assert_array_equal(jax.jit(lambda v: entries.score(v, select) > 0)(values), key > 0)
    np.testing.assert_array_equal(jax.jit(lambda v: entries.score(v, select) < 0)(values), key < 0)
