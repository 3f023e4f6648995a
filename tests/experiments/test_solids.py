"""Generated solids: always the same, whole inside the volume, and what their names say."""

import numpy as np
import pytest
from scipy import ndimage

from experiments.config import SolidsConfig
from experiments.data import load_dataset, solids, train_batches

KINDS = list(solids.KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_extent_is_the_radius_of_the_smallest_ball(kind, rng):
    inside, extent = solids.KINDS[kind](rng)
    x, y, z = rng.uniform(-1.5, 1.5, (3, 400_000)) * extent
    within = inside(x, y, z)
    distance = np.sqrt(x * x + y * y + z * z)[within]
    assert 0.85 * extent < distance.max() <= extent * (1 + 1e-9)


VOLUMES = {
    # of the solid over extent^3, for the kinds whose proportions are fixed
    "sphere": 4 / 3 * np.pi,
    "tetrahedron": 8 / 3 / 3**1.5,
    "octahedron": 4 / 3,
}


@pytest.mark.parametrize("kind", VOLUMES)
def test_volumes(kind, rng):
    """Voxels inside against the formula, over random poses: the size lies between .65 and .98 of the half extent."""
    half = 23.5
    share = np.array([solids.voxelise(kind, 48, rng).sum() for _ in range(40)]) / half**3
    assert (share > 0.9 * VOLUMES[kind] * 0.65**3).all()
    assert (share < 1.1 * VOLUMES[kind] * 0.98**3).all()
    mean = VOLUMES[kind] * (0.98**4 - 0.65**4) / 4 / (0.98 - 0.65)
    assert abs(share.mean() / mean - 1) < 0.15


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resolution", [8, 33])
def test_solids_are_whole_and_in_one_piece(kind, resolution, rng):
    for _ in range(5):
        inside = solids.voxelise(kind, resolution, rng)
        assert inside.shape == (resolution,) * 3 and inside.any()
        assert ndimage.label(inside, np.ones((3, 3, 3)))[1] == 1 or resolution < 10
        shell = solids.surface(inside)
        eroded = ndimage.binary_erosion(inside, border_value=0)
        np.testing.assert_array_equal(shell, inside & ~eroded)


def test_number_i_is_always_the_same():
    config = SolidsConfig(kind="solids", resolution=16, train_size=40, test_size=20)
    data, again = load_dataset(config), load_dataset(config)
    whole, labels = data.train.gather(np.arange(40))
    some, some_labels = again.train.gather(np.array([31, 7]))
    np.testing.assert_array_equal(some, whole[[31, 7]])
    np.testing.assert_array_equal(some_labels, labels[[31, 7]])
    assert np.bincount(labels).tolist() == [4] * 10
    assert data.class_names == tuple(KINDS) and data.image_shape == (16, 16, 16, 1)
    assert set(np.unique(whole)) == {0.0, 1.0}
    # No solid twice, none in both splits, others for another seed.
    test = data.test.gather(np.arange(20))[0]
    other = load_dataset(config.model_copy(update={"seed": 1})).train.gather(np.arange(20))[0]
    everything = np.concatenate([whole, test, other]).reshape(80, -1)
    assert len(np.unique(everything, axis=0)) == 80


def test_kinds_and_fill():
    kinds = ("cone", "torus")
    config = SolidsConfig(kind="solids", resolution=16, kinds=kinds, train_size=6)
    shells = load_dataset(config).train
    full = load_dataset(config.model_copy(update={"fill": "solid"})).train
    index = np.arange(6)
    assert shells.gather(index)[1].tolist() == [0, 1] * 3
    assert load_dataset(config).class_names == kinds
    for shell, solid in zip(shells.gather(index)[0], full.gather(index)[0], strict=True):
        np.testing.assert_array_equal(shell[..., 0] > 0, solids.surface(solid[..., 0] > 0))
        assert shell.sum() < solid.sum()


def test_pipeline_of_solids():
    config = SolidsConfig(kind="solids", resolution=8, train_size=20)
    batches = train_batches(load_dataset(config).train, 10, seed=0)
    next(batches)
    position = batches.get_state()
    expected = next(batches)
    fresh = train_batches(load_dataset(config).train, 10, seed=0)
    fresh.set_state(position)
    found = next(fresh)
    np.testing.assert_array_equal(found["image"], expected["image"])
    assert found["image"].shape == (10, 8, 8, 8, 1) and found["image"].dtype == np.float32
    assert found["label"].dtype == np.int32
