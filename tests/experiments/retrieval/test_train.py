"""Training of the smallest network on clouds: it learns by classes and by triplets, and goes on to the same bits."""

import io
import json
import os
import signal

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments.data import load_dataset
from experiments.data.active_sites import active_sites, layer_names
from experiments.data.site_lists import site_batch
from experiments.errors import ConfigError, UserError
from experiments.models import build_model
from experiments.train import Interrupted, evaluate, train, trainer
from experiments.train.metrics import read_metrics
from experiments.train.objectives import site_tensor
from tests.experiments.common import make_steps_with
from tests.experiments.retrieval.clouds_folder import TRIPLET, small_shapes


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=100)


@pytest.fixture(scope="module")
def trained(clouds, tmp_path_factory):
    """A run that learnt classes, and its result."""
    folder = tmp_path_factory.mktemp("run") / "softmax"
    config = small_shapes(clouds, train={"epochs": 40, "test_every": 20})
    return folder, train(config, folder, console=Console(file=io.StringIO()))


def test_learns_classes(trained):
    folder, result = trained
    assert result["test"]["accuracy"] > 0.5  # a third by chance
    lines = read_metrics(folder / "metrics.jsonl")
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])
    assert np.sum(result["confusion"]["counts"]) == 12
    assert result == json.loads((folder / "result.json").read_text())
    rows = result["layers"]
    assert [row["layer"] for row in rows] == layer_names(1)
    assert [row["spatial_shape"][0] for row in rows] == [6, 5, 2, 1]
    assert [row["channels"] for row in rows] == [1, 8, 8, 16]
    assert all(row["within_bound"] and row["dropped"] == 0 for row in rows)
    assert lines[-1]["kind"] == "test" and set(lines[-1]["density"]) == set(layer_names(1))


def test_densities_are_those_of_the_objects(clouds, trained):
    """What the layers of the test set held, counted from coordinates alone."""
    _, result = trained
    split = load_dataset(small_shapes(clouds).data).test
    counts = np.mean([active_sites(split.voxels(n), 6, 1) for n in range(12)], axis=0)
    volumes = [np.prod(row["spatial_shape"]) for row in result["layers"]]
    found = [row["stored"] for row in result["layers"]]
    np.testing.assert_allclose(found, counts / volumes, rtol=1e-5)


def test_evaluate_repeats_the_test(trained, console):
    folder, result = trained
    again = evaluate(folder, console=console)
    assert again["accuracy"] == result["test"]["accuracy"]
    assert again["layers"] == result["layers"]


def test_learns_triplets_from_the_classifiers_weights(clouds, trained, tmp_path, console):
    """There is no layer for classes any more; what is learnt begins where the other run ended."""
    folder, _ = trained
    config = small_shapes(clouds, objective=TRIPLET, train={"epochs": 4, "start": str(folder)})
    result = train(config, tmp_path / "run", console=console)
    assert "confusion" not in result
    assert result["test"]["accuracy"] > 0.5 and result["test"]["loss"] < 0.5
    fresh = small_shapes(clouds, objective=TRIPLET, train={"epochs": 1})
    begun = train(fresh, tmp_path / "fresh", console=console)
    assert result["history"][0]["loss"] < begun["history"][0]["loss"]


def test_other_weights_are_refused(clouds, trained, tmp_path, console):
    folder, _ = trained
    wider = small_shapes(clouds, model={"width": 16}, train={"start": str(folder)})
    with pytest.raises(UserError, match=r"train\.start: .* is \[.*8\] in .*, the network has"):
        train(wider, tmp_path / "run", console=console)
    absent = small_shapes(clouds, train={"start": str(tmp_path / "nothing")})
    with pytest.raises(UserError, match="neither a run's folder nor a checkpoint"):
        train(absent, tmp_path / "other", console=console)


@pytest.mark.parametrize("objective", [{"kind": "softmax"}, TRIPLET])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    clouds, tmp_path, console, monkeypatch, objective
):
    data = {"rotation": "any", "affine": 0.1, "translation": 0.2}
    config = small_shapes(clouds, data=data, objective=objective)
    train(config, tmp_path / "whole", console=console)
    with monkeypatch.context() as patch:
        stop = make_steps_with(lambda: os.kill(os.getpid(), signal.SIGINT), 2)
        patch.setattr(trainer, "make_steps", stop)
        with pytest.raises(Interrupted):
            train(config, tmp_path / "parts", console=console)
    train(config, tmp_path / "parts", resume=True, console=console)
    whole, parts = (
        [
            {key: line[key] for key in ("kind", "step", "loss", "accuracy", "density")}
            for line in read_metrics(tmp_path / name / "metrics.jsonl")
        ]
        for name in ("whole", "parts")
    )
    assert whole == parts


def test_what_does_not_fit_is_counted(clouds, tmp_path, console):
    config = small_shapes(clouds, model={"sites": [9, 30, 8, 1]}, train={"epochs": 1})
    result = train(config, tmp_path / "run", console=console)
    first, second, *_ = result["layers"]
    assert first["dropped"] > 0 and first["capacity"] == 9 and first["peak"] == 9
    assert first["found"] > first["stored"]
    assert second["capacity"] == 30 and second["within_bound"]
    with pytest.raises(ConfigError, match=r"must have 4 entries \(input, conv1, pool1, conv2\)"):
        train(small_shapes(clouds, model={"sites": [9]}), tmp_path / "x", console=console)


def test_the_field_follows_from_the_depth(clouds, tmp_path, console):
    config = small_shapes(clouds, model={"depth": 2})
    with pytest.raises(ConfigError, match=r"volumes of 14\^3 voxels.*data.resolution=14"):
        train(config, tmp_path / "run", console=console)


def test_the_tensor_of_a_batch(clouds):
    dataset = load_dataset(small_shapes(clouds).data)
    model = build_model(small_shapes(clouds).model, dataset, seed=0)
    batch = site_batch(dataset.test, np.arange(3), 4, 60)
    x = jax.jit(lambda batch: site_tensor(model, batch))(batch)
    images = dataset.test.gather(np.arange(3))[0]
    np.testing.assert_array_equal(x.to_dense()[:3], images)
    assert not x.to_dense()[3].any() and x.count == batch["count"]
    assert x.background.tolist() == [0]
