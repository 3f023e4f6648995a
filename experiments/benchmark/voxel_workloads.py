"""What ``benchmark voxel`` times: shells of spheres and spconv's basic network, ours and dense."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.voxel_worker import shell
from jaxsparse import voxel

DENSE_LIMIT = 64**3 * 32
"""Numbers of a dense input beyond which XLA's convolution is not waited for."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """One thing to time.

    Attributes:
      name: what it works on.
      passes: what is done: ``"forward"`` (the map is there), ``"map"``, ``"map and forward"``, ...
      calls: ours and other JAX code: name -> function that runs once and waits.
      peers: name -> what the worker has to make: (method, arguments).
      flops: useful operations of a call.
      facts: sizes.
    """

    name: str
    passes: str
    calls: dict[str, Callable[[], object]]
    peers: dict[str, tuple[str, list[Any]]]
    flops: int
    facts: dict[str, int]


def waited(function: Callable[..., Any], *arguments: Any) -> Callable[[], object]:
    """A jitted call that waits for its result."""
    jitted = jax.jit(function)
    return lambda: jax.block_until_ready(jitted(*arguments))


def tensor(coords: np.ndarray, features: np.ndarray, shape: tuple[int, ...]) -> voxel.VoxelTensor:
    """A list with no row to spare."""
    batched = np.pad(coords, ((0, 0), (1, 0))) if coords.shape[1] == len(shape) else coords
    return voxel.VoxelTensor.from_coords(batched, features, batch_size=1, spatial_shape=shape)


def shells(resolutions: tuple[int, ...], channels: tuple[int, ...]) -> Iterator[Workload]:
    """Submanifold convolutions of 3^3 on the shells of a sphere, as FlexGEMM's benchmark makes them."""
    for resolution in resolutions:
        coords = shell(resolution)
        for number in channels:
            yield from _shell(resolution, number, coords)


def _shell(resolution: int, channels: int, coords: np.ndarray) -> Iterator[Workload]:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((len(coords), channels)).astype(np.float32)
    kernel = jnp.asarray(rng.standard_normal((3, 3, 3, channels, channels)), jnp.float32)
    x = tensor(coords, features, (resolution,) * 3)
    (kernel_map,) = jax.jit(lambda x: voxel.plan(x, [voxel.Layer("submanifold_conv", 3)]))(x)
    pairs = int((kernel_map.inputs < kernel_map.in_capacity).sum())
    facts = {"voxels": len(coords), "pairs": pairs, "channels": channels}
    flops = 2 * pairs * channels**2
    cotangent = jnp.asarray(rng.standard_normal(features.shape), jnp.float32)

    def layer(features, kernel, x, kernel_map):
        return voxel.submanifold_conv(
            x.replace(features=features), kernel, plan=kernel_map
        ).features

    def gradients(features, kernel, x, kernel_map):
        out, pull = jax.vjp(lambda f, k: layer(f, k, x, kernel_map), features, kernel)
        return out, pull(cotangent)  # the peers compute it, too; left out, XLA would drop it

    arguments = x.features, kernel, x
    runs = {
        "forward": (waited(layer, *arguments, kernel_map), flops, ("spconv",)),
        "map and forward": (waited(layer, *arguments, None), flops, ("spconv", "Open3D")),
        "forward and backward": (waited(gradients, *arguments, kernel_map), 3 * flops, ("spconv",)),
        "map, forward and backward": (waited(gradients, *arguments, None), 3 * flops, ("Open3D",)),
    }
    name = f"shell {resolution}"
    dense = {}
    if resolution**3 * channels <= DENSE_LIMIT:
        dense = {"dense XLA": waited(_dense, x.to_dense(), kernel)}
    for passes, (call, work, peers) in runs.items():
        calls = {"jaxsparse": call} | (dense if passes == "map and forward" else {})
        asked = {peer: ("shell", [resolution, channels, passes]) for peer in peers}
        yield Workload(name, passes, calls, asked, work, facts)
    if channels == 16:
        yield map_building(name, x, facts)


def map_building(name: str, x: voxel.VoxelTensor, facts: dict[str, int]) -> Workload:
    """One direction of the map of a submanifold convolution of 3^3."""
    build = waited(lambda x: voxel.plan(x, [voxel.Layer("submanifold_conv", 3)])[0].inputs, x)
    return Workload(name, "map", {"jaxsparse": build}, {}, 0, facts)


def _dense(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1, 1), "SAME", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )


LEVELS = (64, 96, 128, 160, 192, 224, 256)
"""Channels of the basic network: two submanifold convolutions each, max-pooling 2/2 between."""


def basic(path: Path) -> Workload:
    """The basic network of spconv's benchmark on its own data: maps and forward pass in one jitted call."""
    with np.load(path) as data:
        coords, features = data["coords"], data["features"]
        shape = tuple(int(n) for n in data["spatial_shape"])
    order = np.lexsort(coords.T[::-1])
    x = tensor(coords[order], features[order], shape)
    rng = np.random.default_rng(0)
    kernels, before = [], 3
    for channels in LEVELS:
        for _ in range(2):
            w = rng.standard_normal((3, 3, 3, before, channels)) / np.sqrt(27 * before)
            kernels.append(jnp.asarray(w, jnp.float32))
            before = channels
    layers = []
    for level in range(len(LEVELS)):
        layers += [voxel.Layer("max_pool", 2)] * (level > 0)
        layers += [voxel.Layer("submanifold_conv", 3)] * 2
    # Capacities: what the levels of this cloud hold. A network in use takes them from a calibration.
    plans = jax.jit(lambda x: voxel.plan(x, layers))(x)
    held = [int(p.count) for p in plans]
    layers = [
        dataclasses.replace(layer, capacity=count if layer.kind == "max_pool" else None)
        for layer, count in zip(layers, held, strict=True)
    ]

    def network(x, kernels):
        weights = iter(kernels)
        for layer, plan in zip(layers, voxel.plan(x, layers), strict=True):
            if layer.kind == "max_pool":
                x = voxel.max_pool(x, 2, capacity=layer.capacity, plan=plan)
            else:
                x = voxel.submanifold_conv(x, next(weights), plan=plan)
        return x.features

    weights, flops = iter(kernels), 0
    for plan, layer in zip(plans, layers, strict=True):
        if layer.kind == "submanifold_conv":
            w = next(weights)
            pairs = int((plan.inputs < plan.in_capacity).sum())
            flops += 2 * pairs * w.shape[-2] * w.shape[-1]
    facts = {"voxels": len(coords), "pairs": 0, "channels": 3}
    return Workload(
        "basic network", "map and forward", {"jaxsparse": waited(network, x, kernels)},
        {"spconv": ("basic", [str(path)])}, flops, facts,
    )  # fmt: skip
