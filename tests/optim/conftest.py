"""Optax's own transforms mix dtypes, which the strictness of the suite forbids."""

import jax
import pytest


@pytest.fixture
def optax_promotes():
    with jax.numpy_dtype_promotion("standard"):
        yield
