"""ModelNet40's clouds: what is read, what is refused, and changes that follow from seed, epoch and object alone."""

import json

import numpy as np
import pytest

from experiments.config import ModelNet40Config
from experiments.config.load import validate
from experiments.data import eval_batches, load_dataset, train_batches
from experiments.errors import ConfigError, DataError
from jaxsparse.data import normalize_points, voxelize_points
from tests.shared_data import shared_data

CLASSES = np.array(["box", "cone", "sphere"])


def write_part(path, count, seed, points=40):
    rng = np.random.default_rng(seed)
    clouds = [normalize_points(rng.normal(size=(points, 3)) * [1, 0.5, 2]) for _ in range(count)]
    labels = (np.arange(count) % len(CLASSES)).astype(np.uint8)
    points = np.array(clouds, np.float32)
    np.savez(path, points=points, labels=labels, names=np.array(["x"] * count), classes=CLASSES)


@pytest.fixture
def root(tmp_path):
    for seed, (name, count) in enumerate(
        {"test": 5, "train_0": 6, "train_1": 5, "train_2": 5, "train_3": 4}.items()
    ):
        write_part(tmp_path / f"{name}.npz", count, seed)
    return tmp_path


def config(root, **keys):
    return ModelNet40Config(kind="modelnet40", root=root, resolution=16, **keys)


CHANGED = {"rotation": "any", "jitter": 0.02, "translation": 0.1}


def test_parts(root):
    whole, part = load_dataset(config(root)), load_dataset(config(root, train_part=2))
    assert len(whole.train) == 20 and len(part.train) == 5 and len(whole.test) == 5
    assert whole.class_names == tuple(CLASSES) and whole.image_shape == (16, 16, 16, 1)
    np.testing.assert_array_equal(
        whole.train.gather(np.arange(11, 16))[0], part.train.gather(np.arange(5))[0]
    )
    assert part.name == "ModelNet40 in 16^3 voxels, quarter 2 of the training set"


@pytest.mark.parametrize("fit", ["sphere", "cube"])
def test_voxels_of_the_points(root, fit):
    data = load_dataset(config(root, fit=fit, padding=2))
    with np.load(root / "test.npz") as archive:
        points, labels = archive["points"], archive["labels"]
    images, found = data.test.gather(np.arange(5))
    np.testing.assert_array_equal(found, labels)
    assert images.dtype == np.float32 and found.dtype == np.int32
    for image, cloud in zip(images, points, strict=True):
        box = {"fit": "cube"} if fit == "cube" else {"bounds": (-1, 1)}
        expected = voxelize_points(cloud, 16, padding=2, **box)
        found = np.argwhere(image[..., 0])
        if fit == "cube":  # normalised in float32 first: a point at a face may fall to either side
            assert len({tuple(v) for v in found} ^ {tuple(v) for v in expected}) <= 2
        else:
            np.testing.assert_array_equal(found, expected)
        assert set(np.unique(image)) == {0, 1}


def test_peak_density(root):
    plain, changed = load_dataset(config(root)), load_dataset(config(root, **CHANGED))
    counts = [
        int(split.gather(np.arange(len(split)))[0].sum(axis=(1, 2, 3, 4)).max())
        for split in (plain.train, plain.test)
    ]
    assert plain.peak_density == max(counts) / 16**3
    assert changed.test.peak_density == counts[1] / 16**3
    # Forty points fill forty voxels at most.
    assert changed.train.peak_density == min(1.25 * counts[0], 40) / 16**3


def test_changes_follow_from_seed_epoch_and_object(root):
    data = load_dataset(config(root, **CHANGED))
    index = np.arange(20)
    plain, labels = data.train.gather(index)
    first, first_labels = data.train.gather(index, (0, 0))
    np.testing.assert_array_equal(labels, first_labels)
    some = np.array([17, 3])
    np.testing.assert_array_equal(data.train.gather(some, (0, 0))[0], first[some])
    for other in (plain, data.train.gather(index, (0, 1))[0], data.train.gather(index, (1, 0))[0]):
        assert (other != first).any(axis=(1, 2, 3, 4)).all()
    # What is tested on is left alone, drawn or not.
    np.testing.assert_array_equal(
        data.test.gather(np.arange(5), (0, 0))[0], data.test.gather(np.arange(5))[0]
    )


def test_rotation_about_the_vertical_axis(root):
    """The heights stay what they are."""
    data = load_dataset(config(root, rotation="up"))
    before, after = data.train.gather(np.arange(20))[0], data.train.gather(np.arange(20), (0, 0))[0]
    assert (before != after).any()
    np.testing.assert_array_equal(before.any(axis=(1, 2))[..., 0], after.any(axis=(1, 2))[..., 0])


def test_every_epoch_draws_anew_and_a_return_the_same(root):
    split = load_dataset(config(root, train_part=0, **CHANGED)).train  # 6 objects: 3 steps

    def by_object(batches, steps):
        taken = [next(batches) for _ in range(steps)]
        return np.concatenate([b["image"] for b in taken])

    batches = train_batches(split, 2, seed=5)
    epochs = [by_object(batches, 3) for _ in range(3)]
    order = grain_order(6, 2, seed=5, epochs=3)
    for epoch, (images, indices) in enumerate(zip(epochs, order, strict=True)):
        np.testing.assert_array_equal(images, split.gather(indices, (5, epoch))[0])
    fresh = train_batches(split, 2, seed=5)
    by_object(fresh, 4)
    position = json.loads(json.dumps(fresh.get_state()))
    resumed = train_batches(split, 2, seed=5)
    resumed.set_state(position)
    np.testing.assert_array_equal(by_object(resumed, 5), np.concatenate(epochs)[8:])
    # Two processes see the rows of one.
    halves = [train_batches(split, 2, seed=5, part=(number, 2)) for number in range(2)]
    rows = [np.concatenate([next(half)["image"] for half in halves]) for _ in range(9)]
    np.testing.assert_array_equal(np.concatenate(rows), np.concatenate(epochs))


def grain_order(count, batch, seed, epochs):
    """The numbers of the objects as the batches hold them, from a split that is its numbers."""

    class Numbers:
        image_shape, peak_density = (1,), 1.0

        def __len__(self):
            return count

        def gather(self, index, draw=None):
            return np.zeros((len(index), 1), np.float32), index

    batches = train_batches(Numbers(), batch, seed)
    steps = count // batch
    return [np.concatenate([next(batches)["label"] for _ in range(steps)]) for _ in range(epochs)]


def save_one(path, array):
    with path.open("wb") as file:
        np.save(file, array)


def damaged(root):
    path = root / "train_1.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    content = path.read_bytes()

    def write(**changes):
        np.savez(path, **{**arrays, **changes})

    far = arrays["points"].copy()
    far[3, 7] = 9
    yield "absent", path.unlink, "has no train_1.npz"
    yield "empty", lambda: path.write_bytes(b""), "no npz archive, or damaged"
    yield "cut", lambda: path.write_bytes(content[:-100]), "no npz archive, or damaged"
    yield (
        "flipped",
        lambda: path.write_bytes(content[:400] + bytes([content[400] ^ 255]) + content[401:]),
        "no npz archive, or damaged",
    )
    yield "text", lambda: path.write_text("hello"), "no npz archive, or damaged"
    yield "one array", lambda: save_one(path, far), "no npz archive, but a single array"
    yield "another", lambda: np.savez(path, x=far), r"has no points, labels, classes \(it holds x\)"
    yield "dtype", lambda: write(labels=arrays["labels"].astype(float)), "labels is float64 "
    yield "shape", lambda: write(points=far[..., :2]), r"points is float32 \[5, 40, 2\], expected"
    yield "count", lambda: write(labels=arrays["labels"][:-1]), "5 clouds and 4 labels"
    yield "label", lambda: write(labels=arrays["labels"] + 1), "labels 1 to 3, but 3 classes"
    yield "far", lambda: write(points=far), "object 3 is not finite or not inside the unit ball"
    yield "nan", lambda: write(points=far * np.nan), "object 0 is not finite"
    yield "classes", lambda: write(classes=CLASSES[::-1]), "has other classes than"


CASES = ["absent", "empty", "cut", "flipped", "text", "one array", "another", "dtype", "shape", "count", "label", "far", "nan", "classes"]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_damaged_files_are_named(root, case):
    damage, message = next((d, m) for name, d, m in damaged(root) if name == case)
    damage()
    with pytest.raises(DataError, match=message) as error:
        load_dataset(config(root, train_part=1))
    assert "train_1.npz" in str(error.value)
    load_dataset(config(root, train_part=0))  # what is not asked for is not read


def test_the_folder_has_to_be_named(root):
    with pytest.raises(
        DataError, match=r"data\.root is not given: name the folder with ModelNet40"
    ):
        load_dataset(config(None))
    with pytest.raises(DataError, match=r"data\.root is no folder"):
        load_dataset(config(root / "nothing"))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"train_part": 4}, "'data.train_part'"),
        ({"rotation": "sideways"}, "'data.rotation': input should be 'none', 'up' or 'any'"),
        ({"jitter": -1}, "'data.jitter'"),
        ({"resolution": 8, "padding": 4}, "padding must leave voxels"),
        ({"rotate": "up"}, r"unknown key 'data.rotate' \(did you mean 'data.rotation'"),
    ],
)
def test_configurations_that_are_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        validate({"name": "x", "data": {"kind": "modelnet40", **keys}}, "test")


def test_real_clouds():
    """The official split; objects stand upright; what the README of the data counts."""
    root = shared_data("modelnet40")
    data = load_dataset(ModelNet40Config(kind="modelnet40", root=root, resolution=16, train_part=3))
    assert len(data.test) == 2468 and 2400 < len(data.train) < 2500
    assert data.classes == 40 and data.class_names[0] == "airplane"
    assert data.train.points.shape[1:] == (1024, 3)
    batch = next(iter(eval_batches(data.test, 200)))
    filled = batch["image"].sum(axis=(1, 2, 3, 4))
    assert filled.min() > 10 and filled.max() <= data.test.peak_density * 16**3
    bottles = data.test.points[data.test.labels == data.class_names.index("bottle")]
    extent = np.ptp(bottles, axis=1).mean(axis=0)
    assert extent[2] > 2 * extent[:2].max()
