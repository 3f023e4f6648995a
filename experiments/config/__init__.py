"""Typed configurations: one YAML file an experiment, ``key=value`` to override."""

from experiments.config.load import completed, load_config
from experiments.config.schema import (
    AugmentedSection,
    DataConfig,
    DigitsConfig,
    DistributedConfig,
    ExperimentConfig,
    MnistConfig,
    ModelConfig,
    ModelNet40Config,
    OctNet3Config,
    OctNet3ImageConfig,
    OptimizerConfig,
    PruningConfig,
    RegularizerConfig,
    SolidKind,
    SolidsConfig,
    TrainConfig,
)

__all__ = [
    "AugmentedSection",
    "DataConfig",
    "DigitsConfig",
    "DistributedConfig",
    "ExperimentConfig",
    "MnistConfig",
    "ModelConfig",
    "ModelNet40Config",
    "OctNet3Config",
    "OctNet3ImageConfig",
    "OptimizerConfig",
    "PruningConfig",
    "RegularizerConfig",
    "SolidKind",
    "SolidsConfig",
    "TrainConfig",
    "completed",
    "load_config",
]
