"""Sparse ResNet encoders, forward and backward: one executable a step, the kernel maps of all levels built in it.

The voxels of an element are part of a sphere's surface, as many as the published figures have. Capacities are what the sites
need. Steps follow each other without waiting, as in training; the time is that of all, divided by their number.
"""

import importlib.metadata
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.gpu_check import voxel_works
from experiments.gpu_check.layer_memory import peak_bytes
from experiments.gpu_check.results import Row
from experiments.gpu_check.voxel_kernels import shell
from experiments.gpu_check.voxel_works import Encoder
from jaxsparse import models, voxel

SECONDS = 2.0
"""Of steps in a sample."""
DISTRIBUTIONS = (
    "spconv",
    "spconv-cu120",
    "torchsparse",
    "warpconvnet",
    "MinkowskiEngine",
    "fvdb-core",
    "ocnn",
)
"""Packages of peers, by name."""


def measure(encoder: Encoder, *, quick: bool = False) -> Row:
    """One row."""
    x = problem(encoder)
    model = models.VoxelResNet(
        x.channels,
        **models.VOXEL_RESNET_SIZES[encoder.model],
        densities=densities(np.asarray(x.coords), x.batch_size, encoder.resolution),
        dtype=jnp.bfloat16,
        rngs=nnx.Rngs(0),
    )
    graph, state = nnx.split(model)

    def forward(state: Any, features: jax.Array, coords: jax.Array) -> jax.Array:
        again = voxel.VoxelTensor(coords, features, x.count, x.batch_size, x.spatial_shape)
        return nnx.merge(graph, state)(again)

    def loss(state: Any, features: jax.Array, coords: jax.Array) -> jax.Array:
        return jnp.mean(forward(state, features, coords).astype(jnp.float32) ** 2)

    arguments = state, x.features, x.coords
    alone = jax.jit(forward).lower(*arguments).compile()
    both = jax.jit(jax.value_and_grad(loss)).lower(*arguments).compile()
    analysis = both.memory_analysis()
    row = {
        "row": encoder.row(),
        "section": "voxel encoders",
        "model": encoder.model,
        "batch": encoder.batch,
        "voxels": encoder.voxels,
        "sites": [int(n) for n in levels(np.asarray(x.coords), encoder.resolution)],
        "forward": _samples(alone, arguments, quick),
        "both": _samples(both, arguments, quick),
        "peak": peak_bytes(),
        "temporary": analysis.temp_size_in_bytes if analysis else None,
    }
    value, _ = both(*arguments)
    if not np.isfinite(float(value)):
        raise RuntimeError(f"{encoder.row()}: the loss is {float(value)}")
    return row


def problem(encoder: Encoder) -> voxel.VoxelTensor:
    """The input: positions as features."""
    shares = [encoder.voxels // encoder.batch] * encoder.batch
    shares[0] += encoder.voxels - sum(shares)
    # The smallest sphere that has so many.
    size = next(r for r in range(4, encoder.resolution + 1) if len(shell(r)) >= shares[0])
    around = shell(size)[:, 1:]
    sites = [np.insert(around[:n], 0, number, axis=1) for number, n in enumerate(shares)]
    coords = np.concatenate(sites).astype(np.int32)
    features = (coords[:, 1:] / size - 0.5).astype(np.float32)
    shape = (encoder.resolution,) * 3
    return voxel.VoxelTensor.from_coords(
        coords, features, batch_size=encoder.batch, spatial_shape=shape
    )


def levels(coords: np.ndarray, resolution: int) -> Iterator[int]:
    """Sites of each level: of convolutions 3 wide at stride 2, SAME, on even sizes."""
    for _ in range(4):
        yield len(coords)
        reached = []
        for at in np.ndindex(2, 2, 2):
            # Input i is tap 0 or 1 of output i // 2, and tap 2 of the one before where it is even.
            before = np.array(at)
            there = coords[:, 1:] // 2 - before
            fine = np.all((before == 0) | (coords[:, 1:] % 2 == 0), axis=1) & np.all(
                there >= 0, axis=1
            )
            reached.append(np.concatenate([coords[fine, :1], there[fine]], axis=1))
        coords = np.unique(np.concatenate(reached), axis=0)


def densities(coords: np.ndarray, batch: int, resolution: int) -> tuple[float, ...]:
    """What `VoxelResNet` takes: room for exactly these sites."""
    counts = list(levels(coords, resolution))[1:]
    volumes = [batch * (resolution >> level) ** 3 for level in (1, 2, 3)]
    return tuple(n / volume for n, volume in zip(counts, volumes, strict=True))


def _samples(step: Callable[..., Any], arguments: tuple[Any, ...], quick: bool) -> dict[str, Any]:
    jax.block_until_ready(step(*arguments))
    begin = time.perf_counter()
    jax.block_until_ready([step(*arguments) for _ in range(3)][-1])
    count = 1 if quick else int(np.clip(SECONDS / 3 / ((time.perf_counter() - begin) / 3), 5, 300))
    samples = []
    for _ in range(3):
        begin = time.perf_counter()
        result = None
        for _ in range(count):
            result = step(*arguments)
        jax.block_until_ready(result)
        samples.append((time.perf_counter() - begin) / count)
    return {"seconds": sorted(samples)[1], "samples": samples, "steps": count}


def peers() -> Row:
    """Which packages of peers there are here."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "row": "voxel peers",
        "section": "voxel peers",
        "installed": found,
        "anchors": voxel_works.SOURCE,
    }
