"""What the YAML file of a figure may say."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from experiments.config.schema import Positive, Section
from experiments.table.spec import Name, Overrides, read_section

Resolution = Annotated[int, Field(ge=4, le=256)]
Resolutions = Annotated[tuple[Resolution, ...], Field(min_length=1)]


class FillInConfig(Section):
    """How the density grows from convolution to convolution, with and without a bound (Fig. 3)."""

    kind: Literal["fill_in"]
    name: Name
    resolution: Resolution = 64
    """Voxels a dimension, r; the input's density is 1/r."""
    layers: Positive = 6
    """Convolutions with a 3^3 kernel, one behind the other."""
    points: Annotated[tuple[Literal["uniform", "surface"], ...], Field(min_length=1)] = (
        "uniform",
        "surface",
    )
    """Where the input's voxels lie."""
    bound: Annotated[float, Field(gt=0, le=1)] | None = None
    """The upper density bound of the bounded layers; 1/r if left out."""


class EpochCostConfig(Section):
    """Time and memory of one epoch at several resolutions (Table 2)."""

    kind: Literal["epoch_cost"]
    name: Name
    base: Path
    """The experiment whose data, network and optimiser are taken, relative to this file."""
    set: Overrides = Field(default_factory=dict)
    """Keys of it, dotted, and their values."""
    resolutions: Resolutions
    dense: tuple[Resolution, ...] = ()
    """Those of them at which the dense twin is measured, too."""
    batch_size: Positive = 32
    steps: Positive = 5
    """How many steps are timed, behind two that are not."""


Pair = tuple[int, int]


class BlockGeometryConfig(Section):
    """Window, tile, halo and offset of a block-sparse convolution, on one drawing."""

    kind: Literal["block_geometry"]
    name: Name
    spatial_shape: tuple[Positive, Positive] = (14, 22)
    block_size: Positive = 8
    kernel_sizes: Annotated[tuple[Positive, ...], Field(min_length=1)] = (3,)
    shown: Pair = (0, 1)
    """Place in the grid of the block that is drawn."""
    marked: Pair = (4, 11)
    """A pixel of the mask."""


class BlockSizeConfig(Section):
    """Time over block size, for the units of a backbone on the mask of a real sweep."""

    kind: Literal["block_size"]
    name: Name
    base: Path
    """The detector whose data and grid are taken, relative to this file."""
    set: Overrides = Field(default_factory=dict)
    """Keys of it, dotted, and their values."""
    frame: Annotated[str, Field(pattern=r"^[0-9]{6}$")]
    features: Annotated[tuple[Positive, ...], Field(min_length=1)] = (96, 192, 256, 384)
    """Channels at a half of the map's resolution, at a quarter, and so on."""
    dilation: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Metres by which the labelled boxes grow in the mask."""
    block_sizes: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    """Edges of the windows that are tried; left out: those of block.tune."""
    repeats: Positive = 5


FigureConfig = FillInConfig | EpochCostConfig | BlockGeometryConfig | BlockSizeConfig

CONFIGS: dict[str, type[FigureConfig]] = {
    "fill_in": FillInConfig,
    "epoch_cost": EpochCostConfig,
    "block_geometry": BlockGeometryConfig,
    "block_size": BlockSizeConfig,
}


class _AnyFigure(Section):
    model_config = ConfigDict(extra="ignore")

    kind: Literal["fill_in", "epoch_cost", "block_geometry", "block_size"]


def load_figure(path: Path) -> FigureConfig:
    """Reads a figure's file.

    Raises:
      ConfigError: it is missing or no YAML, or a key is unknown or ill-typed.
    """
    kind = read_section(path, _AnyFigure, "figure").kind
    return read_section(path, CONFIGS[kind], "figure")
