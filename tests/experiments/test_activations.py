"""Pictures of activations: they show what the layers store, of images and of solids."""

import base64
import io
import json

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console
from sklearn.metrics import confusion_matrix

from experiments.activations import draw_activations, load_networks
from experiments.config.load import validate
from experiments.errors import UserError
from experiments.report import pictures
from experiments.report.blocks import Pictures, Text
from experiments.train import train
from jaxsparse import nn
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


def decoded(channel, volume):
    keys = np.frombuffer(base64.b64decode(channel["keys"]), "<u2" if volume <= 1 << 16 else "<u4")
    return keys, np.frombuffer(base64.b64decode(channel["values"]), np.uint8)


@pytest.mark.parametrize("name", ["digits", "solids"])
def test_a_report_shows_what_the_layers_store(name, request):
    trained = pictures.load(request.getfixturevalue(name))
    text, block = pictures.pictures(trained, [2])
    assert isinstance(text, Text) and "and of these every entry" in text.text
    assert isinstance(block, Pictures)
    data = block.data
    assert data["dimensions"] == (2 if name == "digits" else 3)
    image, label = trained.sample(2)
    outputs = trained.network.activations(image)
    taken = trained.dataset.class_names[int(trained.network(image)[0].argmax())]
    (sample,) = data["samples"]
    assert (
        sample["title"] == f"test image 2: {trained.dataset.class_names[label]}, taken for {taken}"
    )
    assert [layer["name"] for layer in sample["layers"]] == list(outputs)
    for layer in sample["layers"]:
        dense = np.asarray(nn.to_dense(outputs[layer["name"]]))[0]
        channels = layer["rows"][0]["channels"]
        sums = [dense[..., channel["channel"]].sum() for channel in channels]
        assert sums == sorted(sums, reverse=True) and len(sums) == min(dense.shape[-1], 8)
        for channel in channels:
            keys, levels = decoded(channel, dense[..., 0].size)
            values = dense[..., channel["channel"]].ravel()
            assert keys.tolist() == np.flatnonzero(values).tolist()
            assert channel["stored"] == channel["shown"] == len(keys)
            np.testing.assert_allclose(levels / 255 * layer["peak"], values[keys], atol=0.006 * layer["peak"])  # fmt: skip
    rows = {"digits": ["sparse", "dense twin"], "solids": [""]}[name]
    assert all([row["title"] for row in layer["rows"]] == rows for layer in sample["layers"])
    assert pictures.bounds(trained)["conv1"] == pytest.approx(0.1 if name == "digits" else 0.12, rel=0.02)  # fmt: skip


def test_a_picture_keeps_the_strongest_entries(rng, monkeypatch):
    monkeypatch.setattr(pictures, "VOXELS", 5)
    keys, values = np.arange(0, 200, 10) + 70000, rng.permutation(20) - 10.0
    encoded = pictures.encode(keys, values, 10.0, 80000)
    kept, levels = decoded(encoded, 80000)
    assert (encoded["stored"], encoded["shown"]) == (20, 5)
    strongest = sorted(np.argsort(-abs(values), kind="stable")[:5])
    assert kept.tolist() == keys[strongest].tolist()
    assert levels.tolist() == np.rint(25.5 * abs(values[strongest])).tolist()
    odd = pictures.encode(np.arange(4), np.array([np.nan, np.inf, 0, 1e-9]), 1.0, 4)
    assert decoded(odd, 4)[1].tolist() == [255, 255, 1, 1]


def test_pictures_that_cannot_be_made_are_said(digits, tmp_path):
    assert "folder with a checkpoint; there is none" in pictures.load(tmp_path).text
    (tmp_path / "checkpoints" / "7").mkdir(parents=True)
    assert "checkpoint" in pictures.load(tmp_path).text
    assert "has nothing" in pictures.load(digits, ("model.sparse=false",)).text
    with pytest.raises(UserError, match="--index 360: the test set has 360 images"):
        pictures.pictures(pictures.load(digits), [360])


def test_confusions_are_those_of_the_predictions(digits):
    result = json.loads((digits / "result.json").read_text())
    trained = load_networks(digits)
    images, labels = trained.dataset.test.gather(np.arange(len(trained.dataset.test)))
    taken = np.asarray(trained.network(images)).argmax(axis=1)
    counts = np.array(result["confusion"]["counts"])
    np.testing.assert_array_equal(counts, confusion_matrix(labels, taken, labels=range(10)))
    assert np.trace(counts) / counts.sum() == pytest.approx(result["test"]["accuracy"], abs=1e-5)
    assert result["confusion"]["classes"] == list("0123456789")
