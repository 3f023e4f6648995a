"""The command line: help everywhere, errors in one line, a run from end to end."""

import json
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.data import mnist

CONFIGS = Path(__file__).parents[2] / "configs"
DIGITS, MNIST = str(CONFIGS / "digits.yaml"), str(CONFIGS / "mnist.yaml")
SMALL = ["model.hidden=16", "train.epochs=1", "train.batch_size=479"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["report", "--help"],
        ["evaluate", "--help"],
        ["retrieve", "--help"],
        ["benchmark", "--help"],
        ["benchmark", "direct", "--help"],
        ["benchmark", "block", "--help"],
    ],
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
        ([DIGITS, "--resume"], "--resume needs --run-dir"),
        ([DIGITS, "train.batch_size=5000"], "only 1437 images"),
    ],
)
def test_errors_are_one_message(capsys, arguments, message):
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "Traceback" not in error


def test_mnist_without_a_network_is_one_message(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "MIRROR", "http://127.0.0.1:9/")
    monkeypatch.setenv("JAXSPARSE_CACHE", str(tmp_path))
    assert main(["train", MNIST]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {tmp_path / 'mnist'} has no train-images-idx3-ubyte.gz")
    assert "Offline?" in error and "data.root=DIR" in error


def test_evaluate(tmp_path, capsys):
    run, result = tmp_path / "run", tmp_path / "evaluated.json"
    assert main(["train", DIGITS, *SMALL, "--run-dir", str(run)]) == 0
    trained = json.loads((run / "result.json").read_text())
    capsys.readouterr()
    assert main(["evaluate", str(run), "--result", str(result)]) == 0
    assert "test accuracy" in capsys.readouterr().out
    found = json.loads(result.read_text())
    assert found["accuracy"] == trained["test"]["accuracy"]
    assert found["loss"] == pytest.approx(trained["test"]["loss"], rel=1e-5)
    assert found["layers"] == trained["layers"]
    assert found["images"] == 360 and found["steps"] == 3

    checkpoint = run / "checkpoints" / "3"
    arguments = ["--split", "train", "train.test_batch_size=479", "--result", str(result)]
    assert main(["evaluate", str(checkpoint), *arguments]) == 0
    assert json.loads(result.read_text())["images"] == 1437

    for arguments, message in [
        ([str(tmp_path)], "is neither a run's folder nor a checkpoint"),
        ([str(run), "--step", "7"], "no checkpoint of step 7 (there: 3)"),
        (
            [str(run), "seed=1"],
            "an evaluation can change data., model., train.test_batch_size only",
        ),
        ([str(run), "model.hidde=1"], "did you mean 'model.hidden'?"),
        (
            [str(run), "model.hidden=17"],
            "0.hidden.bias is float32[16] in it, the network has float32[17]",
        ),
    ]:
        assert main(["evaluate", *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and message in error
