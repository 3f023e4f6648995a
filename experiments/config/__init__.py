"""Typed configurations: one YAML file an experiment, ``key=value`` to override."""

from experiments.config.load import load_config
from experiments.config.schema import (
    DataConfig,
    DigitsConfig,
    ExperimentConfig,
    MnistConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)

__all__ = [
    "DataConfig",
    "DigitsConfig",
    "ExperimentConfig",
    "MnistConfig",
    "ModelConfig",
    "OptimizerConfig",
    "TrainConfig",
    "load_config",
]
