"""From a trained network to a result: embeddings, rankings, their metrics, and the nearest of some queries."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from experiments.config import TripletConfig
from experiments.errors import UserError
from experiments.provenance import provenance
from experiments.retrieval.embed import Embedder
from experiments.retrieval.metrics import (
    Distance,
    distances_to,
    evaluate_retrieval,
    first_of_each_class,
    ranking,
)
from experiments.train.metrics import to_json

NEAREST = 10
"""Objects of a gallery's row."""


def retrieve(
    embedder: Embedder,
    *,
    split: Literal["test", "train"] = "test",
    per_class: int | None = None,
    distance: Distance | None = None,
    queries: int = 12,
    run: Path | None = None,
    console: Console | None = None,
) -> tuple[dict[str, Any], np.ndarray]:
    """Ranks every object of a split by its distance to every other.

    Args:
      embedder: of ``load_embedder``.
      split: which objects.
      per_class: only the first so many objects of every class; all if left out.
      distance: left out: that of the run's triplets, l2 of a run that learnt classes, as in the paper.
      queries: of the gallery, spread over the classes.
      run: the run's folder: what its result says of the training becomes part of this one.
      console: where to show progress.

    Returns:
      The result, JSON-like, and the embeddings, float32 ``[objects, C]``.

    Raises:
      UserError: an embedding is not finite, or there is nothing to find.
    """
    config, dataset = embedder.config, embedder.dataset
    objects = embedder.split(split)
    labels = np.asarray(objects.labels)
    numbers = np.arange(len(objects))
    if per_class is not None:
        numbers = first_of_each_class(labels, per_class)
    labels = labels[numbers]
    if distance is None:
        objective = config.objective
        distance = objective.distance if isinstance(objective, TripletConfig) else "l2"
    with _progress(console or Console()) as progress:
        bar = progress.add_task("embed", total=len(numbers))
        embeddings = embedder.embed(objects, numbers, lambda count: progress.advance(bar, count))
        bar = progress.add_task("rank ", total=len(numbers))
        scores = evaluate_retrieval(
            embeddings, labels, distance, done=lambda _: progress.advance(bar)
        )
    shown = chosen_queries(labels, queries)
    result = {
        "kind": "retrieval",
        "name": config.name,
        "dataset": dataset.name,
        "smoke_test": dataset.smoke_test,
        "notes": dataset.notes,
        "provenance": provenance(),
        "config": config.model_dump(mode="json", exclude={"data": {"root", "cache"}}),
        "train_size": len(dataset.train),
        "steps": embedder.step,
        "split": split,
        "per_class": per_class,
        "objects": len(numbers),
        "classes": list(dataset.class_names),
        "features": embeddings.shape[1],
        "distance": distance,
        **scores.to_json(),
        "gallery": [nearest(embeddings, labels, numbers, query, distance) for query in shown],
        "trained": _trained(run),
    }
    return to_json(result), embeddings


def chosen_queries(labels: np.ndarray, count: int) -> list[int]:
    """The places of up to ``count`` queries in a list of labels: one a class, of classes at even spaces."""
    present = np.unique(labels)
    if count < 1 or not len(present):
        return []
    picked = present[np.unique(np.linspace(0, len(present) - 1, count).astype(int))]
    rows = []
    for label in picked:
        places = np.flatnonzero(labels == label)
        rows.append(int(places[len(places) // 2]))
    return rows


def nearest(
    embeddings: np.ndarray,
    labels: np.ndarray,
    numbers: np.ndarray,
    query: int,
    distance: Distance,
) -> dict[str, Any]:
    """One row of the gallery: a query and the objects that are ranked first, by their numbers in the split."""
    order = ranking(embeddings, query, distance)[:NEAREST]
    apart = distances_to(embeddings[order], embeddings[query], distance)
    return {
        "query": {"number": int(numbers[query]), "label": int(labels[query])},
        "found": [
            {
                "number": int(numbers[place]),
                "label": int(labels[place]),
                "right": bool(labels[place] == labels[query]),
                "distance": float(far),
            }
            for place, far in zip(order, apart, strict=True)
        ],
    }


def print_scores(console: Console, result: dict[str, Any]) -> None:
    """The table on the screen."""
    table = Table(title=f"{result['name']}: {result['dataset']}", title_justify="left")
    table.add_column("mean over")
    for title in ("mAP", "AUC", "NN", "first tier", "second tier", "NDCG"):
        table.add_column(title, justify="right")
    for name, title in (("micro", "queries"), ("macro", "classes")):
        values = result[name]
        keys = ("map", "auc", "nn", "first_tier", "second_tier", "ndcg")
        table.add_row(title, *(f"{values[key]:.4f}" if key in values else "" for key in keys))
    console.print(table)
    console.print(
        f"{result['queries']} queries among {result['objects']} objects of the {result['split']} split, ranked by "
        f"{result['distance']} distance of {result['features']} features, step {result['steps']}",
        highlight=False,
    )


def _trained(run: Path | None) -> dict[str, Any] | None:
    """What the run's own result says of the training."""
    path = None if run is None else run / "result.json"
    if path is None or not path.is_file():
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        keys = ("epochs", "steps", "test", "step_ms", "first_step_s", "input_wait")
        return {key: held[key] for key in keys} | {"layers": held["layers"]}
    except (ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged: {error}") from error


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
