"""A configuration small enough to train in a second or two."""

from experiments.config import ExperimentConfig
from experiments.config.load import validate

SMALL = {
    "name": "small",
    "data": {"kind": "digits"},
    "model": {"rho1": 0.1, "hidden": 16, "input_density": 0.5},
    "train": {"epochs": 1, "batch_size": 479, "test_batch_size": 200, "log_every": 2},
}


def small_config(**sections) -> ExperimentConfig:
    """``SMALL`` with some sections' keys replaced."""
    values = {
        key: {**value, **sections.get(key, {})} if isinstance(value, dict) else value
        for key, value in SMALL.items()
    }
    return validate(values, "test")
