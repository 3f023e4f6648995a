"""Some channels of a ``SparseTensor``, and back to all of them."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse import direct


def take_channels(x: direct.SparseTensor, channels: tuple[int, ...]) -> direct.SparseTensor:
    """The lists of some channels, in ascending order."""
    index = np.array(channels, np.int32)

    def taken(array: jax.Array) -> jax.Array:
        return array.at[:, index].get(
            unique_indices=True, indices_are_sorted=True, mode="promise_in_bounds"
        )

    return x.replace(keys=taken(x.keys), values=taken(x.values), nnz=taken(x.nnz))


def place_channels(
    x: direct.SparseTensor, channels: tuple[int, ...], width: int
) -> direct.SparseTensor:
    """The lists of ``x`` as some channels of ``width``; the others are empty."""
    index = np.array(channels, np.int32)
    batch = x.keys.shape[0]

    def placed(array: jax.Array, unused: int) -> jax.Array:
        shape = (batch, width, *array.shape[2:])
        return (
            jnp.full(shape, unused, array.dtype)
            .at[:, index]
            .set(array, unique_indices=True, indices_are_sorted=True, mode="promise_in_bounds")
        )

    return x.replace(
        keys=placed(x.keys, x.volume), values=placed(x.values, 0), nnz=placed(x.nnz, 0)
    )
