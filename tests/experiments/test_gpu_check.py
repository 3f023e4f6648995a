"""The check on a GPU, rehearsed on the CPU with tiny sizes."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from experiments.gpu_check import (
    build,
    environment,
    left_out,
    sanitize,
    session,
    suite,
)
from experiments.gpu_check.__main__ import main
from experiments.gpu_check.child import MARK, Command, Outcome, run
from experiments.gpu_check.options import Options
from experiments.gpu_check.results import Results

ROOT = Path(__file__).parents[2]


REHEARSAL = Options(platform="cpu", quick=True)


def test_it_imports_nothing_of_the_runner():
    """On a machine that has jax, flax, optax, numpy and pytest."""
    code = """
    import importlib, pkgutil, sys
    absent = "pydantic grain pooch sklearn matplotlib torch ray hypothesis flatbuffers"
    sys.modules |= dict.fromkeys(absent.split())
    import flax.nnx, optax, pytest
    # Flax has these for itself.
    sys.modules |= dict.fromkeys(["rich", "yaml", "orbax"])
    import experiments.gpu_check as package
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
    import tests.conftest, tests.cuda.common
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_stage_that_fails_is_the_exit_status(tmp_path, monkeypatch):
    monkeypatch.setenv("OUT", str(tmp_path))
    monkeypatch.setattr(build, "commands", lambda options: [Command([sys.executable, "-c", "1/0"])])
    assert main(["build", "--platform", "cpu"]) == 1
    stage = Results(tmp_path / "check.json").stages["build on cpu"]
    assert stage["verdict"] == "failed" and "ZeroDivisionError" in stage["output"]


@pytest.mark.parametrize("platform", ["cuda", "cpu"])
def test_a_dry_run_names_every_command(platform, capsys):
    assert main(["all", "--dry-run", "--platform", platform]) == 0
    text = capsys.readouterr().out
    for part in ("JAXSPARSE_CUDA", "pytest", "recording", "memory", "headline", "kernels", "grid"):
        assert part in text
    assert ("racecheck" in text) == (platform == "cuda")


def test_without_scikit_build_core_cmake_builds_in_place(monkeypatch):
    find = build.importlib.util.find_spec
    monkeypatch.setattr(
        build.importlib.util, "find_spec", lambda n: None if n == "scikit_build_core" else find(n)
    )
    commands = [str(command) for command in build.commands(Options())]
    assert any("cmake -S xla_kernels" in c and "JAXSPARSE_CUDA=ON" in c for c in commands)
    assert not any("pip install" in c for c in commands)


def test_without_a_toolkit_the_compiler_is_that_of_wheels(monkeypatch):
    def cuda():
        commands = build.commands(Options())
        return {
            c.environment["JAXSPARSE_CUDA"] for c in commands if "JAXSPARSE_CUDA" in c.environment
        }

    monkeypatch.setattr(environment, "compiler", lambda: None)
    monkeypatch.setattr(environment, "compiler_of_wheels", lambda: "nvidia/cu13/bin/nvcc")
    assert cuda() == {"wheels"}
    monkeypatch.setattr(environment, "compiler_of_wheels", lambda: None)
    assert cuda() == {"ON"}  # for CMake to say what is missing
    monkeypatch.setattr(environment, "compiler", lambda: "/usr/bin/nvcc")
    assert cuda() == {"ON"}


def test_what_was_built_of_other_code_is_built_again(stage, monkeypatch, tmp_path):
    monkeypatch.setattr(build, "BUILT", tmp_path / "built")
    monkeypatch.setattr(stage, "run", lambda command: Outcome(0, False, 1.0, "usable"))
    stage.options = Options()
    assert not build.is_built(stage)
    build.BUILT.write_text("other")
    assert not build.is_built(stage)
    assert build.run(stage).word == "passed" and build.is_built(stage)


@pytest.mark.parametrize(
    ("status", "output", "ok"),
    [
        (0, "========= ERROR SUMMARY: 0 errors", True),
        (0, "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)", True),
        (sanitize.FOUND, "========= ERROR SUMMARY: 2 errors", False),
        (0, "relu uniform 8^3: 5 bytes", None),  # it looked at nothing
        (1, "Error: unrecognised option '--kernel-name'", None),
        (1, "========= Error: Device not supported", None),
    ],
)
def test_a_sanitizer_is_believed_when_it_says_what_it_found(status, output, ok):
    assert sanitize.judge(Outcome(status, False, 1.0, output))[0] is ok


@pytest.mark.parametrize(
    ("found", "word"), [(sanitize.FOUND, "passed"), (0, "incomplete"), (None, "incomplete")]
)
def test_a_sanitizer_that_misses_a_planted_error_leaves_the_stage_incomplete(
    stage, monkeypatch, found, word
):
    """Or one that is not there."""
    ran = []

    def run_it(command, seconds=None):
        ran.append(str(command))
        if str(sanitize.PLANTED) in command.arguments[-2:-1]:
            return Outcome(found, False, 1.0, "planted")
        return Outcome(0, False, 1.0, "ERROR SUMMARY: 0 errors")

    stage.options = Options()
    monkeypatch.setattr(stage, "run", run_it)
    monkeypatch.setattr(sanitize.shutil, "which", lambda name: None if found is None else name)
    monkeypatch.setattr(sanitize, "_filter_option", lambda: "--kernel-name")
    monkeypatch.setattr(sanitize, "build_planted", lambda: Command(["nvcc"]))
    recorded = {"same_bits": True, "recorded": True, "why": "recorded"}
    monkeypatch.setattr(sanitize, "_recordings", lambda stage: recorded)
    verdict = sanitize.run(stage)
    assert verdict.word == word, verdict
    every = [command for command in ran if "every_kernel" in command]
    assert len(every) == (2 if word == "passed" else 0)
    assert all("kns=jaxsparse" in command for command in every)


def test_tests_that_passed_are_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setenv("OUT", str(tmp_path))
    found = {
        "a": ("done", ""),
        "b": ("failed", "no"),
        "c": ("skipped", "why"),
        "d": ("not run", ""),
    }
    suite._keep(REHEARSAL, found)
    assert suite.passed_before(REHEARSAL) == {"a": ("done", ""), "c": ("skipped", "why")}
    assert suite.passed_before(Options()) == {}  # on a GPU, nothing has passed
    record = tmp_path / "record"
    session.write_outcomes(record, suite.passed_before(REHEARSAL))
    assert session.outcomes([record]) == suite.passed_before(REHEARSAL)
    assert session.Share("1/1", 0, record).known == {"a", "c"}


def test_a_child_is_stopped_in_time_with_all_that_it_started(tmp_path):
    code = f"""
import subprocess, sys
print('{MARK}' + '{{"row": 1}}', flush=True)
print('working', flush=True)
subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"])
"""
    rows = []
    begin = time.time()
    outcome = run(
        Command([sys.executable, "-c", code], {"A": "b"}),
        cwd=tmp_path,
        log=tmp_path / "log",
        seconds=1.5,
        on_row=rows.append,
    )
    assert time.time() - begin < 30
    assert outcome.timed_out and not outcome.ok and rows == [{"row": 1}]
    assert "working" in (tmp_path / "log").read_text()


SUITE = """
import os, pathlib, time
def test_good(): pass
def test_bad(): assert 0, "no good"
def test_dies(): os.abort()
def test_after(): pass
def test_slow(now=time.time): time.time = lambda: now() + 1e6
def test_too_late(): pass
"""


def test_a_share_of_the_suite_goes_on_behind_a_death_and_stops_in_time(tmp_path):
    (tmp_path / "test_it.py").write_text(SUITE)
    record = tmp_path / "record"

    def share():
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", session.__name__, "--rootdir=.", "."],
            cwd=tmp_path,
            env={
                **os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                session.SHARE: "1/1", session.RECORD: str(record),
                session.DEADLINE: str(time.time() + 600),
            },
            capture_output=True,
        ).returncode  # fmt: skip

    assert share() < 0
    waiting = session.outcomes([record])["test_it.py::test_after"]
    assert waiting == ("not run", "the process ended before")
    assert share() == 0
    found = {name.split("::")[1]: what for name, (what, _) in session.outcomes([record]).items()}
    assert found == {
        "test_good": "done",
        "test_bad": "failed",
        "test_dies": "started",
        "test_after": "done",
        "test_slow": "done",
        "test_too_late": "not run",
    }


def test_what_is_left_out_exists():
    """Every pattern names a test that is there."""
    for pattern in left_out.PATTERNS:
        path, name = pattern.split("::")
        assert name == "*" or f"def {name.rstrip('*')}" in (ROOT / path).read_text(), pattern
        assert left_out.reason(pattern.replace("*", "x"))
    assert left_out.reason("tests/direct/test_relu.py::test_relu") is None
    assert all((ROOT / path).exists() for path in left_out.IGNORED)


def test_handlers_in_command_buffers_are_told_from_those_beside():
    call = '  %c = f32[2] custom-call(), custom_call_target="jaxsparse_direct_relu"\n'
    buffer = f"%command_buffer.1 (p: f32[2]) -> f32[2] {{\n{call}}}\n\n"
    entry = "ENTRY %main () -> f32[2] {\n"
    found = sanitize.evidence({"compiled.txt": f"{buffer}{entry}}}"})
    assert (found["handlers_inside"], found["handlers_outside"]) == (1, 0)
    found = sanitize.evidence({"compiled.txt": f"{buffer}{entry}{call}}}"})
    assert (found["handlers_inside"], found["handlers_outside"]) == (1, 1)
    thunks = "000: kCommandBuffer\n  000: kCustomCall\n  001: kKernel\n001: kCustomCall\n"
    found = sanitize.evidence({"thunk_sequence.txt": thunks, "compiled.txt": f"{buffer}{entry}}}"})
    assert (found["handlers_inside"], found["handlers_outside"]) == (1, 1)
    assert (
        sanitize.evidence({"compiled.txt": f"{entry}{call}}}"})["handlers_outside"] == 0
    )  # shows nothing
