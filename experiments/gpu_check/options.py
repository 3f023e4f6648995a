"""What the command line decides, for all stages alike."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Options:
    """How to check.

    Attributes:
      platform: ``"cuda"``, or ``"cpu"``: a rehearsal without a GPU.
      quick: tiny sizes.
      seconds: bound on the time of one stage.
      again: measure what the result file has, too.
      only: the benchmark's jobs, or the paths of the tests, to run; empty: all.
    """

    platform: str = "cuda"
    quick: bool = False
    seconds: float = 450.0
    again: bool = False
    only: tuple[str, ...] = ()

    @property
    def platforms(self) -> str:
        """For JAX_PLATFORMS: the CPU is there to compare with."""
        return "cuda,cpu" if self.platform == "cuda" else "cpu"
