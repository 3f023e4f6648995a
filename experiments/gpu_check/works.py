"""What is measured of the convolution: the cases that the speed goals name, and the grid of Fig. 4. Only names, no JAX."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator

from experiments.benchmark.cases import FILTER_DENSITIES, PASSES, POINTS, SELECTIONS, Case, Group
from experiments.benchmark.cases import cases as every_case
from experiments.benchmark.timing import Effort

CHANNELS = ((1, 8), (8, 8), (8, 16), (16, 32))
BATCHES = (1, 8)
LONG = Effort(seconds=0.25, repeats=(3, 9), sample=0.02, slow=0.5)
BRIEF = Effort(seconds=0.05, repeats=(3, 5), sample=0.01, slow=0.25)
"""For the grid, of 1280 rows: a fifth of the time, samples of 10 ms."""


@dataclasses.dataclass(frozen=True)
class Work:
    """Cases that are measured together, alternating with one dense convolution.

    Attributes:
      group: the convolution.
      batch: of the input.
      cases: which of the group's.
      effort: how long.
      profiled: whether a profile tells the time on the device, too.
    """

    group: Group
    batch: int
    cases: tuple[Case, ...]
    effort: Effort = BRIEF
    profiled: bool = False

    def row(self, case: Case) -> str:
        """The name of a case's row."""
        return (
            f"conv {self.group} batch {self.batch} {case.points} filter {case.filter_density:g} "
            f"{case.selection} selection"
        )


def headline() -> Iterator[Work]:
    """What the issue asks for, first things first."""
    uniform = tuple(every_case(("uniform",), (0.1,), SELECTIONS))
    surface = tuple(every_case(("surface",), (0.1, 1.0), SELECTIONS))
    yield Work(Group("forward", (1, 8), 256), 1, uniform, LONG, True)
    for resolution in (64, 128, 256):
        yield Work(Group("forward", (8, 8), resolution), 1, surface, LONG, True)
    # Last: cuDNN takes its time to choose algorithms for the gradients.
    both = tuple(every_case(POINTS, (0.1, 1.0), SELECTIONS))
    yield Work(Group("forward+backward", (8, 8), 256), 8, both, LONG, True)


def grid(resolutions: tuple[int, ...] = (256, 128, 64, 32, 16)) -> Iterator[Work]:
    """Everything: the narrow channels and the forward pass first, large volumes before small ones, both batches."""
    every = tuple(every_case(POINTS, FILTER_DENSITIES, SELECTIONS))
    for channels, passes, resolution, batch in itertools.product(
        CHANNELS, PASSES, resolutions, BATCHES
    ):
        yield Work(Group(passes, channels, resolution), batch, every)


def rehearsal() -> Iterator[Work]:
    """Every path, tiny."""
    uniform = tuple(every_case(("uniform",), (0.3,), SELECTIONS))
    for passes, batch in (("forward", 1), ("forward+backward", 2)):
        yield Work(Group(passes, (1, 2), 8), batch, uniform, BRIEF, True)


PARTS: dict[str, Callable[[], Iterator[Work]]] = {
    "headline": headline,
    "grid": grid,
    "rehearsal": rehearsal,
}


def rows(part: str) -> tuple[str, ...]:
    """The names of a part's rows."""
    return tuple(work.row(case) for work in PARTS[part]() for case in work.cases)
