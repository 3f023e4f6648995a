"""Which objects make the triplets of a batch."""

import numpy as np

from experiments.errors import ConfigError


class TripletSampler:
    """Draws triplets: a pair of one class, and an object of another.

    The classes of a batch are drawn uniformly, each at most once; in each of them pairs of different objects; then, for
    each pair, one of the other classes and one of its objects, both uniformly, however large the classes are.

    Args:
      labels: integers ``[N]``.
      classes: how many different classes the anchors of a batch come from.
      triplets: of a batch; every class has the same number.

    Raises:
      ConfigError: fewer classes have two objects, there is no other class, or the triplets cannot be shared evenly.

    Source: S3DCNN, Sec. 4.1: the other class is uniform there; its published code draws from all objects of other classes.
    """

    def __init__(self, labels: np.ndarray, classes: int, triplets: int):
        self.members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self.paired = [index for index, found in enumerate(self.members) if len(found) > 1]
        self.classes, self.triplets = classes, triplets
        if triplets < 1 or triplets % classes:
            raise ConfigError(
                f"objective.classes is {classes}, which {triplets} triplets a batch cannot share evenly"
            )
        if classes > len(self.paired) or len(self.members) < 2:
            raise ConfigError(
                f"objective.classes is {classes}, but of {len(self.members)} classes of the training set "
                f"{len(self.paired)} have two objects"
            )

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """The numbers of a batch's objects: int64 ``[3 * triplets]``, anchors, then their partners, then the others."""
        each = self.triplets // self.classes
        anchors, partners, others = [], [], []
        for own in rng.choice(self.paired, self.classes, replace=False):
            for _ in range(each):
                anchor, partner = rng.choice(self.members[own], 2, replace=False)
                other = rng.integers(len(self.members) - 1)
                other += other >= own  # all classes but its own
                anchors.append(anchor)
                partners.append(partner)
                others.append(rng.choice(self.members[other]))
        return np.array(anchors + partners + others, np.int64)
