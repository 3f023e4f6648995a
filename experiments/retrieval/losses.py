"""The loss of triplets: an object shall be nearer to one of its class than to one of another."""

from typing import Literal

import jax
import jax.numpy as jnp

from experiments.retrieval.metrics import Distance

TINY = 1e-12


def pairwise(a: jax.Array, b: jax.Array, kind: Distance) -> jax.Array:
    """Distances of rows: of ``a[i]`` and ``b[i]``, or of all pairs where the arguments have axes to spread over.

    Args:
      a: float32 ``[..., C]``.
      b: float32, of the same rank.
      kind: ``"cosine"``: 1 less the cosine of the angle, 1 where a vector is 0. ``"l2"``: the length of the difference;
        its gradient at 0 is 0.

    Returns:
      float32 ``[...]``.
    """
    if kind == "l2":
        squares = jnp.sum((a - b) ** 2, axis=-1)
        apart = squares > TINY
        return jnp.where(apart, jnp.sqrt(jnp.where(apart, squares, 1.0)), 0.0)
    norm = jnp.sum(a * a, axis=-1) * jnp.sum(b * b, axis=-1)
    # The second one keeps the gradient of a square root at 0 finite.
    length = jnp.sqrt(jnp.where(norm > TINY, norm, 1.0))
    return 1 - jnp.where(norm > TINY, jnp.sum(a * b, axis=-1) / length, 0.0)


def mine(
    embeddings: jax.Array, labels: jax.Array, kind: Distance
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """For every object of a batch the distances to the farthest of its class and the nearest of another.

    Args:
      embeddings: float32 ``[B, C]``.
      labels: int32 ``[B]``.
      kind: of the distance.

    Returns:
      float32 ``[B]`` twice, and bool ``[B]``: which objects have both in the batch; elsewhere the distances are 0.

    Source: Hermans et al., "In defense of the triplet loss for person re-identification" (2017), "batch hard".
    """
    apart = pairwise(embeddings[:, None], embeddings[None, :], kind)
    same = labels[:, None] == labels[None, :]
    positive = same & ~jnp.eye(len(labels), dtype=bool)
    found = positive.any(axis=1) & ~same.all(axis=1)
    farthest = jnp.max(jnp.where(positive, apart, -jnp.inf), axis=1)
    nearest = jnp.min(jnp.where(same, jnp.inf, apart), axis=1)
    return jnp.where(found, farthest, 0.0), jnp.where(found, nearest, 0.0), found


def triplet_loss(
    embeddings: jax.Array,
    labels: jax.Array,
    *,
    margin: float,
    kind: Distance = "cosine",
    mining: Literal["none", "hard"] = "none",
) -> tuple[jax.Array, jax.Array]:
    """The mean of ``max(0, margin + d+ - d-)``, and the share of triplets with ``d+ < d-``.

    Args:
      embeddings: float32 ``[3 T, C]``: T anchors, T objects of their classes, T of other classes, in the same order.
      labels: int32 ``[3 T]``, for mining.
      margin: how much farther the object of another class shall be.
      kind: of the distance.
      mining: ``"none"``: the triplets are those of the batch; ``"hard"``: every object of the batch is an anchor, with
        the farthest of its class and the nearest of another.

    Returns:
      Two scalars.

    Source: S3DCNN (Notchenko et al. 2016), Sec. 2.2; the mean in place of its sum, so that the rate does not depend on
    the batch.
    """
    if mining == "hard":
        positive, negative, counts = mine(embeddings, labels, kind)
    else:
        anchor, same, other = jnp.split(embeddings, 3)
        positive, negative = pairwise(anchor, same, kind), pairwise(anchor, other, kind)
        counts = jnp.ones(len(positive), bool)
    weight = counts.astype(embeddings.dtype)
    total = jnp.maximum(weight.sum(), 1.0)
    losses = jnp.maximum(margin + positive - negative, 0.0)
    right = (positive < negative).astype(embeddings.dtype)
    return jnp.sum(losses * weight) / total, jnp.sum(right * weight) / total
