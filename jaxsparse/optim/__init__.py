"""Optax transforms that make a network sparser while it learns."""

from jaxsparse.optim.adaptive_density_decay import (
    AdaptiveDensityDecayState,
    adaptive_density_decay,
)
from jaxsparse.optim.warning_shot_pruning import (
    WarningShotPruningState,
    pruning_mask,
    revive,
    warning_shot_pruning,
)

__all__ = [
    "AdaptiveDensityDecayState",
    "WarningShotPruningState",
    "adaptive_density_decay",
    "pruning_mask",
    "revive",
    "warning_shot_pruning",
]
