"""Metrics of rankings: equal to their definitions in plain NumPy, on lists made up and drawn."""

import numpy as np
import pytest

from experiments.errors import UserError
from experiments.retrieval import metrics
from experiments.retrieval.metrics import RECALLS, distances_to, evaluate_retrieval, ranking, score


def defined(relevant):
    """The definitions, one after the other."""
    places = [place for place, hit in enumerate(relevant, start=1) if hit]
    total = len(places)
    precisions = [number / place for number, place in enumerate(places, start=1)]
    ideal = sum(1 / np.log2(1 + place) for place in range(1, total + 1))
    curve = []
    for recall in range(101):
        # In whole numbers: the recall of the n-th hit is n / total.
        reached = [p for n, p in enumerate(precisions, start=1) if 100 * n >= recall * total]
        curve.append(max(reached))
    return {
        "map": np.mean(precisions),
        "nn": float(relevant[0]),
        "first_tier": sum(relevant[:total]) / total,
        "second_tier": sum(relevant[: 2 * total]) / total,
        "ndcg": sum(1 / np.log2(1 + place) for place in places) / ideal,
    }, np.array(curve)


LISTS = [[1], [1, 0], [0, 1], [1, 1, 1], [0, 0, 0, 1], [1, 0, 1, 0, 0, 1], [0, 1, 1, 0, 1, 1, 1]]


@pytest.mark.parametrize("relevant", LISTS)
def test_lists(relevant):
    numbers, curve = score(np.array(relevant, bool))
    wanted, wanted_curve = defined(relevant)
    assert numbers == pytest.approx(wanted)
    np.testing.assert_allclose(curve, wanted_curve)


def test_lists_by_hand():
    numbers, curve = score(np.array([1, 0, 1, 0], bool))
    assert numbers == pytest.approx(
        {"map": (1 + 2 / 3) / 2, "nn": 1, "first_tier": 0.5, "second_tier": 1, "ndcg": 0.9197207891}
    )
    np.testing.assert_allclose(curve[:51], 1)
    np.testing.assert_allclose(curve[51:], 2 / 3)


def test_drawn_lists(rng):
    for _ in range(60):
        length = rng.integers(2, 90)
        relevant = rng.random(length) < rng.random()
        relevant[rng.integers(length)] = True
        numbers, curve = score(relevant)
        wanted, wanted_curve = defined(relevant.tolist())
        assert numbers == pytest.approx(wanted)
        np.testing.assert_allclose(curve, wanted_curve)


def test_distances():
    items = np.array([[3.0, 0], [0, 2], [-1, 0], [0, 0], [1, 1]])
    np.testing.assert_allclose(
        distances_to(items, np.array([2.0, 0]), "cosine"), [0, 1, 2, 1, 1 - np.sqrt(0.5)]
    )
    np.testing.assert_allclose(
        distances_to(items, np.array([3.0, 0]), "l2"), [0, 13**0.5, 4, 3, 5**0.5]
    )


@pytest.mark.parametrize("kind", ["cosine", "l2"])
def test_the_query_is_not_in_its_list(kind):
    """Twins of the query come before all others, the lower number first, and the query itself never."""
    items = np.array([[1.0, 0], [0, 1], [1, 0], [1, 0], [0.9, 0.1]])
    assert ranking(items, 2, kind).tolist() == [0, 3, 4, 1]
    assert ranking(items, 0, kind).tolist() == [2, 3, 4, 1]


def test_the_two_distances_rank_differently():
    items = np.array([[1.0, 0], [5, 0], [0.9, 0.5]])
    assert ranking(items, 0, "cosine").tolist() == [1, 2]
    assert ranking(items, 0, "l2").tolist() == [2, 1]


def test_means_over_queries_and_classes(rng):
    """Of unequal classes, one of them a single object: it is found in lists, but asks for nothing."""
    labels = np.array([0] * 7 + [1] * 3 + [2])
    embeddings = rng.normal(size=(11, 5))
    seen = []
    scores = evaluate_retrieval(embeddings, labels, "cosine", done=seen.append)
    assert seen == list(range(11))
    assert (scores.queries, scores.alone) == (10, 1)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    rows, curves = [], []
    for query in range(10):
        others = sorted(set(range(11)) - {query}, key=lambda n: -(unit[n] @ unit[query]))
        numbers, curve = defined([labels[n] == labels[query] for n in others])
        rows.append(numbers)
        curves.append(curve)
    for name in metrics.NUMBERS:
        values = [row[name] for row in rows]
        assert scores.micro[name] == pytest.approx(np.mean(values))
        assert scores.macro[name] == pytest.approx((np.mean(values[:7]) + np.mean(values[7:])) / 2)
    np.testing.assert_allclose(scores.precision, np.mean(curves, axis=0))
    assert scores.micro["auc"] == pytest.approx(np.trapezoid(np.mean(curves, axis=0), RECALLS))
    plain = scores.to_json()
    assert plain["precision_recall"]["recall"][:3] == [0, 0.01, 0.02]
    assert len(plain["precision_recall"]["precision"]) == 101


def test_separated_classes_are_perfect(rng):
    labels = np.repeat(np.arange(3), 5)
    embeddings = np.eye(3)[labels] + 0.01 * rng.normal(size=(15, 3))
    scores = evaluate_retrieval(embeddings, labels, "l2")
    assert scores.micro == pytest.approx(dict.fromkeys(scores.micro, 1.0))
    assert scores.macro == pytest.approx(dict.fromkeys(scores.macro, 1.0))


def test_what_cannot_be_ranked_is_said():
    with pytest.raises(UserError, match="object 1 is not finite"):
        evaluate_retrieval(np.array([[1.0], [np.nan]]), np.zeros(2), "l2")
    with pytest.raises(UserError, match="no class has two objects"):
        evaluate_retrieval(np.eye(2), np.arange(2), "l2")


def test_first_of_each_class():
    labels = np.array([1, 0, 1, 1, 0, 2])
    assert metrics.first_of_each_class(labels, 2).tolist() == [0, 1, 2, 4, 5]
