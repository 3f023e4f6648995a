"""The triplet loss against loops, its gradients, and what it does where vectors vanish."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from experiments.retrieval.losses import mine, pairwise, triplet_loss

LABELS = np.array([0, 0, 1, 1, 0, 0, 1, 1, 2, 1, 0, 2], np.int32)


def distance(a, b, kind):
    if kind == "l2":
        return np.linalg.norm(a - b)
    return 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize("kind", ["cosine", "l2"])
@pytest.mark.parametrize("margin", [0.1, 1.0])
def test_drawn_triplets(rng, kind, margin):
    x = rng.normal(size=(12, 5)).astype(np.float32)
    rows = [(distance(x[n], x[n + 4], kind), distance(x[n], x[n + 8], kind)) for n in range(4)]
    loss, right = triplet_loss(jnp.array(x), jnp.array(LABELS), margin=margin, kind=kind)
    assert loss == pytest.approx(np.mean([max(0, margin + p - n) for p, n in rows]), rel=1e-5)
    assert right == pytest.approx(np.mean([p < n for p, n in rows]))


@pytest.mark.parametrize("kind", ["cosine", "l2"])
def test_hard_triplets(rng, kind):
    """Of every object that has a partner in the batch; one that has none takes no part."""
    x = rng.normal(size=(7, 5)).astype(np.float32)
    labels = np.array([0, 0, 0, 1, 1, 1, 2], np.int32)
    rows = []
    for number, label in enumerate(labels[:6]):
        apart = np.array([distance(x[number], other, kind) for other in x])
        same = labels == label
        rows.append((apart[same].max(), apart[~same].min()))
    positive, negative, found = mine(jnp.array(x), jnp.array(labels), kind)
    assert found.tolist() == [True] * 6 + [False]
    np.testing.assert_allclose(positive[:6], [row[0] for row in rows], rtol=1e-5)
    np.testing.assert_allclose(negative[:6], [row[1] for row in rows], rtol=1e-5)
    loss, _ = triplet_loss(jnp.array(x), jnp.array(labels), margin=0.5, kind=kind, mining="hard")
    assert loss == pytest.approx(np.mean([max(0, 0.5 + p - n) for p, n in rows]), rel=1e-5)


@pytest.mark.parametrize("kind", ["cosine", "l2"])
@pytest.mark.parametrize("mining", ["none", "hard"])
def test_gradients(rng, kind, mining):
    x = jnp.array(rng.normal(size=(12, 4)), jnp.float32)
    labels = jnp.array(LABELS)

    @jax.jit
    def loss(x):
        return triplet_loss(x, labels, margin=5.0, kind=kind, mining=mining)[0]

    check_grads(loss, (x,), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("kind", ["cosine", "l2"])
def test_vectors_of_zeros_have_finite_gradients(kind):
    x = jnp.zeros((3, 4))
    value, gradient = jax.value_and_grad(
        lambda x: triplet_loss(x, jnp.array([0, 0, 1]), margin=1.0, kind=kind)[0]
    )(x)
    assert value == 1 and bool((gradient == 0).all())
    assert pairwise(x[0], x[1], kind) == (1 if kind == "cosine" else 0)
