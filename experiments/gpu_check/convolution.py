"""The convolution against cuDNN's; contestants of a group alternate in one process."""

import dataclasses
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.benchmark.cases import Case, Group, filter_mask
from experiments.benchmark.dense_side import dense_bytes
from experiments.benchmark.timing import alternate
from experiments.gpu_check import clock
from experiments.gpu_check.inputs import batch_input, kernel_values
from experiments.gpu_check.results import Row
from experiments.gpu_check.works import Work
from jaxsparse import direct

DIMENSIONS = {
    "NDHWC": ("NDHWC", "DHWIO", "NDHWC"),
    "NCDHW": ("NCDHW", "OIDHW", "NCDHW"),
}
PRECISIONS = {"TF32": lax.Precision.DEFAULT, "float32": lax.Precision.HIGHEST}
CHECK_UP_TO = 64


@dataclasses.dataclass
class _Contestant:
    """A case, before its loop is made."""

    arguments: tuple[Any, ...]
    function: Any
    count: int
    facts: dict[str, Any]


def measure(work: Work) -> list[Row]:
    """One row a case.

    Raises:
      ValueError: a sparse result differs from the dense one; nothing was timed.
    """
    group, batch = work.group, work.batch
    sparse = {case: _contestant(work, case) for case in work.cases}
    if group.passes == "forward" and group.resolution <= CHECK_UP_TO and batch == 1:
        capacity = max(one.facts["responses_found"] for one in sparse.values())
        for case, one in sparse.items():
            _check(one.arguments, capacity, f"{group}, {case}")
    clock.compile_ahead(
        [
            _dense_requests(group, batch),
            *([(one.function, one.arguments, one.count)] for one in sparse.values()),
        ]
    )
    loops: dict[str, clock.Loop] = {}
    for case, one in sparse.items():
        loops[str(case)] = clock.Loop(one.function, clock.Arguments(*one.arguments), one.count)
    dense, failed = _dense_loops(group, batch)
    loops |= dense
    timings = alternate(loops, work.effort, rivals=dict.fromkeys(dense, "dense"))
    found_dense = {name: loops[name].per_call(timings[name]) for name in dense}
    best = min(found_dense, key=lambda n: found_dense[n]["median"], default=None)
    dense_device = loops[best].on_device() if work.profiled and best else None
    rows = []
    for case, one in sparse.items():
        timing = loops[str(case)].per_call(timings[str(case)])
        device = loops[str(case)].on_device() if work.profiled else None
        ratios = {kind: _ratio(found_dense, kind, timing) for kind in ("", *PRECISIONS)}
        rows.append(
            {
                "row": work.row(case),
                "section": "convolution",
                "passes": group.passes,
                "in_channels": group.channels[0],
                "out_channels": group.channels[1],
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
                "device": {"jaxsparse": device, "dense": dense_device},
                "ratio_on_device": dense_device["busy"] / device["busy"]
                if device and dense_device
                else None,
                "dense_bytes": batch * dense_bytes(group),
                **one.facts,
            }
        )
    return rows


def _contestant(work: Work, case: Case) -> _Contestant:
    """With arrays that nobody else has: loops give their arguments away."""
    group, batch = work.group, work.batch
    channels_in, channels_out = group.channels
    x = batch_input(case.points, group.resolution, channels_in, batch)
    weights = clock.own_array(kernel_values(group.channels))
    alive = clock.own_array(filter_mask(group.channels, case.filter_density))
    most = group.resolution**2  # ceil(volume / r)
    nnz = np.asarray(_probe(x, weights, alive, most), np.int64)
    found = int(nnz.max())
    capacity = found if case.selection == "without" else most
    arguments: tuple[Any, ...] = (x, weights, alive)
    slots = batch * channels_out * capacity
    moved = x.nbytes + 8 * slots
    if group.passes != "forward":
        arguments += (_cotangent((batch, channels_out, capacity)),)
        moved = 4 * moved
    workspace = direct.conv_workspace(x, weights, capacity=capacity)
    facts = {
        "capacity": capacity,
        "responses_found": found,
        "kept_share": float(np.minimum(nnz, capacity).sum() / nnz.sum()),
        "bytes_held": x.nbytes + 8 * slots + 4 * batch * channels_out,
        "workspace_bytes": workspace.forward if group.passes == "forward" else max(workspace),
    }
    function = _sparse(group.passes, capacity)
    return _Contestant(arguments, function, clock.rounds(4 * moved), facts)


def _cotangent(shape: tuple[int, ...]) -> jax.Array:
    """Drawn by NumPy: a program of XLA's for every capacity would take longer."""
    return clock.own_array(np.random.default_rng(3).standard_normal(shape, np.float32))


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


def _dense_count(group: Group, batch: int) -> int:
    return clock.rounds(batch * dense_bytes(group) * (1 if group.passes == "forward" else 4))


def _dense_requests(group: Group, batch: int) -> list[clock.Request]:
    """All dense loops, to be compiled one after the other."""
    count = _dense_count(group, batch)
    requests: list[clock.Request] = []
    for layout in DIMENSIONS:
        shapes = _dense_shapes(group, batch, layout)
        arguments = tuple(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
        requests += [(_dense(group.passes, layout, p), arguments, count) for p in PRECISIONS]
    return requests


def _dense_loops(group: Group, batch: int) -> tuple[dict[str, clock.Loop], dict[str, str]]:
    """Both layouts with both precisions; those that cannot run, and why. What lies where is all the same to them."""
    loops: dict[str, clock.Loop] = {}
    failed: dict[str, str] = {}
    count = _dense_count(group, batch)
    for layout in DIMENSIONS:
        arguments = _dense_arguments(group, batch, layout)
        for precision in PRECISIONS:
            label = f"{layout} {precision}"
            try:
                loop = clock.Loop(_dense(group.passes, layout, precision), arguments, count)
                loop()
                loops[label] = loop
            except RuntimeError as error:  # out of memory; no algorithm; moved out of the loop
                failed[label] = str(error).splitlines()[0][:200]
                # The other precision's loop has the same ones.
                arguments.take_back(_dense_arguments(group, batch, layout).values, None)
    return loops, failed


def _dense_shapes(group: Group, batch: int, layout: str) -> list[tuple[int, ...]]:
    """Of the image, the kernel, and a cotangent where it is asked for."""
    first = layout == "NCDHW"
    spatial = (group.resolution,) * 3
    image, result = (
        (batch, c, *spatial) if first else (batch, *spatial, c) for c in group.channels
    )
    kernel = (*group.channels[::-1], 3, 3, 3) if first else (3, 3, 3, *group.channels)
    return [image, kernel] if group.passes == "forward" else [image, kernel, result]


def _dense_arguments(group: Group, batch: int, layout: str) -> clock.Arguments:
    """Fresh arrays."""
    shapes = _dense_shapes(group, batch, layout)
    return clock.Arguments(*(_drawn(n, shape) for n, shape in enumerate(shapes)))


@partial(jax.jit, static_argnums=(0, 1))
def _drawn(seed: int, shape: tuple[int, ...]) -> jax.Array:
    """On the device, for they are gigabytes; by the generator that compiles in no time."""
    return jax.random.uniform(jax.random.key(seed, impl="rbg"), shape, minval=-1.0)


def _check(arguments: tuple[Any, ...], capacity: int, what: str) -> None:
    """Compares with the dense convolution."""
    error, largest = _deviation(*arguments, capacity)
    if not error <= 1e-4 * largest:
        raise ValueError(f"{what}: the sparse result is off by {error:.2e}; nothing was timed")


@partial(jax.jit, static_argnames="capacity")
def _deviation(x: Any, weights: Any, alive: Any, capacity: int) -> tuple[jax.Array, jax.Array]:
    dense = lax.conv_general_dilated(
        x.to_dense(), jnp.where(alive, weights, 0), (1, 1, 1), "SAME",
        dimension_numbers=DIMENSIONS["NDHWC"], precision=PRECISIONS["float32"],
    )  # fmt: skip
    found = direct.conv(x, weights, mask=alive, capacity=capacity).to_dense()
    return jnp.abs(found - dense).max(), jnp.abs(dense).max()
