"""Lists of sites say what images say; batches have one shape, follow from seed and number, and can be gone back to."""

import json

import numpy as np
import pytest

from experiments.config import ModelNet10Config, SolidsConfig
from experiments.config.load import validate
from experiments.data import load_dataset, train_batches
from experiments.data.grids import GridSplit
from experiments.data.site_lists import (
    eval_site_batches,
    eval_triplet_batches,
    object_sites,
    site_batch,
    site_batches,
    triplet_batches,
)
from experiments.errors import ConfigError
from jaxsparse.data import voxelize_points
from tests.experiments.retrieval.clouds_folder import small_shapes

CHANGES = {"rotation": "any", "affine": 0.1, "translation": 0.3, "jitter": 0.01}


@pytest.fixture(scope="module")
def splits(clouds):
    solids = SolidsConfig(kind="solids", resolution=8, train_size=5, test_size=2)
    changes = ModelNet10Config(kind="modelnet10", quarter_turns=True, mirror=True, shift=1)
    rng = np.random.default_rng(0)
    keys = [np.sort(rng.choice(216, 20, replace=False)) for _ in range(5)]
    return {
        "clouds": load_dataset(small_shapes(clouds, data=CHANGES).data).train,
        "grids": GridSplit(keys, np.arange(5, dtype=np.int32), 6, changes),
        "solids": load_dataset(solids).train,
    }


@pytest.mark.parametrize("kind", ["clouds", "grids", "solids"])
@pytest.mark.parametrize("draw", [None, (3, 1)])
def test_sites_are_those_of_the_image(splits, kind, draw):
    split = splits[kind]
    images, labels = split.gather(np.arange(5), draw)
    np.testing.assert_array_equal(split.labels[:5], labels)
    for number, image in enumerate(images):
        coords, features = object_sites(split, number, draw)
        assert coords.dtype == np.int32 and features.dtype == np.float32
        np.testing.assert_array_equal(coords, np.argwhere(image[..., 0]))
        np.testing.assert_array_equal(features[:, 0], image[tuple(coords.T)][:, 0])


def test_render_puts_objects_in_the_middle(clouds):
    """What the whole volume shows at the render size, shifted; and moved beyond it without loss."""
    cube = {"resolution": 14, "render": 6, "fit": "cube"}
    split = load_dataset(small_shapes(clouds, data=cube).data).test
    whole = load_dataset(small_shapes(clouds, data={**cube, "resolution": 6}).data).test
    for number in range(4):
        coords = split.voxels(number)
        np.testing.assert_array_equal(coords, whole.voxels(number) + 4)
        wanted = voxelize_points(split.points[number], 6, fit="cube")
        assert len({tuple(v) for v in coords - 4} ^ {tuple(v) for v in wanted}) <= 2
    moved = load_dataset(small_shapes(clouds, data={**cube, "translation": 1.0}).data).train
    found = [moved.voxels(n, np.random.default_rng(n)) for n in range(30)]
    assert min(v.min() for v in found) < 4 and max(v.max() for v in found) > 9


def test_affine_changes_shapes_and_not_tests(clouds):
    data = load_dataset(small_shapes(clouds, data={"resolution": 14, "affine": 0.2}).data)
    plain, drawn = data.train.voxels(0), data.train.voxels(0, np.random.default_rng(1))
    assert {tuple(v) for v in plain} != {tuple(v) for v in drawn}
    np.testing.assert_array_equal(
        data.test.voxels(0), data.test.voxels(0, np.random.default_rng(1))
    )


def test_batch(splits):
    split = splits["clouds"]
    objects = [object_sites(split, number)[0] for number in (4, 7)]
    total = sum(map(len, objects))
    batch = site_batch(split, np.array([4, 7]), 3, 50)
    assert batch["count"] == total and batch["coords"].shape == (150, 4)
    np.testing.assert_array_equal(batch["coords"][:total, 1:], np.concatenate(objects))
    np.testing.assert_array_equal(
        batch["coords"][:total, 0], np.repeat([0, 1], list(map(len, objects)))
    )
    assert (batch["coords"][total:] == [3, 0, 0, 0]).all()
    assert batch["features"].sum() == total and (batch["features"][:total] == 1).all()
    assert batch["label"].tolist() == [split.labels[4], split.labels[7], 0]
    assert batch["weight"].tolist() == [1, 1, 0]
    # What does not fit: the last sites, and it is known how many there were.
    cut = site_batch(split, np.array([4, 7]), 2, total // 4)
    assert cut["count"] == total and len(cut["coords"]) == 2 * (total // 4)
    np.testing.assert_array_equal(cut["coords"], batch["coords"][: len(cut["coords"])])


def equal(one, other):
    return all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("kind", ["softmax", "triplet"])
def test_batches_follow_from_seed_and_number(splits, kind):
    split = splits["clouds"]

    def make(seed):
        if kind == "softmax":
            return site_batches(split, 6, seed, 60)
        return triplet_batches(split, 6, seed, 60, 2)

    batches = make(5)
    whole = [next(batches) for _ in range(12)]  # more than two epochs of 30 objects
    assert not any(equal(a, b) for n, a in enumerate(whole) for b in whole[:n])
    fresh = make(5)
    for _ in range(7):
        next(fresh)
    position = json.loads(json.dumps(fresh.get_state()))
    resumed = make(5)
    resumed.set_state(position)
    assert all(equal(next(resumed), batch) for batch in whole[7:])
    assert not equal(next(make(6)), whole[0])


def test_order_and_changes_are_those_of_images(splits):
    """The same objects in the same order, changed alike, as a network that reads images is given."""
    split = splits["clouds"]
    images, lists = train_batches(split, 6, 2), site_batches(split, 6, 2, 80)
    for _ in range(7):
        image, batch = next(images), next(lists)
        np.testing.assert_array_equal(image["label"], batch["label"])
        used = batch["coords"][: batch["count"]]
        np.testing.assert_array_equal(np.argwhere(image["image"][..., 0]), used)


def test_tests_see_every_object_once(splits):
    split = splits["clouds"]
    batches = list(eval_site_batches(split, 8, 60))
    assert len(batches) == 4 and sum(batch["weight"].sum() for batch in batches) == 30
    labels = np.concatenate([b["label"][b["weight"] > 0] for b in batches])
    np.testing.assert_array_equal(labels, split.labels)
    triplets = list(eval_triplet_batches(split, 9, 60, 5))  # of three classes
    assert len(triplets) == 3
    for batch, again in zip(triplets, eval_triplet_batches(split, 9, 60, 5), strict=True):
        assert equal(batch, again)
        anchor, same, other = np.split(batch["label"], 3)
        assert (anchor == same).all() and (anchor != other).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"render": 7}}, "render must be resolution at most"),
        ({"data": {"padding": 1}}, "stands in place of padding"),
        ({"objective": {"kind": "triplet", "classes": 2}}, "must be a multiple of 3"),
        ({"objective": {"kind": "tripled"}}, "did you mean 'triplet'"),
        ({"objective": {"kind": "triplet", "margins": 1}}, "did you mean 'objective.margin'"),
        ({"train": {"devices": 2}}, "trains on one device"),
        ({"pruning": {"threshold": 0.1}}, "are for model.kind octnet3"),
        ({"model": {"kind": "s3dcnm"}}, "did you mean 's3dcnn'"),
    ],
)
def test_configurations_that_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        small_shapes("nowhere", **changes)


def test_triplets_are_for_networks_that_embed():
    with pytest.raises(ConfigError, match=r"triplet is for model\.kind s3dcnn"):
        validate(
            {"name": "x", "data": {"kind": "digits"}, "objective": {"kind": "triplet"}}, "test"
        )
