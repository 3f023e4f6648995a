"""How good rankings of objects are: every object is a query once, and the others are ranked by their distance to it."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from experiments.errors import UserError

Distance = Literal["cosine", "l2"]

NUMBERS = ("map", "nn", "first_tier", "second_tier", "ndcg")
"""What is measured of every query and then averaged."""

RECALLS = np.linspace(0, 1, 101)
"""Where precision-recall curves are interpolated."""


def distances_to(embeddings: np.ndarray, query: np.ndarray, kind: Distance) -> np.ndarray:
    """From one embedding to many, in float64.

    Args:
      embeddings: ``[N, C]``.
      query: ``[C]``.
      kind: ``"cosine"``: 1 less the cosine of the angle, 1 where a vector is 0; ``"l2"``: the length of the difference.

    Returns:
      float64 ``[N]``.
    """
    items, query = np.asarray(embeddings, np.float64), np.asarray(query, np.float64)
    if kind == "l2":
        return np.sqrt(((items - query) ** 2).sum(axis=1))
    lengths = np.sqrt((items**2).sum(axis=1) * (query**2).sum())
    products = (items * query).sum(axis=1)
    return 1 - np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)


def ranking(embeddings: np.ndarray, number: int, kind: Distance) -> np.ndarray:
    """The other objects from the nearest to the farthest; of equally far ones the lower number comes first.

    Args:
      embeddings: ``[N, C]``.
      number: of the query; it is not in the list.
      kind: of the distance.

    Returns:
      int64 ``[N - 1]``.
    """
    order = np.argsort(distances_to(embeddings, embeddings[number], kind), kind="stable")
    return order[order != number]


def score(relevant: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """The numbers of one ranked list, and its curve.

    With R relevant objects: ``map``: precision at the place of each of them, averaged. ``nn``: whether the first is
    one. ``first_tier``, ``second_tier``: the share of them among the first R and 2 R. ``ndcg``: gains of 1, discounts
    ``1 / log2(1 + place)``, over those of the best list.

    Args:
      relevant: bool ``[N]``, in the order of the list, True at least once.

    Returns:
      The numbers; the highest precision at recalls of at least each of ``RECALLS``, float64 ``[101]``.

    Source: the Princeton Shape Benchmark (Shilane et al. 2004) for the tiers; S3DCNN's evaluation leaves the query out, too.
    """
    from sklearn.metrics import average_precision_score, ndcg_score, precision_recall_curve

    relevant = np.asarray(relevant, bool)
    total = int(relevant.sum())
    # The list itself is the score: no two places are equal, so nothing depends on how ties are taken.
    places = np.arange(len(relevant), 0, -1, dtype=np.float64)
    precision, recall, _ = precision_recall_curve(relevant, places)
    # scikit-learn's curve begins at recall 1; the point that it adds at recall 0 is no place of the list.
    precision, recall = precision[:-1], recall[:-1]
    best = np.maximum.accumulate(precision)
    # The last of the points whose recall is high enough; a recall and its grid point may differ by rounding.
    last = np.searchsorted(-recall, -(RECALLS - 1e-12), side="right") - 1
    # One object has no order for scikit-learn.
    ndcg = float(ndcg_score(relevant[None], places[None])) if len(relevant) > 1 else 1.0
    return {
        "map": float(average_precision_score(relevant, places)),
        "nn": float(relevant[0]),
        "first_tier": float(relevant[:total].sum() / total),
        "second_tier": float(relevant[: 2 * total].sum() / total),
        "ndcg": ndcg,
    }, best[last]


@dataclasses.dataclass(frozen=True)
class Scores:
    """The numbers of many queries.

    Attributes:
      queries: how many.
      alone: how many objects are the only ones of their class: they are ranked, but are no queries.
      micro: means over the queries, and ``auc``, the area under the mean curve.
      macro: means over the classes of the means over their queries.
      precision: float64 ``[101]`` at ``RECALLS``: the mean of the interpolated curves.
    """

    queries: int
    alone: int
    micro: dict[str, float]
    macro: dict[str, float]
    precision: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "queries": self.queries,
            "alone": self.alone,
            "micro": self.micro,
            "macro": self.macro,
            "precision_recall": {
                "recall": [round(float(recall), 2) for recall in RECALLS],
                "precision": [float(f"{value:.6g}") for value in self.precision],
            },
        }


def evaluate_retrieval(
    embeddings: np.ndarray,
    labels: np.ndarray,
    kind: Distance,
    *,
    done: Callable[[int], None] | None = None,
) -> Scores:
    """Every object asks once for the others of its class.

    Args:
      embeddings: ``[N, C]``.
      labels: integers ``[N]``.
      kind: of the distance.
      done: called with the number of every object that is done.

    Raises:
      UserError: an embedding is not finite, or no class has two objects.
    """
    from sklearn.metrics import auc

    embeddings, labels = np.asarray(embeddings, np.float64), np.asarray(labels)
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        raise UserError(f"the embedding of object {int(np.argmin(finite))} is not finite")
    rows: list[dict[str, float]] = []
    curves = np.zeros(len(RECALLS))
    asked = []
    for number in range(len(labels)):
        relevant = labels[ranking(embeddings, number, kind)] == labels[number]
        if relevant.any():
            numbers, curve = score(relevant)
            rows.append(numbers)
            curves += curve
            asked.append(labels[number])
        if done is not None:
            done(number)
    if not rows:
        raise UserError("no class has two objects: there is nothing to find")
    table = np.array([[row[name] for name in NUMBERS] for row in rows])
    means = np.array([table[np.array(asked) == label].mean(axis=0) for label in np.unique(asked)])
    precision = curves / len(rows)

    def named(values: np.ndarray) -> dict[str, float]:
        return dict(zip(NUMBERS, map(float, values), strict=True))

    micro = {**named(table.mean(axis=0)), "auc": float(auc(RECALLS, precision))}
    return Scores(len(rows), len(labels) - len(rows), micro, named(means.mean(axis=0)), precision)


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """The numbers of the first objects of every class, ascending.

    Source: S3DCNN takes 20 objects of every class of the test set.
    """
    labels = np.asarray(labels)
    chosen = [np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)
