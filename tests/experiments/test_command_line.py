"""The command line: help everywhere, errors in one line, a run from end to end."""

import json
from pathlib import Path

import pytest

from experiments.__main__ import main

CONFIGS = Path(__file__).parents[2] / "configs"
DIGITS, MNIST = str(CONFIGS / "digits.yaml"), str(CONFIGS / "mnist.yaml")
SMALL = ["model.hidden=16", "train.epochs=1", "train.batch_size=479"]


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["train", "--help"], ["benchmark", "--help"], ["benchmark", "direct", "--help"]],
)
def test_help(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert "usage: python -m experiments" in capsys.readouterr().out


def test_train(tmp_path, capsys):
    result = tmp_path / "results" / "digits.json"
    arguments = ["--run-dir", str(tmp_path / "run"), "--result", str(result)]
    assert main(["train", DIGITS, SMALL[0], *arguments, *SMALL[1:]]) == 0
    assert json.loads(result.read_text())["name"] == "digits"
    output = capsys.readouterr().out
    assert "test accuracy" in output and "run folder" in output


@pytest.mark.parametrize(
    "arguments",
    [["train", DIGITS, "--fast"], ["benchmark", "direct", "a=1"], ["walk"], []],
)
def test_unknown_arguments(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: python -m experiments" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["configs/nothing.yaml"], "cannot read the configuration"),
        ([DIGITS, "train.epoch=1"], "did you mean 'train.epochs'?"),
        ([MNIST], "data.root is not set"),
        ([DIGITS, "--resume"], "--resume needs --run-dir"),
        ([DIGITS, "train.batch_size=5000"], "only 1437 images"),
    ],
)
def test_errors_are_one_message(capsys, arguments, message):
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "Traceback" not in error
