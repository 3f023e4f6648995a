"""Typed configurations: one YAML file an experiment, ``key=value`` to override."""

from experiments.config.load import completed, load_config
from experiments.config.schema import (
    DataConfig,
    DigitsConfig,
    DistributedConfig,
    ExperimentConfig,
    MnistConfig,
    ModelConfig,
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
    "DataConfig",
    "DigitsConfig",
    "DistributedConfig",
    "ExperimentConfig",
    "MnistConfig",
    "ModelConfig",
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
