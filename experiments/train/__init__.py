"""Training: one jitted step, a loop that can be stopped anywhere, and what is shown and kept of it."""

from experiments.train.evaluate import evaluate
from experiments.train.trainer import Interrupted, train

__all__ = ["Interrupted", "evaluate", "train"]
