"""Rows of ``benchmark block``: layers and units on tiles beside their dense twins."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.benchmark import block_sides as sides
from experiments.benchmark.block_cases import UNITS, Group, Mask, sparsity_of
from experiments.benchmark.timing import Call, Effort, Timing, alternate
from experiments.errors import UserError

CHECKED = 0.9
"""The synthetic sparsity at which a layer is compared with its dense twin before it is timed."""


@dataclasses.dataclass(frozen=True)
class Search:
    """How block sizes are searched: how many are timed, and how often each."""

    sizes: int = 4
    repeats: int = 5


def measure_group(
    group: Group, masks: Sequence[Mask], peers: Sequence[str], effort: Effort, search: Search
) -> list[dict[str, Any]]:
    """One JSON-like row a mask.

    Raises:
      UserError: a layer differs from its dense twin inside the mask; blocks were cut.
    """
    layers = sides.layers_of(group)
    array = sides.image(group)
    x = jnp.asarray(array)
    calls: dict[str, Call] = {}
    facts: list[dict[str, Any]] = []
    for number, mask in enumerate(masks):
        pixels = mask.at(group.height, group.width)
        found = sides.tuned(layers[0], pixels, x, search.sizes, search.repeats)
        if mask.kind == "top-left" and mask.asked == CHECKED:
            _check(group, layers[:1], found, pixels, x)
        calls[f"mask {number}"] = sides.Sparse(layers, found.geometry, found.capacity, pixels, x)
        facts.append(_facts(group, mask, pixels, found))
    dense: dict[str, str] = {}
    for peer in peers:
        made = sides.xla_calls(layers, x) if peer == "xla" else sides.torch_calls(layers, array)
        calls |= made
        dense |= dict.fromkeys(made, peer)
    # A peer's slower forms are not of interest, but XLA's plain one is what is asked for.
    rivals = {name: peer for name, peer in dense.items() if peer != "xla"}
    timings = alternate(calls, effort, rivals=rivals)
    times = {
        name: dataclasses.asdict(timings[name]) | {"peer": peer} for name, peer in dense.items()
    }
    return [
        {
            **fact,
            "jaxsparse": dataclasses.asdict(timings[f"mask {number}"]),
            "dense": times,
            "ratios": ratios(timings[f"mask {number}"], {name: timings[name] for name in dense}),
        }
        for number, fact in enumerate(facts)
    ]


def ratios(timing: Timing, dense: dict[str, Timing]) -> dict[str, float]:
    """How many times faster than each dense contestant, medians."""
    return {name: other.median / timing.median for name, other in dense.items()}


def _facts(group: Group, mask: Mask, pixels: np.ndarray, found: Any) -> dict[str, Any]:
    sparsity = sparsity_of(pixels)
    tile, window = found.geometry.tile_size, found.geometry.block_size
    everything = group.height * group.width
    return {
        "part": "layer",
        "layer": group.layer,
        "size": group.size,
        "mask": mask.kind,
        "frame": mask.frame,
        "asked_sparsity": round(mask.asked, 4),
        "sparsity": sparsity,
        "theoretical": 1 / (1 - sparsity),
        "chain": UNITS if group.layer == "unit" else 1,
        "block_size": list(window),
        "capacity": found.capacity,
        "tile_share": found.capacity * tile[0] * tile[1] / everything,
        "window_share": found.capacity * window[0] * window[1] / everything,
        "sizes_tried": {"x".join(map(str, size)): t for size, t in found.seconds.items()},
    }


def _check(group: Group, layers: Sequence[sides.Layer], found: Any, pixels: np.ndarray, x) -> None:
    """One layer: of a chain the tiles' surroundings go other ways."""
    result, cut = sides.Sparse(layers, found.geometry, found.capacity, pixels, x).result()
    wanted = np.asarray(sides.xla_dense(layers)(x))
    error = float(np.abs(result - wanted)[:, pixels].max())
    if cut or error > 1e-4 * float(np.abs(wanted).max()):
        raise UserError(
            f"{group}: off by {error:.2e} inside the mask, {cut} blocks cut; nothing was timed"
        )
