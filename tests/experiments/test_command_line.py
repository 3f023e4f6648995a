"""The command line: help everywhere, errors in one line, a run from end to end."""

import json

import pytest

from experiments.__main__ import main

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
    assert main(["train", "configs/digits.yaml", SMALL[0], *arguments, *SMALL[1:]]) == 0
    assert json.loads(result.read_text())["name"] == "digits"
    output = capsys.readouterr().out
    assert "test accuracy" in output and "run folder" in output


@pytest.mark.parametrize(
    "arguments",
    [["train", "configs/digits.yaml", "--fast"], ["benchmark", "direct", "a=1"], ["walk"], []],
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
        (["configs/digits.yaml", "train.epoch=1"], "did you mean 'train.epochs'?"),
        (["configs/mnist.yaml"], "data.root is not set"),
        (["configs/digits.yaml", "--resume"], "--resume needs --run-dir"),
        (["configs/digits.yaml", "train.batch_size=5000"], "only 1437 images"),
    ],
)
def test_errors_are_one_message(capsys, arguments, message):
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "Traceback" not in error
