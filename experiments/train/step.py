"""The training step and the test step: each one XLA executable, index building and selection included."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from experiments.data import Batch
from experiments.train.layers import LayerStats, measure
from jaxsparse import direct
from jaxsparse.models import OctNet3

State = Any
"""All that training changes: parameters, masks, statistics, optimiser state. A pytree of arrays."""

Metrics = dict[str, Any]
"""loss, accuracy: means over the batch; weight: how many samples; layers: LayerStats."""


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


def make_steps(model: OctNet3, optimizer: optax.GradientTransformation, seed: int) -> Steps:
    """Builds both steps. Dropout's key follows from ``seed`` and the step's number, so nothing else need be saved."""
    graph, state = nnx.split((model, nnx.Optimizer(model, optimizer, wrt=nnx.Param)))

    @jax.jit
    def test(state: State, batch: Batch) -> Metrics:
        loss, metrics = _loss(trained(state), batch, None)
        return {"loss": loss, **metrics}

    def train(state: State, batch: Batch) -> tuple[State, Metrics]:
        model, optimizer = nnx.merge(graph, state)
        key = jax.random.fold_in(jax.random.key(seed), optimizer.step[...])

        def loss(model: OctNet3) -> tuple[jax.Array, Metrics]:
            return _loss(model, batch, nnx.Rngs(dropout=key))

        (value, metrics), gradients = nnx.value_and_grad(loss, has_aux=True)(model)
        optimizer.update(model, gradients)
        return nnx.state((model, optimizer)), {"loss": value, **metrics}

    def trained(state: State) -> OctNet3:
        model, _ = nnx.merge(graph, state)
        model.eval()
        return model

    # The state of the initial model would be freed under it: the steps own a copy.
    owned = jax.tree.map(jnp.copy, state)
    return Steps(owned, jax.jit(train, donate_argnums=0), test, trained(state), trained)


def _loss(model: OctNet3, batch: Batch, rngs: nnx.Rngs | None) -> tuple[jax.Array, Metrics]:
    image, label, weight = (jnp.asarray(batch[k]) for k in ("image", "label", "weight"))
    x = image
    if model.sparse:
        # Inside the step: the host hands over images, building the sparse input is part of the executable.
        x = direct.SparseTensor.from_dense(image, density=model.input_density, select="magnitude")
    activations = model.activations(x)
    logits = model.head(activations[list(activations)[-1]], rngs=rngs)
    total = jnp.maximum(weight.sum(), 1.0)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    right = (jnp.argmax(logits, axis=-1) == label).astype(jnp.float32)
    layers: LayerStats = measure(activations, weight)
    return jnp.sum(losses * weight) / total, {
        "accuracy": jnp.sum(right * weight) / total,
        "weight": weight.sum(),
        "layers": layers,
    }
