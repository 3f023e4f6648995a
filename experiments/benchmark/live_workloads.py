"""What is measured under masks of ever fewer live weights: MNIST's network, its layers, single layers."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.benchmark.cases import Points, entry_keys
from experiments.errors import UserError
from experiments.multiply_adds import meetings, multiply_adds
from jaxsparse import direct

Masks = Mapping[str, np.ndarray]
"""Layer -> bool of the kernel's shape, True = alive."""

LIVE = (1.0, 0.5, 0.3, 0.1, 0.05)
PASSES = ("forward", "forward+backward")
CHANNELS = ((8, 8), (8, 16), (16, 16))


@dataclasses.dataclass(frozen=True)
class Workload:
    """Something to time under several masks, always by the same executable.

    Attributes:
      name: says all of it.
      group: its heading in the tables: ``"MNIST network"``, ``"MNIST layer"``, ``"2-D layer"`` or ``"3-D layer"``.
      passes: ``"forward"`` or ``"forward+backward"``.
      source: where the masks come from: ``"random"``, or ``"magnitude"``: the smallest weights of a trained network die.
      scores: layer -> one number a weight; the weights with the highest live longest, so that a mask of fewer live
        weights is a part of one of more.
      run: ``(*arguments, masks) -> result``; a ``jax.jit`` function.
      arguments: what it takes beside the masks.
      count: masks -> products of a stored entry with a live weight whose output lies inside, of the forward pass.
    """

    name: str
    group: str
    passes: str
    source: str
    scores: Mapping[str, np.ndarray]
    run: Any
    arguments: tuple[Any, ...]
    count: Callable[[Masks], int]

    def masks(self, live: float) -> Masks:
        """The masks of a share of live weights, exactly so many of all layers together."""
        return strongest(self.scores, live)


def strongest(scores: Mapping[str, np.ndarray], live: float) -> dict[str, np.ndarray]:
    """Masks of exactly ``round(live * weights)`` live weights, those with the highest scores.

    Ties: the earlier one lives.

    >>> import numpy as np
    >>> strongest({"a": np.array([3.0, 1.0]), "b": np.array([[2.0, 4.0]])}, 0.5)
    {'a': array([ True, False]), 'b': array([[False,  True]])}
    """
    flat = np.concatenate([score.ravel() for score in scores.values()])
    alive = np.zeros(flat.size, bool)
    alive[np.argsort(-flat, kind="stable")[: max(1, round(live * flat.size))]] = True
    masks, at = {}, 0
    for name, score in scores.items():
        masks[name] = alive[at : at + score.size].reshape(score.shape)
        at += score.size
    return masks


def _scores(kernels: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    if source == "magnitude":
        return {name: np.abs(kernel) for name, kernel in kernels.items()}
    rng = np.random.default_rng(7)
    return {name: rng.random(kernel.shape) for name, kernel in kernels.items()}


# ---- Single layers ---------------------------------------------------------------------------------------------------


def layer_workload(
    name: str,
    group: str,
    passes: str,
    source: str,
    x: direct.SparseTensor,
    kernel: jax.Array,
    bias: jax.Array | None,
    **options: Any,
) -> Workload:
    """One convolution with ``options`` of ``direct.conv``; the gradients are those of input, kernel and bias."""

    def forward(x: direct.SparseTensor, w: jax.Array, b: jax.Array | None, masks: Any) -> Any:
        return direct.conv(x, w, b, mask=masks["layer"], **options)

    def both(x: Any, w: Any, b: Any, cotangent: jax.Array, masks: Any) -> Any:
        def values(v: jax.Array, w: jax.Array, b: jax.Array | None) -> Any:
            y = forward(x.replace(values=v), w, b, masks)
            return y.values, y

        _, pullback, y = jax.vjp(values, x.values, w, b, has_aux=True)
        return y, pullback(cotangent)

    arguments: tuple[Any, ...] = (x, kernel, bias)
    function: Any = forward
    if passes != "forward":
        shape = jax.eval_shape(forward, *arguments, {"layer": kernel != 0}).values.shape
        arguments += (jax.random.normal(jax.random.key(3), shape),)
        function = both

    def count(masks: Masks) -> int:
        return multiply_adds(meetings(x, kernel.shape[:-2]), masks["layer"])

    scores = _scores({"layer": np.asarray(kernel)}, source)
    return Workload(name, group, passes, source, scores, jax.jit(function), arguments, count)


def single_layers(shapes: Sequence[tuple[tuple[int, ...], int]]) -> Iterator[Workload]:
    """8->8, 8->16 and 16->16 channels on volumes at density 1/r (images at .05), masks drawn at random.

    Args:
      shapes: pairs of spatial shape and batch size.
    """
    for shape, batch in shapes:
        group = f"{len(shape)}-D layer"
        for inner, outer in CHANNELS:
            for points in ("uniform", "surface") if len(shape) == 3 else ("uniform",):
                x = _input(shape, batch, inner, points)
                weights = np.random.default_rng(2).normal(size=(*(3,) * len(shape), inner, outer))
                kernel = jnp.asarray(weights, jnp.float32)
                bound = math.ceil(math.prod(shape) * _density(shape))
                found = int(direct.conv(x, kernel, capacity=bound).nnz.max())
                for selection, capacity in (("without", found), ("with", bound)):
                    for passes in PASSES:
                        size = "x".join(map(str, shape))
                        name = (
                            f"{size} {inner}->{outer} {points}, batch {batch}, {selection} selection, "
                            f"{passes}, random masks"
                        )
                        yield layer_workload(
                            name, group, passes, "random", x, kernel, None, capacity=capacity
                        )


def _density(shape: tuple[int, ...]) -> float:
    return 0.05 if len(shape) == 2 else 1 / shape[0]


@functools.lru_cache(maxsize=1)
def _input(
    shape: tuple[int, ...], batch: int, channels: int, points: Points
) -> direct.SparseTensor:
    rng = np.random.default_rng(1)
    volume = math.prod(shape)
    if len(shape) == 3:
        one = entry_keys(points, shape[0], channels)
        keys = np.broadcast_to(one, (batch, *one.shape))
    else:
        count = math.ceil(volume * _density(shape))
        drawn = [rng.choice(volume, count, replace=False) for _ in range(batch * channels)]
        keys = np.sort(np.stack(drawn), axis=1).reshape(batch, channels, count).astype(np.int32)
    values = rng.normal(size=keys.shape).astype(np.float32)
    return direct.SparseTensor.from_entries(keys, values, spatial_shape=shape)


# ---- A trained network -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network and images to run it on.

    Attributes:
      model: in evaluation mode.
      images: float32 ``[n, *shape, 1]``.
      facts: JSON-like: which run it was.
    """

    model: Any
    images: np.ndarray
    facts: dict[str, Any]


def load(path: Path, overrides: tuple[str, ...], images: int) -> Trained:
    """The network of a run's newest checkpoint and the first images of its test set.

    Raises:
      UserError: there is no such run, or its network has no sparse convolutions.
    """
    from experiments.train.evaluate import load_trained
    from experiments.train.layers import sparse_convs

    step, config, dataset, steps, state = load_trained(path, overrides=overrides)
    model = steps.trained(state)
    if not sparse_convs(model):
        raise UserError(f"{path}: its network has no sparse convolutions")
    facts = {"name": config.name, "dataset": dataset.name, "step": step, "seed": config.seed}
    return Trained(model, dataset.test.gather(np.arange(images))[0], facts)


def network_workloads(trained: Trained, batches: Sequence[int]) -> Iterator[Workload]:
    """All sparse convolutions and the poolings between them, images in, the last layer's entries out."""
    from experiments.train.layers import inputs_of_convs, sparse_convs

    graph, state = nnx.split(trained.model)
    convs = sparse_convs(trained.model)
    kernels = {name: np.asarray(conv.kernel[...]) for name, conv in convs.items()}
    weights = {name: nnx.to_pure_dict(nnx.state(conv, nnx.Param)) for name, conv in convs.items()}

    def activations(state: Any, images: jax.Array, weights: Any, masks: Any) -> dict[str, Any]:
        model = nnx.merge(graph, state, copy=True)
        for name, conv in sparse_convs(model).items():
            conv.mask[...] = masks[name]
            for key, value in weights[name].items():
                getattr(conv, key)[...] = value
        return model.activations(images)

    def forward(state: Any, images: jax.Array, weights: Any, masks: Any) -> Any:
        return list(activations(state, images, weights, masks).values())[-1]

    def both(state: Any, images: Any, cotangent: jax.Array, weights: Any, masks: Any) -> Any:
        def loss(weights: Any) -> tuple[jax.Array, Any]:
            y = forward(state, images, weights, masks)
            return jnp.vdot(cotangent, y.values), y

        return jax.grad(loss, has_aux=True)(weights)

    @jax.jit
    def met(state: Any, images: jax.Array, weights: Any, masks: Any) -> Any:
        inputs = inputs_of_convs(trained.model, activations(state, images, weights, masks))
        return {name: meetings(x, masks[name].shape[:-2]) for name, x in inputs.items()}

    full = {name: np.ones(kernel.shape, bool) for name, kernel in kernels.items()}
    for batch in batches:
        images = jnp.asarray(trained.images[:batch])
        shape = jax.eval_shape(forward, state, images, weights, full).values.shape
        cotangent = jax.random.normal(jax.random.key(3), shape)

        def count(masks: Masks, images: jax.Array = images) -> int:
            hits = met(state, images, weights, masks)
            return sum(multiply_adds(hits[name], masks[name]) for name in masks)

        for passes, function, arguments in (
            ("forward", forward, (state, images, weights)),
            ("forward+backward", both, (state, images, cotangent, weights)),
        ):
            for source in ("random", "magnitude"):
                name = f"MNIST network, batch {batch}, {passes}, {source} masks"
                scores = _scores(kernels, source)
                run = jax.jit(function)
                yield Workload(name, "MNIST network", passes, source, scores, run, arguments, count)


def network_layers(trained: Trained, batch: int) -> Iterator[Workload]:
    """The network's sparse convolutions one by one, on what the network without masks feeds them."""
    from experiments.train.layers import inputs_of_convs, sparse_convs

    convs = sparse_convs(trained.model)
    # Not jitted: dictionaries would come back sorted.
    activations = trained.model.activations(jnp.asarray(trained.images[:batch]))
    inputs = inputs_of_convs(trained.model, activations)
    for name, conv in convs.items():
        for passes in PASSES:
            for source in ("random", "magnitude"):
                yield layer_workload(
                    f"MNIST {name} {conv.in_features}->{conv.out_features}, batch {batch}, {passes}, {source} masks",
                    "MNIST layer",
                    passes,
                    source,
                    inputs[name],
                    conv.kernel[...],
                    None if conv.bias is None else conv.bias[...],
                    density=conv.density_bound,
                    capacity=conv.capacity,
                    select=conv.select,
                )  # fmt: skip
