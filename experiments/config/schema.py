"""What an experiment's YAML file may say, key by key."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A mapping of the YAML file: no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class DigitsConfig(Section):
    """scikit-learn's 8x8 digits upsampled to 28x28: needs no download. A smoke test, never quoted as a result."""

    kind: Literal["digits"]
    threshold: Annotated[int, Field(ge=0, le=255)] = 160
    """Pixels below it become 0."""


class MnistConfig(Section):
    """The MNIST files."""

    kind: Literal["mnist"]
    root: Path | None = None
    """The folder with the four idx files, plain or .gz."""
    threshold: Annotated[int, Field(ge=0, le=255)] = 50
    """Pixels below it become 0."""
    image_size: Literal[24, 28] = 28
    """28: whole images; 24: their central part."""


DataConfig = Annotated[DigitsConfig | MnistConfig, Field(discriminator="kind")]


class ModelConfig(Section):
    """OctNet3 for small images (jaxsparse.models.octnet3_24)."""

    kind: Literal["octnet3_24"] = "octnet3_24"
    sparse: bool = True
    """False: the dense twin."""
    rho1: Share = 0.05
    """Density bound of the first three convolutions."""
    rho2: Share | None = None
    """Density bound of the last three; 2 * rho1 if left out."""
    input_density: Share = 1.0
    """The share of the image that the sparse input may fill; what does not fit is cut and counted."""
    select: Literal["relu", "value", "magnitude"] = "relu"
    use_bias: bool = True
    hidden: Positive = 1024
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5


class OptimizerConfig(Section):
    """The optimiser and its constant learning rate."""

    kind: Literal["adagrad", "adam", "sgd"] = "adagrad"
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of sgd."""


class TrainConfig(Section):
    """The training loop."""

    epochs: Positive = 10
    batch_size: Positive = 100
    test_batch_size: Positive = 500
    log_every: Positive = 20
    """Steps between two lines of metrics.jsonl."""
    checkpoint_every: Positive | None = None
    """Steps between two checkpoints; once an epoch if left out."""
    keep_checkpoints: Positive = 2


class ExperimentConfig(Section):
    """A whole experiment."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: DataConfig
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
