"""What a dataset is to the runner, and which configuration makes which."""

import dataclasses
from typing import Protocol

import numpy as np

from experiments.config import (
    DataConfig,
    DigitsConfig,
    MeshesConfig,
    MnistConfig,
    ModelNet10Config,
    ModelNet40Config,
    SolidsConfig,
)


class Split(Protocol):
    """Labelled images, in memory or made when they are asked for."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """``(*spatial, channels)``."""
        ...

    @property
    def peak_density(self) -> float:
        """A share of voxels that no image exceeds, none that is changed at random by much; 1 where it is not known."""
        ...

    @property
    def labels(self) -> np.ndarray:
        """int32 ``[N]``."""
        ...

    def __len__(self) -> int: ...

    def gather(
        self, index: np.ndarray, draw: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The images and labels of some indices: float32 ``[n, *image_shape]``, int32 ``[n]``.

        ``draw``, the run's seed and the epoch, is given for training only: a split that changes its images at random
        draws the changes of image ``i`` from ``(*draw, i)``, and leaves them as they are without.
        """
        ...


@dataclasses.dataclass(frozen=True)
class ArraySplit:
    """Images held as bytes.

    Attributes:
      images: uint8 ``[N, *spatial, 1]``, 0 = empty.
      labels: int32 ``[N]``.
      scale: what pixels are divided by.
    """

    images: np.ndarray
    labels: np.ndarray
    scale: float = 255.0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, ...]:
        return self.images.shape[1:]

    @property
    def density(self) -> float:
        """The mean share of voxels that are not 0."""
        return np.count_nonzero(self.images) / self.images.size

    @property
    def peak_density(self) -> float:
        filled = np.count_nonzero(self.images.reshape(len(self), -1), axis=1)
        return max(int(filled.max(initial=0)), 1) / self.images[0].size

    def gather(
        self, index: np.ndarray, draw: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        return self.images[index].astype(np.float32) / np.float32(self.scale), self.labels[index]


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split; equal to itself only.

    Attributes:
      name: for tables.
      train: what is trained on.
      test: what is tested on.
      class_names: the name of every label.
      smoke_test: results mean nothing; said wherever they are shown.
      notes: what was left out and why, for the summary.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    smoke_test: bool = False
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """Number of labels."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """``(*spatial, channels)``."""
        return self.train.image_shape

    @property
    def peak_density(self) -> float:
        """A share of voxels that no image of either split exceeds."""
        return max(self.train.peak_density, self.test.peak_density)


def load_dataset(config: DataConfig) -> Dataset:
    """Loads the dataset that a configuration names.

    Raises:
      DataError: its files are absent or damaged.
    """
    # Imported here: a run needs one of them, and scikit-learn takes a second to import.
    if isinstance(config, MnistConfig):
        from experiments.data.mnist import load_mnist

        return load_mnist(config)
    if isinstance(config, SolidsConfig):
        from experiments.data.solids import load_solids

        return load_solids(config)
    if isinstance(config, ModelNet40Config):
        from experiments.data.modelnet40 import load_modelnet40

        return load_modelnet40(config)
    if isinstance(config, ModelNet10Config):
        from experiments.data.modelnet10 import load_modelnet10

        return load_modelnet10(config)
    if isinstance(config, MeshesConfig):
        from experiments.data.meshes import load_meshes

        return load_meshes(config)
    assert isinstance(config, DigitsConfig)
    from experiments.data.digits import load_digits

    return load_digits(config)
