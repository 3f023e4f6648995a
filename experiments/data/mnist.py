"""The real MNIST files: from a folder, or downloaded into it."""

from pathlib import Path

import numpy as np

from experiments.config import MnistConfig
from experiments.data.dataset import ArraySplit, Dataset
from experiments.data.download import cache_folder, fetch
from experiments.data.idx import read_idx
from experiments.errors import DataError

# Of the uncompressed files: copies are recompressed here and there.
FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}

# Of the archives as LeCun & Cortes published them, which is what the mirror below holds.
ARCHIVES = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"


def load_mnist(config: MnistConfig) -> Dataset:
    """Finds or downloads the four files, checks, thresholds and crops them.

    Raises:
      DataError: ``root`` is no folder, a file is absent and cannot be downloaded, or is not the original.
    """
    if config.root is not None and not config.root.is_dir():
        raise DataError(f"data.root is no folder: {config.root}")
    root = cache_folder("mnist") if config.root is None else config.root
    arrays = {name: read_idx(find(root, name), md5) for name, md5 in FILES.items()}
    splits = []
    for part in ("train", "t10k"):
        images = arrays[f"{part}-images-idx3-ubyte"]
        labels = arrays[f"{part}-labels-idx1-ubyte"]
        images = np.where(images < config.threshold, 0, images).astype(np.uint8)
        margin = (images.shape[1] - config.image_size) // 2
        inner = slice(margin, margin + config.image_size)
        images = np.ascontiguousarray(images[:, inner, inner, None])
        splits.append(ArraySplit(images, labels.astype(np.int32), config.scale))
    return Dataset("MNIST", train=splits[0], test=splits[1], class_names=tuple("0123456789"))


def find(root: Path, name: str) -> Path:
    """The file ``name`` or ``name.gz`` in ``root``; downloaded if neither is there."""
    for candidate in (root / name, root / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    return fetch(
        f"{name}.gz",
        folder=root,
        url=MIRROR,
        md5=ARCHIVES[name],
        otherwise="put MNIST's four files "
        f"({', '.join(FILES)}; plain or .gz) into a folder and name it: data.root=DIR",
    )
