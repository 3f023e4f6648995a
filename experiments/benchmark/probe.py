"""Which dense convolutions this machine can run at all.

XLA's CPU gradients unroll an image by its taps and end the process (``std::bad_alloc``) where that does not fit,
which nothing can catch: such contestants are tried in a process of their own first.
"""

import multiprocessing
import os
import signal

import numpy as np

from experiments.benchmark import dense_side
from experiments.benchmark.cases import KERNEL, Group


def failures(peer: str, group: Group, memory: int | None = None) -> dict[str, str]:
    """The peer's layouts that cannot run this group, and why; small groups are not tried.

    Args:
      peer: ``"xla"`` or ``"torch"``.
      group: what to compute.
      memory: bytes of this machine; asked of the system by default.
    """
    if memory is None:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if 2 * unrolled_bytes(group) <= memory:
        return {}
    found: dict[str, str] = {}
    for layout in dense_side.LAYOUTS[peer]:
        # A fresh interpreter: threads do not survive a fork.
        trial = multiprocessing.get_context("spawn").Process(
            target=_run, args=(peer, group, layout)
        )
        trial.start()
        trial.join()
        if trial.exitcode:
            found[layout] = _why(trial.exitcode)
    return found


def unrolled_bytes(group: Group) -> int:
    """Bytes of the wider of input and output, unrolled by the taps of the kernel."""
    return 4 * KERNEL**3 * group.resolution**3 * max(group.channels)


def _run(peer: str, group: Group, layout: str) -> None:
    image = np.zeros((1, *(group.resolution,) * 3, group.channels[0]), np.float32)
    weights = np.zeros((KERNEL,) * 3 + group.channels, np.float32)
    dense_side.prepare(peer, group, image, weights, [layout])[layout]()


def _why(exit_code: int) -> str:
    if exit_code < 0:
        return f"the process died by {signal.Signals(-exit_code).name}"
    return f"the process ended with status {exit_code}"
