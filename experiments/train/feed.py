"""The batches of a run: what its network reads and its objective asks for."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import grain

from experiments.config import ExperimentConfig, S3DCNNConfig, TripletConfig
from experiments.data import Dataset, Split, eval_batches, train_batches
from experiments.data.pipeline import WHOLE
from experiments.data.site_lists import (
    eval_site_batches,
    eval_triplet_batches,
    site_batches,
    triplet_batches,
)
from experiments.models import sites_of


class Feed(NamedTuple):
    """Where batches come from.

    train: ``(split, batch_size, seed, part)`` -> an endless iterator with a position.
    test: ``(split, batch_size, part)`` -> what a test runs over.
    """

    train: Callable[[Split, int, int, tuple[int, int]], grain.DatasetIterator[Any]]
    test: Callable[[Split, int, tuple[int, int]], Iterator[Any]]


def build_feed(config: ExperimentConfig, dataset: Dataset) -> Feed:
    """The batches that an experiment's network and objective take.

    Raises:
      ConfigError: ``model.sites`` has another number of entries than the network has layers.
    """
    if not isinstance(config.model, S3DCNNConfig):
        return Feed(train_batches, eval_batches)
    sites = sites_of(config.model, dataset)[0]
    if isinstance(config.objective, TripletConfig):
        classes = config.objective.classes
        return Feed(
            _whole(triplet_batches, sites=sites, classes=classes),
            _whole(eval_triplet_batches, sites=sites, classes=classes),
        )
    return Feed(_whole(site_batches, sites=sites), _whole(eval_site_batches, sites=sites))


def _whole(make: Callable[..., Any], **options: int) -> Callable[..., Any]:
    """One list is one device's: there is no part of a batch."""

    @functools.wraps(make)
    def batches(*arguments: Any) -> Any:
        *first, part = arguments
        assert part == WHOLE
        return make(*first, **options)

    return batches
