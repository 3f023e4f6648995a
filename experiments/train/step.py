"""The training step and the test step: each one XLA executable, index building and selection included."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models import Network
from experiments.optimizers import Optimizer
from experiments.train.devices import Devices
from experiments.train.layers import live_weights
from experiments.train.objectives import Objective, softmax
from jaxsparse import nn, optim

State = Any
"""All that training changes: parameters, masks, statistics, optimiser state. A pytree of arrays."""

Metrics = dict[str, Any]
"""loss, accuracy: means over the batch; weight: how many samples; layers: LayerStats; live: weights that are left, by
layer, if the run prunes; of a test confusion: int32 ``[classes, classes]``, how many samples of a class (row) were taken
for which (column), where classes are learnt, and work: of count_work, if the run prunes."""


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
    train: Callable[[State, Any], tuple[State, Metrics]]
    test: Callable[[State, Any], Metrics]
    model: Network
    trained: Callable[[State], Network]


def make_steps(
    model: Network,
    how: Optimizer,
    seed: int,
    devices: Devices | None = None,
    objective: Objective = softmax,
) -> Steps:
    """Builds both steps. Dropout's key follows from ``seed`` and the step's number, so nothing else need be saved."""
    devices = devices or Devices()
    graph, state = nnx.split((model, nnx.Optimizer(model, how.transform, wrt=nnx.Param)))

    def test(state: State, batch: Any) -> Metrics:
        model = trained(state)
        loss, metrics = objective(model, batch, None, counts=how.prunes)
        logits = metrics.pop("logits", None)
        confusion = {} if logits is None else {"confusion": _confusion(logits, batch)}
        return {"loss": loss, **metrics, **confusion, **live(model)}

    def train(state: State, batch: Any) -> tuple[State, Metrics]:
        model, optimizer = nnx.merge(graph, state)
        key = jax.random.fold_in(jax.random.key(seed), optimizer.step[...])

        def loss(model: Network) -> tuple[jax.Array, Metrics]:
            return objective(model, batch, nnx.Rngs(dropout=key))

        (value, metrics), gradients = nnx.value_and_grad(loss, has_aux=True)(model)
        metrics.pop("logits", None)
        _learn(how, model, optimizer, gradients)
        return nnx.state((model, optimizer)), {"loss": value, **metrics, **live(model)}

    def live(model: Network) -> Metrics:
        return {"live": live_weights(model)} if how.prunes else {}

    def trained(state: State) -> Network:
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


def _learn(how: Optimizer, model: Network, optimizer: nnx.Optimizer, gradients: Any) -> None:
    """One update, and what follows from it for the layers."""
    extra = {}
    if how.density is not None:
        # A removed weight is left alone, and with it what the optimiser remembers of it.
        extra["density"] = nn.densities(model, per=how.density)
        extra["mask"] = optim.pruning_mask(optimizer) if how.prunes else None
    optimizer.update(model, gradients, **extra)
    if how.prunes:
        nn.set_masks(model, optim.pruning_mask(optimizer))


def _confusion(logits: jax.Array, batch: Any) -> jax.Array:
    """Counted in the step: of several processes each has only its own rows of a batch."""
    counts = jnp.zeros((logits.shape[-1],) * 2, jnp.int32)
    place = (jnp.asarray(batch["label"]), jnp.argmax(logits, axis=-1))
    return counts.at[place].add((jnp.asarray(batch["weight"]) > 0).astype(jnp.int32))
