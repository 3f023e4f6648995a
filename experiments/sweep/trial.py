"""One trial of a sweep, as Ray runs it: a process that trains, watched by an actor.

A process of its own, because a run is killed and resumed as a process, reads how many processors it may use at its start,
and takes signals in its main thread.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
POLL_S = 0.5
TEST_METRICS = ("epoch", "accuracy", "loss")


def run_trial(space: dict[str, Any]) -> None:
    """What Ray Tune calls: trains in the trial's folder, from its newest checkpoint if there is one.

    Reports every test to Tune. A process that dies is an error, after which Tune calls this again; one that says what is
    wrong with its configuration or data is not tried again.

    Args:
      space: ``trial``: what ``parameters`` made.
    """
    from ray import tune

    from experiments.errors import INTERRUPTED

    params = space["trial"]
    folder = Path(params["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    process = start(folder, params["config"], params["cpus"])
    try:
        for metrics in _tests(folder, process):
            tune.report(metrics)
    finally:
        process.kill()  # nothing where it has ended
        status = process.wait()
    if status == 0:
        return
    said = _last_lines(folder / "log.txt")
    if status == 2:  # a UserError: the same again would end alike
        tune.report({"refused": said})
        return
    word = "was interrupted" if status == INTERRUPTED else f"ended with status {status}"
    raise RuntimeError(f"the training of {folder.name} {word}:\n{said}")


def start(folder: Path, config: str, cpus: float) -> subprocess.Popen:
    """Starts training in a folder; the process ends with its parent, whatever ends that."""
    file = folder / "trial.json"
    file.write_text(config, encoding="utf-8")
    command = [sys.executable, "-m", "experiments.sweep.leashed", str(os.getpid())]
    command += ["train", str(file), "--run-dir", str(folder)]
    from experiments.train.run_folder import has_begun

    if has_begun(folder):
        command.append("--resume")
    threads = str(max(1, int(cpus)))
    # XLA, and with it the library's kernels, takes NPROC for the number of processors.
    env = {**os.environ, "NPROC": threads, "OMP_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env)


def _tests(folder: Path, process: subprocess.Popen) -> Iterator[dict[str, Any]]:
    """The tests in metrics.jsonl as they come, until the process ends."""
    seen = 0
    while True:
        ended = _wait(process)
        tests = _read_tests(folder / "metrics.jsonl")
        for line in tests[seen:]:
            yield {key: line[key] for key in TEST_METRICS}
        seen = max(seen, len(tests))
        if ended:
            return


def _wait(process: subprocess.Popen) -> bool:
    try:
        process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _read_tests(path: Path) -> list[dict[str, Any]]:
    from experiments.train.metrics import read_metrics

    return [line for line in read_metrics(path) if line["kind"] == "test"] if path.exists() else []


def _last_lines(path: Path, count: int = 15) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def parameters(config: dict[str, Any], folder: Path, cpus: float) -> dict[str, Any]:
    """What a trial needs to know: ``config`` (JSON), ``folder``, ``cpus``."""
    return {"config": json.dumps(config), "folder": str(folder.absolute()), "cpus": cpus}
