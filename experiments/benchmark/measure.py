"""Measures one group: its sparse cases and their dense peers, alternating."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.benchmark import dense_side, probe, sparse_side
from experiments.benchmark.cases import Case, Group
from experiments.benchmark.timing import Call, Effort, Timing, alternate
from experiments.errors import UserError

CHECK_UP_TO = 64
"""Volumes up to this resolution are compared with XLA's result before they are timed."""


def measure_group(
    group: Group,
    cases: Sequence[Case],
    peers: Sequence[str],
    effort: Effort,
    ceilings: dict[str, float],
) -> list[dict[str, Any]]:
    """One JSON-like row a case.

    Raises:
      UserError: a sparse result differs from the dense one.
    """
    calls: dict[str, Call] = {}
    sides: dict[Case, sparse_side.SparseSide] = {}
    cold: dict[str, float] = {}
    for case in cases:
        side = sparse_side.prepare(case, group)
        if group.resolution <= CHECK_UP_TO and case.selection == "without":
            _check(case, group, side)
        begin = time.perf_counter()
        side.call()
        cold[str(case)] = time.perf_counter() - begin
        sides[case] = side
        calls[str(case)] = side.call

    # Dense convolutions do not care where entries lie or which weights are 0: one measurement serves all cases.
    image = np.random.default_rng(4).normal(size=(1, *(group.resolution,) * 3, group.channels[0]))
    weights = np.asarray(sparse_side.kernel(group))
    families: dict[str, str] = {}
    failed: dict[str, dict[str, str]] = {}
    for peer in peers:
        failures = probe.failures(peer, group)
        failed |= {layout: {"peer": peer, "why": why} for layout, why in failures.items()}
        able = [layout for layout in dense_side.LAYOUTS[peer] if layout not in failures]
        calls |= dense_side.prepare(peer, group, image.astype(np.float32), weights, able)
        families |= dict.fromkeys(able, peer)
    del image
    timings = alternate(calls, effort, cold=cold, rivals=families)

    dense = {
        name: dataclasses.asdict(timings[name]) | {"peer": peer} for name, peer in families.items()
    }
    return [
        _row(group, case, side, timings[str(case)], dense, ceilings) | {"failed": failed}
        for case, side in sides.items()
    ]


def _row(
    group: Group,
    case: Case,
    side: sparse_side.SparseSide,
    timing: Timing,
    dense: dict[str, dict[str, Any]],
    ceilings: dict[str, float],
) -> dict[str, Any]:
    seconds = timing.median
    # The two gradients need the forward's products once more each, but those of kept responses only.
    rounds = 1.0 if group.passes == "forward" else 1 + 2 * side.facts["kept_share"]
    operations = 2 * rounds * side.facts["multiply_adds"]
    best = min(dense, key=lambda name: dense[name]["median"], default=None)
    return {
        "passes": group.passes,
        "in_channels": group.channels[0],
        "out_channels": group.channels[1],
        "resolution": group.resolution,
        **dataclasses.asdict(case),
        "jaxsparse": dataclasses.asdict(timing),
        "dense": dense,
        "fastest_dense": best,
        "ratio": dense[best]["median"] / seconds if best else None,
        "dense_bytes": dense_side.dense_bytes(group),
        **side.facts,
        "useful_flops_per_s": operations / seconds,
        "share_of_matrix_rate": operations / seconds / ceilings["matrix_flops_per_s"],
        "share_of_copy_bandwidth": side.facts["bytes_held"]
        / seconds
        / ceilings["copy_bytes_per_s"],
    }


def _check(case: Case, group: Group, side: sparse_side.SparseSide) -> None:
    x = sparse_side.sparse_input(case, group)
    alive = sparse_side.filter_mask(group.channels, case.filter_density)
    weights = jnp.where(alive, sparse_side.kernel(group), 0)
    expected = np.asarray(dense_side.xla_convolution(x.to_dense(), weights))
    found = np.asarray(side.dense_result())
    error = float(np.abs(found - expected).max())
    if error > 1e-5 * float(np.abs(expected).max()):
        raise UserError(
            f"{group}, {case}: the sparse result is off by {error:.2e}; nothing was timed"
        )
