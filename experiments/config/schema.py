"""What an experiment's YAML file may say, key by key."""

import typing
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A mapping of the YAML file: no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


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


class OctNet3Section(Section):
    """What both ways to name an OctNet3 share."""

    sparse: bool = True
    """False: the dense twin."""
    input_density: Share | None = None
    """The share of the volume that the sparse input may fill; what does not fit is cut and counted. Left out: as much
    as the fullest image of the dataset needs, so that nothing is cut."""
    select: Literal["relu", "value", "magnitude"] = "relu"
    use_bias: bool = True
    hidden: Positive = 1024
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    kernel_init: Literal["lecun_normal", "he_normal", "glorot_uniform"] = "lecun_normal"
    """How kernels are drawn; biases start at 0."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Of activations and of the computation; parameters and the optimiser's state stay float32. Left out: float32."""


class OctNet3Config(OctNet3Section):
    """OctNet3 of Table 4 for the dataset's resolution (jaxsparse.models.OctNet3)."""

    kind: Literal["octnet3"]
    preset: str | None = None
    """Density bounds of the paper's appendix by name, as in jaxsparse.models.OCTNET3_DENSITIES."""
    densities: tuple[Share, ...] | None = None
    """Density bounds of the sparse stages; nothing is cut if left out together with preset."""

    @model_validator(mode="after")
    def _one_source(self) -> "OctNet3Config":
        if self.preset is not None and self.densities is not None:
            raise ValueError("give preset or densities, not both")
        return self


class OctNet3ImageConfig(OctNet3Section):
    """OctNet3 for small images, its bounds tied as in the paper (jaxsparse.models.octnet3_24)."""

    kind: Literal["octnet3_24"] = "octnet3_24"
    rho1: Share = 0.05
    """Density bound of the first three convolutions."""
    rho2: Share | None = None
    """Density bound of the last three; 2 * rho1 if left out."""


class S3DCNNConfig(Section):
    """S3DCNN, convolutions over active sites (jaxsparse.models.S3DCNN)."""

    kind: Literal["s3dcnn"]
    depth: Annotated[int, Field(ge=1, le=6)] = 5
    """Convolution and pooling, so many times; data.resolution follows from it: 6, 14, 30, 62, 126, 254 voxels."""
    width: Positive = 32
    """Channels of the first convolution; each has so many more than the one before."""
    slope: Annotated[float, Field(ge=0, le=1)] = 0.33
    """Of the leaky ReLU."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """In front of the last convolution; less in front of those before it."""
    sites: tuple[Positive, ...] | None = None
    """Active sites an object that there is room for in each layer, input first; what does not fit is cut and counted. Left
    out: what some objects of the dataset need, and a quarter more."""
    kernel_init: Literal["paper", "lecun_normal", "he_normal", "glorot_uniform"] = "paper"
    """How kernels are drawn; biases start at 0."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Of activations and of the computation; parameters and the optimiser's state stay float32. Left out: float32."""

    @property
    def field(self) -> int:
        """Voxels a dimension for which the last convolution has one place."""
        size = 2
        for _ in range(self.depth):
            size = 2 * size + 2
        return size


def _model_kind(value: Any) -> Any:
    # Configurations of one network should not have to name it.
    return (
        value.get("kind", "octnet3_24") if isinstance(value, dict) else getattr(value, "kind", None)
    )


ModelConfig = Annotated[
    Annotated[OctNet3ImageConfig, Tag("octnet3_24")]
    | Annotated[OctNet3Config, Tag("octnet3")]
    | Annotated[S3DCNNConfig, Tag("s3dcnn")],
    Discriminator(_model_kind),
]


class SoftmaxConfig(Section):
    """Which class an object belongs to: cross entropy."""

    kind: Literal["softmax"] = "softmax"


class TripletConfig(Section):
    """Which of two objects is of the same class as a third: max(0, margin + d+ - d-)."""

    kind: Literal["triplet"]
    margin: Scale = 1.0
    distance: Literal["cosine", "l2"] = "cosine"
    classes: Positive = 5
    """Different classes that the anchors of a batch come from; 3 * classes divides train.batch_size, which counts objects."""
    mining: Literal["none", "hard"] = "none"
    """none: the triplets that were drawn; hard: every object of the batch with the farthest of its class and the nearest of
    another."""


ObjectiveConfig = Annotated[SoftmaxConfig | TripletConfig, Field(discriminator="kind")]


class OptimizerConfig(Section):
    """The optimiser and its learning rate."""

    kind: Literal["adagrad", "adam", "sgd"] = "adagrad"
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
    schedule: Literal["constant", "cosine", "exponential", "piecewise"] = "constant"
    """cosine: the learning rate falls to 0 over the run; its length can then not change when it is resumed. exponential:
    it falls to decay_rate of itself every epoch. piecewise: it is multiplied by one of factors at each of boundaries."""
    warmup_epochs: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """The learning rate rises to the schedule's over so many epochs."""
    decay_rate: Share = 0.9
    """Of the exponential schedule: what is left of the learning rate after an epoch."""
    boundaries: tuple[Scale, ...] = ()
    """Of the piecewise schedule: epochs, ascending."""
    factors: tuple[Scale, ...] = ()
    """Of the piecewise schedule: a factor for each of boundaries."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of sgd."""
    nesterov: bool = False
    """Of sgd: Nesterov's momentum."""
    initial_accumulator: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    """Of adagrad: what the sums of squared gradients start from."""

    @model_validator(mode="after")
    def _consistent(self) -> "OptimizerConfig":
        if (self.schedule == "piecewise") != bool(self.boundaries):
            raise ValueError("boundaries and factors belong to schedule piecewise, and to it alone")
        if len(self.boundaries) != len(self.factors):
            raise ValueError("factors must be as many as boundaries")
        if list(self.boundaries) != sorted(set(self.boundaries)):
            raise ValueError("boundaries must ascend")
        if self.nesterov and (self.kind != "sgd" or not self.momentum):
            raise ValueError("nesterov is for sgd with a momentum")
        return self


class PruningConfig(Section):
    """One-warning-shot pruning of the sparse convolutions' kernels (jaxsparse.optim.warning_shot_pruning)."""

    threshold: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """A weight below it at two screenings in a row is removed for good."""
    every: Positive | None = None
    """Updates from one screening to the next; an epoch if left out."""


class RegularizerConfig(Section):
    """Weight decay that follows the layers' densities (jaxsparse.optim.adaptive_density_decay)."""

    scale: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """The lambda of the paper's Fig. 6."""
    bound: Annotated[float, Field(ge=0, le=1)] | None = None
    """The density to stay below; left out: each layer's own density bound."""
    offset: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    gain_over: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    gain_under: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of the bias b of Eq. 4."""
    per: Literal["layer", "channel"] = "layer"
    """Whether a layer's output channels share a density, or each has its own."""


class TrainConfig(Section):
    """The training loop."""

    epochs: Positive = 10
    batch_size: Positive = 100
    test_batch_size: Positive = 500
    test_every: Positive = 1
    """Epochs between two tests; the last epoch always ends in one."""
    log_every: Positive = 20
    """Steps between two lines of metrics.jsonl."""
    checkpoint_every: Positive | None = None
    """Steps between two checkpoints; once an epoch if left out."""
    keep_checkpoints: Positive = 2
    start: Path | None = None
    """A run, or a checkpoint of one, whose weights this run begins with; of a network of the same kind and size."""
    devices: Positive | Literal["all"] = 1
    """Devices of each process over which a batch is spread."""
    tensorboard: bool = False
    """Writes the metrics to the run's folder tensorboard, too."""


class DistributedConfig(Section):
    """One of several processes that train together (jax.distributed): the same for all but process_id."""

    coordinator_address: Annotated[str, Field(pattern=r"^\S+:\d+$")]
    """host:port of process 0, which listens there."""
    num_processes: Positive
    process_id: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _in_range(self) -> "DistributedConfig":
        if self.process_id >= self.num_processes:
            raise ValueError("process_id must be less than num_processes")
        return self


class ExperimentConfig(Section):
    """A whole experiment."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: DataConfig
    model: ModelConfig = OctNet3ImageConfig()
    objective: ObjectiveConfig = SoftmaxConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    pruning: PruningConfig | None = None
    regularizer: RegularizerConfig | None = None
    train: TrainConfig = TrainConfig()
    distributed: DistributedConfig | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "ExperimentConfig":
        if not isinstance(self.model, S3DCNNConfig):
            if self.objective.kind == "triplet":
                raise ValueError("objective.kind triplet is for model.kind s3dcnn")
            return self
        if self.train.devices != 1 or self.distributed is not None:
            raise ValueError(
                "model.kind s3dcnn trains on one device: train.devices=1, no distributed"
            )
        if self.pruning is not None or self.regularizer is not None:
            raise ValueError("pruning and regularizer are for model.kind octnet3")
        if self.objective.kind == "triplet" and self.train.batch_size % (
            3 * self.objective.classes
        ):
            raise ValueError(
                f"train.batch_size must be a multiple of 3 * objective.classes = "
                f"{3 * self.objective.classes}, got {self.train.batch_size}"
            )
        return self
