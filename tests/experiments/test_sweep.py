"""Sweeps: what they run, in which order of merit, and what a killed process costs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.errors import ConfigError
from experiments.sweep import trial
from experiments.sweep.spec import load_sweep, settings_of, table_of
from experiments.table.spec import runs_of

ROOT = Path(__file__).parents[2]

BASE = """
name: base
data: {kind: digits}
model: {hidden: 16, input_density: 0.5}
train: {epochs: 2, batch_size: 64, test_batch_size: 200, checkpoint_every: 4}
"""

SWEEP = """
name: little
base: base.yaml
set: {train.log_every: 7}
grid: {model.rho1: [0.05, 0.1], optimizer.kind: [adagrad, adam]}
random: {optimizer.learning_rate: {log_uniform: [1e-4, 1e-1]}}
samples: 3
seeds: [0, 5]
"""


def write(folder, text):
    (folder / "base.yaml").write_text(BASE)
    path = folder / "sweep.yaml"
    path.write_text(text)
    return path


def test_every_combination_with_every_draw_from_every_seed(tmp_path):
    path = write(tmp_path, SWEEP)
    sweep = load_sweep(path)
    runs = runs_of(table_of(sweep), path)
    assert len(runs) == len({run.name for run in runs}) == 2 * 2 * 3 * 2
    assert {run.seed for run in runs} == {0, 5}
    assert {run.config.train.log_every for run in runs} == {7}
    found = {
        (run.config.model.rho1, run.config.optimizer.kind, run.config.optimizer.learning_rate)
        for run in runs
    }
    rates = {settings["optimizer.learning_rate"] for settings in settings_of(sweep)}
    assert len(rates) == 3 and all(1e-4 <= rate <= 1e-1 for rate in rates)
    assert found == {(r, k, x) for r in (0.05, 0.1) for k in ("adagrad", "adam") for x in rates}


def test_more_samples_leave_the_first_ones_as_they_are(tmp_path):
    few = table_of(load_sweep(write(tmp_path, SWEEP)))
    many = table_of(load_sweep(write(tmp_path, SWEEP.replace("samples: 3", "samples: 5"))))
    assert {row.name for row in few.rows} < {row.name for row in many.rows}
    other = table_of(load_sweep(write(tmp_path, SWEEP + "sampling_seed: 1\n")))
    assert not {row.name for row in few.rows} & {row.name for row in other.rows}


@pytest.mark.parametrize(
    ("distribution", "holds"),
    [
        ("{uniform: [2, 3]}", lambda x: 2 <= x <= 3),
        ("{log_uniform: [1e-3, 1e-2]}", lambda x: 1e-3 <= x <= 1e-2),
        ("{integers: [4, 6]}", lambda x: x in (4, 5, 6) and isinstance(x, int)),
        ("{choice: [a, [1, 2]]}", lambda x: x in ("a", [1, 2])),
    ],
)
def test_distributions(tmp_path, distribution, holds):
    text = f"name: x\nbase: base.yaml\nrandom: {{key: {distribution}}}\nsamples: 40\n"
    values = [settings["key"] for settings in settings_of(load_sweep(write(tmp_path, text)))]
    assert all(map(holds, values)) and len(set(map(str, values))) > 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("samples: 3", "sampels: 3", "unknown key 'sampels' .did you mean 'samples'"),
        ("samples: 3", "samples: 0", "'samples': input should be greater"),
        ("log_uniform: [1e-4, 1e-1]", "log_uniform: [1, 0.1]", "must not be the larger one"),
        ("log_uniform: [1e-4, 1e-1]", "log_uniform: [0, 1]", "greater than 0"),
        ("{log_uniform: [1e-4, 1e-1]}", "{}", "must be one of uniform, log_uniform"),
        ("grid: {", "grid: {train.log_every: [1], ", "^[^']*train.log_every: a key has one place"),
        ("grid: {", "grid: {seed: [1], ", "seed: a key has one place"),
        ("grid: {", "grid: {a: [], ", "at least 1 item"),
        ("[0.05, 0.1]", "[0.05, 0.05]", "is there twice"),
        ("model.rho1: [0.05, 0.1]", "model.rho: [0.05]", "unknown key 'model.rho'"),
        ("random: {optimizer.learning_rate: {log_uniform: [1e-4, 1e-1]}}", "", "random is empty"),
        ("seeds: [0, 5]", "resources: {cpus: 0}", "'resources.cpus'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, old, new, message):
    assert old in SWEEP
    path = write(tmp_path, SWEEP.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        runs_of(table_of(load_sweep(path)), path)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "sweeps").glob("*.yaml")), ids=str)
def test_sweeps_of_the_project_are_valid(path):
    assert runs_of(table_of(load_sweep(path)), path)


def test_list(tmp_path, capsys):
    path = write(tmp_path, SWEEP)
    assert main(["sweep", str(path), "--list", "--runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 24 and all(line.endswith("  missing") for line in lines)


def sweep_process(path, runs, output):
    command = [sys.executable, "-m", "experiments", "sweep", str(path), "--runs", str(runs)]
    env = {**os.environ, "RAY_worker_niceness": "0", "PYTHONWARNINGS": "default"}
    with output.open("w") as file:
        return subprocess.Popen(command, cwd=ROOT, env=env, stdout=file, stderr=file)


def processes_training_in(folder):
    command = ["pgrep", "-f", f"train {folder}/"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return [int(number) for number in found.stdout.split()]


def training_in(folder):
    """The process that trains in a folder, once it has written a checkpoint."""
    for _ in range(1200):
        if any((folder / "checkpoints").glob("[0-9]*")):
            found = processes_training_in(folder)
            if found:
                return found[0]
        time.sleep(0.1)
    raise AssertionError(f"nothing trains in {folder}")


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_driver_end_with_the_same_table(tmp_path):
    """One trial's process is killed and goes on; then the driver; the same command ends as if nothing had been."""
    text = (
        "name: killed\nbase: base.yaml\ngrid: {model.rho1: [0.05, 0.1]}\nset: {train.epochs: 4}\n"
    )
    path = write(tmp_path, text)
    first, _ = runs_of(table_of(load_sweep(path)), path)
    folder = tmp_path / "runs" / "killed"

    driver = sweep_process(path, tmp_path / "runs", tmp_path / "first.txt")
    victim = training_in(folder / first.name)
    os.kill(victim, signal.SIGKILL)
    again = training_in(folder / first.name)
    assert again != victim
    driver.kill()
    driver.wait()
    for _ in range(600):  # the trials end with their driver
        if not processes_training_in(folder):
            break
        time.sleep(0.1)

    said = tmp_path / "second.txt"
    assert sweep_process(path, tmp_path / "runs", said).wait() == 0, said.read_text()
    rows = json.loads((folder / "sweep.json").read_text())
    assert [row["missing_seeds"] for row in rows] == [[], []]
    assert rows[0]["mean"] >= rows[1]["mean"]
    found = {row["runs"][0]: row["seeds"]["0"] for row in rows}
    whole = tmp_path / "uninterrupted"
    whole.mkdir()
    assert trial.start(whole, first.config.model_dump_json(), 1).wait() == 0
    assert found[first.name] == json.loads((whole / "result.json").read_text())["test"]
    log = (folder / first.name / "metrics.jsonl").read_text().splitlines()
    tests = [json.loads(line)["epoch"] for line in log if '"test"' in line]
    assert tests == [1, 2, 3, 4]
