"""Data parallelism by configuration: over the devices of a process, and over processes."""

import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments.config import DistributedConfig
from experiments.data import train_batches
from experiments.errors import ConfigError
from experiments.train import train
from experiments.train.devices import find_devices
from experiments.train.metrics import read_metrics
from tests.experiments.common import final_state, small_config
from tests.experiments.test_pipeline import numbered

ROOT = Path(__file__).parents[2]
TRAIN = {"epochs": 1, "batch_size": 96, "test_batch_size": 200, "log_every": 1}
MODEL = {"rho1": 0.2, "hidden": 32, "dropout": 0.1, "kernel_init": "he_normal"}


def config_for(devices, **train):
    # With all that follows from a batch: densities, masks, dropout.
    return small_config(
        model=MODEL,
        optimizer={"learning_rate": 0.02},
        train={**TRAIN, "devices": devices, **train},
        pruning={"threshold": 0.02, "every": 3},
        regularizer={"scale": 0.01},
    )


def losses(run_dir):
    return [line["loss"] for line in read_metrics(run_dir / "metrics.jsonl")]


def test_devices_change_rounding_at_most(tmp_path):
    console = Console(file=io.StringIO())
    for name, devices in (("1", 1), ("2", 2), ("4", 4), ("4 again", 4)):
        train(config_for(devices), tmp_path / name, console=console)
    one = losses(tmp_path / "1")
    assert len(one) == 15 and one[-1] < 0.9 * one[0]
    for name in ("2", "4"):
        np.testing.assert_allclose(losses(tmp_path / name), one, rtol=1e-4)
    # At a fixed number of devices: the same bits.
    states = [final_state(tmp_path / name, config_for(4))[1] for name in ("4", "4 again")]
    jax.tree.map(np.testing.assert_array_equal, *states)
    assert losses(tmp_path / "4") == losses(tmp_path / "4 again")
    # A run may go on with other devices.
    longer = config_for(2, epochs=2)
    assert train(longer, tmp_path / "4", resume=True, console=console)["steps"] == 28


def test_bad_numbers_of_devices():
    with pytest.raises(ConfigError, match=r"train\.devices is 9, but there are 8 on cpu"):
        find_devices(config_for(9))
    with pytest.raises(ConfigError, match=r"train\.batch_size is 97, which 4 devices cannot share"):
        find_devices(config_for(4, batch_size=97))
    with pytest.raises(ConfigError, match=r"train\.test_batch_size is 97, which 8 devices"):
        find_devices(config_for("all", test_batch_size=97))
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


def in_processes(config, run_dir, count, *options):
    """Trains in so many processes of one device each; the output of the first."""
    address = f"localhost:{free_port()}"
    (run_dir.parent / "config.json").write_text(config.model_dump_json(exclude={"distributed"}))
    environment = os.environ | {"XLA_FLAGS": "", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    programs = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "experiments", "train", str(run_dir.parent / "config.json")),
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
    try:
        texts = [program.communicate(timeout=600) for program in programs]
    finally:
        for program in programs:
            program.kill()
    assert [program.returncode for program in programs] == [0] * count, texts
    return [text for text, _ in texts]


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """They write one run, which goes on, and its losses are those of one process."""
    train(config_for(2, epochs=2), tmp_path / "one", console=Console(file=io.StringIO()))
    shown, silent = in_processes(config_for(1), tmp_path / "two", 2)
    assert "test accuracy" in shown and "accuracy" not in silent
    in_processes(config_for(1, epochs=2), tmp_path / "two", 2, "--resume")
    lines = read_metrics(tmp_path / "two" / "metrics.jsonl")
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 29))
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-4)
    result = json.loads((tmp_path / "two" / "result.json").read_text())
    assert result["steps"] == 28
    # Each process counts its own rows.
    counts = np.array(result["confusion"]["counts"])
    assert counts.sum() == 360
    assert np.trace(counts) / 360 == pytest.approx(result["test"]["accuracy"], abs=1e-5)
    assert DistributedConfig(**result["config"]["distributed"]).process_id == 0
