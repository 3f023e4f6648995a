"""Tables of runs: what is missing is run, what is there is kept, and the page says what came out."""

import json
import os
import signal
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.table.spec import load_table, runs_of
from experiments.table.store import TableResults
from experiments.train import trainer

CONFIGS = Path(__file__).parents[2] / "configs"

BASE = """
name: base
data: {kind: digits}
model: {hidden: 16, input_density: 0.5}
train: {epochs: 2, batch_size: 479, test_batch_size: 200}
"""

TABLE = """
name: little
title: "A little table"
base: base.yaml
set: {train.epochs: 1}
seeds: [0, 1]
rows:
  - {name: tight, title: "tight bounds", set: {model.rho1: 0.05}, paper: 0.0, asked: 0.99}
  - {name: dense, set: {model.sparse: false}, seeds: [3]}
"""


@pytest.fixture
def table(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "table.yaml").write_text(TABLE)
    return tmp_path / "table.yaml"


def test_runs_of_a_table(table):
    runs = runs_of(load_table(table), table, ("train.log_every=7",))
    assert [run.name for run in runs] == ["tight-seed0", "tight-seed1", "dense-seed3"]
    assert [run.config.seed for run in runs] == [0, 1, 3]
    assert [run.config.model.sparse for run in runs] == [True, True, False]
    assert {run.config.train.epochs for run in runs} == {1}
    assert {run.config.train.log_every for run in runs} == {7}
    assert runs[0].config.name == "little-tight"


def test_missing_runs_are_run_and_the_page_is_written(table, tmp_path, capsys, monkeypatch):
    arguments = ["table", str(table), "--root", str(tmp_path), "--runs", str(tmp_path / "runs")]
    assert main([*arguments, "--rows", "tight", "--seeds", "1"]) == 0
    results = tmp_path / "experiments" / "results" / "little"
    assert [path.name for path in results.iterdir()] == ["tight-seed1.json"]
    kept = json.loads((results / "tight-seed1.json").read_text())
    assert "root" not in kept["config"]["data"] and kept["config"]["seed"] == 1
    accuracy = kept["test"]["accuracy"]
    page = (tmp_path / "docs" / "little.md").read_text()
    assert page.startswith("# A little table\n") and "adagrad" in page
    assert f"| tight bounds | 1 | 1 | **{accuracy:.4f}** |" in page
    assert "0.990 (missed) | 0.000 | yes |" in page
    assert "Not run yet: tight-seed0, dense-seed3." in page

    # What is there is not run again; the page is made from the files alone.
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "load_dataset", None)
        assert main([*arguments, "--rows", "tight", "--seeds", "1"]) == 0
        assert main([*arguments, "--report"]) == 0
    assert (tmp_path / "docs" / "little.md").read_text() == page

    # Killed behind the run, before its result was kept: nothing is trained again.
    kept = (results / "tight-seed1.json").read_bytes()
    (results / "tight-seed1.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "load_dataset", None)
        assert main([*arguments, "--rows", "tight", "--seeds", "1"]) == 0
    assert (results / "tight-seed1.json").read_bytes() == kept

    capsys.readouterr()
    assert main([*arguments, "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["missing", str(accuracy), "missing"]

    # A result of another configuration is not this table's.
    table.write_text(TABLE.replace("0.05", "0.06"))
    assert main([*arguments, "--list"]) == 0
    assert "tight-seed1" in (out := capsys.readouterr().out) and str(accuracy) not in out


def test_stopped_table_goes_on(table, tmp_path, capsys, monkeypatch):
    arguments = ["table", str(table), "--root", str(tmp_path), "--runs", str(tmp_path / "runs")]
    arguments += ["--rows", "tight", "--seeds", "0"]
    original = trainer._Run.advance

    def advance(run):
        original(run)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(trainer._Run, "advance", advance)
        assert main(arguments) == 130
    assert "Stopped after step 1 of tight-seed0" in capsys.readouterr().out
    assert main(arguments) == 0
    kept = tmp_path / "experiments" / "results" / "little" / "tight-seed0.json"
    assert json.loads(kept.read_text())["steps"] == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title:", "titel:", "unknown key 'titel' (did you mean 'title'?)"),
        ("seeds: [0, 1]", "seeds: []", "'seeds': tuple should have at least 1 item"),
        ("name: dense", "name: tight", "two rows have the same name"),
        ("model.rho1", "model.rh1", "row 'tight' of"),
        ("asked: 0.99", "beside: {row: loose}", "'tight' is beside 'loose', which is no row"),
        ("base: base.yaml", "base: nothing.yaml", "cannot read the configuration"),
    ],
)
def test_bad_tables(table, capsys, old, new, message):
    table.write_text(TABLE.replace(old, new, 1))
    assert main(["table", str(table), "--list"]) == 2
    assert message in capsys.readouterr().err


def _put(run, folder, accuracy):
    result = {
        "kind": "train",
        "provenance": {
            "commit": None,
            "machine": {"processor": "x", "cpus": 1},
            "versions": {"jax": "0"},
        },
        "config": run.config.model_dump(mode="json"),
        "test": {"accuracy": accuracy, "loss": 1.0},
        "layers": [],
        "step_ms": None,
        "history": [],
    }
    TableResults(folder / "experiments" / "results" / "little").put(run, result)


@pytest.mark.parametrize(
    ("accuracies", "asked", "cells"),
    [
        # tight, tight, dense, dense; differences by hand
        ((0.8, 0.82, 0.83, 0.85), "below: 0.05", "-0.0300 ± 0.0141 (dense) | -0.050 (met) |"),
        ((0.8, 0.82, 0.83, 0.85), "below: 0.02", "-0.0300 ± 0.0141 (dense) | -0.020 (missed) |"),
        (
            (0.8, 0.82, 0.83, 0.85),
            "below: 0.02, standard_errors: 2.5",
            "-0.0300 ± 0.0141 (dense) | -0.020 or -2.5 ± (met) |",
        ),
        ((0.9, 0.9, 0.8, 0.8), "below: 0", "+0.1000 ± 0.0000 (dense) | -0.000 (met) |"),
        ((0.9, 0.8, 0.8, 0.8), None, "+0.0500 ± 0.0500 (dense) |  |"),
        ((0.9, None, 0.8, None), "below: 0", "+0.1000 (dense) | -0.000 (met) |"),
        ((0.9, 0.8, None, None), "below: 0", " | -0.000 |"),
    ],
)
def test_rows_beside_another(table, tmp_path, accuracies, asked, cells):
    beside = "{row: dense" + (f", {asked}" if asked else "") + "}"
    text = TABLE.replace("asked: 0.99", f"beside: {beside}").replace(", seeds: [3]", "")
    table.write_text(text)
    runs = {run.name: run for run in runs_of(load_table(table), table)}
    names = ["tight-seed0", "tight-seed1", "dense-seed0", "dense-seed1"]
    for name, accuracy in zip(names, accuracies, strict=True):
        if accuracy is not None:
            _put(runs[name], tmp_path, accuracy)
    assert main(["table", str(table), "--root", str(tmp_path), "--report"]) == 0
    page = (tmp_path / "docs" / "little.md").read_text().splitlines()
    head, rule, tight, dense = [line for line in page if line.startswith("|")][:4]
    assert tight.endswith(cells)
    assert dense.endswith("| | |")
    assert len({line.count("|") for line in (head, rule, tight, dense)}) == 1


def test_unknown_rows(table, capsys):
    assert main(["table", str(table), "--rows", "loose"]) == 2
    assert "(rows: tight, dense)" in capsys.readouterr().err


def test_mnist_table_is_what_was_asked():
    path = CONFIGS / "tables" / "mnist.yaml"
    table = load_table(path)
    runs = runs_of(table, path)
    asked = {row.name: row.asked for row in table.rows if row.asked}
    assert asked == {"0.035": 0.945, "0.05": 0.970, "0.075": 0.976}
    # Batch, initialisation, optimiser, selection: the same in every row, dense twin included.
    common = {
        (
            run.config.train.batch_size,
            run.config.optimizer.model_dump_json(),
            run.config.model.kernel_init,
            run.config.model.select,
            run.config.model.hidden,
            run.config.model.dropout,
            run.config.model.input_density,
            run.config.data.threshold,
            run.config.data.scale,
        )
        for run in runs
    }
    assert len(common) == 1
    first = runs[0].config
    assert (first.optimizer.kind, first.optimizer.learning_rate) == ("adagrad", 0.01)
    assert (first.model.select, first.data.threshold, first.data.scale) == ("relu", 50, 255)
    assert first.model.input_density is None  # whole
    for name in (*asked, "dense"):
        cells = [run for run in runs if run.row.name == name]
        assert [run.seed for run in cells] == [0, 1, 2]
        assert {run.config.train.epochs for run in cells} == {10}
        assert {run.config.data.image_size for run in cells} == {28}


def test_modelnet_table_is_what_was_asked():
    path = CONFIGS / "tables" / "modelnet40_16.yaml"
    table = load_table(path)
    runs = runs_of(table, path)
    bounds = {"0.06": (0.05, 0), "0.12": (None, 0), "0.33": (0.02, 2), "1": (0.02, 2)}
    for row in table.rows:
        if row.name in bounds:
            assert row.beside.row == "dense"
            assert (row.beside.below, row.beside.standard_errors) == bounds[row.name]
            assert f"modelnet40-{row.name}" == row.set["model.preset"]
    # All that is not the network's bounds or the share of the training set is the same in every row.
    common = set()
    for run in runs:
        plain = run.config.model_dump(mode="json")
        full = run.row.name.endswith("-full")
        assert plain["data"].pop("train_part") == ("all" if full else 0)
        assert plain["model"].pop("sparse") != run.row.name.startswith("dense")
        for section, key in (("model", "preset"), (None, "name"), (None, "seed")):
            (plain if section is None else plain[section]).pop(key)
        common.add(json.dumps(plain))
        assert plain["train"]["epochs"] == 30 and plain["data"]["resolution"] == 16
    assert len(common) == 1
    names = {run.name for run in runs}
    assert len(names) == 17 and {"dense-full-seed0", "0.12-full-seed0"} < names
