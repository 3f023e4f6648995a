"""A trained detector on frames: what the block-sparse network and its dense twin find, how far they agree, what they cost."""

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from rich.console import Console
from rich.table import Table

from experiments.config.load import apply_override
from experiments.detection.config import DetectorConfig, checked
from experiments.detection.frames import Frames, Scene
from experiments.detection.network import Found, MaskedDetector
from experiments.detection.rotated import Detections, match
from experiments.detection.step import image, total_loss
from experiments.detection.targets import decode
from experiments.detection.trainer import load_steps, without_root
from experiments.errors import UserError
from experiments.provenance import PACKAGES, provenance
from experiments.train.checkpoint import Checkpoints
from experiments.train.metrics import to_json
from experiments.train.run_folder import checkpoint_folder
from jaxsparse import block

ENOUGH = 0.5
"""Intersection over union from which on a detection has found a labelled box."""
SAME = 0.7
"""From which on two detections are the same."""


def load_trained(
    run_dir: Path, overrides: tuple[str, ...] = ()
) -> tuple[int, DetectorConfig, Frames, MaskedDetector]:
    """The newest checkpoint of a run: its step, configuration, frames and network, ready to be run.

    Raises:
      UserError: there is none, or an override touches more than ``data``, ``detect`` and ``model.density``.
    """
    folder = checkpoint_folder(run_dir)
    if not folder.is_dir():
        raise UserError(f"{run_dir} is no run's folder")
    with closing(Checkpoints(folder, read_only=True)) as checkpoints:
        held = checkpoints.steps()
        if not held:
            raise UserError(f"{folder} holds no checkpoint")
        values = checkpoints.config(held[-1])
        for override in overrides:
            if not override.startswith(("data.", "detect.", "model.density")):
                raise UserError(
                    f"an evaluation can change data, detect and model.density only, got {override!r}"
                )
            apply_override(values, override)
        config = checked(values, str(folder))
        steps, frames = load_steps(config)
        state = checkpoints.restore_state(held[-1], steps.state)
    return held[-1], config, frames, steps.trained(state)


class Runner:
    """The trained network as compiled functions of an image ``[1, rows, columns, bins]``."""

    def __init__(self, model: MaskedDetector, config: DetectorConfig):
        self.config = config
        graph, state = nnx.split(model)
        shape = config.data.grid.shape[:2]

        def compiled(function: Callable[[MaskedDetector, jax.Array], Any]) -> Callable[..., Any]:
            run = jax.jit(lambda state, x: function(nnx.merge(graph, state), x))
            return lambda x: run(state, x)

        def lists(model: MaskedDetector, x: jax.Array) -> Any:
            return model.lists(jax.nn.sigmoid(model.mask_network(x)), shape)

        self.sparse = compiled(lambda model, x: model(x, sparse=True))
        self.dense = compiled(lambda model, x: model.detector(x))
        self.mask = compiled(lists)
        self.metrics = jax.jit(lambda found, batch: total_loss(found, batch, config)[1])

    def both(self, x: Any) -> tuple[Found, dict[str, jax.Array]]:
        """What the block-sparse network makes of an image, and the maps of its dense twin."""
        return self.sparse(x), self.dense(x)

    def detections(self, maps: dict[str, jax.Array]) -> Detections:
        """The boxes of the only frame of a batch."""
        how = self.config.detect
        first = {name: np.asarray(value[0]) for name, value in maps.items()}
        return decode(
            first, self.config.data.grid, score=how.score, overlap=how.overlap, most=how.most
        )

    def seconds(self, x: jax.Array, repeats: int) -> dict[str, float]:
        """Medians of the time of a call, the contestants in turn.

        ``sparse`` is all of it: mask network, lists and detector in one program; ``mask`` the first two alone.
        """
        contestants = {"dense": self.dense, "sparse": self.sparse, "mask": self.mask}
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for round_ in range(repeats + 1):
            for name, run in contestants.items():
                begin = time.perf_counter()
                jax.block_until_ready(run(x))
                if round_:  # the first one compiles
                    times[name].append(time.perf_counter() - begin)
        return {name: statistics.median(found) for name, found in times.items()}


def evaluate(
    run_dir: Path,
    overrides: tuple[str, ...] = (),
    *,
    repeats: int = 5,
    console: Console | None = None,
) -> dict[str, Any]:
    """Runs a trained detector over all its frames; returns a JSON-like result and shows it."""
    step, config, frames, model = load_trained(run_dir, overrides)
    runner = Runner(model, config)
    rows = []
    for split, scenes in (("train", frames.train), ("test", frames.test)):
        for scene, batch in frames.each(scenes):
            rows.append({"split": split, **_row(runner, scene, batch, repeats)})
    result = to_json(
        {
            "kind": "detections",
            "name": config.name,
            "provenance": provenance((*PACKAGES, "shapely")),
            "config": without_root(config.model_dump(mode="json")),
            "steps": step,
            "frames": rows,
        }
    )
    show(console or Console(), result)
    return result


def _row(runner: Runner, scene: Scene, batch: Any, repeats: int) -> dict[str, Any]:
    x = image(batch)
    found, dense_maps = runner.both(x)
    sparse, dense = runner.detections(found.maps), runner.detections(dense_maps)
    metrics = runner.metrics(found, batch)
    wanted = scene.flat_boxes()
    pairs = match(sparse.boxes, dense.boxes, SAME)
    return {
        "frame": scene.name,
        "boxes": wanted.tolist(),
        "sparse": told(sparse, wanted),
        "dense": told(dense, wanted),
        "both": {
            "same": len(pairs),
            "least_overlap": min((shared for *_, shared in pairs), default=None),
            "most_score_difference": max(
                (abs(sparse.scores[i] - dense.scores[j]) for i, j, _ in pairs), default=None
            ),
        },
        "mask": {name: float(metrics[name]) for name in ("recall", "mask_share")},
        "blocks": {name: _usage(blocks) for name, blocks in found.lists.items()},
        "overflow": int(metrics["overflow"]),
        "seconds": runner.seconds(x, repeats),
    }


def _usage(blocks: block.BlockIndices) -> dict[str, int]:
    """How many blocks are active, fit into the list and are in the grid, for one image."""
    return {
        "active": int(blocks.count),
        "capacity": blocks.capacity,
        "all": blocks.geometry.blocks,
    }


def told(found: Detections, wanted: np.ndarray) -> dict[str, Any]:
    """Detections beside the labelled boxes: how many of these they found, missed, and how many are of none."""
    pairs = match(found.boxes, wanted, ENOUGH)
    return {
        "boxes": found.boxes.tolist(),
        "scores": found.scores.tolist(),
        "found": len(pairs),
        "missed": len(wanted) - len(pairs),
        "false": len(found) - len(pairs),
        "overlap": [shared for *_, shared in pairs],
    }


def show(console: Console, result: dict[str, Any]) -> None:
    """The table of an evaluation, from its result."""
    table = Table(title=f"{result['name']}, step {result['steps']}", title_justify="left")
    table.add_column("frame")
    titles = (
        "cars",
        "found",
        "false",
        "dense",
        "same",
        "mask",
        "blocks",
        "dense ms",
        "ms",
        "ratio",
    )
    for title in titles:
        table.add_column(title, justify="right")
    for row in result["frames"]:
        times, sparse, dense = row["seconds"], row["sparse"], row["dense"]
        usage = row["blocks"]["down1"]
        table.add_row(
            f"{row['frame']} {row['split']}",
            str(len(row["boxes"])),
            str(sparse["found"]),
            str(sparse["false"]),
            f"{dense['found']} + {dense['false']}",
            str(row["both"]["same"]),
            f"{100 * row['mask']['mask_share']:.1f} %",
            f"{usage['active']}/{usage['all']}",
            f"{1e3 * times['dense']:.0f}",
            f"{1e3 * times['sparse']:.0f}",
            f"{times['dense'] / times['sparse']:.1f}",
        )
    console.print(table)
    console.print(
        f"found: labelled cars that a detection shares {ENOUGH} with (intersection over union). dense: found + false\n"
        f"of the dense twin, same weights. same: detections of both that share {SAME}. blocks: active ones of the\n"
        "first unit. ms: mask network, lists and detector in one program.",
        highlight=False,
    )
