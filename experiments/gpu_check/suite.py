"""Stage `test`: the test suite on the GPU, and every CUDA kernel against the CPU's (tests/cuda).

Several processes share the suite and the GPU; what is left out is printed with the reason, and what the time did not suffice
for is listed, too. What passed is kept in tests.json, beside the result file: called again with the same code, the stage runs
the rest.
"""

import concurrent.futures
import json
import os
import shutil
import time
from collections import Counter
from pathlib import Path

from experiments.benchmark.store import replace_file
from experiments.gpu_check import environment, left_out, session
from experiments.gpu_check.child import Command
from experiments.gpu_check.options import Options
from experiments.gpu_check.results import FOLDER, ROOT, folder, source
from experiments.gpu_check.running import Stage, Verdict

PATHS = ("tests", "jaxsparse")
NAME = "tests.json"
KEPT = ("done", "skipped", "left out")
"""Outcomes that need no second try."""
RECORDS = ROOT / "build/gpu-check-tests"
MARGIN = 25.0
"""Seconds that the last test of a process may take longer than its time."""


def run(stage: Stage) -> Verdict:
    """Runs all shares; a process that dies is followed by another."""
    shutil.rmtree(RECORDS, ignore_errors=True)
    RECORDS.mkdir(parents=True)
    known = {} if stage.options.again else passed_before(stage.options)
    if known:
        stage.say(f"{len(known)} tests are known from before")
    deadline = time.time() + stage.deadline.left() - MARGIN
    for path, why in left_out.ignored().items():
        stage.say(f"left out: {path}: {why}")
    shares = commands(stage.options, deadline)
    for number in range(1, len(shares) + 1):
        session.write_outcomes(_record(number), known)
    log = stage.log

    def share(number: int, command: Command) -> str | None:
        # A log a process, or their lines would mix.
        own = Stage(stage.name, stage.options, stage.results, RECORDS / f"log-{number}")
        own.deadline = stage.deadline
        outcome = own.run(command)
        while outcome.status not in (0, 1, 5) and time.time() < deadline:
            before = session.outcomes([_record(number)])
            outcome = own.run(command)
            if session.outcomes([_record(number)]) == before:
                break
        return None if outcome.status in (0, 1, 5) else f"{outcome.describe()}: {outcome.output}"

    with concurrent.futures.ThreadPoolExecutor(len(shares)) as pool:
        ends = list(pool.map(share, range(1, len(shares) + 1), shares))
    for number in range(1, len(shares) + 1):
        with log.open("a") as file:
            file.write((RECORDS / f"log-{number}").read_text())
    found = session.outcomes([_record(n) for n in range(1, len(shares) + 1)])
    _keep(stage.options, found)
    return _verdict(stage, found, [end for end in ends if end])


def passed_before(options: Options) -> dict[str, tuple[str, str]]:
    """What former calls need not repeat, of this code on this platform: test -> (outcome, why)."""
    path = next((p for p in (folder() / NAME, FOLDER / NAME) if p.exists()), None)
    data = json.loads(path.read_text()) if path else {}
    if data.get("of") != _of(options):
        return {}
    return {test: (outcome, why) for test, (outcome, why) in data["outcomes"].items()}


def _keep(options: Options, found: dict[str, tuple[str, str]]) -> None:
    kept = {test: what for test, what in sorted(found.items()) if what[0] in KEPT}
    text = json.dumps({"of": _of(options), "outcomes": kept}, indent=0)
    folder().mkdir(parents=True, exist_ok=True)
    replace_file(folder() / NAME, text)


def _of(options: Options) -> str:
    return f"{options.platform} {source('tests')}"


def commands(options: Options, deadline: float) -> list[Command]:
    """One command a share."""
    cpus = len(os.sched_getaffinity(0))
    count = max(1, min(10, cpus // 2)) if not options.quick else 1
    pytest = [environment.interpreter(), "-m", "pytest", "-q", "-p", session.__name__]
    ignored = [f"--ignore={path}" for path in left_out.ignored()]
    paths = options.only or PATHS
    return [
        Command(
            [
                *pytest,
                "-p",
                "no:cacheprovider",
                # Packages there may be of versions that warn of their own future.
                "-W",
                "ignore::DeprecationWarning",
                "-W",
                "ignore::PendingDeprecationWarning",
                "--continue-on-collection-errors",
                "--durations=0",
                "--durations-min=5",
                *ignored,
                *paths,
            ],
            {
                "JAX_PLATFORMS": options.platforms,
                "JAXSPARSE_GPU": "1" if options.platform == "cuda" else "0",
                # XLA's own convolutions and products are what tests compare with: no TF32.
                "JAX_DEFAULT_MATMUL_PRECISION": "highest",
                # Small programs: trying out algorithms would take longer than running them.
                "XLA_FLAGS": "--xla_gpu_autotune_level=0" if options.platform == "cuda" else "",
                # Several processes share the GPU's memory.
                "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
                # Plugins that happen to be installed there have no part in this.
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                session.SHARE: f"{number}/{count}",
                session.DEADLINE: f"{deadline:.0f}",
                session.RECORD: str(_record(number)),
            },
        )
        for number in range(1, count + 1)
    ]


def _record(number: int) -> Path:
    return RECORDS / f"record-{number}"


def _verdict(stage: Stage, found: dict[str, tuple[str, str]], ends: list[str]) -> Verdict:
    tests: dict[str, list[str]] = {}
    for test, (outcome, _) in sorted(found.items()):
        tests.setdefault(outcome, []).append(test)
    reasons = Counter(why for outcome, why in found.values() if outcome == "left out")
    for why, number in reasons.items():
        stage.say(f"left out: {number} tests: {why}")
    died = tests.get("started", [])
    failures = {test: found[test][1] for test in tests.get("failed", [])}
    failures |= dict.fromkeys(died, "the process died, or was stopped, in it")
    for test in tests.get("not run", []):
        stage.say(f"not run, no time was left: {test}")
    for test, why in failures.items():
        stage.say(f"FAILED {test}\n{why}")
    done = tests.get("done", [])
    compared = sum(test.startswith("tests/cuda/") for test in done)
    details = {
        "passed": len(done),
        "kernel_comparisons_passed": compared,
        "skipped": {test: found[test][1] for test in tests.get("skipped", [])},
        "left_out": {**left_out.ignored(), **reasons},
        "not_run": tests.get("not run", []),
        "failures": failures,
    }
    why = (
        f"{len(done)} passed ({compared} comparisons of a CUDA kernel with the CPU's), "
        f"{len(failures)} failed, {len(details['not_run'])} not run, "
        f"{sum(reasons.values())} left out"
    )
    if failures or ends or not done:
        return stage.failed("; ".join([why, *ends]), **details)
    return (stage.incomplete if details["not_run"] else stage.passed)(why, **details)
