"""Models from their configurations."""

from typing import Any

from flax import nnx

from experiments.config import (
    ModelConfig,
    ObjectiveConfig,
    OctNet3ImageConfig,
    S3DCNNConfig,
    SoftmaxConfig,
)
from experiments.data import Dataset
from experiments.data.active_sites import layer_names, layer_sizes, probed_sites
from experiments.errors import ConfigError
from jaxsparse import models

Network = models.OctNet3 | models.S3DCNN
"""What the runner trains; ``activations`` gives the layers of both."""


def build_model(
    config: ModelConfig,
    dataset: Dataset,
    *,
    seed: int,
    objective: ObjectiveConfig = SoftmaxConfig(),  # noqa: B008 (it is frozen)
) -> Any:
    """The network that a configuration names, freshly initialised, for the images of a dataset.

    Args:
      config: of the network.
      dataset: shapes, classes, how full the images are.
      seed: of the initialisation.
      objective: what is learnt: without classes there is no layer for them.

    Returns:
      A ``Network``.

    Raises:
      ConfigError: there is no such network for the images' shape.
    """
    if isinstance(config, S3DCNNConfig):
        return _s3dcnn(config, dataset, seed, objective)
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


def _s3dcnn(
    config: S3DCNNConfig, dataset: Dataset, seed: int, objective: ObjectiveConfig
) -> models.S3DCNN:
    *shape, channels = dataset.image_shape
    if shape != [config.field] * 3:
        raise ConfigError(
            f"model.depth={config.depth} is for volumes of {config.field}^3 voxels, the data have shape "
            f"{tuple(shape)} (data.resolution={config.field}?)"
        )
    init: Any = None
    if config.kernel_init != "paper":
        init = getattr(nnx.initializers, config.kernel_init)()
    rooms = zip(sites_of(config, dataset), layer_sizes(config.field, config.depth), strict=True)
    shares = [min(1.0, sites / size**3) for sites, size in rooms]
    return models.S3DCNN(
        dataset.classes if objective.kind == "softmax" else None,
        in_features=channels,
        depth=config.depth,
        width=config.width,
        slope=config.slope,
        dropout=config.dropout,
        densities=shares[1:-1],
        dtype=config.dtype,
        kernel_init=init,
        rngs=nnx.Rngs(params=seed),
    )


def sites_of(config: S3DCNNConfig, dataset: Dataset) -> tuple[int, ...]:
    """Active sites an object that there is room for in each layer, the input first.

    Raises:
      ConfigError: ``model.sites`` names another number of layers.
    """
    if config.sites is None:
        return probed_sites(dataset, config.depth)
    names = layer_names(config.depth)
    if len(config.sites) != len(names):
        raise ConfigError(
            f"model.sites must have {len(names)} entries ({', '.join(names)}), got {len(config.sites)}"
        )
    return config.sites
