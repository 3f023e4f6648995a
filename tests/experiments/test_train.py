"""The trainer: it learns, stays within bounds, compiles once, stops whole and goes on where it stopped."""

import io
import json
import os
import signal
import time

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments.activations import draw_activations
from experiments.errors import UserError
from experiments.train import Interrupted, feed, train, trainer
from experiments.train.checkpoint import _fixed
from experiments.train.metrics import read_metrics
from experiments.train.run_folder import sole_writer
from tests.experiments.common import final_state, make_steps_with, small_config


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=100)


@pytest.mark.parametrize("sparse", [True, False])
def test_result_metrics_and_table(tmp_path, console, sparse):
    config = small_config(model={"sparse": sparse})
    result = train(config, tmp_path / "run", console=console)
    assert result == json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["steps"] == 3 and result["epochs"] == 1
    assert 0 < result["test"]["accuracy"] <= 1
    assert result["provenance"]["versions"]["jax"] == jax.__version__
    assert {"commit", "machine", "date"} <= set(result["provenance"])
    assert result["notes"] == []
    assert result["step_ms"] > 0 and result["first_step_s"] > 0

    rows = {row["layer"]: row for row in result["layers"]}
    assert list(rows) == [
        "input", "conv1", "conv2", "conv3", "pool1", "conv4", "conv5", "conv6",
    ]  # fmt: skip
    for row in rows.values():
        assert row["within_bound"]
        assert 0 < row["stored"] <= row["bound"] and row["peak"] <= row["capacity"]
        assert row["found"] >= row["stored"]
    if sparse:
        assert rows["conv1"]["capacity"] == 79 and rows["conv1"]["rho"] == 0.1
        assert rows["conv4"]["capacity"] == 40 and rows["conv4"]["rho"] == 0.2
        assert rows["input"]["dropped"] == 0  # half of the image is room enough
    else:
        assert all(row["dropped"] == 0 and row["bound"] == 1 for row in rows.values())

    if not sparse:
        with pytest.raises(UserError, match="is a run of a dense network"):
            draw_activations(tmp_path / "run", tmp_path / "x.png")

    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [(line["kind"], line["step"]) for line in lines] == [
        ("train", 1), ("train", 2), ("train", 3), ("test", 3),
    ]  # fmt: skip
    assert set(lines[0]["density"]) == set(rows)
    text = console.file.getvalue()
    assert "test accuracy" in text and "time per step" in text and "smoke test" in text


def test_learns(tmp_path, console):
    config = small_config(
        model={"rho1": 0.2, "dropout": 0.0, "hidden": 64}, train={"epochs": 3, "batch_size": 16}
    )
    assert train(config, tmp_path / "run", console=console)["test"]["accuracy"] > 0.5


def test_tests_between_epochs(tmp_path, console):
    """Every second epoch and the last; a run that goes on from an epoch without a test does not make up for it."""
    config = small_config(train={"epochs": 3, "test_every": 2})
    result = train(config, tmp_path / "run", console=console)
    assert [line["epoch"] for line in result["history"]] == [2, 3]
    assert result["test"]["accuracy"] == result["history"][-1]["accuracy"]
    longer = small_config(train={"epochs": 5, "test_every": 4})
    result = train(longer, tmp_path / "run", console=console, resume=True)
    assert [line["epoch"] for line in result["history"]] == [2, 3, 4, 5]


def test_nothing_compiles_after_the_first_step_and_test(tmp_path, console, monkeypatch):
    """Whatever XLA compiles is counted, the small programs of stray operations included."""
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )
    at_step = {}
    original = trainer._Run.advance

    def advance(run):
        original(run)
        at_step[run.step] = len(compiled)

    monkeypatch.setattr(trainer._Run, "advance", advance)
    try:
        train(small_config(train={"epochs": 3}), tmp_path, console=console)
    finally:
        jax.monitoring.clear_event_listeners()
    assert at_step[1] > 0
    assert at_step[2] == at_step[1]  # an ordinary step
    assert at_step[9] == at_step[3]  # the first epoch ends with the first test
    assert (tmp_path / "result.json").exists()


def stop_after(monkeypatch, number, at):
    """Sends this process a signal in the middle of a step."""
    signalled = make_steps_with(lambda: os.kill(os.getpid(), number), at)
    monkeypatch.setattr(trainer, "make_steps", signalled)


def test_interrupted_run_goes_on_to_the_same_bits(tmp_path, console, monkeypatch):
    config = small_config(train={"epochs": 2})
    train(config, tmp_path / "whole", console=console)
    with monkeypatch.context() as patch:
        stop_after(patch, signal.SIGINT, at=2)
        with pytest.raises(Interrupted) as stop:
            train(config, tmp_path / "parts", console=console)
    assert stop.value.step == 2
    assert final_state(tmp_path / "parts", config)[0] == 2
    assert not (tmp_path / "parts" / "result.json").exists()

    # As after a crash: lines behind the checkpoint, the last one cut short.
    with (tmp_path / "parts" / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 7, "loss": 1.0}\n{"kind": "tr')
    result = train(config, tmp_path / "parts", resume=True, console=console)
    assert result["steps"] == 6
    expected, found = (final_state(tmp_path / name, config)[1] for name in ("whole", "parts"))
    jax.tree.map(np.testing.assert_array_equal, expected, found)
    lines = read_metrics(tmp_path / "parts" / "metrics.jsonl")
    assert [line["step"] for line in lines if line["kind"] == "test"] == [3, 6]
    assert max(line["step"] for line in lines) == 6


def test_sigterm_leaves_a_whole_checkpoint(tmp_path, console, monkeypatch):
    stop_after(monkeypatch, signal.SIGTERM, at=1)
    with pytest.raises(Interrupted):
        train(small_config(), tmp_path, console=console)
    assert final_state(tmp_path, small_config())[0] == 1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_run_killed_before_its_first_checkpoint_starts_again(tmp_path, console, monkeypatch):
    config = small_config()

    def killed(run):
        raise KeyboardInterrupt

    for resume in (False, True, False):
        with monkeypatch.context() as patch:
            patch.setattr(trainer._Run, "advance", killed)
            with pytest.raises(KeyboardInterrupt):
                train(config, tmp_path, resume=resume, console=console)
        (tmp_path / "metrics.jsonl").write_text('{"kind": "train", "step": 1}\n{"ki')
    result = train(config, tmp_path, resume=True, console=console)
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert result["steps"] == 3 and [line["step"] for line in lines] == [1, 2, 3, 3]


def test_stopped_while_testing_tests_when_it_goes_on(tmp_path, console, monkeypatch):
    config = small_config(train={"epochs": 2})
    original = feed.eval_batches

    def interrupted(*arguments):
        for batch in original(*arguments):
            os.kill(os.getpid(), signal.SIGTERM)
            yield batch
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(feed, "eval_batches", interrupted)
        with pytest.raises(Interrupted) as stop:
            train(config, tmp_path, console=console)
    assert stop.value.step == 3
    assert not [line for line in read_metrics(tmp_path / "metrics.jsonl") if line["kind"] == "test"]
    result = train(config, tmp_path, resume=True, console=console)
    assert [line["step"] for line in result["history"]] == [3, 6]


def test_one_writer(tmp_path, console):
    with sole_writer(tmp_path), pytest.raises(UserError, match="another process is training in"):
        train(small_config(), tmp_path, console=console)


def test_waiting_for_data_is_measured(tmp_path, console, monkeypatch):
    original = feed.train_batches

    class Slow:
        def __init__(self, *arguments):
            self.batches = original(*arguments)

        def __next__(self):
            time.sleep(0.3)
            return next(self.batches)

        def __getattr__(self, name):
            return getattr(self.batches, name)

    quick = train(small_config(), tmp_path / "quick", console=console)
    monkeypatch.setattr(feed, "train_batches", Slow)
    slow = train(small_config(), tmp_path / "slow", console=console)
    assert slow["input_wait"] > quick["input_wait"]
    for name, result in (("quick", quick), ("slow", slow)):
        lines = read_metrics(tmp_path / name / "metrics.jsonl")
        waits = [line["input_wait"] for line in lines if line["kind"] == "train"]
        assert len(waits) == 3 and all(0 <= wait <= 1 for wait in waits)
        assert 0 <= result["input_wait"] <= 1
    assert max(waits) > 0.1


def test_data_may_move_and_a_schedule_holds_the_length(tmp_path, console):
    constant = small_config().model_dump(mode="json")
    assert _fixed(constant)["data"] == {"kind": "digits", "threshold": 160, "scale": 255.0}
    cosine = small_config(optimizer={"schedule": "cosine"})
    train(cosine, tmp_path, console=console)
    longer = small_config(optimizer={"schedule": "cosine"}, train={"epochs": 2})
    with pytest.raises(UserError, match=r"train\.epochs changed"):
        train(longer, tmp_path, resume=True, console=console)
    moved = {**constant, "data": {"kind": "mnist", "root": "/elsewhere"}}
    assert _fixed(moved)["data"] == {"kind": "mnist"}


def test_refusals(tmp_path, console):
    with pytest.raises(UserError, match="there is no run in"):
        train(small_config(), tmp_path, resume=True, console=console)
    train(small_config(), tmp_path, console=console)
    with pytest.raises(UserError, match="holds a run already"):
        train(small_config(), tmp_path, console=console)
    other = small_config(model={"rho1": 0.2})
    with pytest.raises(UserError, match="cannot continue this run: model changed"):
        train(other, tmp_path, resume=True, console=console)
    smaller = small_config(train={"batch_size": 100})
    with pytest.raises(UserError, match=r"train\.batch_size changed"):
        train(smaller, tmp_path, resume=True, console=console)


def test_a_finished_run_that_is_continued_keeps_its_result(tmp_path, console):
    """What Ctrl-C or a kill between the last checkpoint and the result leaves: nothing to train, all to say."""
    config = small_config(model={"sparse": False})
    first = train(config, tmp_path / "run", console=console)
    (tmp_path / "run" / "result.json").unlink()
    again = train(config, tmp_path / "run", resume=True, console=console)
    assert again == json.loads((tmp_path / "run" / "result.json").read_text())
    assert (again["test"], again["steps"]) == (first["test"], first["steps"])
    assert again["history"] == first["history"]
    assert again["step_ms"] > 0 and again["input_wait"] >= 0 and again["first_step_s"] is None
    shown = console.file.getvalue()
    assert shown.count("time per step") == 2 and shown.count("first step") == 1
