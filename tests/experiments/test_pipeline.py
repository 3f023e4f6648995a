"""Batches: every image once an epoch, another order each, and a position that can be gone back to."""

import json

import numpy as np
import pytest

from experiments.config import DigitsConfig
from experiments.config.load import validate
from experiments.data import ArraySplit, check_batch_size, eval_batches, load_dataset, train_batches
from experiments.errors import ConfigError
from experiments.models import build_model
from jaxsparse import direct
from tests.experiments.common import small_config


def numbered(count):
    images = np.zeros((count, 4, 4, 1), np.uint8)
    images[:, 0, 0, 0] = 255
    return ArraySplit(images, np.arange(count, dtype=np.int32))


def test_epochs_are_permutations():
    batches = train_batches(numbered(12), 4, seed=1)
    epochs = [np.concatenate([next(batches)["label"] for _ in range(3)]) for _ in range(3)]
    for labels in epochs:
        assert sorted(labels) == list(range(12))
    assert len({tuple(labels) for labels in epochs}) == 3
    other = train_batches(numbered(12), 4, seed=2)
    assert (np.concatenate([next(other)["label"] for _ in range(3)]) != epochs[0]).any()


def test_position_is_json_and_exact():
    batches = train_batches(numbered(10), 3, seed=1)
    for _ in range(5):
        next(batches)
    position = json.loads(json.dumps(batches.get_state()))
    expected = [next(batches)["label"].tolist() for _ in range(7)]
    fresh = train_batches(numbered(10), 3, seed=1)
    fresh.set_state(position)
    assert [next(fresh)["label"].tolist() for _ in range(7)] == expected


def test_batches_have_one_shape_and_are_scaled():
    batch = next(train_batches(numbered(10), 3, seed=1))
    assert batch["image"].shape == (3, 4, 4, 1)
    assert batch["image"].dtype == np.float32 and batch["image"].max() == 1
    assert batch["label"].dtype == np.int32 and batch["weight"].tolist() == [1, 1, 1]


def test_test_batches_fill_up_with_weight_0():
    batches = list(eval_batches(numbered(10), 4))
    assert [batch["image"].shape[0] for batch in batches] == [4, 4, 4]
    weight = np.concatenate([batch["weight"] for batch in batches])
    assert weight.tolist() == [1] * 10 + [0] * 2
    assert np.concatenate([batch["label"] for batch in batches])[weight > 0].tolist() == list(
        range(10)
    )


def test_batch_larger_than_the_data_is_refused():
    with pytest.raises(ConfigError, match=r"train\.batch_size is 11, but .* only 10 images"):
        check_batch_size(numbered(10), 11)


def test_digits():
    data = load_dataset(DigitsConfig(kind="digits"))
    assert data.smoke_test
    assert len(data.train) + len(data.test) == 1797
    assert data.train.images.shape[1:] == (28, 28, 1)
    assert data.train.images.dtype == np.uint8
    assert 0.15 < data.train.density < 0.3
    assert data.train.peak_density < 0.5
    assert set(data.test.labels) == set(range(10))


def test_input_is_stored_whole_unless_bounded():
    """The fullest image of either split decides the capacity; an image of that density loses no pixel."""
    config = small_config(model={"input_density": None, "hidden": 2})
    data = load_dataset(config.data)
    model = build_model(config.model, data, seed=0)
    split = max((data.train, data.test), key=lambda split: split.peak_density)
    fullest = np.count_nonzero(split.images.reshape(len(split), -1), axis=1).argmax()
    image, _ = split.gather(np.array([fullest]))
    x = direct.SparseTensor.from_dense(image, density=model.input_density, select="magnitude")
    assert x.capacity == int(x.nnz.max()) == np.count_nonzero(image)
    np.testing.assert_array_equal(x.to_dense(), image)
    bounded = build_model(small_config().model, data, seed=0)
    assert bounded.input_density == 0.5


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        ({"kind": "solids"}, {"kind": "octnet3_24"}, "octnet3_24 is for square images"),
        (
            {"kind": "solids"},
            {"kind": "octnet3", "preset": "imagenet"},
            "got 'imagenet', which is none",
        ),
        (
            {"kind": "solids"},
            {"kind": "octnet3", "densities": [0.1]},
            "must be a sequence of 3 densities",
        ),
        ({"kind": "solids", "resolution": 20}, {"kind": "octnet3"}, "not in Table 4"),
    ],
)
def test_networks_that_do_not_fit_the_data(data, model, message):
    config = validate({"name": "x", "data": data, "model": model}, "test")
    with pytest.raises(ConfigError, match=message):
        build_model(config.model, load_dataset(config.data), seed=0)
