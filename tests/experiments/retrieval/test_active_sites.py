"""Counting active sites: equal to pooling a volume of ones and zeros, and to what the network's layers hold."""

import numpy as np
import pytest

from experiments.data import load_dataset
from experiments.data.active_sites import (
    HEADROOM,
    active_sites,
    layer_names,
    layer_sizes,
    probed_sites,
)
from tests.experiments.retrieval.clouds_folder import small_shapes


def windows(dense, kernel, stride):
    """Which windows hold a one, axis by axis."""
    for axis in range(dense.ndim):
        size = (dense.shape[axis] - kernel) // stride + 1
        parts = [
            np.take(dense, range(tap, tap + stride * (size - 1) + 1, stride), axis)
            for tap in range(kernel)
        ]
        dense = np.logical_or.reduce(parts)
    return dense


def test_names_and_sizes():
    """The paper's chain."""
    assert layer_names(2) == ["input", "conv1", "pool1", "conv2", "pool2", "conv3"]
    assert layer_sizes(126, 5) == [126, 125, 62, 61, 30, 29, 14, 13, 6, 5, 2, 1]


@pytest.mark.parametrize(("field", "depth"), [(6, 1), (14, 2), (30, 3)])
@pytest.mark.parametrize("share", [0.0, 0.002, 0.05, 1.0])
def test_counts(field, depth, share, rng):
    dense = rng.random((field,) * 3) < share
    wanted = [int(dense.sum())]
    volume = dense
    for name in layer_names(depth)[1:]:
        volume = windows(volume, *((2, 1) if name.startswith("conv") else (3, 2)))
        wanted.append(int(volume.sum()))
    assert volume.shape == (1, 1, 1)
    assert active_sites(np.argwhere(dense), field, depth) == wanted


def test_room_for_every_layer(clouds):
    """A quarter more than the fullest of the objects needs, never more than the layer has voxels."""
    dataset = load_dataset(small_shapes(clouds, data={"resolution": 14, "render": 8}).data)
    sites = probed_sites(dataset, 2)
    counts = [
        active_sites(split.voxels(number), 14, 2)
        for split in (dataset.train, dataset.test)
        for number in range(len(split))
    ]
    volumes = [size**3 for size in layer_sizes(14, 2)]
    wanted = [
        min(int(np.ceil(HEADROOM * most)), volume)
        for most, volume in zip(np.max(counts, axis=0), volumes, strict=True)
    ]
    assert list(sites) == wanted
