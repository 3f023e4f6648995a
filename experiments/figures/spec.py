"""What the YAML file of a figure may say."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field

from experiments.config.section import Positive, Section
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


class ActiveSitesConfig(Section):
    """The share of active sites behind every layer of S3DCNN (its Table 1)."""

    kind: Literal["active_sites"]
    name: Name
    base: Path
    """The experiment whose data and network are taken, relative to this file."""
    set: Overrides = Field(default_factory=dict)
    """Keys of it, dotted, and their values."""
    objects: Positive = 400
    """Of the test set, at even spaces."""
    meshes: Path | None = None
    """A folder of meshes: what is below it is measured, too. No part of the result."""


class RendersConfig(Section):
    """One object at several render sizes (S3DCNN's Fig. 1)."""

    kind: Literal["renders"]
    name: Name
    renders: Resolutions
    """Voxels a dimension."""
    meshes: Path | None = None
    """The folder that the objects are below. No part of the result."""
    objects: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of the files, without their endings."""


class RenderMapConfig(Section):
    """Retrieval against the render size: a network is trained for each (S3DCNN's Fig. 2)."""

    kind: Literal["render_map"]
    name: Name
    base: Path
    """The experiment that is varied, relative to this file."""
    set: Overrides = Field(default_factory=dict)
    """Keys of it, dotted, and their values."""
    renders: Resolutions
    """Voxels that an object takes in the field, which stays what it is."""
    per_class: Positive | None = None
    """Objects of every class of the test set; all if left out."""
    runs: Path = Path("runs")
    """Where run folders go."""


class PrecisionRecallConfig(Section):
    """Precision-recall curves of results of ``retrieve`` (S3DCNN's Fig. 3)."""

    kind: Literal["precision_recall"]
    name: Name
    title: str
    results: Annotated[dict[str, Path], Field(min_length=1)]
    """The curves' names, and their result files relative to this file."""


FigureConfig = (
    FillInConfig
    | EpochCostConfig
    | BlockGeometryConfig
    | BlockSizeConfig
    | ActiveSitesConfig
    | RendersConfig
    | RenderMapConfig
    | PrecisionRecallConfig
)

SECTIONS: dict[str, type[Section]] = {
    get_args(section.model_fields["kind"].annotation)[0]: section
    for section in get_args(FigureConfig)
}


class _AnyFigure(Section):
    model_config = ConfigDict(extra="ignore")

    kind: Literal[
        "fill_in",
        "epoch_cost",
        "block_geometry",
        "block_size",
        "active_sites",
        "renders",
        "render_map",
        "precision_recall",
    ]


def load_figure(path: Path) -> Any:
    """Reads a figure's file: one of ``FigureConfig``.

    Raises:
      ConfigError: it is missing or no YAML, or a key is unknown or ill-typed.
    """
    kind = read_section(path, _AnyFigure, "figure").kind
    return read_section(path, SECTIONS[kind], "figure")
