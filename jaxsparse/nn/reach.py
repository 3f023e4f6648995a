"""Which channels of a model's sparse layers anything reaches, and which of them reach anything."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxsparse import direct
from jaxsparse.nn.measure import sparse_layers
from jaxsparse.nn.observe import replacing

EMPTY, FULL, MARKED = 0.0, 1.0, float("nan")
"""What a channel is filled with: nothing, an ordinary number, or NaN, which every operation hands on."""

ByLayer = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Reach:
    """What can matter, by layer.

    Attributes:
      read: bool ``[in]``: input channels that can hold an entry.
      made: bool ``[out]``: output channels that can hold an entry which something depends on.
    """

    read: ByLayer
    made: ByLayer


def reach(model: nnx.Module, inputs: tuple[Any, ...], alive: ByLayer) -> Reach:
    """Runs a model with every layer's output exchanged for channels that are empty, full or marked.

    So it sees what lies between the layers, whatever that is: pooling, normalisation, sums, concatenation, dense layers.

    Args:
      model: in evaluation mode it has to treat the elements of a batch alike.
      inputs: its arguments; of floating point arrays only shapes and dtypes count.
      alive: for each layer bool ``[in, out]``: whether a live weight leads from here to there.
    """
    run = _runner(model, inputs)
    made: ByLayer = {name: np.any(weights, axis=0) for name, weights in alive.items()}
    read: ByLayer = {name: np.ones(len(weights), bool) for name, weights in alive.items()}

    # Forwards: a channel without an entry makes no response.
    while True:
        seen = [run(_fill(made, value), value) for value in (FULL, MARKED)]
        for name in read:
            found = [entries[name].any for entries, _ in seen if name in entries]
            if found:
                read[name] = np.any(found, axis=0)
        left: ByLayer = {name: np.any(alive[name][read[name]], axis=0) for name in made}
        if all((left[name] == made[name]).all() for name in made):
            break
        made = left

    # Backwards: what changes if a channel is marked, or empty.
    base = run(_fill(made, FULL), FULL)
    depends: dict[tuple[str, int], tuple[ByLayer, bool]] = {}
    for name, channels in made.items():
        for channel in np.flatnonzero(channels):
            changed = []
            for value in (MARKED, EMPTY):
                fill = _fill(made, FULL)
                fill[name][channel] = value
                changed.append(_changes(base, run(fill, FULL)))
            layers = {other: np.any([c[0][other] for c in changed], axis=0) for other in base[0]}
            depends[name, int(channel)] = layers, any(c[1] for c in changed)

    needed = {name: np.zeros_like(channels) for name, channels in made.items()}
    growing = True
    while growing:
        growing = False
        for (name, channel), (layers, result) in depends.items():
            if needed[name][channel]:
                continue
            useful = result or any(
                alive[other][at & read[other]][:, needed[other]].any()
                for other, at in layers.items()
            )
            if useful:
                needed[name][channel] = growing = True
    # A layer that never ran has been judged by its own weights alone.
    ran = base[0].keys()
    return Reach(read, {name: needed[name] if name in ran else made[name] for name in made})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Entries:
    """What arrived at a layer: whether a channel has entries, and a copy of its lists; one item a call."""

    any: Any
    lists: Any


def _runner(
    model: nnx.Module, inputs: tuple[Any, ...]
) -> Callable[[ByLayer, float], tuple[dict[str, _Entries], Any]]:
    graph, state = nnx.split(model)

    @jax.jit
    def run(state: Any, inputs: Any, fill: ByLayer) -> Any:
        copy = nnx.merge(graph, state)
        copy.eval()
        names = {id(layer): name for name, layer in sparse_layers(copy).items()}
        arrived: dict[str, list[direct.SparseTensor]] = {}

        def replace(layer: Any, x: direct.SparseTensor, y: direct.SparseTensor) -> Any:
            name = names[id(layer)]
            arrived.setdefault(name, []).append(x)
            return _filled(y, fill[name])

        with replacing(replace):
            result = copy(*inputs)
        entries = {
            name: _Entries(
                jnp.any(jnp.stack([_occupied(x) for x in calls]), axis=0),
                [(x.keys, x.values, x.nnz) for x in calls],
            )
            for name, calls in arrived.items()
        }
        return entries, result

    def filled_run(fill: ByLayer, value: float) -> tuple[dict[str, _Entries], Any]:
        return jax.device_get(run(state, _filled_inputs(inputs, value), fill))

    return filled_run


def _fill(made: ByLayer, value: float) -> ByLayer:
    return {
        name: np.where(channels, np.float32(value), np.float32(EMPTY))
        for name, channels in made.items()
    }


def _filled(y: direct.SparseTensor, fill: Any) -> direct.SparseTensor:
    """``y`` with channels that are empty, or as full as they can be of one value."""
    batch, channels, capacity = y.keys.shape
    slots = min(capacity, y.volume)
    fill = jnp.asarray(fill)[None, :, None]
    used = (fill != EMPTY) & (jnp.arange(capacity) < slots)[None, None]
    keys = jnp.arange(capacity, dtype=jnp.int32)[None, None]
    return y.replace(
        keys=jnp.broadcast_to(jnp.where(used, keys, y.volume), (batch, channels, capacity)),
        values=jnp.broadcast_to(
            jnp.where(used, fill, 0.0).astype(y.dtype), (batch, channels, capacity)
        ),
        nnz=jnp.broadcast_to(jnp.sum(used, axis=-1, dtype=jnp.int32), (batch, channels)),
    )


def _filled_inputs(inputs: Any, value: float) -> Any:
    def filled(x: Any) -> Any:
        if isinstance(x, direct.SparseTensor):
            return _filled(x, np.full(x.channels, value, np.float32))
        x = jnp.asarray(x)
        return jnp.full_like(x, value) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(filled, inputs, is_leaf=lambda x: isinstance(x, direct.SparseTensor))


def _occupied(x: direct.SparseTensor) -> jax.Array:
    return jnp.any(x.keys < x.volume, axis=(0, 2))


def _changes(before: Any, after: Any) -> tuple[ByLayer, bool]:
    """In which input channels of which layer, and whether in the result, two runs differ."""
    layers = {}
    for name, entries in before[0].items():
        differ = [
            _differs(a, b).any(axis=0)
            for calls in zip(entries.lists, after[0][name].lists, strict=True)
            for a, b in zip(*calls, strict=True)
        ]
        layers[name] = np.any(differ, axis=0)
    pairs = zip(jax.tree.leaves(before[1]), jax.tree.leaves(after[1]), strict=True)
    return layers, any(_differs(a, b).any() for a, b in pairs)


def _differs(a: Any, b: Any) -> np.ndarray:
    """``[batch, channels]`` of lists: whether anything differs, NaN equal to NaN."""
    a, b = (
        np.asarray(x, np.float64) if x.dtype.kind == "V" or x.dtype.kind == "f" else x
        for x in (a, b)
    )
    same = (a == b) | ((a != a) & (b != b))
    return ~same.reshape(*same.shape[:2], -1).all(axis=-1) if same.ndim > 2 else ~same
