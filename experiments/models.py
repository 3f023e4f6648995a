"""Models and optimisers from their configurations."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from experiments.config import ModelConfig, OctNet3ImageConfig, OptimizerConfig
from experiments.data import Dataset
from experiments.errors import ConfigError
from jaxsparse import models


def build_model(config: ModelConfig, dataset: Dataset, *, seed: int) -> models.OctNet3:
    """The network that a configuration names, freshly initialised, for the images of a dataset.

    Raises:
      ConfigError: there is no such network for the images' shape.
    """
    *shape, channels = dataset.image_shape
    density = dataset.peak_density if config.input_density is None else config.input_density
    options = {
        "input_density": density,
        "in_features": channels,
        "select": config.select,
        "use_bias": config.use_bias,
        "hidden": config.hidden,
        "dropout": config.dropout,
        "sparse": config.sparse,
        "kernel_init": getattr(nnx.initializers, config.kernel_init)(),
        "rngs": nnx.Rngs(params=seed),
    }
    if isinstance(config, OctNet3ImageConfig):
        if len(shape) != 2 or len(set(shape)) != 1:
            raise ConfigError(
                f"model.kind octnet3_24 is for square images, the data have shape {tuple(shape)} "
                "(model.kind=octnet3?)"
            )
        return models.octnet3_24(
            shape[0], dataset.classes, rho1=config.rho1, rho2=config.rho2, **options
        )
    densities = config.densities if config.preset is None else config.preset
    try:
        return models.OctNet3(shape, dataset.classes, densities=densities, **options)
    except ValueError as error:
        raise ConfigError(f"model: {error}") from error


def build_optimizer(config: OptimizerConfig, *, total_steps: int) -> optax.GradientTransformation:
    """The Optax transformation that a configuration names, for a run of so many updates."""
    rate: optax.ScalarOrSchedule = config.learning_rate
    if config.schedule == "cosine":
        rate = _cosine(config.learning_rate, total_steps)
    match config.kind:
        case "adagrad":
            return optax.adagrad(rate, initial_accumulator_value=config.initial_accumulator)
        case "adam":
            return optax.adam(rate)
        case "sgd":
            return optax.sgd(rate, momentum=config.momentum or None)


def _cosine(learning_rate: float, total_steps: int) -> optax.Schedule:
    # optax.cosine_decay_schedule mixes integers and floats, which strict promotion of dtypes forbids.
    def schedule(count: Any) -> jax.Array:
        done = jnp.minimum(jnp.asarray(count, jnp.float32) / total_steps, 1.0)
        return learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * done))

    return schedule
