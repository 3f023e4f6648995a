"""What tests of the block layers share."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tests import oracle_block as oracle
from tests.block.common import listed, some_rows


def unsettled(model, rng):
    """The model with parameters and running statistics that are not those of its initialisers."""
    for path, variable in nnx.iter_graph(model):
        if isinstance(variable, nnx.Param | nnx.BatchStat):
            value = rng.normal(size=variable.shape).astype(np.float32)
            name = path[-1]
            if name in ("var", "scale"):
                value = 0.5 + np.abs(value)
            elif name == "kernel":
                value = value / np.sqrt(np.prod(variable.shape[:-1]))
            variable[...] = jnp.asarray(value)
    return model


def some_blocks(geometry, batch, rng, share=0.4, spare=2):
    """A list and, as [batch, *spatial, 1], which pixels lie in its tiles."""
    rows = some_rows(geometry, batch, rng, share)
    inside = (oracle.owner(geometry.tile, rows, batch) >= 0)[..., None]
    return listed(geometry, rows, batch, len(rows) + spare), inside


def value_and_gradients(function, *operands):
    """The result and the gradients of a sum over it in which all of it counts differently."""

    @jax.jit
    def run(*operands):
        y, pull = jax.vjp(function, *operands)
        return y, pull(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    return run(*operands)


def assert_trees_close(found, wanted, rtol, atol):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
