"""The training step and the test step: each one XLA executable, index building and selection included."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from experiments.data import Batch
from experiments.optimizers import Optimizer
from experiments.train.devices import Devices
from experiments.train.layers import LayerStats, count_work, live_weights, measure
from jaxsparse import direct, nn, optim
from jaxsparse.models import OctNet3

State = Any
"""All that training changes: parameters, masks, statistics, optimiser state. A pytree of arrays."""

Metrics = dict[str, Any]
"""loss, accuracy: means over the batch; weight: how many samples; layers: LayerStats; live: weights that are left, by
layer, if the run prunes; of a test confusion: int32 ``[classes, classes]``, how many samples of a class (row) were taken
for which (column), and work: of count_work, if the run prunes."""


@dataclasses.dataclass(frozen=True)
class Steps:
    """The compiled halves of the runner.

    Attributes:
      state: the initial state; the first ``train`` call consumes it.
      train: ``(state, batch) -> (state, metrics)``; the state's memory is reused.
      test: ``(state, batch) -> metrics``, without dropout.
      model: the model that ``state`` belongs to, in evaluation mode: for its structure, its arrays are stale.
      trained: the model with a state's arrays, in evaluation mode.
    """

    state: State
    train: Callable[[State, Batch], tuple[State, Metrics]]
    test: Callable[[State, Batch], Metrics]
    model: OctNet3
    trained: Callable[[State], OctNet3]


def make_steps(model: OctNet3, how: Optimizer, seed: int, devices: Devices | None = None) -> Steps:
    """Builds both steps. Dropout's key follows from ``seed`` and the step's number, so nothing else need be saved."""
    devices = devices or Devices()
    graph, state = nnx.split((model, nnx.Optimizer(model, how.transform, wrt=nnx.Param)))

    def test(state: State, batch: Batch) -> Metrics:
        model = trained(state)
        loss, metrics = _loss(model, batch, None, counts=how.prunes)
        confusion = _confusion(metrics.pop("logits"), batch)
        return {"loss": loss, **metrics, "confusion": confusion, **live(model)}

    def train(state: State, batch: Batch) -> tuple[State, Metrics]:
        model, optimizer = nnx.merge(graph, state)
        key = jax.random.fold_in(jax.random.key(seed), optimizer.step[...])

        def loss(model: OctNet3) -> tuple[jax.Array, Metrics]:
            return _loss(model, batch, nnx.Rngs(dropout=key))

        (value, metrics), gradients = nnx.value_and_grad(loss, has_aux=True)(model)
        del metrics["logits"]
        _learn(how, model, optimizer, gradients)
        return nnx.state((model, optimizer)), {"loss": value, **metrics, **live(model)}

    def live(model: OctNet3) -> Metrics:
        return {"live": live_weights(model)} if how.prunes else {}

    def trained(state: State) -> OctNet3:
        model, _ = nnx.merge(graph, state)
        model.eval()
        return model

    # The state of the initial model would be freed under it: the steps own a copy.
    owned = devices.put_state(jax.tree.map(jnp.copy, state))
    return Steps(
        owned,
        devices.jit(train, donate_argnums=0),
        devices.jit(test),
        trained(state),
        trained,
    )


def _learn(how: Optimizer, model: OctNet3, optimizer: nnx.Optimizer, gradients: Any) -> None:
    """One update, and what follows from it for the layers."""
    extra = {}
    if how.density is not None:
        # A removed weight is left alone, and with it what the optimiser remembers of it.
        extra["density"] = nn.densities(model, per=how.density)
        extra["mask"] = optim.pruning_mask(optimizer) if how.prunes else None
    optimizer.update(model, gradients, **extra)
    if how.prunes:
        nn.set_masks(model, optim.pruning_mask(optimizer))


def _loss(
    model: OctNet3, batch: Batch, rngs: nnx.Rngs | None, *, counts: bool = False
) -> tuple[jax.Array, Metrics]:
    image, label, weight = (jnp.asarray(batch[k]) for k in ("image", "label", "weight"))
    x = image
    if model.sparse:
        # Inside the step: the host hands over images, building the sparse input is part of the executable.
        x = direct.SparseTensor.from_dense(image, density=model.input_density, select="magnitude")
    activations = model.activations(x)
    logits = model.head(activations[list(activations)[-1]], rngs=rngs).astype(jnp.float32)
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


def _confusion(logits: jax.Array, batch: Batch) -> jax.Array:
    """Counted in the step: of several processes each has only its own rows of a batch."""
    counts = jnp.zeros((logits.shape[-1],) * 2, jnp.int32)
    place = (jnp.asarray(batch["label"]), jnp.argmax(logits, axis=-1))
    return counts.at[place].add((jnp.asarray(batch["weight"]) > 0).astype(jnp.int32))
