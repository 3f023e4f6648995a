"""A whole training step of OctNet3, sparse or dense, in a process of its own: time and peak memory per sample."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.gpu_check.inputs import batch_input
from experiments.gpu_check.layer_memory import peak_bytes
from experiments.gpu_check.results import Row
from jaxsparse import models

CLASSES = 40
PRESETS = {16: "modelnet40-0.12", 32: "modelnet40", 64: "modelnet40", 128: "modelnet40"}
"""The paper's density bounds; those of 256^3 are its tightest, the only ones it gives for it."""


REHEARSAL: dict[str, Any] = {"stages": ((2,), (2,)), "densities": (0.1, 0.2), "hidden": 4}
"""A network that compiles in a second."""


def measure(
    resolution: int, batch: int, *, sparse: bool, steps: int = 20, quick: bool = False
) -> Row:
    """Steps follow each other without waiting, as in training; the time is that of all, divided by their number.

    The network computes in the default precision: TF32 in every dense convolution, for either twin.
    """
    model, x, labels = _problem(resolution, batch, sparse, quick)
    step, state = _step(model)
    lowered = step.lower(state, x, labels, jnp.int32(0))
    compiled = lowered.compile()
    analysis = compiled.memory_analysis()
    state, loss = jax.block_until_ready(compiled(state, x, labels, jnp.int32(0)))
    begin = time.perf_counter()
    for number in range(2):
        state, loss = compiled(state, x, labels, jnp.int32(number))
    jax.block_until_ready(loss)
    # No more than about four seconds.
    single = (time.perf_counter() - begin) / 2
    steps = 1 if quick else max(2, min(steps, int(4 / max(single, 1e-4))))
    samples = []
    for _ in range(3):
        begin = time.perf_counter()
        for number in range(steps):
            state, loss = compiled(state, x, labels, jnp.int32(number))
        loss = float(loss)
        samples.append((time.perf_counter() - begin) / steps)
    peak = peak_bytes()
    seconds = sorted(samples)[1]
    return {
        "row": f"step {resolution}^3 {'sparse' if sparse else 'dense'} batch {batch}",
        "section": "training step",
        "resolution": resolution,
        "batch": batch,
        "sparse": sparse,
        "steps": steps,
        "seconds": seconds,
        "samples": samples,
        "seconds_per_sample": seconds / batch,
        "peak": peak,
        "peak_per_sample": peak / batch if peak else None,
        "limit": (jax.devices()[0].memory_stats() or {}).get("bytes_limit"),
        "compiled_bytes": _program_bytes(analysis),
        "loss": loss,
    }


def compile_only(resolution: int, batch: int, *, sparse: bool, quick: bool = False) -> None:
    """Compiles the step, for the compilation cache."""
    model, x, labels = _problem(resolution, batch, sparse, quick)
    step, state = _step(model)
    step.lower(state, x, labels, jnp.int32(0)).compile()


def _problem(resolution: int, batch: int, sparse: bool, quick: bool) -> tuple[Any, Any, Any]:
    usual = {"densities": PRESETS.get(resolution, "scannet-extreme")}
    network: dict[str, Any] = REHEARSAL if quick else usual
    model = models.OctNet3((resolution,) * 3, CLASSES, **network, sparse=sparse, rngs=nnx.Rngs(0))
    x: Any = batch_input("surface", resolution, 1, batch)
    if not sparse:
        x = jax.jit(lambda x: x.to_dense())(x)
    labels = np.random.default_rng(6).integers(CLASSES, size=batch)
    return model, x, jnp.asarray(labels, jnp.int32)


def _step(model: models.OctNet3) -> tuple[Any, Any]:
    graph, state = nnx.split((model, nnx.Optimizer(model, optax.adagrad(0.01), wrt=nnx.Param)))

    def step(state: Any, x: Any, labels: Any, number: Any) -> tuple[Any, Any]:
        model, optimizer = nnx.merge(graph, state)
        key = jax.random.fold_in(jax.random.key(0), number)

        def loss(model: Any) -> jax.Array:
            logits = model(x, rngs=nnx.Rngs(dropout=key))
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return nnx.state((model, optimizer)), value

    return jax.jit(step, donate_argnums=0), state


def _program_bytes(analysis: Any) -> int | None:
    if analysis is None:
        return None
    return (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes
        + analysis.temp_size_in_bytes
    )
