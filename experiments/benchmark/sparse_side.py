"""jaxsparse's side of the benchmark."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.cases import Case, Group, entry_keys, filter_mask
from experiments.benchmark.timing import Call
from experiments.multiply_adds import meetings, multiply_adds
from jaxsparse import direct


@dataclasses.dataclass(frozen=True)
class SparseSide:
    """A case ready to be called, and what is known of it without a clock.

    Attributes:
      call: runs it once.
      facts: JSON-like: entries, bytes, useful multiply-adds.
      dense_result: the forward result as a dense array, for comparison.
    """

    call: Call
    facts: dict[str, Any]
    dense_result: Any


def sparse_input(case: Case, group: Group) -> direct.SparseTensor:
    """Normally distributed values at the case's points; batch 1."""
    keys = entry_keys(case.points, group.resolution, group.channels[0])[None]
    values = np.random.default_rng(1).normal(size=keys.shape).astype(np.float32)
    return direct.SparseTensor.from_entries(keys, values, spatial_shape=(group.resolution,) * 3)


def kernel(group: Group) -> jax.Array:
    """Normally distributed weights, the same for every contestant."""
    shape = (3, 3, 3, *group.channels)
    return jnp.asarray(np.random.default_rng(2).normal(size=shape).astype(np.float32))


def prepare(case: Case, group: Group) -> SparseSide:
    """Builds the inputs of a case, finds its capacity, and returns what is to be timed."""
    x = sparse_input(case, group)
    weights = kernel(group)
    alive = filter_mask(group.channels, case.filter_density)
    mask = None if case.filter_density == 1.0 else jnp.asarray(alive)
    capacity = group.resolution**2  # ceil(volume / r)
    probe = direct.conv(x, weights, mask=mask, capacity=capacity)
    found = int(probe.nnz.max())
    if case.selection == "without":
        capacity = found

    def forward(x: direct.SparseTensor, weights: jax.Array, mask: jax.Array | None):
        return direct.conv(x, weights, mask=mask, capacity=capacity)

    @jax.jit
    def both(x, weights, mask, cotangent):
        def values(v, w):
            y = forward(x.replace(values=v), w, mask)
            return y.values, y

        _, pullback, y = jax.vjp(values, x.values, weights, has_aux=True)
        return y, pullback(cotangent)

    out_shape = (1, group.channels[1], capacity)
    if group.passes == "forward":
        function = functools.partial(jax.jit(forward), x, weights, mask)
    else:
        cotangent = jax.random.normal(jax.random.key(3), out_shape)
        function = functools.partial(both, x, weights, mask, cotangent)

    workspace = direct.conv_workspace(x, weights, capacity=capacity)
    slots = group.channels[1] * capacity
    live_rows = int(alive.any(axis=-1).sum())
    return SparseSide(
        call=lambda: jax.block_until_ready(function()),
        facts={
            "entries_in": int(x.nnz.sum()),
            "entries_out": slots,
            "responses_found": found,
            "capacity": capacity,
            "kept_share": float(jnp.minimum(probe.nnz, capacity).sum() / probe.nnz.sum()),
            "live_weights": int(alive.sum()),
            "live_channel_taps": live_rows,
            "multiply_adds": multiply_adds(meetings(x, alive.shape[:3]), alive),
            "bytes_held": x.nbytes + 8 * slots + 4 * group.channels[1],
            "workspace_bytes": max(workspace) if group.passes != "forward" else workspace.forward,
        },
        dense_result=lambda: forward(x, weights, mask).to_dense(),
    )
