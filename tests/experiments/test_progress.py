"""What a person sees while a network trains."""

import io

from rich.console import Console

from experiments.train import progress
from experiments.train.layers import LayerInfo

LAYERS = [LayerInfo("input", (28, 28), 1, 784), LayerInfo("conv1", (28, 28), 8, 40)]
METRICS = {
    "loss": 0.51234,
    "accuracy": 0.8125,
    "layers": {"stored": [0.163, 0.051], "found": [0.163, 0.3], "dropped": [0.0, 1234.4]},
}


def show(*, terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    display = progress.Display(console, LAYERS, total=300)
    with display.running():
        display.update(60, 1, METRICS)
        display._live.refresh()
    display.epoch(1, {"loss": 0.5, "accuracy": 0.75, "step_ms": 12.3}, {"accuracy": 0.9})
    return console.file.getvalue()


def test_bar_on_a_terminal():
    text = show(terminal=True)
    for part in ("epoch 1", "60/300", "loss 0.5123", "accuracy 0.8125"):
        assert part in text
    assert "density input 0.163  conv1 0.051  dropped 1234 a sample" in text
    assert "test accuracy 0.9000" in text


def test_lines_without_a_terminal(monkeypatch):
    assert show(terminal=False).startswith("epoch   1")
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    lines = show(terminal=False).splitlines()
    assert lines[0] == "step 60/300  loss 0.5123  accuracy 0.8125"
    assert lines[1].startswith("epoch   1  loss 0.5000") and len(lines) == 2
