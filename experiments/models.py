"""Models and optimisers from their configurations."""

import optax
from flax import nnx

from experiments.config import ModelConfig, OptimizerConfig
from jaxsparse import models


def build_model(config: ModelConfig, *, image_size: int, classes: int, seed: int) -> models.OctNet3:
    """The network that a configuration names, freshly initialised."""
    return models.octnet3_24(
        image_size,
        classes,
        rho1=config.rho1,
        rho2=config.rho2,
        input_density=config.input_density,
        select=config.select,
        use_bias=config.use_bias,
        hidden=config.hidden,
        dropout=config.dropout,
        sparse=config.sparse,
        rngs=nnx.Rngs(params=seed),
    )


def build_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """The Optax transformation that a configuration names."""
    match config.kind:
        case "adagrad":
            return optax.adagrad(config.learning_rate)
        case "adam":
            return optax.adam(config.learning_rate)
        case "sgd":
            return optax.sgd(config.learning_rate, momentum=config.momentum or None)
