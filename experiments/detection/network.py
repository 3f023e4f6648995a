"""A mask network and a block-sparse detector as one model: the first says where the second computes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.detection.config import DetectorConfig
from jaxsparse import block, models, nn


class Found(NamedTuple):
    """What the model makes of a batch of maps.

    Attributes:
      maps: ``classes``, ``boxes`` and ``orientations`` of the detector.
      logits: float32 ``[B, rows / d, columns / d]``, of the mask.
      lists: the blocks that were computed, by layer; none of the dense twin.
    """

    maps: dict[str, jax.Array]
    logits: jax.Array
    lists: dict[str, block.BlockIndices]


class MaskedDetector(nnx.Module):
    """``models.PSPNet`` in front of ``models.BlockDetector``.

    ``model(x, sparse=True)`` computes the blocks that the mask network chooses. Its decision is hard, and trained through a
    straight-through mask that the features in front of the heads are multiplied by: the detector's loss reaches it.
    ``model(x, sparse=False)`` is the detector's dense twin, with the same parameters and without a mask.

    Args:
      mask_network: gives logits at a fraction of the resolution.
      detector: computes the boxes.
      threshold: of the mask's probability.
    """

    def __init__(
        self, mask_network: models.PSPNet, detector: models.BlockDetector, threshold: float
    ):
        self.mask_network = mask_network
        self.detector = detector
        self.threshold = threshold

    def lists(
        self, probability: jax.Array, shape: tuple[int, ...]
    ) -> dict[str, block.BlockIndices]:
        """The blocks above the threshold; where they are too many the most probable ones."""
        active = probability > self.threshold
        return self.detector.blocks(jnp.where(active, probability, 0), shape)

    def __call__(self, x: jax.Array, *, sparse: bool) -> Found:
        logits = self.mask_network(x).astype(jnp.float32)
        if not sparse:
            return Found(self.detector(x), logits, {})
        probability = jax.nn.sigmoid(logits)
        lists = self.lists(probability, x.shape[1:3])
        gate = nn.straight_through_mask(probability, self.threshold)
        return Found(self.detector(x, lists, gate=gate), logits, lists)


def build_detector(config: DetectorConfig) -> MaskedDetector:
    """The model that a configuration names, freshly initialised.

    Raises:
      ConfigError: there is no such network.
    """
    from experiments.errors import ConfigError

    model, rngs = config.model, nnx.Rngs(params=config.seed)
    bins = config.data.grid.shape[2]
    mask = model.mask.model_dump(
        include={"downsample", "features", "units", "strides", "kernel_dilations", "bins"}
    )
    shared: dict[str, Any] = {"momentum": model.momentum, "rngs": rngs}
    try:
        network = models.PSPNet(bins, **mask, **shared)
        detector = models.BlockDetector(
            bins,
            stem_features=model.stem_features,
            features=model.features,
            units=model.units,
            neck_features=model.neck_features,
            upsample_features=model.upsample_features,
            block_sizes=model.block_sizes,
            density=model.density,
            **shared,
        )
        detector.geometries(config.data.grid.shape[:2])
    except ValueError as error:
        raise ConfigError(f"model: {error}") from error
    return MaskedDetector(network, detector, model.mask.threshold)


def output_shape(config: DetectorConfig, model: MaskedDetector) -> tuple[int, int]:
    """Rows and columns of the detector's maps."""
    rows, columns, bins = config.data.grid.shape
    image = jax.ShapeDtypeStruct((1, rows, columns, bins), jnp.float32)
    model.eval()
    maps = nnx.eval_shape(lambda model, image: model.detector(image), model, image)
    return maps["classes"].shape[1:3]
