"""What a dataset is to the runner, and which configuration makes which."""

import dataclasses

import numpy as np

from experiments.config import DataConfig, DigitsConfig, MnistConfig


@dataclasses.dataclass(frozen=True)
class Split:
    """Labelled images.

    Attributes:
      images: uint8 ``[N, H, W, 1]``, 0 = empty.
      labels: int32 ``[N]``.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def density(self) -> float:
        """The mean share of voxels that are not 0."""
        return np.count_nonzero(self.images) / self.images.size

    @property
    def peak_density(self) -> float:
        """The largest share of voxels not 0 in any image."""
        filled = np.count_nonzero(self.images.reshape(len(self), -1), axis=1)
        return int(filled.max(initial=0)) / self.images[0].size


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A training and a test split.

    Attributes:
      name: for tables.
      train: what is trained on.
      test: what is tested on.
      classes: number of labels.
      smoke_test: results mean nothing; said wherever they are shown.
    """

    name: str
    train: Split
    test: Split
    classes: int
    smoke_test: bool = False


def load_dataset(config: DataConfig) -> Dataset:
    """Loads the dataset that a configuration names.

    Raises:
      DataError: its files are absent or damaged.
    """
    # Imported here: a run needs one of them, and scikit-learn takes a second to import.
    if isinstance(config, MnistConfig):
        from experiments.data.mnist import load_mnist

        return load_mnist(config)
    assert isinstance(config, DigitsConfig)
    from experiments.data.digits import load_digits

    return load_digits(config)
