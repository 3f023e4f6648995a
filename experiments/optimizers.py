"""Optimisers, learning rates, pruning and regularisation from their configurations."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from experiments.config import ExperimentConfig, OptimizerConfig, RegularizerConfig
from experiments.errors import ConfigError
from jaxsparse import nn, optim
from jaxsparse.models import OctNet3


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """How a network learns.

    Attributes:
      transform: the Optax transformation.
      density: which densities its update takes, ``None`` if it takes none.
      prunes: whether there are pruning masks in its state.
    """

    transform: optax.GradientTransformation
    density: Literal["layer", "channel"] | None = None
    prunes: bool = False


def build_optimizer(
    config: ExperimentConfig, model: OctNet3, *, total_steps: int, steps_per_epoch: int
) -> Optimizer:
    """What a configuration's ``optimizer``, ``pruning`` and ``regularizer`` name.

    Args:
      config: the experiment.
      model: the network; which of its parameters are kernels of sparse convolutions, and their bounds, count.
      total_steps: updates of the whole run.
      steps_per_epoch: updates of an epoch.

    Raises:
      ConfigError: pruning or regularisation of a network without sparse convolutions.
    """
    transform = transformation(config.optimizer, total_steps, steps_per_epoch)
    pruning, regularizer = config.pruning, config.regularizer
    if pruning is None and regularizer is None:
        return Optimizer(transform)
    kernels = {
        (*path, "kernel"): layer
        for path, layer in nnx.iter_graph(model)
        if isinstance(layer, nn.DirectConv)
    }
    if not kernels:
        name = "pruning" if pruning is not None else "regularizer"
        raise ConfigError(f"{name} is for networks with sparse convolutions (model.sparse=true)")
    chain = [transform]
    if regularizer is not None:
        chain.insert(0, _decay(regularizer, kernels))
    if pruning is not None:
        every = steps_per_epoch if pruning.every is None else pruning.every
        shots = optim.warning_shot_pruning(pruning.threshold, every)

        def prunable(params: Any) -> Any:
            return jax.tree_util.tree_map_with_path(lambda path, _: _keys(path) in kernels, params)

        chain.append(optax.masked(shots, prunable))
    return Optimizer(
        optax.chain(*chain),
        density=None if regularizer is None else regularizer.per,
        prunes=pruning is not None,
    )


def _decay(config: RegularizerConfig, kernels: dict[tuple[Any, ...], nn.DirectConv]) -> Any:
    bounds = {
        path: layer.density_bound if config.bound is None else config.bound
        for path, layer in kernels.items()
    }
    return optim.adaptive_density_decay(
        config.scale,
        nnx.traversals.unflatten_mapping(bounds),
        offset=config.offset,
        gain_over=config.gain_over,
        gain_under=config.gain_under,
        momentum=config.momentum,
    )


def _keys(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a JAX path indexes with, without the value of a Flax variable."""
    keys = [getattr(entry, "key", getattr(entry, "idx", None)) for entry in path]
    return tuple(key for key in keys if key is not None)


def transformation(
    config: OptimizerConfig, total_steps: int, steps_per_epoch: int
) -> optax.GradientTransformation:
    """The optimiser itself, without pruning and regularisation."""
    rate = learning_rate(config, total_steps, steps_per_epoch)
    match config.kind:
        case "adagrad":
            return optax.adagrad(rate, initial_accumulator_value=config.initial_accumulator)
        case "adam":
            return optax.adam(rate)
        case "sgd":
            return optax.sgd(rate, momentum=config.momentum or None, nesterov=config.nesterov)


def learning_rate(
    config: OptimizerConfig, total_steps: int, steps_per_epoch: int
) -> optax.ScalarOrSchedule:
    """The learning rate, or what it is after so many updates."""
    base = config.learning_rate
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if config.schedule == "constant" and not warmup:
        return base

    # Optax's own schedules mix integers and floats, which strict promotion of dtypes forbids.
    def schedule(count: Any) -> jax.Array:
        count = jnp.asarray(count, jnp.float32)
        after = jnp.maximum(count - warmup, 0.0) if warmup else count
        match config.schedule:
            case "constant":
                rate = jnp.float32(base)
            case "cosine":
                done = jnp.minimum(after / max(total_steps - warmup, 1), 1.0)
                rate = base * 0.5 * (1 + jnp.cos(jnp.pi * done))
            case "exponential":
                rate = base * config.decay_rate ** (after / steps_per_epoch)
            case "piecewise":
                rate = jnp.float32(base)
                for epoch, factor in zip(config.boundaries, config.factors, strict=True):
                    rate = jnp.where(count >= round(epoch * steps_per_epoch), rate * factor, rate)
        return rate * jnp.minimum((count + 1) / warmup, 1.0) if warmup else rate

    return schedule
