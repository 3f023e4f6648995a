"""Files as runs, sweeps and benchmarks leave them behind, with numbers that a test can know."""

import json
from pathlib import Path
from typing import Any

from tests.experiments.common import SMALL

LAYERS = ("input", "conv1", "pool1", "conv2")
WEIGHTS = {"conv1": 72, "conv2": 576}
CLASSES = ["zero", "one", "two"]
PROVENANCE = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": {"id": "0123456789abcdef", "modified": True},
    "machine": {"processor": "A processor", "cpus": 2, "devices": ["cpu"]},
    "versions": {"python": "3.11.7", "jax": "0.10.2", "optax": None},
}
STEPS = 5
"""Of an epoch."""


def config(name: str = "small", seed: int = 0, **sections: Any) -> dict[str, Any]:
    """A configuration as ``config.json`` holds it, some sections' keys replaced or added."""
    whole = json.loads(json.dumps({**SMALL, "name": name, "seed": seed}))
    for key, value in sections.items():
        whole[key] = {**whole.get(key, {}), **value}
    return whole


def live(epoch: int, rate: float = 0.1) -> dict[str, int]:
    """Weights left at the end of an epoch."""
    return {name: round(count * (1 - rate * (epoch - 1))) for name, count in WEIGHTS.items()}


def lines(epochs: int, *, better: float = 0.0, prunes: bool = True) -> list[dict[str, Any]]:
    """The lines of so many epochs; a step of epoch e takes 20 - e milliseconds, the first one a second."""
    written = []
    for epoch in range(1, epochs + 1):
        layers = {
            "density": {name: 0.1 + 0.01 * i for i, name in enumerate(LAYERS)},
            "found": {name: 0.3 + 0.01 * epoch for name in LAYERS},
            "dropped": {"input": 0.0, "conv1": 10.0 / epoch, "pool1": 0.0, "conv2": 3.5},
            **({"live": live(epoch)} if prunes else {}),
        }
        for step in range(STEPS * (epoch - 1) + 1, STEPS * epoch + 1):
            line = {
                "kind": "train",
                "step": step,
                "epoch": epoch,
                "loss": 2 / step,
                "accuracy": 0.5,
            }
            time = 1000.0 if step == 1 else 20.0 - epoch
            written.append({**line, **layers, "step_ms": time, "input_wait": 0.125})
        scores = {"loss": 1 / epoch, "accuracy": min(1.0, 0.6 + 0.1 * epoch + better)}
        written.append({"kind": "test", "step": STEPS * epoch, "epoch": epoch, **scores, **layers})
    return written


def result(of: dict[str, Any], log: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """``result.json`` of a run with such lines."""
    last = log[-1]
    rows = [
        {
            "layer": name,
            "spatial_shape": [8, 8] if index < 2 else [4, 4],
            "channels": 4,
            "rho": None if name == "pool1" else 0.12,
            "capacity": 8,
            "bound": 0.125,
            "stored": last["density"][name],
            "found": last["found"][name],
            "peak": 8,
            "dropped": last["dropped"][name],
            "within_bound": True,
            **(
                {"live_weights": last["live"][name], "weights": WEIGHTS[name]}
                if name in last.get("live", {})
                else {}
            ),
        }
        for index, name in enumerate(LAYERS)
    ]
    return {
        "kind": "train",
        "name": of["name"],
        "dataset": "some digits",
        "smoke_test": False,
        "provenance": PROVENANCE,
        "config": of,
        "epochs": last["epoch"],
        "steps": last["step"],
        "test": {"loss": last["loss"], "accuracy": last["accuracy"]},
        "confusion": {"classes": CLASSES, "counts": [[8, 2, 0], [0, 10, 0], [5, 4, 1]]},
        "layers": rows,
        "step_ms": 18.0,
        "first_step_s": 1.0,
        "input_wait": 0.125,
        "history": [line for line in log if line["kind"] == "test"],
        **changes,
    }


def write_run(
    folder: Path,
    of: dict[str, Any] | None = None,
    *,
    epochs: int = 3,
    finished: bool = True,
    better: float = 0.0,
    prunes: bool = True,
    **changes: Any,
) -> Path:
    """A run's folder without checkpoints; ``changes`` of its result."""
    of = of or config(train={"epochs": epochs}, pruning={"threshold": 0.01})
    folder.mkdir(parents=True, exist_ok=True)
    history = lines(epochs, better=better, prunes=prunes)
    (folder / "config.json").write_text(json.dumps(of))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history))
    if finished:
        text = json.dumps(result(of, history, **changes))
        (folder / "result.json").write_text(text)
    return folder


SCALES = (0.0, 0.1, 0.2)


def write_sweep(folder: Path) -> Path:
    """A sweep over lambda, two seeds each, one trial unfinished: more lambda, fewer weights, less accuracy."""
    for number, scale in enumerate(SCALES):
        for seed in (0, 5):
            of = config(
                f"sweep-{scale}",
                seed,
                train={"epochs": 3},
                pruning={"threshold": 0.01},
                regularizer={"scale": scale},
            )
            write_run(
                folder / f"scale-{scale}-seed{seed}",
                of,
                finished=(scale, seed) != (0.2, 5),
                better=-0.05 * number + 0.01 * seed,
            )
    (folder / "ray").mkdir()
    (folder / "sweep.json").write_text("[]")
    return folder


SPEED = {
    "provenance": PROVENANCE,
    "rows": [
        {
            "workload": "a network",
            "live": share,
            "ms_median": 10 * share + 1,
            "ms_best": 10 * share,
            "live_macs": round(1e6 * share),
        }
        for share in (0.05, 0.1, 0.3, 0.5, 1.0)
    ],
}


def write_speed(root: Path) -> Path:
    """The benchmark's result file below a checkout's root."""
    path = root / "experiments" / "results" / "live_weights_cpu.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(SPEED))
    return path
