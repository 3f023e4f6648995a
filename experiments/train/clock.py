"""How long a step takes, and how much of it is waiting for data."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager


class StepClock:
    """Times runs of steps from one synchronisation with the device to the next.

    Steps are dispatched ahead, so a single step cannot be timed without slowing it down. The first step, which
    compiles, stands alone; tests and checkpoints are left out by ``restart``.
    """

    def __init__(self) -> None:
        self.first_step_s: float | None = None
        self._per_step: list[float] = []
        self._waited = 0.0
        self._total = 0.0
        self._interval_waited = 0.0
        self._begin = time.perf_counter()

    def restart(self) -> None:
        """Begins an interval; call it after anything that is not a step."""
        self._begin = time.perf_counter()
        self._interval_waited = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the call that fetches a batch."""
        begin = time.perf_counter()
        yield
        self._interval_waited += time.perf_counter() - begin

    def synchronised(self, steps: int) -> tuple[float, float]:
        """Ends an interval of ``steps`` steps, begins the next; returns its seconds a step and its share of waiting."""
        elapsed = time.perf_counter() - self._begin
        waited = self._interval_waited / elapsed
        if self.first_step_s is None:
            self.first_step_s = elapsed
        else:
            self._per_step.append(elapsed / steps)
            self._waited += self._interval_waited
            self._total += elapsed
        self.restart()
        return elapsed / steps, waited

    def timing(self) -> dict[str, float | None] | None:
        """What a result says of it; None where there was no step."""
        if self.first_step_s is None:
            return None
        return {
            "step_ms": self.step_ms,
            "first_step_s": self.first_step_s,
            "input_wait": self.input_wait,
        }

    @property
    def step_ms(self) -> float:
        """The median over the intervals, in milliseconds."""
        return 1e3 * statistics.median(self._per_step or [self.first_step_s or 0.0])

    @property
    def input_wait(self) -> float:
        """The share of the time that went into waiting for data."""
        return self._waited / self._total if self._total else 0.0
