"""The real MNIST files from a folder."""

from pathlib import Path

import numpy as np

from experiments.config import MnistConfig
from experiments.data.dataset import Dataset, Split
from experiments.data.idx import read_idx
from experiments.errors import DataError

# Of the uncompressed files: copies are recompressed here and there.
FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def load_mnist(config: MnistConfig) -> Dataset:
    """Reads, checks and thresholds the four files.

    Raises:
      DataError: ``root`` is not set or lacks a file, or a file is not the original.
    """
    if config.root is None:
        raise DataError(
            "data.root is not set: name the folder with the MNIST files, as in data.root=/data/mnist "
            f"({', '.join(FILES)}; plain or .gz)"
        )
    arrays = {name: read_idx(find(config.root, name), md5) for name, md5 in FILES.items()}
    splits = []
    for part in ("train", "t10k"):
        images = arrays[f"{part}-images-idx3-ubyte"]
        labels = arrays[f"{part}-labels-idx1-ubyte"]
        images = np.where(images < config.threshold, 0, images).astype(np.uint8)
        margin = (images.shape[1] - config.image_size) // 2
        inner = slice(margin, margin + config.image_size)
        images = np.ascontiguousarray(images[:, inner, inner, None])
        splits.append(Split(images, labels.astype(np.int32)))
    return Dataset("MNIST", train=splits[0], test=splits[1], classes=10)


def find(root: Path, name: str) -> Path:
    """The file ``name`` or ``name.gz`` in ``root``."""
    if not root.is_dir():
        raise DataError(f"data.root is no folder: {root}")
    for candidate in (root / name, root / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise DataError(f"{root} holds neither {name} nor {name}.gz")
