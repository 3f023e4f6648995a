"""What an experiment's YAML file may say, key by key."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from experiments.config.data import DataConfig
from experiments.config.section import Positive, Scale, Section, Share


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
