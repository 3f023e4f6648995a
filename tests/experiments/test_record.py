"""What a run leaves behind: lines of JSON and, as an option, TensorBoard's scalars."""

import io
import sys
import types

import pytest
from rich.console import Console

from experiments.errors import UserError
from experiments.train.layers import LayerInfo
from experiments.train.metrics import read_metrics
from experiments.train.record import Record

LAYERS = [LayerInfo("input", (4, 4), 1, 8), LayerInfo("conv1", (4, 4), 2, 4, weights=18)]
METRICS = {
    "loss": 0.5,
    "accuracy": 0.75,
    "layers": {"stored": [0.5, 0.25], "found": [0.5, 0.375], "dropped": [0.0, 2.0]},
    "live": {"conv1": 9},
}


def record(folder, **options):
    return Record(folder, LAYERS, Console(file=io.StringIO()), total=9, **options)


class Writer:
    """What is used of tensorboardX."""

    def __init__(self, folder, purge_step):
        self.folder, self.purge_step, self.scalars, self.open = folder, purge_step, {}, True
        written.append(self)

    def add_scalar(self, name, value, step):
        self.scalars[name, step] = value

    def flush(self):
        pass

    def close(self):
        self.open = False


written: list[Writer] = []


def test_lines_and_scalars_are_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Writer))
    written.clear()
    log = record(tmp_path, tensorboard=True)
    log.begin(6)
    log.write("train", 7, 2, METRICS, step_ms=3.0)
    log.close()
    (line,) = read_metrics(tmp_path / "metrics.jsonl")
    assert line["live"] == {"conv1": 9} and line["density"] == {"input": 0.5, "conv1": 0.25}
    (writer,) = written
    assert (writer.folder, writer.purge_step, writer.open) == (
        str(tmp_path / "tensorboard"),
        7,
        False,
    )
    assert writer.scalars == {
        (f"train/{name}", 7): value
        for name, value in {
            "epoch": 2,
            "loss": 0.5,
            "accuracy": 0.75,
            "density/input": 0.5,
            "density/conv1": 0.25,
            "found/input": 0.5,
            "found/conv1": 0.375,
            "dropped/input": 0.0,
            "dropped/conv1": 2.0,
            "live/conv1": 9,
            "step_ms": 3.0,
        }.items()
    }


def test_tensorboard_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    log = record(tmp_path, tensorboard=True)
    with pytest.raises(UserError, match=r"needs tensorboardX: pip install '.\[experiments,tensorb"):
        log.begin(0)
    log.close()


def test_a_process_without_a_folder_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = record(None, tensorboard=True)
    log.begin(0)
    log.write("test", 1, 1, METRICS)
    assert log.tests() == []
    log.close()
    assert not list(tmp_path.iterdir())
