"""What several kernels return and need."""

from typing import Any

import jax.numpy as jnp

from jaxsparse._core.kernel import Attributes, Shape


def entries(slots: Shape, dtype: Any) -> list:
    """Results keys, values, nnz."""
    return [(slots, jnp.int32), (slots, dtype), (slots[:2], jnp.int32)]


def volume_attribute(volume: int) -> Attributes:
    return {"volume": volume}


def list_sizes(static: Any, keys: Any, *others: Any) -> Attributes:
    """Sizes of the workspace on the GPU: of kernels that go over the lists ``keys``."""
    return {"channels": keys.shape[1], "capacity": keys.shape[2]}


def chosen(slots: Shape, dtype: Any) -> list:
    """Results keys, values, nnz, source: the slot of the input that each output came from, -1 for none."""
    return [*entries(slots, dtype), (slots, jnp.int32)]
