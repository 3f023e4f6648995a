"""The section ``data`` of an experiment's YAML file: one class a dataset."""

import typing
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from experiments.config.section import Positive, Scale, Section


class DigitsConfig(Section):
    """scikit-learn's 8x8 digits upsampled to 28x28: needs no download. A smoke test, never quoted as a result."""

    kind: Literal["digits"]
    threshold: Annotated[int, Field(ge=0, le=255)] = 160
    """Pixels below it become 0."""
    scale: Scale = 255.0
    """Pixels are divided by it."""


class MnistConfig(Section):
    """The MNIST files."""

    kind: Literal["mnist"]
    root: Path | None = None
    """The folder with the four idx files, plain or .gz; what is missing is downloaded into it. Left out: a cache."""
    threshold: Annotated[int, Field(ge=0, le=255)] = 50
    """Pixels below it become 0."""
    scale: Scale = 255.0
    """Pixels are divided by it."""
    image_size: Literal[24, 28] = 28
    """28: whole images; 24: their central part."""


SolidKind = Literal[
    "sphere", "box", "cylinder", "tube", "capsule", "cone", "torus", "pyramid", "tetrahedron", "octahedron",
]  # fmt: skip


class SolidsConfig(Section):
    """Generated solids, turned, scaled and moved at random: labelled voxels that need no download."""

    kind: Literal["solids"]
    resolution: Annotated[int, Field(ge=8, le=256)] = 32
    """Voxels a dimension."""
    kinds: Annotated[tuple[SolidKind, ...], Field(min_length=2)] = typing.get_args(SolidKind)
    """Which solids there are: the classes."""
    fill: Literal["surface", "solid"] = "surface"
    """Whether only voxels at the surface are set, or all inside."""
    train_size: Positive = 16000
    test_size: Positive = 2000
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of the shapes; that of the experiment is for the network and the order of the batches."""

    @model_validator(mode="after")
    def _distinct(self) -> "SolidsConfig":
        if len(set(self.kinds)) < len(self.kinds):
            raise ValueError("kinds names one of them twice")
        return self


class AugmentedSection(Section):
    """Random changes to the clouds that are trained on, others in every epoch; what is tested on is left alone."""

    rotation: Literal["none", "up", "any"] = "none"
    """up: about the vertical axis; any: all rotations equally likely."""
    jitter: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Standard deviation of what every coordinate moves by; the objects' radius is 1."""
    jitter_clip: Scale = 0.05
    """No coordinate moves farther."""
    affine: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Standard deviation of what is added to each entry of the identity to make the matrix that an object is multiplied by."""
    translation: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """The farthest that an object moves in each dimension; half of the volume is 1, or half of ``render``."""

    @property
    def changes_anything(self) -> bool:
        return self.rotation != "none" or bool(self.jitter or self.affine or self.translation)


class ModelNet40Config(AugmentedSection):
    """ModelNet40's objects as clouds of points: test.npz and train_0.npz to train_3.npz."""

    kind: Literal["modelnet40"]
    root: Path | None = None
    """The folder with the files. There is no download: ModelNet is for academic research only."""
    resolution: Annotated[int, Field(ge=6, le=256)] = 32
    """Voxels a dimension."""
    padding: Annotated[int, Field(ge=0, le=8)] = 0
    """Voxels at either end of every dimension that stay empty; the objects shrink."""
    render: Annotated[int, Field(ge=4, le=256)] | None = None
    """Voxels that an object takes in the middle of the volume, which it may leave when it is changed; all of them but
    padding if left out."""
    fit: Literal["sphere", "cube"] = "sphere"
    """What fills the volume. sphere: the unit ball that holds every object about its mean, so that turned objects stay whole;
    cube: the bounding cube of each object as it is turned, which uses more voxels."""
    train_part: Literal["all", 0, 1, 2, 3] = "all"
    """All that is trained on, or one of its quarters, in which all classes have their share."""

    @model_validator(mode="after")
    def _room(self) -> "ModelNet40Config":
        if self.resolution <= 2 * self.padding:
            raise ValueError("padding must leave voxels: it is half of resolution or more")
        if self.render is not None and (self.padding or self.render > self.resolution):
            raise ValueError("render must be resolution at most, and stands in place of padding")
        return self


class ChangedGridSection(Section):
    """Random changes to the voxels that are trained on, others in every epoch; what is tested on is left alone."""

    quarter_turns: bool = False
    """Turned about the vertical axis by 0, 90, 180 or 270 degrees."""
    mirror: bool = False
    """Every second one is mirrored, left to right."""
    shift: Annotated[int, Field(ge=0, le=16)] = 0
    """The farthest that an object moves in each dimension, in voxels; what leaves the volume is lost."""

    @property
    def changes_anything(self) -> bool:
        return self.quarter_turns or self.mirror or self.shift > 0


class ModelNet10Config(ChangedGridSection):
    """ModelNet10's objects as solid voxels: voxel30.npz."""

    kind: Literal["modelnet10"]
    root: Path | None = None
    """The folder with the file. There is no download: ModelNet is for academic research only."""
    resolution: Literal[30, 32] = 32
    """Voxels a dimension. 32: an empty voxel around the file's 30."""


class MeshesConfig(ChangedGridSection):
    """A folder of meshes, as ModelNet's are laid out: CLASS/train/NAME.off and CLASS/test/NAME.off."""

    kind: Literal["meshes"]
    root: Path | None = None
    resolution: Annotated[int, Field(ge=8, le=256)] = 32
    """Voxels a dimension."""
    fill: Literal["surface", "solid"] = "surface"
    """Whether only voxels that triangles touch are set, or what they enclose, too."""
    padding: Annotated[int, Field(ge=0, le=8)] = 0
    """Voxels at either end of every dimension that stay empty; the objects shrink."""
    fit: Literal["cube", "sphere"] = "cube"
    """What fills the volume: the bounding cube of each object, or a ball about the mean of its vertices."""
    cache: Path | None = None
    """Where voxels are kept, for all settings and resolutions. Left out: the user's cache folder."""
    workers: Positive | None = None
    """Processes that make what is not kept yet; as many as there are processors if left out."""

    @model_validator(mode="after")
    def _room(self) -> "MeshesConfig":
        if self.resolution <= 2 * self.padding:
            raise ValueError("padding must leave voxels: it is half of resolution or more")
        return self


PLACES = ("root", "cache", "workers")
"""Keys of ``data`` that say where and how it is read, not what: they may differ between two parts of one run."""

DataConfig = Annotated[
    DigitsConfig | MnistConfig | SolidsConfig | ModelNet40Config | ModelNet10Config | MeshesConfig,
    Field(discriminator="kind"),
]
