"""Batches by Grain: shuffled without end for training, in order for testing, always of one shape."""

from collections.abc import Iterator
from typing import TypedDict

import grain
import numpy as np

from experiments.data.dataset import Split
from experiments.errors import ConfigError

WHOLE = (0, 1)
"""The part of a batch that the only process takes."""


class Batch(TypedDict):
    """One step's input.

    image: float32 ``[B, *spatial, channels]``. label: int32 ``[B]``. weight: float32 ``[B]``, 0 for rows that only
    fill up the last batch of a test.
    """

    image: np.ndarray
    label: np.ndarray
    weight: np.ndarray


def check_batch_size(split: Split, batch_size: int) -> None:
    """Refuses a training batch that the data cannot fill."""
    if batch_size > len(split):
        raise ConfigError(
            f"train.batch_size is {batch_size}, but the training split has only {len(split)} images"
        )


def train_batches(
    split: Split, batch_size: int, seed: int, part: tuple[int, int] = WHOLE
) -> grain.DatasetIterator[Batch]:
    """An endless iterator, every epoch in its own order; the rest that does not fill a batch is left out.

    ``part`` is ``(number, count)``: this process's share of the rows of every batch, which has ``batch_size`` in all.
    Its position is ``get_state()``, a small JSON-like value, and ``set_state`` goes back to it exactly. What a split changes
    at random follows from ``seed``, the epoch and the image's number: it is the same after a return.
    """
    # Indices are shuffled and batched, so that a batch is one NumPy gather instead of a Python call an image.
    indices = grain.MapDataset.range(len(split)).shuffle(seed=seed)
    batches = indices.batch(batch_size, drop_remainder=True).repeat()
    steps = max(len(split) // batch_size, 1)  # of an epoch

    def gather(number: int, index: np.ndarray) -> Batch:
        return _gather(split, index, batch_size, part, draw=(seed, number // steps))

    gathered = batches.map_with_index(gather)
    return iter(gathered.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))


def eval_batches(split: Split, batch_size: int, part: tuple[int, int] = WHOLE) -> Iterator[Batch]:
    """Every image once, in order; the last batch is filled up with empty images of weight 0."""
    for start in range(0, len(split), batch_size):
        index = np.arange(start, min(start + batch_size, len(split)))
        yield _gather(split, index, batch_size, part)


def _gather(
    split: Split,
    index: np.ndarray,
    size: int,
    part: tuple[int, int],
    draw: tuple[int, int] | None = None,
) -> Batch:
    number, count = part
    size //= count
    index = index[number * size : (number + 1) * size]
    fill = size - len(index)
    image, label = split.gather(index, draw)
    return {
        "image": np.pad(image, ((0, fill), *((0, 0),) * (image.ndim - 1))) if fill else image,
        "label": np.pad(label, (0, fill)),
        "weight": np.pad(np.ones(len(index), np.float32), (0, fill)),
    }
