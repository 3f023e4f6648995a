"""Models from their configurations."""

from flax import nnx

from experiments.config import ModelConfig, OctNet3ImageConfig
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
        "dtype": config.dtype,
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
