"""The block size that is fastest here."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse._core import checks, disk_cache
from jaxsparse._core.checks import expected
from jaxsparse._core.windows import Padding
from jaxsparse.block.geometry import Geometry, geometry, least_block_size
from jaxsparse.block.indices import BlockIndices
from jaxsparse.block.reduce_mask import reduce_mask


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What :func:`tune` found.

    Attributes:
      geometry: the grid of the fastest block size.
      capacity: rows for the blocks that the mask makes active in it, and up to an eighth more.
      seconds: block size to the shortest time of a call, for every size that was tried.
      remembered: whether the times are those of an earlier run.
    """

    geometry: Geometry
    capacity: int
    seconds: dict[tuple[int, ...], float]
    remembered: bool


def tune(
    run: Callable[..., Any],
    mask: jax.typing.ArrayLike,
    *operands: Any,
    kernel_sizes: int | Sequence[Any],
    strides: int | Sequence[Any] = 1,
    kernel_dilations: int | Sequence[Any] = 1,
    padding: Padding | Sequence[Padding] = "SAME",
    threshold: float = 0.0,
    mode: str = "max",
    block_sizes: Sequence[int | Sequence[int]] | None = None,
    donate_argnums: Sequence[int] = (),
    repeats: int = 5,
) -> Tuned:
    """Tries block sizes for a layer or a unit on the device at hand, and remembers the times on disk.

    Each size is timed as one compiled program that reduces the mask and calls ``run(blocks, *operands)``, the capacity
    fitted to the number of blocks that are active at that size; the sizes take turns. A later call with the same
    program, sizes and device reads the times from ``$JAXSPARSE_CACHE``, or a folder ``jaxsparse`` in the user's cache
    folder. Not to be called inside ``jit``.

    Args:
      run: a function of :class:`BlockIndices` and the operands that can be compiled.
      mask: a typical mask, bool or float ``[batch, *spatial]``.
      *operands: what else ``run`` takes: pytrees of arrays.
      kernel_sizes: of the chain of convolutions that ``run`` goes through, as in :func:`geometry`.
      strides: as there.
      kernel_dilations: as there.
      padding: as there.
      threshold: as in :func:`reduce_mask`.
      mode: as there.
      block_sizes: sizes to try, each an integer or one a spatial dimension; too small ones are left out. None: those
        with tiles of 3 to 31 output pixels (3-D: 2 to 12), as far as the image goes.
      donate_argnums: operands, by number, that a call may write into, as ``jax.jit`` has them: a base that inference
        updates in place would be copied otherwise, at more cost than the tiles. Each call gets a copy, outside of the time.
      repeats: calls of each size, after one that warms up.

    Returns:
      :class:`Tuned`.

    Raises:
      ValueError: no block size is large enough; an operand that does not exist; see :func:`geometry` and :func:`reduce_mask`.
      TypeError: ``run`` is no function; a traced mask.

    Source: SBNet's search of block sizes (Ren et al., 2018), which left the reduction out.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import block

      >>> def layer(blocks, image, kernel):
      ...     return block.conv(image, kernel, blocks=blocks)
      >>> mask = jnp.zeros((1, 16, 16)).at[:, 3:6].set(1.0)
      >>> image, kernel = jnp.ones((1, 16, 16, 4)), jnp.ones((3, 3, 4, 4))
      >>> found = block.tune(layer, mask, image, kernel, kernel_sizes=3, block_sizes=(6, 10))
      >>> sorted(found.seconds)
      [(6, 6), (10, 10)]
      >>> blocks = block.reduce_mask(mask, found.geometry, capacity=found.capacity)
    """
    checks.function_of("tune", "run", run, "run(blocks, *operands)")
    mask = checks.array("tune", "mask", mask)
    if checks.concrete(mask) is None:
        wording = "known: tune measures, which jit cannot"
        raise TypeError(expected("tune", "mask", wording, checks.described(mask)))
    donated = _donated(donate_argnums, len(operands))
    repeats = checks.integer("tune", "repeats", repeats, minimum=1)
    chain = {
        "kernel_sizes": kernel_sizes,
        "strides": strides,
        "kernel_dilations": kernel_dilations,
        "padding": padding,
    }
    reduction = {"threshold": threshold, "mode": mode}
    grids = _grids(tuple(mask.shape[1:]), block_sizes, chain)
    capacities = [
        _roomy(int(reduce_mask(mask, grid, capacity=1, **reduction).count)) for grid in grids
    ]
    programs = [
        jax.jit(
            _program(run, grid, capacity, reduction), donate_argnums=[1 + i for i in donated]
        ).lower(mask, *operands)
        for grid, capacity in zip(grids, capacities, strict=True)
    ]
    device = next(iter(mask.devices()))
    machine = f"{device.platform} {device.device_kind} jax {jax.__version__}"
    key = disk_cache.key_of(machine, *(program.as_text() for program in programs))
    seconds = _remembered(key, len(grids))
    remembered = seconds is not None
    if seconds is None:
        seconds = _measure(programs, (mask, *operands), [1 + i for i in donated], repeats)
        disk_cache.store("tune", key, seconds)
    best = int(np.argmin(seconds))
    times = {grid.block_size: t for grid, t in zip(grids, seconds, strict=True)}
    return Tuned(grids[best], capacities[best], times, remembered)


def _program(run: Callable[..., Any], grid: Geometry, capacity: int, reduction: dict[str, Any]):
    def program(mask, *operands):
        blocks: BlockIndices = reduce_mask(mask, grid, capacity=capacity, **reduction)
        return run(blocks, *operands)

    return program


def _grids(shape: tuple[int, ...], sizes: Any, chain: dict[str, Any]) -> list[Geometry]:
    """One for each block size that is large enough."""
    least = least_block_size(shape, **chain)
    if sizes is None:
        # From one output pixel to the next the window grows by the strides of the whole chain.
        steps = geometry(shape, least, **chain).stride
        out = geometry(shape, least, **chain).out_shape
        tiles = (2, 3, 4, 6, 8, 12) if len(shape) == 3 else (3, 5, 7, 9, 11, 15, 19, 23, 31)
        useful = [tile for tile in tiles if tile <= max(out)] or [1]
        sizes = [
            tuple(n + (tile - 1) * s for n, s in zip(least, steps, strict=True)) for tile in useful
        ]
    elif not checks.is_sequence(sizes) or isinstance(sizes, str) or not len(sizes):
        wording = "a sequence of block sizes"
        raise TypeError(expected("tune", "block_sizes", wording, repr(sizes)))
    named = [
        checks.integers("tune", f"block_sizes[{i}]", size, dims=len(shape))
        for i, size in enumerate(sizes)
    ]
    wide = [s for s in dict.fromkeys(named) if all(a >= b for a, b in zip(s, least, strict=True))]
    if not wide:
        wording = f"at least {least} in one entry, for one output pixel of this chain"
        raise ValueError(expected("tune", "block_sizes", wording, named))
    return [geometry(shape, size, **chain) for size in wide]


def _roomy(count: int) -> int:
    """The next number of four significant bits: masks of about the same density have the same program."""
    step = 1 << max(count.bit_length() - 4, 0)
    return max(-(-count // step) * step, 1)


def _remembered(key: str, programs: int) -> list[float] | None:
    found = disk_cache.load("tune", key)
    sound = isinstance(found, list) and len(found) == programs
    return found if sound and all(isinstance(t, float) and t > 0 for t in found) else None


def _donated(numbers: Any, operands: int) -> tuple[int, ...]:
    if not checks.is_sequence(numbers) or isinstance(numbers, str):
        wording = "a sequence of integers"
        raise TypeError(expected("tune", "donate_argnums", wording, repr(numbers)))
    found = tuple(
        checks.integer("tune", f"donate_argnums[{i}]", number, minimum=0)
        for i, number in enumerate(numbers)
    )
    if any(number >= operands for number in found):
        wording = f"below {operands}, the number of operands"
        raise ValueError(expected("tune", "donate_argnums", wording, found))
    return found


def _measure(
    lowered: Sequence[Any], arguments: Sequence[Any], donated: Sequence[int], repeats: int
) -> list[float]:
    """The shortest time of each, the programs in turn, so that a slow moment meets all of them."""
    programs = [program.compile() for program in lowered]
    best = [float("inf")] * len(programs)
    arguments = jax.tree.map(jnp.asarray, arguments)
    for round_ in range(repeats + 1):
        for i, program in enumerate(programs):
            given = list(arguments)
            for number in donated:
                given[number] = jax.tree.map(jnp.copy, arguments[number])
            jax.block_until_ready(given)
            start = time.perf_counter()
            jax.block_until_ready(program(*given))
            if round_:
                best[i] = min(best[i], time.perf_counter() - start)
    return best
