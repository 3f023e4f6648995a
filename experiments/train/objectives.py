"""What a network is trained for: the loss of a batch, and what is measured on the way."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from experiments.config import ObjectiveConfig, TripletConfig
from experiments.models import Network
from experiments.retrieval.losses import triplet_loss
from experiments.train.layers import LayerStats, count_work, measure
from jaxsparse import direct, voxel
from jaxsparse.models import S3DCNN


class Objective(Protocol):
    """The loss of a network, part of the compiled step."""

    def __call__(
        self, model: Network, batch: Any, rngs: nnx.Rngs | None, *, counts: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        """The loss, a scalar, and accuracy, weight, layers; logits where classes are learnt; work if it ``counts``.

        Args:
          model: the network.
          batch: ``Batch`` or ``SiteBatch``.
          rngs: of dropout; ``None``: there is none.
          counts: whether to count multiply-adds.
        """
        ...


def build_objective(config: ObjectiveConfig) -> Objective:
    """What a configuration's ``objective`` names."""
    return triplets(config) if isinstance(config, TripletConfig) else softmax


def input_of(model: Network, batch: Any) -> Any:
    """A batch as the network takes it: building a sparse input is part of the step, the host hands over arrays."""
    if isinstance(model, S3DCNN):
        return site_tensor(model, batch)
    image = jnp.asarray(batch["image"])
    if not model.sparse:
        return image
    return direct.SparseTensor.from_dense(image, density=model.input_density, select="magnitude")


def site_tensor(model: S3DCNN, batch: Any) -> voxel.VoxelTensor:
    """The lists of a ``SiteBatch``, the background 0."""
    coords, features = jnp.asarray(batch["coords"]), jnp.asarray(batch["features"])
    found = jnp.asarray(batch["count"])
    x = voxel.VoxelTensor.from_coords(
        coords,
        features,
        batch_size=len(batch["label"]),
        spatial_shape=(model.field,) * model.dims,
        count=jnp.minimum(found, len(coords)),
        background=jnp.zeros(features.shape[1], features.dtype),
    )
    return x.replace(count=found)


def _forward(model: Network, batch: Any, rngs: nnx.Rngs | None) -> tuple[dict[str, Any], jax.Array]:
    """All activations, and the outputs in float32."""
    x = input_of(model, batch)
    if isinstance(model, S3DCNN):
        activations = model.activations(x, rngs=rngs)
        last = activations[list(activations)[-1]]  # one voxel an object: its embedding
        outputs = last.to_dense().reshape(last.batch_size, model.features)
        outputs = outputs if model.logits is None else model.logits(outputs)
    else:
        activations = model.activations(x)
        outputs = model.head(activations[list(activations)[-1]], rngs=rngs)
    return activations, outputs.astype(jnp.float32)


def softmax(
    model: Network, batch: Any, rngs: nnx.Rngs | None, *, counts: bool = False
) -> tuple[jax.Array, dict[str, Any]]:
    """Cross entropy over the classes; accuracy is the share of objects taken for what they are."""
    label, weight = jnp.asarray(batch["label"]), jnp.asarray(batch["weight"])
    activations, logits = _forward(model, batch, rngs)
    total = jnp.maximum(weight.sum(), 1.0)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    right = (jnp.argmax(logits, axis=-1) == label).astype(jnp.float32)
    layers: LayerStats = measure(activations, weight)
    work = {"work": count_work(model, activations, weight)} if counts else {}
    return jnp.sum(losses * weight) / total, {
        "accuracy": jnp.sum(right * weight) / total,
        "weight": weight.sum(),
        "layers": layers,
        "logits": logits,
        **work,
    }


def triplets(config: TripletConfig) -> Objective:
    """The triplet loss; accuracy is the share of triplets in the right order."""

    def objective(
        model: Network, batch: Any, rngs: nnx.Rngs | None, *, counts: bool = False
    ) -> tuple[jax.Array, dict[str, Any]]:
        del counts
        label, weight = jnp.asarray(batch["label"]), jnp.asarray(batch["weight"])
        activations, embeddings = _forward(model, batch, rngs)
        loss, right = triplet_loss(
            embeddings, label, margin=config.margin, kind=config.distance, mining=config.mining
        )
        return loss, {
            "accuracy": right,
            "weight": weight.sum(),
            "layers": measure(activations, weight),
        }

    return objective
