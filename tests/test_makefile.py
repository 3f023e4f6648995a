"""Environments of the Makefile: made once, and again when what they are made with changes."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Makes an environment whose interpreter is a copy of itself, and writes down what it was asked to do.
INTERPRETER = """#!/bin/bash
echo "$(basename "$0") $*" >>"$LOG"
if [[ "$1 $2" == "-m venv" ]]; then
  folder="${@: -1}"
  rm -rf "$folder"; mkdir -p "$folder/bin"; cp "$0" "$folder/bin/python"
fi
"""


@pytest.fixture
def make(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "xla_kernels").mkdir()
    for name in ("first", "second"):
        (tmp_path / name).write_text(INTERPRETER)
        (tmp_path / name).chmod(0o755)
    log = tmp_path / "log"

    def run(python, *variables):
        log.write_text("")
        subprocess.run(
            ["make", "--no-print-directory", "install", f"PYTHON=./{python}", *variables],
            cwd=tmp_path,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LOG": str(log)},
            check=True,
            capture_output=True,
        )
        lines = log.read_text().splitlines()
        made = [line.split()[0] for line in lines if " -m venv " in line]
        installed = [line.split("]")[1].strip() for line in lines if " pip install " in line]
        return made, installed

    return run


def test_another_jax_or_python_installs_again(make):
    assert make("first") == (["first"], [""])
    assert make("first") == ([], [])
    assert make("first", "JAX=jax>=0.11,<0.12") == ([], ["jax>=0.11,<0.12"])
    assert make("first", "JAX=jax>=0.11,<0.12") == ([], [])
    assert make("first") == ([], [""])
    assert make("second") == (["second"], [""])
    assert make("second") == ([], [])
