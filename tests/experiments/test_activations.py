"""Pictures of activations: they show what the layers store, of images and of solids."""

import io

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from experiments.activations import draw_activations
from experiments.config.load import validate
from experiments.errors import UserError
from experiments.train import train
from tests.experiments.common import small_config

SOLIDS = {
    "data": {"kind": "solids", "resolution": 16, "kinds": ["sphere", "torus"], "train_size": 40, "test_size": 8},
    "model": {"kind": "octnet3", "preset": "modelnet40-0.12", "hidden": 8, "input_density": 0.3},
    "train": {"epochs": 1, "batch_size": 20, "test_batch_size": 8},
}  # fmt: skip


def run(folder, config):
    train(config, folder, console=Console(file=io.StringIO()))
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return run(tmp_path_factory.mktemp("digits"), small_config())


@pytest.fixture(scope="module")
def solids(tmp_path_factory):
    return run(tmp_path_factory.mktemp("solids"), validate({"name": "solids", **SOLIDS}, "test"))


def test_images(digits, tmp_path):
    path = draw_activations(digits, tmp_path / "new" / "digits.png", index=3)
    picture = imread(path)
    assert picture.shape[1] > picture.shape[0] > 300
    upper, lower = np.array_split(picture[..., :3], 2)
    # The lower row stores less: more of it is white.
    assert (lower == 1).all(axis=-1).mean() > (upper == 1).all(axis=-1).mean()
    again = draw_activations(digits, tmp_path / "again.png", index=3)
    np.testing.assert_array_equal(imread(again), picture)


def test_solids(solids, tmp_path):
    path = draw_activations(solids, tmp_path / "solids.png", layers=("conv1", "pool1"))
    assert imread(path).size


def test_refusals(digits, tmp_path):
    output = tmp_path / "x.png"
    with pytest.raises(UserError, match=r"no layer 'conv9'; there are input, conv1, .*conv6"):
        draw_activations(digits, output, layers=("conv9",))
    with pytest.raises(UserError, match="--index 360: the test set has 360 images"):
        draw_activations(digits, output, index=360)
    with pytest.raises(UserError, match="neither a run's folder nor a checkpoint"):
        draw_activations(tmp_path, output)
    with pytest.raises(
        UserError, match=r"0\.convs\.0\.density is float32\[8\] in it, the network has nothing"
    ):
        draw_activations(digits, output, overrides=("model.sparse=false",))
    assert not output.exists()
