"""The detector's training steps, dense and block-sparse, and its run on one batch: each one executable."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from experiments.detection.config import DetectorConfig, LossConfig, MaskConfig
from experiments.detection.frames import Batch
from experiments.detection.network import Found, MaskedDetector

State = Any
"""All that training changes, as in the runner."""


@dataclasses.dataclass(frozen=True)
class Steps:
    """The compiled parts.

    Attributes:
      state: the initial state; the first training step consumes it.
      train: ``(state, batch) -> (state, metrics)`` by whether the detector is block-sparse.
      test: ``(state, batch) -> metrics``, by the same.
      trained: the model with a state's arrays, in evaluation mode.
    """

    state: State
    train: dict[bool, Callable[[State, Batch], tuple[State, dict[str, jax.Array]]]]
    test: dict[bool, Callable[[State, Batch], dict[str, jax.Array]]]
    trained: Callable[[State], MaskedDetector]


def make_steps(
    model: MaskedDetector, transform: optax.GradientTransformation, config: DetectorConfig
) -> Steps:
    """Builds the steps."""
    model.train()
    graph, state = nnx.split((model, nnx.Optimizer(model, transform, wrt=nnx.Param)))

    def trained(state: State) -> MaskedDetector:
        model, _ = nnx.merge(graph, state)
        model.eval()
        return model

    def train(sparse: bool):
        def step(state: State, batch: Batch):
            model, optimizer = nnx.merge(graph, state)

            def loss(model: MaskedDetector):
                return total_loss(model(image(batch), sparse=sparse), batch, config)

            (_, metrics), gradients = nnx.value_and_grad(loss, has_aux=True)(model)
            optimizer.update(model, gradients)
            return nnx.state((model, optimizer)), metrics

        return jax.jit(step, donate_argnums=0)

    def test(sparse: bool):
        def step(state: State, batch: Batch):
            found = trained(state)(image(batch), sparse=sparse)
            return total_loss(found, batch, config)[1]

        return jax.jit(step)

    # The state of the initial model would be freed under it: the steps own a copy.
    owned = jax.tree.map(jnp.copy, state)
    return Steps(
        owned,
        {sparse: train(sparse) for sparse in (False, True)},
        {sparse: test(sparse) for sparse in (False, True)},
        trained,
    )


def image(batch: Batch) -> jax.Array:
    """The map as the networks take it."""
    return jnp.asarray(batch["image"]).astype(jnp.float32)


def total_loss(
    found: Found, batch: Batch, config: DetectorConfig
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss of a batch and what it is made of.

    The metrics: ``loss``; ``classes``, ``boxes``, ``orientations`` and ``mask``, its weighted parts; ``recall``, the share of
    the pixels near boxes that the mask has; ``mask_share``, the share of all pixels that it has; ``overflow``, how many
    active blocks the lists had to leave out.
    """
    parts = detection_loss(found.maps, batch, config.loss)
    parts["mask"] = mask_loss(found.logits, batch["mask"], config.model.mask)
    loss = sum(parts.values(), jnp.float32(0))
    target = jnp.asarray(batch["mask"])
    limit = jax.scipy.special.logit(config.model.mask.threshold)
    chosen = (found.logits > limit).astype(jnp.float32)
    seen = jnp.sum(chosen * target) / jnp.maximum(jnp.sum(target), 1)
    overflow = sum((blocks.overflow for blocks in _distinct(found.lists)), jnp.int32(0))
    more = {"recall": seen, "mask_share": jnp.mean(chosen), "overflow": overflow}
    return loss, {"loss": loss, **parts, **more}


def _distinct(lists: dict[str, Any]) -> list[Any]:
    """Layers of one geometry share a list."""
    return list({id(blocks): blocks for blocks in lists.values()}.values())


def detection_loss(
    maps: dict[str, jax.Array], batch: Batch, how: LossConfig
) -> dict[str, jax.Array]:
    """Focal loss of the scores over all pixels, smooth L1 loss of boxes and orientations over those that find one.

    All are sums over a batch divided by the number of pixels that find a box (1 where there are none).

    Source: Lin et al., "Focal loss for dense object detection" (2017); PIXOR (Yang, Luo and Urtasun, 2018).
    """
    wanted = jnp.asarray(batch["found"])
    positive, counts = wanted == 1, ~jnp.isnan(wanted)
    each = 1 / jnp.maximum(jnp.sum(positive.astype(jnp.float32)), 1)
    logits = maps["classes"][..., 0].astype(jnp.float32)
    signed = jnp.where(positive, logits, -logits)  # of being right
    miss = jax.nn.sigmoid(-signed)
    share = jnp.where(positive, how.alpha, 1 - how.alpha)
    focal = -share * miss**how.gamma * jax.nn.log_sigmoid(signed)
    regressed = {
        name: jnp.sum(
            jnp.where(
                positive[..., None],
                optax.huber_loss(maps[name].astype(jnp.float32), jnp.asarray(batch[name])),
                0,
            )
        )
        for name in ("boxes", "orientations")
    }
    return {
        "classes": each * jnp.sum(jnp.where(counts, focal, 0)),
        "boxes": how.box_weight * each * regressed["boxes"],
        "orientations": how.orientation_weight * each * regressed["orientations"],
    }


def mask_loss(logits: jax.Array, target: jax.typing.ArrayLike, how: MaskConfig) -> jax.Array:
    """Cross-entropy of the mask, a missed pixel as dear as ``positive`` false ones."""
    target = jnp.asarray(target)
    weight = jnp.where(target > 0, how.positive, 1.0)
    losses = weight * optax.sigmoid_binary_cross_entropy(logits, target)
    return how.weight * jnp.sum(losses) / jnp.sum(weight)
