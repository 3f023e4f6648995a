"""kill -9 at ten moments, some of them inside the writing of a checkpoint: the run goes on and ends in the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.train.metrics import read_metrics
from tests.experiments.common import final_state, small_config

ROOT = Path(__file__).parents[2]


def seeded_points(seed):
    """Ten moments: the first before there is any checkpoint, three in a checkpoint, one in the removal of an old one."""
    rng = np.random.default_rng(seed)
    rest = [["step", int(n)] for n in rng.integers(1, 4, 5)]
    rest += [["write", int(n), round(float(rng.random()), 3)] for n in rng.integers(1, 3, 3)]
    rest += [["delete", int(rng.integers(1, 9))]]
    return [["step", 1], *(rest[index] for index in rng.permutation(len(rest)))]


@pytest.mark.slow
def test_ten_times_killed_run_ends_in_the_same_bits(tmp_path):
    config = small_config(train={"batch_size": 64, "checkpoint_every": 2})
    points = seeded_points(0)
    assert len(points) == 10
    program = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.experiments.killing",
            config.model_dump_json(),
            str(tmp_path),
            json.dumps(points),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert program.returncode == 0, program.stderr
    *killed, last = json.loads(program.stdout)["report"]
    for entry in killed:
        assert entry["killed"], entry
        # A process killed while writing leaves a partial checkpoint of another name, and only such a process does.
        assert bool(entry["partial"]) == (entry["point"][0] == "write"), entry
    assert not killed[0]["whole"]
    assert not last["killed"] and not last["partial"] and last["whole"] == [20, 22]

    (step, expected), (same, found) = (
        final_state(tmp_path / name, config) for name in ("whole", "parts")
    )
    assert step == same == 22
    jax.tree.map(np.testing.assert_array_equal, expected, found)

    tests = [
        [line for line in read_metrics(tmp_path / name / "metrics.jsonl") if line["kind"] == "test"]
        for name in ("whole", "parts")
    ]
    assert tests[0] == tests[1] and [line["step"] for line in tests[0]] == [22]
