"""Triplets are what they should be, and drawn as the paper says."""

import numpy as np
import pytest

from experiments.errors import ConfigError
from experiments.retrieval.sampling import TripletSampler

LABELS = np.array([0] * 50 + [1] * 5 + [2] * 2 + [3] * 20 + [4])


def test_triplets():
    """Pairs of one class, never an object with itself; the same number of each class; a negative of another class."""
    sampler = TripletSampler(LABELS, classes=3, triplets=12)
    for seed in range(50):
        index = sampler.draw(np.random.default_rng(seed))
        assert index.shape == (36,)
        anchors, partners, others = np.split(index, 3)
        np.testing.assert_array_equal(LABELS[anchors], LABELS[partners])
        assert (anchors != partners).all()
        assert (LABELS[others] != LABELS[anchors]).all()
        labels, counts = np.unique(LABELS[anchors], return_counts=True)
        assert len(labels) == 3 and set(counts) == {4}
        assert 4 not in labels  # a single object has no partner
    np.testing.assert_array_equal(
        sampler.draw(np.random.default_rng(3)), sampler.draw(np.random.default_rng(3))
    )


def test_classes_are_drawn_uniformly_however_large():
    """Anchors over the four classes that have pairs; negatives over the four others of each; objects within a class."""
    sampler = TripletSampler(LABELS, classes=1, triplets=1)
    rng = np.random.default_rng(0)
    draws = np.array([sampler.draw(rng) for _ in range(6000)])
    own, other = LABELS[draws[:, 0]], LABELS[draws[:, 2]]
    np.testing.assert_allclose(np.bincount(own, minlength=5) / 6000, [0.25] * 4 + [0], atol=0.025)
    for label in range(4):
        found = np.bincount(other[own == label], minlength=5) / (own == label).sum()
        np.testing.assert_allclose(found, [0.25 * (n != label) for n in range(5)], atol=0.05)
    firsts = np.bincount(draws[own == 1, 0] - 50, minlength=5) / (own == 1).sum()
    np.testing.assert_allclose(firsts, [0.2] * 5, atol=0.05)


@pytest.mark.parametrize(
    ("classes", "triplets", "message"),
    [
        (5, 15, "of 5 classes of the training set 4 have two objects"),
        (2, 3, "3 triplets a batch cannot share evenly"),
        (1, 0, "0 triplets"),
    ],
)
def test_what_cannot_be_drawn_is_said(classes, triplets, message):
    with pytest.raises(ConfigError, match=message):
        TripletSampler(LABELS, classes, triplets)
