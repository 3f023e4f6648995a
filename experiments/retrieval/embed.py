"""The embeddings of a split's objects by a trained network."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.config import ExperimentConfig, S3DCNNConfig
from experiments.data import Dataset, Split
from experiments.data.site_lists import site_batch
from experiments.errors import UserError
from experiments.models import sites_of
from experiments.train.evaluate import load_trained
from experiments.train.objectives import site_tensor
from experiments.train.step import State, Steps


@dataclasses.dataclass(frozen=True)
class Embedder:
    """A trained network that embeds.

    Attributes:
      step: of the checkpoint.
      config: of the run.
      dataset: of the run.
      steps: compiled, for the network's structure.
      state: of the checkpoint.
    """

    step: int
    config: ExperimentConfig
    dataset: Dataset
    steps: Steps
    state: State

    def split(self, name: str) -> Split:
        """``"train"`` or ``"test"``."""
        return self.dataset.train if name == "train" else self.dataset.test

    def embed(
        self,
        split: Split,
        numbers: np.ndarray,
        done: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Embeddings of some objects as they are, unchanged: float32 ``[len(numbers), C]``.

        Args:
          split: where the objects are.
          numbers: which of them.
          done: called with the number of objects after every batch.
        """
        assert isinstance(self.config.model, S3DCNNConfig)
        sites = sites_of(self.config.model, self.dataset)[0]
        size = min(self.config.train.test_batch_size, len(numbers))

        @jax.jit
        def run(state: State, batch: Any) -> jax.Array:
            model: Any = self.steps.trained(state)
            return model.embed(site_tensor(model, batch)).astype(jnp.float32)

        parts = []
        for start in range(0, len(numbers), size):
            index = numbers[start : start + size]
            batch = site_batch(split, index, size, sites)
            parts.append(np.asarray(run(self.state, batch))[: len(index)])
            if done is not None:
                done(len(index))
        return np.concatenate(parts)


def load_embedder(
    path: Path, *, step: int | None = None, overrides: tuple[str, ...] = ()
) -> Embedder:
    """The network of a run's checkpoint.

    Args:
      path: a run's folder, or one of its checkpoints.
      step: which of the run's checkpoints; the newest if left out.
      overrides: ``key=value`` strings, as ``data.root=DIR`` or ``data.render=50``.

    Raises:
      UserError: there is no such checkpoint, its network has no embeddings, or the data cannot be read.
    """
    step, config, dataset, steps, state = load_trained(path, step=step, overrides=overrides)
    if not isinstance(config.model, S3DCNNConfig):
        raise UserError(
            f"{path} is a run of model.kind {config.model.kind}; retrieval needs one of s3dcnn"
        )
    return Embedder(step, config, dataset, steps, state)
