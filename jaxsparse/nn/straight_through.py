"""Masks that a network predicts: hard, with a gradient."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxsparse._core import checks
from jaxsparse._core.checks import expected


def straight_through_mask(scores: jax.typing.ArrayLike, threshold: float = 0.5) -> jax.Array:
    """1 where ``scores`` is greater than ``threshold``, 0 elsewhere; its gradient is that of the identity.

    Scores are probabilities (behind ``jax.nn.sigmoid``; the gradient then is the sigmoid's) or logits with
    ``threshold=0``. Two things are made of the mask. ``block.reduce_mask(mask, geometry)`` makes the list of blocks, which
    has no gradient. And the result is multiplied by the mask, ``y * mask[..., None]``: that product gives pixel ``p`` of the
    scores the gradient ``sum over channels of dy[p, c] * y[p, c]``.

    Every pixel with mask 1 lies in an active tile (the capacity permitting), so the product of a single layer's or unit's
    result is the same dense or block-sparse. Its gradient differs where the mask is 0: block-sparse, only pixels in active
    tiles have one (``y`` is the base elsewhere), so regions that are off as a whole stay off; dense, every pixel has. Train
    dense until the mask has settled, or add a loss on the scores themselves, as SBNet does with boxes.

    Args:
      scores: float ``[batch, *spatial]``, any shape.
      threshold: a number, not NaN.

    Returns:
      An array like ``scores`` of 0 and 1; NaN where it is NaN.

    Raises:
      TypeError: ``scores`` is not floating point, ``threshold`` no number.
      ValueError: ``threshold`` is NaN.

    Source: the straight-through estimator (Bengio, Léonard and Courville, 2013).

    Example::

      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jaxsparse import nn

      >>> scores = jnp.array([0.2, 0.7])
      >>> nn.straight_through_mask(scores).tolist()
      [0.0, 1.0]
      >>> jax.grad(lambda s: jnp.sum(nn.straight_through_mask(s) * jnp.array([3.0, 4.0])))(scores).tolist()
      [3.0, 4.0]
    """
    scores = checks.float_array("straight_through_mask", "scores", scores)
    threshold = checks.real("straight_through_mask", "threshold", threshold)
    if threshold != threshold:
        wording = "a number, not NaN"
        raise ValueError(expected("straight_through_mask", "threshold", wording, threshold))
    return _hard(threshold, scores)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _hard(threshold: float, scores: jax.Array) -> jax.Array:
    limit = jnp.asarray(threshold, scores.dtype)
    hard = (scores > limit).astype(scores.dtype)
    return jnp.where(jnp.isnan(scores), scores, hard)


@_hard.defjvp
def _(threshold: float, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    return _hard(threshold, *primals), tangents[0]
