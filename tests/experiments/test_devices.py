"""Data parallelism by configuration: over the devices of a process, and over processes."""

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments.config import DistributedConfig
from experiments.data import train_batches
from experiments.errors import INTERRUPTED, ConfigError
from experiments.train import train
from experiments.train.devices import find_devices
from experiments.train.metrics import read_metrics
from tests.experiments.common import final_state, small_config
from tests.experiments.test_pipeline import numbered

ROOT = Path(__file__).parents[2]
# A hundred updates and some: small batches, an epoch of 119. Nothing is cut: a cut between responses that are nearly
# equal turns on rounding, and a loss with it.
TRAIN = {"epochs": 1, "batch_size": 12, "test_batch_size": 200, "log_every": 1}
MODEL = {"rho1": 1.0, "hidden": 16, "dropout": 0.1, "kernel_init": "he_normal"}
STEPS, COMPARED = 119, 100


def config_for(devices, **train):
    # With all that follows from a batch: densities, masks, dropout.
    return small_config(
        model=MODEL,
        # A rate at which rounding is not blown up within a hundred updates.
        optimizer={"learning_rate": 0.001},
        train={**TRAIN, "devices": devices, **train},
        # Warned at 50, removed at 100: which weights are below the threshold turns on rounding, too.
        pruning={"threshold": 0.02, "every": 50},
        regularizer={"scale": 0.01},
    )


def losses(run_dir):
    return [line["loss"] for line in read_metrics(run_dir / "metrics.jsonl")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One configuration trained on 1, 2 and 4 devices: the folder of the runs, which have these names."""
    folder = tmp_path_factory.mktemp("devices")
    for devices in (1, 2, 4):
        train(config_for(devices), folder / str(devices), console=Console(file=io.StringIO()))
    return folder


def test_devices_change_rounding_at_most(runs, tmp_path):
    one = losses(runs / "1")
    assert len(one) == STEPS + 1  # the test is a line, too
    assert np.mean(one[-20:]) < 0.9 * np.mean(one[:20])
    for name in ("2", "4"):
        np.testing.assert_allclose(losses(runs / name)[:COMPARED], one[:COMPARED], rtol=1e-4)
    lines = read_metrics(runs / "1" / "metrics.jsonl")
    assert sum(lines[-1]["live"].values()) < sum(lines[0]["live"].values())
    # At a fixed number of devices: the same bits.
    train(config_for(4), tmp_path / "again", console=Console(file=io.StringIO()))
    assert losses(tmp_path / "again") == losses(runs / "4")
    folders = (runs / "4", tmp_path / "again")
    states = [final_state(folder, config_for(4))[1] for folder in folders]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_a_run_may_go_on_with_other_devices(runs, tmp_path):
    shutil.copytree(runs / "4", tmp_path / "run")
    config = config_for(2, epochs=2)
    console = Console(file=io.StringIO())
    assert train(config, tmp_path / "run", resume=True, console=console)["steps"] == 2 * STEPS


def test_bad_numbers_of_devices():
    with pytest.raises(ConfigError, match=r"train\.devices is 9, but there are 8 on cpu"):
        find_devices(config_for(9))
    with pytest.raises(ConfigError, match=r"train\.batch_size is 97, which 4 devices cannot share"):
        find_devices(config_for(4, batch_size=97))
    with pytest.raises(ConfigError, match=r"train\.test_batch_size is 97, which 4 devices"):
        find_devices(config_for(4, test_batch_size=97))
    assert find_devices(config_for(1)).mesh is None


def test_processes_share_the_rows_of_a_batch():
    whole = train_batches(numbered(20), 6, seed=1)
    parts = [train_batches(numbered(20), 6, 1, (number, 3)) for number in range(3)]
    for _ in range(7):
        rows = np.concatenate([next(part)["label"] for part in parts])
        assert rows.tolist() == next(whole)["label"].tolist()


def free_port():
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        return sock.getsockname()[1]


class Processes:
    """Several processes of one device each that train together."""

    def __init__(self, config, run_dir, count, *options):
        address = f"localhost:{free_port()}"
        path = run_dir.parent / "config.json"
        path.write_text(config.model_dump_json(exclude={"distributed"}))
        environment = os.environ | {
            "XLA_FLAGS": "", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"
        }  # fmt: skip
        self.programs = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "experiments", "train", str(path)),
                    f"distributed={{coordinator_address: '{address}', num_processes: {count}, process_id: {number}}}",
                    *("--run-dir", str(run_dir), *options),
                ],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(count)
        ]  # fmt: skip

    def outputs(self, status):
        """Waits for all of them to end with this status; what each printed."""
        try:
            texts = [program.communicate(timeout=600) for program in self.programs]
        finally:
            for program in self.programs:
                program.kill()
        assert [program.returncode for program in self.programs] == [status] * len(texts), texts
        return [text for text, _ in texts]


def wait_for_lines(path, count, processes):
    """Until the metrics have so many lines, or a process ended."""
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        if any(program.poll() is not None for program in processes.programs):
            return
        time.sleep(0.01)


@pytest.mark.slow
def test_two_processes_stop_go_on_and_train_as_one(runs, tmp_path):
    """Asked in the middle of it, both stop behind the same step; continued, their losses are those of one process."""
    run_dir = tmp_path / "two"
    processes = Processes(config_for(1), run_dir, 2)
    wait_for_lines(run_dir / "metrics.jsonl", 5, processes)
    processes.programs[1].send_signal(signal.SIGTERM)  # not the one that writes
    said = [
        re.findall(r"Stopped after step (\d+)", text) for text in processes.outputs(INTERRUPTED)
    ]
    assert said[0] == said[1] and len(said[0]) == 1
    stopped = int(said[0][0])
    assert 5 <= stopped < STEPS
    assert len(losses(run_dir)) == stopped

    shown, silent = Processes(config_for(1), run_dir, 2, "--resume").outputs(0)
    assert "test accuracy" in shown and "accuracy" not in silent
    lines = read_metrics(run_dir / "metrics.jsonl")
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, STEPS + 1))
    np.testing.assert_allclose(losses(run_dir)[:COMPARED], losses(runs / "2")[:COMPARED], rtol=1e-4)
    result = json.loads((run_dir / "result.json").read_text())
    assert result["steps"] == STEPS
    # Each process counts its own rows.
    counts = np.array(result["confusion"]["counts"])
    assert counts.sum() == 360
    assert np.trace(counts) / 360 == pytest.approx(result["test"]["accuracy"], abs=1e-5)
    assert DistributedConfig(**result["config"]["distributed"]).process_id == 0
