"""Timing several functions against each other in one process."""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Mapping

Call = Callable[[], object]
"""Runs the thing once and returns when its result is there. A method ``seconds(count)`` gives the seconds a call."""


def pin_threads(count: int) -> int:
    """Restricts this process to ``count`` processors; returns how many it got.

    To be called before JAX or torch start: their thread pools have as many threads as the process has processors.
    """
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:count])
    os.environ["OMP_NUM_THREADS"] = str(min(count, len(allowed)))
    return min(count, len(allowed))


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds a call.

    Attributes:
      median: over the repeats.
      best: the smallest.
      spread: (third quartile - first) / median; large on a machine that does something else, too.
      repeats: how many samples.
      cold: the first call, compilation included.
    """

    median: float
    best: float
    spread: float
    repeats: int
    cold: float


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to measure each function.

    Attributes:
      seconds: aim for the sum of a function's samples.
      repeats: bounds on the number of samples.
      sample: a sample repeats a short call until it takes about as long.
      slow: a call longer than this gets only the smallest number of samples, ten times longer only
        one, the first.
      clock: what gives the seconds: of the wall, or ``time.process_time``, which counts what this process's threads
        computed and so stands on a busy machine, too.
    """

    seconds: float = 2.0
    repeats: tuple[int, int] = (3, 21)
    sample: float = 0.02
    slow: float = 1.0
    clock: Callable[[], float] = time.perf_counter


def alternate(
    calls: Mapping[str, Call],
    effort: Effort,
    *,
    cold: Mapping[str, float] | None = None,
    rivals: Mapping[str, str] | None = None,
) -> dict[str, Timing]:
    """Times functions round by round, each once a round, so that what disturbs the machine disturbs all of them.

    Args:
      calls: what to time, by name.
      effort: how much of it.
      cold: seconds of first calls that were made already.
      rivals: name -> family. Of a family only the fastest matters: one that is more than twice as slow as the fastest
        of its family in the first round is not called again.
    """
    rivals = rivals or {}
    firsts: dict[str, float] = {}
    single: dict[str, float] = {}
    for name, call in calls.items():
        if cold is None or name not in cold:
            firsts[name] = _seconds(call, 1, effort.clock)
        else:
            firsts[name] = cold[name]
        if firsts[name] > 10 * effort.slow:  # compilation is a small part of that
            single[name] = firsts[name]
        else:
            single[name] = min(
                _seconds(call, 1, effort.clock) for _ in range(3 if firsts[name] < 0.3 else 1)
            )
    dropped = {
        name
        for name, family in rivals.items()
        if name in single
        and single[name] > 2 * min(single[other] for other in calls if rivals.get(other) == family)
    }
    # A second call is a fair sample where calls are long; short ones deserve a warm start.
    samples = {
        name: [seconds] if name in dropped or seconds > effort.slow else []
        for name, seconds in single.items()
    }
    wanted = {name: _repeats(single[name], effort) for name in calls}
    for _ in range(effort.repeats[1]):
        for name, call in calls.items():
            if name in dropped or len(samples[name]) >= wanted[name]:
                continue
            # Threads that spin after the call before must have gone to sleep.
            time.sleep(0.005)
            inner = max(1, round(effort.sample / max(single[name], 1e-7)))
            if inner > 1:
                call()
            samples[name].append(_seconds(call, inner, effort.clock))
    return {name: _timing(values, firsts[name]) for name, values in samples.items()}


def _seconds(call: Call, count: int, clock: Callable[[], float]) -> float:
    timed = getattr(call, "seconds", None)  # one in another process takes its time there
    if timed is not None:
        return timed(count)
    begin = clock()
    for _ in range(count):
        call()
    return (clock() - begin) / count


def _repeats(single: float, effort: Effort) -> int:
    low, high = effort.repeats
    if single > effort.slow:
        return low if single < 10 * effort.slow else 1
    return max(low, min(high, int(effort.seconds / max(single, effort.sample))))


def _timing(samples: list[float], cold: float) -> Timing:
    median = statistics.median(samples)
    spread = 0.0
    if len(samples) > 2:
        quartiles = statistics.quantiles(samples, n=4, method="inclusive")
        spread = (quartiles[2] - quartiles[0]) / median
    return Timing(median, min(samples), spread, len(samples), cold)
