"""SBNet's whole network for ``benchmark block``: Table 6, and frame by frame Fig. 7."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.benchmark.block_cases import Mask, sparsity_of
from experiments.benchmark.block_measure import ratios
from experiments.benchmark.timing import Call, Effort, alternate
from experiments.errors import UserError
from jaxsparse import data, models

Densities = tuple[tuple[str, float], ...]
"""The share of its blocks that each list of ``models.BlockDetector`` holds, by name."""


class Network:
    """The detector and the mask network, as they are initialised, and their compiled programs.

    Args:
      shape: rows, columns and channels of the map.
      options: of ``models.BlockDetector``.
      mask_options: of ``models.PSPNet``.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        options: dict[str, Any] | None = None,
        mask_options: dict[str, Any] | None = None,
    ):
        self.shape = shape
        detector = models.BlockDetector(shape[2], rngs=nnx.Rngs(0), **(options or {}))
        predictor = models.PSPNet(shape[2], rngs=nnx.Rngs(1), **(mask_options or {}))
        detector.eval()
        predictor.eval()
        self._graph, self._state = nnx.split(detector)
        predict, predict_state = nnx.split(predictor)
        self._detector = detector
        self._programs: dict[Densities, Any] = {}
        self._dense = jax.jit(lambda state, x: nnx.merge(self._graph, state)(x))
        psp = jax.jit(lambda state, x: nnx.merge(predict, state)(x))
        self.predict = lambda x: psp(predict_state, x)

    def dense(self, x: jax.Array) -> dict[str, jax.Array]:
        """All pixels."""
        return self._dense(self._state, x)

    def densities(self, mask: np.ndarray) -> tuple[Densities, dict[str, int]]:
        """The shares that hold a mask's active blocks and no more; and the active blocks by list."""
        grids = self._detector.geometries(self.shape[:2])
        shares = self._detector.densities(jnp.asarray(mask)[None], self.shape[:2], headroom=1.0)
        found = {name: round(shares[name] * grid.blocks) for name, (_, grid) in grids.items()}
        return tuple(shares.items()), found

    def program(self, densities: Densities) -> Any:
        """``(x, mask) -> outputs, blocks cut``."""
        if densities not in self._programs:

            def run(state, x, mask):
                detector = nnx.merge(self._graph, state)
                detector.density = densities
                lists = detector.blocks(mask, self.shape[:2])
                return detector(x, lists), sum(b.overflow for b in lists.values())

            self._programs[densities] = jax.jit(run)
        return lambda x, mask: self._programs[densities](self._state, x, mask)

    def reduction(self, densities: Densities) -> Any:
        """``mask -> lists``: what the masks cost by themselves."""

        def run(mask):
            detector = nnx.merge(self._graph, self._state)
            detector.density = densities
            return [b.indices for b in detector.blocks(mask, self.shape[:2]).values()]

        return jax.jit(run)


def measure_network(
    network: Network, masks: Sequence[Mask], points: dict[str, np.ndarray], grid: data.BirdsEyeGrid,
    effort: Effort, *, part: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """One row a mask; the dense network, and in Table 6 the mask network, take turns with them.

    Args:
      network: whose ``shape`` is the grid's.
      masks: at the map's resolution.
      points: the sweeps by frame; a mask without a frame sees the first.
      grid: of the maps.
      effort: how much to measure.
      part: ``"network"`` (Table 6) or ``"frame"`` (Fig. 7).

    Raises:
      UserError: blocks were cut.
    """
    calls: dict[str, Call] = {}
    facts = []
    images = {name: jnp.asarray(data.birds_eye_map(p, grid))[None] for name, p in points.items()}
    first = next(iter(images.values()))
    for number, mask in enumerate(masks):
        densities, counts = network.densities(mask.pixels)
        x, pixels = images.get(mask.frame, first), jnp.asarray(mask.pixels)[None]
        run = network.program(densities)
        outputs, cut = run(x, pixels)
        if int(cut):
            raise UserError(f"{mask.kind} {mask.frame}: {int(cut)} blocks cut; nothing was timed")
        del outputs
        calls[f"mask {number}"] = lambda run=run, x=x, pixels=pixels: jax.block_until_ready(
            run(x, pixels)
        )
        if part == "network":
            reduce = network.reduction(densities)
            calls[f"reduction {number}"] = lambda reduce=reduce, pixels=pixels: (
                jax.block_until_ready(reduce(pixels))
            )
        sparsity = sparsity_of(mask.pixels)
        facts.append({
            "part": part, "layer": "network", "size": "x".join(map(str, network.shape)), "mask": mask.kind,
            "frame": mask.frame, "asked_sparsity": round(mask.asked, 4), "sparsity": sparsity,
            "theoretical": 1 / (1 - sparsity), "densities": dict(densities), "blocks": counts,
        })  # fmt: skip
    calls["xla"] = lambda: jax.block_until_ready(network.dense(first))
    if part == "network":
        calls["mask network"] = lambda: jax.block_until_ready(network.predict(first))
    timings = alternate(calls, effort)
    rows = []
    for number, fact in enumerate(facts):
        timing = timings[f"mask {number}"]
        row = {
            **fact,
            "jaxsparse": dataclasses.asdict(timing),
            "dense": {"xla": dataclasses.asdict(timings["xla"]) | {"peer": "xla"}},
            "ratios": ratios(timing, {"xla": timings["xla"]}),
        }
        if part == "network":
            row["reduction"] = dataclasses.asdict(timings[f"reduction {number}"])
            row["mask_network"] = dataclasses.asdict(timings["mask network"])
        rows.append(row)
    return rows
