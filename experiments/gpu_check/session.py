"""A plugin of pytest: one share of the test suite, within a time; what it does is written down test by test.

The environment says which: GPU_CHECK_SHARE (``2/8``: the second of eight), GPU_CHECK_DEADLINE (seconds since the epoch) and
GPU_CHECK_RECORD, a file of JSON lines. Tests in the record are not run again, so that a process that died is followed by
one that goes on behind the test that killed it. What is not run, is recorded as not run.
"""

import json
import os
import re
import time
from pathlib import Path

import pytest

from experiments.gpu_check import left_out

SHARE, DEADLINE, RECORD = "GPU_CHECK_SHARE", "GPU_CHECK_DEADLINE", "GPU_CHECK_RECORD"
SPOILT = 70
"""The exit status after an error that spoils the process: CUDA refuses everything from then on."""
_SPOILS = re.compile(r"ILLEGAL_ADDRESS|illegal memory access|misaligned address|LAUNCH_FAILED")
RUN = 8
"""Neighbours share compilations: so many of them stay together."""


class Share:
    """The plugin."""

    def __init__(self, share: str, deadline: float, record: Path):
        self.number, self.of = map(int, share.split("/"))
        self.deadline = deadline
        self.record = record
        self.known = {test for test, what in outcomes([record]).items() if what[0] != "not run"}

    def write(self, test: str, outcome: str, why: str = "") -> None:
        with self.record.open("a") as file:
            file.write(json.dumps({"test": test, "outcome": outcome, "why": why}) + "\n")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        ours = [item for i, item in enumerate(items) if i // RUN % self.of == self.number - 1]
        chosen = []
        for item in ours:
            if item.nodeid in self.known:
                continue
            if why := left_out.reason(item.nodeid):
                self.write(item.nodeid, "left out", why)
            else:
                chosen.append(item)
        # The comparison of CPU and GPU first, then what is marked as the core.
        chosen.sort(key=lambda item: (not item.nodeid.startswith("tests/cuda/"), not _core(item)))
        for item in chosen:  # until it is: a process may end before
            self.write(item.nodeid, "not run", "the process ended before")
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item):
        if time.time() > self.deadline:
            self.write(item.nodeid, "not run", "no time was left")
            return True
        self.write(item.nodeid, "started")
        return None

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.write(report.nodeid, "failed", str(report.longrepr)[-1500:])
            if _SPOILS.search(str(report.longrepr)):
                os._exit(SPOILT)
        elif report.skipped:
            self.write(report.nodeid, "skipped", str(report.longrepr)[-300:])
        elif report.when == "teardown":
            self.write(report.nodeid, "done")

    def pytest_collectreport(self, report):
        if report.failed:
            self.write(report.nodeid, "failed", str(report.longrepr)[-1500:])


def _core(item) -> bool:
    return item.get_closest_marker("core") is not None


def pytest_configure(config):
    """Begins."""
    share = Share(os.environ[SHARE], float(os.environ[DEADLINE]), Path(os.environ[RECORD]))
    config.pluginmanager.register(share, "gpu-check-share")


def write_outcomes(record: Path, known: dict[str, tuple[str, str]]) -> None:
    """Begins a record with what is known from before."""
    lines = [
        json.dumps({"test": test, "outcome": outcome, "why": why}) + "\n"
        for test, (outcome, why) in known.items()
    ]
    record.write_text("".join(lines))


def outcomes(records: list[Path]) -> dict[str, tuple[str, str]]:
    """Test -> (outcome, why) of all shares. One that started and never ended, died with its process."""
    found: dict[str, tuple[str, str]] = {}
    for record in records:
        for line in record.read_text().splitlines() if record.exists() else ():
            entry = json.loads(line)
            before = found.get(entry["test"], ("", ""))
            if before[0] == "failed" or (before[0] == "skipped" and entry["outcome"] == "done"):
                continue
            found[entry["test"]] = entry["outcome"], entry["why"]
    return found
