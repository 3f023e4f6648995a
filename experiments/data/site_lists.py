"""Objects as lists of their active sites: what networks over ``voxel.VoxelTensor`` read, batch by batch."""

from collections.abc import Iterator
from typing import TypedDict

import grain
import numpy as np

from experiments.data.clouds import CloudSplit
from experiments.data.dataset import Split
from experiments.data.grids import GridSplit
from jaxsparse.data import batch_coords

Draw = tuple[int, int]


class SiteBatch(TypedDict):
    """One step's input.

    coords: int32 ``[B * sites, 1 + d]``, the object's number first; unused rows ``(B, 0, ...)``. features: float32
    ``[B * sites, C]``. count: int32 ``[]``, sites found, more than the rows if some were cut. label: int32 ``[B]``.
    weight: float32 ``[B]``, 0 for objects that only fill up the last batch of a test.
    """

    coords: np.ndarray
    features: np.ndarray
    count: np.ndarray
    label: np.ndarray
    weight: np.ndarray


def object_sites(
    split: Split, number: int, draw: Draw | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The active sites of one object and their features: int32 ``[M, d]``, row-major, and float32 ``[M, C]``.

    ``draw`` is what ``Split.gather`` takes: the same object, the same changes.
    """
    if isinstance(split, CloudSplit | GridSplit):  # no volume in between
        rng = None if draw is None else np.random.default_rng([*draw, number])
        coords = np.asarray(split.voxels(number, rng), np.int32)
        if isinstance(split, GridSplit):  # a turned one is in another order
            coords = coords[np.lexsort(coords.T[::-1])]
        return coords, np.ones((len(coords), 1), np.float32)
    image = split.gather(np.array([number]), draw)[0][0]
    coords = np.argwhere(image.any(axis=-1))
    return coords.astype(np.int32), image[tuple(coords.T)]


def site_batch(
    split: Split, index: np.ndarray, size: int, sites: int, draw: Draw | None = None
) -> SiteBatch:
    """Some objects as one batch.

    Args:
      split: where they are.
      index: their numbers, at most ``size``.
      size: objects of the batch; what is missing is empty and has weight 0.
      sites: rows an object, on average; what does not fit, the last sites of the last objects, is cut and counted.
      draw: as of ``Split.gather``.
    """
    objects = [object_sites(split, int(number), draw) for number in index]
    coords = batch_coords([found for found, _ in objects])
    features = np.concatenate([found for _, found in objects])
    rows, fill = size * sites, size - len(index)
    kept = min(len(coords), rows)
    batch: SiteBatch = {
        "coords": np.zeros((rows, coords.shape[1]), np.int32),
        "features": np.zeros((rows, features.shape[1]), np.float32),
        "count": np.asarray(len(coords), np.int32),
        "label": np.pad(np.asarray(split.labels[index], np.int32), (0, fill)),
        "weight": np.pad(np.ones(len(index), np.float32), (0, fill)),
    }
    batch["coords"][:, 0] = size
    batch["coords"][:kept], batch["features"][:kept] = coords[:kept], features[:kept]
    return batch


def site_batches(
    split: Split, batch_size: int, seed: int, sites: int
) -> grain.DatasetIterator[SiteBatch]:
    """``train_batches`` of lists: endless, every epoch in its own order, a position that can be gone back to."""
    indices = grain.MapDataset.range(len(split)).shuffle(seed=seed)
    batches = indices.batch(batch_size, drop_remainder=True).repeat()
    steps = max(len(split) // batch_size, 1)  # of an epoch

    def gather(number: int, index: np.ndarray) -> SiteBatch:
        return site_batch(split, index, batch_size, sites, (seed, number // steps))

    return _read(batches.map_with_index(gather))


def triplet_batches(
    split: Split, batch_size: int, seed: int, sites: int, classes: int
) -> grain.DatasetIterator[SiteBatch]:
    """Batches of triplets without end; all of batch ``n`` follows from ``seed`` and ``n``.

    Args:
      split: where the objects are.
      batch_size: objects of a batch, three a triplet.
      seed: of the experiment.
      sites: as of ``site_batch``.
      classes: as of ``TripletSampler``.

    Raises:
      ConfigError: there are too few classes, or the triplets cannot be shared evenly.
    """
    from experiments.retrieval.sampling import TripletSampler

    sampler = TripletSampler(split.labels, classes, batch_size // 3)

    def gather(number: int, _: int) -> SiteBatch:
        index = sampler.draw(np.random.default_rng([seed, number]))
        return site_batch(split, index, batch_size, sites, (seed, number))

    return _read(grain.MapDataset.range(1).repeat().map_with_index(gather))


def eval_site_batches(split: Split, batch_size: int, sites: int) -> Iterator[SiteBatch]:
    """Every object once, in order and unchanged; the last batch is filled up with empty objects of weight 0."""
    for start in range(0, len(split), batch_size):
        index = np.arange(start, min(start + batch_size, len(split)))
        yield site_batch(split, index, batch_size, sites)


def eval_triplet_batches(
    split: Split, batch_size: int, sites: int, classes: int
) -> Iterator[SiteBatch]:
    """The same triplets every time, of unchanged objects: about as many objects as there are in the split."""
    from experiments.retrieval.sampling import TripletSampler

    classes = min(classes, len(np.unique(split.labels)))
    size = max(batch_size // (3 * classes), 1) * 3 * classes
    sampler = TripletSampler(split.labels, classes, size // 3)
    for number in range(max(len(split) // size, 1)):
        yield site_batch(split, sampler.draw(np.random.default_rng([0, number])), size, sites)


def _read(batches: grain.MapDataset) -> grain.DatasetIterator[SiteBatch]:
    return iter(batches.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))
