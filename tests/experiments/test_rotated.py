"""Rotated rectangles: what they share, which detections stay, which box each has found."""

import numpy as np
import pytest

from experiments.detection.rotated import Detections, corners, match, overlaps, suppress


def counted_overlap(a, b, step=0.01):
    """Intersection over union by counting cells."""
    ends = np.concatenate([corners(a), corners(b)]).reshape(-1, 2)
    x, y = np.meshgrid(
        *(np.arange(low, high, step) for low, high in zip(ends.min(0), ends.max(0), strict=True))
    )

    def inside(box):
        cos, sin = np.cos(box[4]), np.sin(box[4])
        along = cos * (x - box[0]) + sin * (y - box[1])
        across = cos * (y - box[1]) - sin * (x - box[0])
        return (abs(along) <= box[2] / 2) & (abs(across) <= box[3] / 2)

    first, second = inside(a), inside(b)
    return (first & second).sum() / (first | second).sum()


def test_corners_by_hand():
    (quad,) = corners([[1.0, 2.0, 4.0, 2.0, np.pi / 2]])
    np.testing.assert_allclose(quad, [[0, 4], [0, 0], [2, 0], [2, 4]], atol=1e-12)


def test_overlaps_are_those_that_counting_finds(rng):
    for _ in range(10):
        a, b = (
            np.column_stack([rng.uniform(0, 2, (1, 2)), rng.uniform(1, 4, (1, 2)), rng.uniform(0, 7)])
            for _ in range(2)
        )  # fmt: skip
        assert overlaps(a, b)[0, 0] == pytest.approx(counted_overlap(a[0], b[0]), abs=0.01)


def test_overlaps_by_hand():
    box = np.array([[0.0, 0.0, 4.0, 2.0, 0.3]])
    turned = box + np.array([0, 0, 0, 0, np.pi])
    away = box + np.array([10, 0, 0, 0, 0])
    cross = np.array([[0.0, 0.0, 4.0, 2.0, 0.3 + np.pi / 2]])
    found = overlaps(box, np.concatenate([box, turned, away, cross]))
    np.testing.assert_allclose(found, [[1, 1, 0, 4 / 12]], atol=1e-12)
    assert overlaps(box, np.zeros((0, 5))).shape == (1, 0)


def plain_suppression(boxes, scores, overlap):
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    kept = []
    for i in order:
        if all(overlaps(boxes[i : i + 1], boxes[j : j + 1])[0, 0] <= overlap for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("overlap", [0.05, 0.3, 1.0])
def test_suppression_is_that_of_plain_loops(rng, overlap):
    n = 30
    boxes = np.column_stack(
        [rng.uniform(0, 6, (n, 2)), rng.uniform(1, 4, (n, 2)), rng.uniform(0, 3, n)]
    )
    scores = rng.integers(1, 8, n) / 8  # many are equal
    kept = plain_suppression(boxes, scores, overlap)
    found = suppress(Detections(boxes, scores), overlap)
    np.testing.assert_array_equal(found.boxes, boxes[kept])
    np.testing.assert_array_equal(found.scores, scores[kept])
    assert (len(kept) == n) == (overlap == 1.0)


def test_suppression_of_nothing():
    assert len(suppress(Detections(np.zeros((0, 5)), np.zeros(0)), 0.1)) == 0


def test_the_better_detection_takes_the_box():
    wanted = np.array([[0.0, 0.0, 4.0, 2.0, 0.0], [10.0, 0.0, 4.0, 2.0, 0.0]])
    found = np.array([[0.5, 0, 4, 2, 0], [0.0, 0, 4, 2, 0], [10.0, 1.9, 4, 2, 0]])
    pairs = match(found, wanted, 0.5)
    assert [pair[:2] for pair in pairs] == [
        (0, 0)
    ]  # the second is of no box any more, the third too far off
    assert pairs[0][2] == pytest.approx(7 / 9)
    assert match(found, np.zeros((0, 5)), 0.5) == match(np.zeros((0, 5)), wanted, 0.5) == []
