"""Typed configurations: one YAML file an experiment, ``key=value`` to override."""

from experiments.config.load import load_config
from experiments.config.schema import (
    DataConfig,
    DigitsConfig,
    ExperimentConfig,
    MnistConfig,
    ModelConfig,
    OctNet3Config,
    OctNet3ImageConfig,
    OptimizerConfig,
    SolidKind,
    SolidsConfig,
    TrainConfig,
)

__all__ = [
    "DataConfig",
    "DigitsConfig",
    "ExperimentConfig",
    "MnistConfig",
    "ModelConfig",
    "OctNet3Config",
    "OctNet3ImageConfig",
    "OptimizerConfig",
    "SolidKind",
    "SolidsConfig",
    "TrainConfig",
    "load_config",
]
