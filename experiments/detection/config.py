"""What the YAML file of a detector may say."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from experiments.config.load import read_config, validate_as
from experiments.config.schema import OptimizerConfig
from experiments.config.section import Positive, Scale, Section, Share
from jaxsparse import data

Metres = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Range = tuple[float, float]
Frame = Annotated[str, Field(pattern=r"^[0-9]{6}$")]
Sizes = Annotated[tuple[Positive, ...], Field(min_length=1)]


class AugmentConfig(Section):
    """Random changes to the frames that are trained on."""

    mirror: bool = True
    """Every second one is mirrored, left to right."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 10.0
    """Degrees, the farthest that a sweep is turned about the sensor."""
    scale: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """The farthest that a sweep shrinks or grows, as a share."""
    copies: Annotated[int, Field(ge=0)] = 4
    """Objects of the training frames that are copied into each, moved along a circle about the sensor: as far away, seen from
    the same side."""


class FramesConfig(Section):
    """KITTI's object files: folders velodyne/ (or velodyne_fov/), calib/ and label_2/."""

    root: Path | None = None
    """The folder. There is no download: KITTI's data are for non-commercial use (CC BY-NC-SA 3.0)."""
    train: Annotated[tuple[Frame, ...], Field(min_length=1)]
    test: Annotated[tuple[Frame, ...], Field(min_length=1)]
    kinds: Annotated[tuple[str, ...], Field(min_length=1)] = ("Car", "Van")
    """Objects to be found."""
    ignored: tuple[str, ...] = ("Truck", "Tram", "Misc")
    """Objects that are neither to be found nor to be told from them."""
    least_points: Annotated[int, Field(ge=0)] = 10
    """Objects with fewer points are ignored."""
    x_range: Range = (0.0, 70.4)
    y_range: Range = (-20.0, 20.0)
    z_range: Range = (-2.0, 4.2)
    cell: Scale = 0.05
    height: Scale = 0.2
    augment: AugmentConfig = AugmentConfig()

    @model_validator(mode="after")
    def _sensible(self) -> "FramesConfig":
        self.grid  # noqa: B018 raises where ranges are no whole number of cells
        twice = set(self.train) & set(self.test)
        if twice:
            raise ValueError(f"{', '.join(sorted(twice))} would be trained on and tested on")
        return self

    @property
    def grid(self) -> data.BirdsEyeGrid:
        """The cells."""
        return data.BirdsEyeGrid(
            self.x_range, self.y_range, self.z_range, cell=self.cell, height=self.height
        )


class MaskConfig(Section):
    """The network that predicts masks (jaxsparse.models.PSPNet), and what it learns."""

    downsample: Positive = 8
    features: Sizes = (32, 64, 128, 256)
    units: Sizes = (2, 2, 2, 2)
    strides: Sizes = (1, 2, 1, 1)
    kernel_dilations: Sizes = (1, 1, 2, 4)
    bins: Sizes = (1, 2, 3, 6)
    dilation: Metres = 1.0
    """By how much boxes grow in the masks that it learns."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """A pixel matters if its probability is above it."""
    weight: Metres = 1.0
    """Of the loss against dilated boxes; the detector's own loss reaches the network through the straight-through mask."""
    positive: Scale = 4.0
    """How much more a missed pixel costs than a false one."""


class NetworkConfig(Section):
    """The detector (jaxsparse.models.BlockDetector) behind the mask."""

    mask: MaskConfig = MaskConfig()
    stem_features: Sizes = (32, 32)
    features: Sizes = (96, 192, 256, 384)
    units: Sizes = (3, 6, 6, 3)
    neck_features: Positive = 196
    upsample_features: Sizes = (128, 96)
    block_sizes: Sizes | None = None
    """As in jaxsparse.models.BlockDetector; None: its own."""
    density: Share = 0.25
    """The share of the blocks that a list may hold; the most probable stay, the others are counted."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Of the running statistics: training is short."""


class LossConfig(Section):
    """The detector's loss and targets."""

    core: Share = 0.7
    """The inner part of a box, in length and width, whose pixels are to find it; the rest of the box counts as neither."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.25
    gamma: Annotated[float, Field(ge=0)] = 2.0
    """Of the focal loss."""
    box_weight: Metres = 1.0
    orientation_weight: Metres = 1.0


class DetectConfig(Section):
    """From the maps of the network to a list of boxes."""

    score: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Pixels of a lower score make no box."""
    overlap: Share = 0.1
    """A box that shares more with a better one (intersection over union) is dropped."""
    most: Positive = 300
    """Pixels that are looked at, the ones of the best scores."""


class TrainingConfig(Section):
    """The training loop."""

    steps: Positive = 2000
    dense_steps: Annotated[int, Field(ge=0)] = 600
    """The detector begins dense, until the masks have settled; then it computes the blocks of the predicted masks."""
    batch_size: Positive = 1
    test_every: Positive = 200
    log_every: Positive = 10
    checkpoint_every: Positive = 100
    keep_checkpoints: Positive = 2


class DetectorConfig(Section):
    """A whole experiment with a detector."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: FramesConfig
    model: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    detect: DetectConfig = DetectConfig()
    optimizer: OptimizerConfig = OptimizerConfig(kind="adam", learning_rate=1e-3)
    train: TrainingConfig = TrainingConfig()


def load_detector(path: str | Path, overrides: Sequence[str] = ()) -> DetectorConfig:
    """Reads the configuration of a detector.

    Raises:
      ConfigError: as :func:`experiments.config.load_config`.
    """
    return read_config(path, DetectorConfig, overrides)


def checked(values: dict[str, Any], source: str) -> DetectorConfig:
    """Validates plain values; ``source`` names them in errors."""
    return validate_as(DetectorConfig, values, source)
