"""What JAX does with the layers of voxels: derivatives of any order, vmap, one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxsparse import voxel
from tests.voxel.common import some_rows, tensor

BATCH, SPATIAL = 2, (7,)


def distinct(rng, n, channels):
    """Numbers that are apart from each other, so that a small step changes no maximum."""
    return rng.permutation(n * channels).reshape(n, channels) / 7 - 1.0


def inputs(rng, ground, channels=2):
    rows = some_rows(rng, SPATIAL, BATCH, share=0.6)
    features = distinct(rng, len(rows), channels)
    background = np.array([0.23, -0.31])[:channels] if ground else None
    return tensor(rows, SPATIAL, features, BATCH, len(rows) + 1, background)


def other(x):
    """Sites that `x` shares in part."""
    rows = np.array([[0, 0], [0, 3], [1, 1], [1, 6]], np.int32)
    return tensor(
        rows,
        SPATIAL,
        np.ones((4, x.channels)),
        BATCH,
        5,
        None if x.background is None else np.array([0.5, 1]),
    )


OPERATIONS = {
    "max_pool": lambda x: voxel.max_pool(x, 3, 2),
    "avg_pool": lambda x: voxel.avg_pool(x, 3, 2),
    "sum_pool": lambda x: voxel.sum_pool(x, 2),
    "add": lambda x: voxel.add(x, other(x)),
    "concat": lambda x: voxel.concat([x, other(x)]),
    "batch_norm": lambda x: voxel.batch_norm(x, jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])),
    "layer_norm": voxel.layer_norm,
    "global_max_pool": voxel.global_max_pool,
    "global_avg_pool": voxel.global_avg_pool,
}
BARE = {
    "instance_norm": voxel.instance_norm,
    "unpool": lambda x: voxel.unpool(voxel.max_pool(x, 2), x, 2),
}
EVERY = [
    *((name, ground) for name in OPERATIONS for ground in (False, True)),
    *((name, False) for name in BARE),
]


@pytest.mark.parametrize(("name", "ground"), EVERY)
def test_reverse_mode_of_any_order(name, ground, rng):
    operation = (OPERATIONS | BARE)[name]
    with jax.enable_x64(True):
        x = inputs(rng, ground)

        @jax.jit
        def loss(features, background):
            y = operation(x.replace(features=features, background=background if ground else None))
            return sum(jnp.sum(jnp.sin(v)) for v in jax.tree.leaves(y) if v.dtype == jnp.float64)

        ground_state = x.background if ground else jnp.zeros(2)
        check_grads(
            loss, (x.features, ground_state), order=2, modes=["rev"], eps=1e-4, atol=2e-4, rtol=2e-4
        )


@pytest.mark.core
@pytest.mark.parametrize("name", ["max_pool", "avg_pool", "batch_norm", "global_max_pool"])
def test_vmap_is_a_loop(name, rng):
    x = inputs(rng, True)
    several = jnp.stack([x.features.astype(jnp.float32), 2 - x.features.astype(jnp.float32)])
    x = x.replace(background=x.background.astype(jnp.float32))

    def one(features):
        y = OPERATIONS[name](x.replace(features=features.astype(jnp.float32)))
        return y if isinstance(y, jax.Array) else y.features

    @jax.jit
    def both(several):
        return jax.vmap(one)(several), jnp.stack([one(f) for f in several])

    np.testing.assert_array_equal(*both(several))


def test_forward_mode_says_no(rng):
    x = inputs(rng, False)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(
            lambda f: voxel.max_pool(x.replace(features=f), 2).features,
            (x.features,),
            (x.features,),
        )


@pytest.mark.core
def test_other_sites_are_no_other_program(rng):
    calls = []

    @jax.jit
    def run(x):
        calls.append(1)
        y = voxel.batch_norm(voxel.avg_pool(voxel.max_pool(x, 2), 2))
        return voxel.global_avg_pool(voxel.add(y, y))

    for seed in range(3):
        rows = some_rows(np.random.default_rng(seed), SPATIAL, BATCH, share=0.5)
        run(tensor(rows, SPATIAL, np.ones((len(rows), 2), np.float32), BATCH, 12))
    assert len(calls) == 1 and run._cache_size() == 1
