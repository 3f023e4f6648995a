"""The ceilings of the machine, measured: how fast it copies memory and multiplies matrices."""

import os
import threading
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def ceilings(threads: int) -> dict[str, float]:
    """Copy bandwidth (bytes read and written a second) and float32 matrix rate (operations a second)."""
    return {"copy_bytes_per_s": _copy_bandwidth(threads), "matrix_flops_per_s": _matrix_rate()}


def _copy_bandwidth(threads: int, megabytes: int = 256) -> float:
    source = np.ones((threads, megabytes * 2**20 // 4 // threads), np.float32)
    target = np.zeros_like(source)

    def copy() -> None:
        workers = [
            threading.Thread(target=np.copyto, args=(target[i], source[i])) for i in range(threads)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return 2 * source.nbytes / _best(copy)


def _matrix_rate(size: int = 2048) -> float:
    a = jnp.ones((size, size), jnp.float32)
    multiply = jax.jit(jnp.matmul)
    return 2 * size**3 / _best(lambda: jax.block_until_ready(multiply(a, a)))


def _best(call: Callable[[], object], repeats: int = 5) -> float:
    call()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def load_average() -> float:
    """Processes that wanted to run, over the last minute: more than a few tenths, and times are not worth much."""
    return round(os.getloadavg()[0], 2)
