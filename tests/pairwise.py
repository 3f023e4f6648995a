"""Small grids that still meet every pair: a covering array, found greedily and the same on every run."""

import itertools
import random
from collections.abc import Sequence
from typing import Any


def pairwise(
    factors: dict[str, Sequence[Any]], seed: int = 0, tries: int = 10
) -> list[dict[str, Any]]:
    """Cases over `factors` such that every two values of every two factors meet in at least one case.

    A full product of ten factors has millions of cases; most faults need no more than two factors to meet.
    """
    rng = random.Random(seed)
    names = list(factors)
    open_pairs = {
        ((m, i), (n, j))
        for m, n in itertools.combinations(range(len(names)), 2)
        for i in range(len(factors[names[m]]))
        for j in range(len(factors[names[n]]))
    }

    def pairs(case: list[int]):
        return set(itertools.combinations(enumerate(case), 2)) & open_pairs

    cases = []
    while open_pairs:
        best: list[int] = []
        for _ in range(tries):
            fixed = dict(rng.choice(sorted(open_pairs)))
            case = [rng.randrange(len(factors[name])) for name in names]
            for m in rng.sample(range(len(names)), len(names)):
                if m in fixed:
                    case[m] = fixed[m]
            for m in rng.sample(
                range(len(names)), len(names)
            ):  # one round of improvement, factor by factor
                if m not in fixed:
                    choices = range(len(factors[names[m]]))
                    case[m] = max(
                        choices, key=lambda i, m=m: len(pairs([*case[:m], i, *case[m + 1 :]]))
                    )
            if not best or len(pairs(case)) > len(pairs(best)):
                best = case
        open_pairs -= pairs(best)
        cases.append({name: factors[name][i] for name, i in zip(names, best, strict=True)})
    return cases
