"""The convolution against cuDNN's: the grid of Fig. 4, a batch beside it; contestants of a group alternate in one process."""

import dataclasses
import itertools
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.benchmark.cases import (
    FILTER_DENSITIES,
    PASSES,
    POINTS,
    SELECTIONS,
    Case,
    Group,
    cases,
    filter_mask,
)
from experiments.benchmark.dense_side import dense_bytes
from experiments.benchmark.timing import Effort, alternate
from experiments.gpu_check import clock
from experiments.gpu_check.inputs import batch_input, kernel_values
from experiments.gpu_check.results import Row
from jaxsparse import direct

CHANNELS = ((1, 8), (8, 8), (8, 16), (16, 32))
BATCHES = (1, 8)
DIMENSIONS = {
    "NDHWC": ("NDHWC", "DHWIO", "NDHWC"),
    "NCDHW": ("NCDHW", "OIDHW", "NCDHW"),
}
PRECISIONS = {"TF32": lax.Precision.DEFAULT, "float32": lax.Precision.HIGHEST}
EFFORT = Effort(seconds=0.25, repeats=(3, 9), sample=0.02, slow=0.5)
CHECK_UP_TO = 64


@dataclasses.dataclass(frozen=True)
class Work:
    """A group with its batch, and which of its cases to measure."""

    group: Group
    batch: int
    cases: tuple[Case, ...]


def headline() -> Iterator[Work]:
    """What the issue asks for, first things first."""
    uniform = tuple(cases(("uniform",), (0.1,), SELECTIONS))
    surface = tuple(cases(("surface",), (0.1, 1.0), SELECTIONS))
    yield Work(Group("forward", (1, 8), 256), 1, uniform)
    both = tuple(cases(POINTS, (0.1, 1.0), SELECTIONS))
    for resolution in (64, 128, 256):
        yield Work(Group("forward", (8, 8), resolution), 1, surface)
    # Last: cuDNN takes its time to choose an algorithm.
    yield Work(Group("forward+backward", (8, 8), 256), 8, both)


def grid(resolutions: tuple[int, ...] = (256, 128, 64, 32, 16)) -> Iterator[Work]:
    """Everything: the narrow channels and the forward pass first, large volumes before small ones, both batches."""
    every = tuple(cases(POINTS, FILTER_DENSITIES, SELECTIONS))
    for channels, passes, resolution, batch in itertools.product(
        CHANNELS, PASSES, resolutions, BATCHES
    ):
        yield Work(Group(passes, channels, resolution), batch, every)


def rehearsal() -> Iterator[Work]:
    """Every path, tiny."""
    for passes, batch in (("forward", 1), ("forward+backward", 2)):
        yield Work(Group(passes, (1, 2), 8), batch, tuple(cases(("uniform",), (0.3,), SELECTIONS)))


def name(work: Work, case: Case) -> str:
    """The name of a row."""
    return (
        f"conv {work.group} batch {work.batch} {case.points} filter {case.filter_density:g} "
        f"{case.selection} selection"
    )


def measure(work: Work) -> list[Row]:
    """One row a case.

    Raises:
      ValueError: a sparse result differs from the dense one; nothing was timed.
    """
    group, batch = work.group, work.batch
    channels_in, channels_out = group.channels
    weights = jnp.asarray(kernel_values(group.channels))
    loops: dict[str, clock.Loop] = {}
    facts: dict[Case, dict[str, Any]] = {}
    for case in work.cases:
        x = batch_input(case.points, group.resolution, channels_in, batch)
        alive = jnp.asarray(filter_mask(group.channels, case.filter_density))
        capacity = group.resolution**2  # ceil(volume / r)
        nnz = _probe(x, weights, alive, capacity)
        found = int(nnz.max())
        capacity = found if case.selection == "without" else capacity
        if group.resolution <= CHECK_UP_TO and case.selection == "without" and batch == 1:
            _check(x, weights, alive, capacity, f"{group}, {case}")
        arguments: tuple[Any, ...] = (x, weights, alive)
        slots = batch * channels_out * capacity
        moved = x.nbytes + 8 * slots
        if group.passes != "forward":
            arguments += (jax.random.normal(jax.random.key(3), (batch, channels_out, capacity)),)
            moved = 4 * moved
        function = _sparse(group.passes, capacity)
        count = clock.rounds(4 * moved)
        # Loops give their arguments away.
        own = clock.Arguments(*jax.tree.map(jnp.copy, arguments))
        loops[str(case)] = clock.Loop(function, own, count)
        workspace = direct.conv_workspace(x, weights, capacity=capacity)
        facts[case] = {
            "capacity": capacity,
            "responses_found": found,
            "kept_share": float(jnp.minimum(nnz, capacity).sum() / nnz.sum()),
            "bytes_held": x.nbytes + 8 * slots + 4 * batch * channels_out,
            "workspace_bytes": workspace.forward if group.passes == "forward" else max(workspace),
        }
    dense, failed = _dense_loops(group, batch, weights)
    loops |= dense
    timings = alternate(loops, EFFORT, rivals=dict.fromkeys(dense, "dense"))
    found_dense = {name: loops[name].per_call(timings[name]) for name in dense}
    rows = []
    for case, known in facts.items():
        timing = loops[str(case)].per_call(timings[str(case)])
        ratios = {kind: _ratio(found_dense, kind, timing) for kind in ("", *PRECISIONS)}
        best = min(found_dense, key=lambda n: found_dense[n]["median"], default=None)
        rows.append(
            {
                "row": name(work, case),
                "section": "convolution",
                "passes": group.passes,
                "in_channels": channels_in,
                "out_channels": channels_out,
                "resolution": group.resolution,
                "batch": batch,
                **dataclasses.asdict(case),
                "jaxsparse": timing,
                "dense": found_dense,
                "failed": failed,
                "fastest_dense": best,
                "ratio": ratios[""],
                "ratio_to_tf32": ratios["TF32"],
                "ratio_to_float32": ratios["float32"],
                "dense_bytes": batch * dense_bytes(group),
                **known,
            }
        )
    return rows


def _ratio(dense: dict[str, dict[str, float]], kind: str, timing: dict[str, float]) -> float | None:
    """How many times faster than the fastest dense convolution (of this precision)."""
    medians = [t["median"] for name, t in dense.items() if kind in name]
    return min(medians) / timing["median"] if medians else None


@partial(jax.jit, static_argnames="capacity")
def _probe(x: Any, weights: Any, alive: Any, capacity: int) -> jax.Array:
    return direct.conv(x, weights, mask=alive, capacity=capacity).nnz


@lru_cache
def _sparse(passes: str, capacity: int) -> Any:
    """The same function for the same shapes, so that it is compiled once for all filters and points."""

    def forward(x: Any, weights: Any, alive: Any) -> Any:
        return direct.conv(x, weights, mask=alive, capacity=capacity)

    def both(x: Any, weights: Any, alive: Any, cotangent: Any) -> Any:
        def values(v: Any, w: Any) -> Any:
            y = forward(x.replace(values=v), w, alive)
            return y.values, y

        _, pullback, y = jax.vjp(values, x.values, weights, has_aux=True)
        return y, pullback(cotangent)

    return forward if passes == "forward" else both


@lru_cache
def _dense(passes: str, layout: str, precision: str) -> Any:
    def forward(x: Any, weights: Any) -> Any:
        return lax.conv_general_dilated(
            x, weights, (1, 1, 1), "SAME",
            dimension_numbers=DIMENSIONS[layout], precision=PRECISIONS[precision],
        )  # fmt: skip

    def both(x: Any, weights: Any, cotangent: Any) -> Any:
        y, pullback = jax.vjp(forward, x, weights)
        return y, pullback(cotangent)

    return forward if passes == "forward" else both


def _dense_loops(
    group: Group, batch: int, weights: jax.Array
) -> tuple[dict[str, clock.Loop], dict[str, str]]:
    """Both layouts with both precisions; those that cannot run, and why. What lies where is all the same to them."""
    loops: dict[str, clock.Loop] = {}
    failed: dict[str, str] = {}
    count = clock.rounds(batch * dense_bytes(group) * (1 if group.passes == "forward" else 4))
    for layout in DIMENSIONS:
        arguments = _dense_arguments(group, batch, weights, layout)
        for precision in PRECISIONS:
            label = f"{layout} {precision}"
            try:
                loop = clock.Loop(_dense(group.passes, layout, precision), arguments, count)
                loop()
                loops[label] = loop
            except RuntimeError as error:  # out of memory; no algorithm; moved out of the loop
                failed[label] = str(error).splitlines()[0][:200]
                # The other precision's loop has the same ones.
                arguments.take_back(_dense_arguments(group, batch, weights, layout).values, None)
    return loops, failed


def _dense_arguments(group: Group, batch: int, weights: jax.Array, layout: str) -> clock.Arguments:
    """Fresh arrays: image, kernel, and a cotangent where it is asked for."""
    first = layout == "NCDHW"
    spatial = (group.resolution,) * 3
    sizes = [(batch, c, *spatial) if first else (batch, *spatial, c) for c in group.channels]
    image = jax.random.normal(jax.random.key(4), sizes[0])
    kernel = jnp.moveaxis(weights, (-1, -2), (0, 1)) if first else jnp.copy(weights)
    if group.passes == "forward":
        return clock.Arguments(image, kernel)
    return clock.Arguments(image, kernel, jax.random.normal(jax.random.key(3), sizes[1]))


def _check(x: Any, weights: Any, alive: Any, capacity: int, what: str) -> None:
    forward = lax.conv_general_dilated(
        x.to_dense(), jnp.where(alive, weights, 0), (1, 1, 1), "SAME",
        dimension_numbers=DIMENSIONS["NDHWC"], precision=PRECISIONS["float32"],
    )  # fmt: skip
    expected = np.asarray(forward)
    found = np.asarray(_sparse("forward", capacity)(x, weights, alive).to_dense())
    error = float(np.abs(found - expected).max())
    if not error <= 1e-4 * float(np.abs(expected).max()):
        raise ValueError(f"{what}: the sparse result is off by {error:.2e}; nothing was timed")
