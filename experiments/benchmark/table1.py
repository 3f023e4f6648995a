"""Table 1 of ILA-SCNN: bytes held by a layer's activations and its workspace. Nothing is run, all is compiled."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from experiments.errors import UserError
from jaxsparse import direct

RESOLUTIONS = (32, 64, 128, 256, 512)
BATCH, DEPTH = 32, 8


def paper_bytes(resolution: int) -> dict[str, int]:
    """The paper's formulae: output of a layer at density 1/r, batch 32, depth 8, float32."""
    entries = resolution**2 * BATCH * DEPTH
    return {
        "dense": resolution**3 * BATCH * DEPTH * 4,
        "sparse_32bit": entries * 8,
        "sparse_64bit": entries * 12,
        "temporary": resolution**3 * 8,
    }


def measure(resolutions: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """One JSON-like row a resolution: the paper's figures and ours, a layer of 8 -> 8 channels, kernel 3^3.

    ``held`` are the bytes of the output's three arrays. The workspaces are what XLA sets aside for temporaries of the
    compiled layer (the kernels' scratch memory is part of it), and what the library promises beforehand.
    """
    return [_row(resolution) for resolution in resolutions or RESOLUTIONS]


def _row(resolution: int) -> dict[str, Any]:
    spatial, capacity = (resolution,) * 3, resolution**2
    rows = (BATCH, DEPTH, capacity)
    keys: Any = jax.ShapeDtypeStruct(rows, jnp.int32)
    values: Any = jax.ShapeDtypeStruct(rows, jnp.float32)
    nnz: Any = jax.ShapeDtypeStruct(rows[:2], jnp.int32)
    x = direct.SparseTensor(keys, values, nnz, spatial)
    kernel = jax.ShapeDtypeStruct((3, 3, 3, DEPTH, DEPTH), jnp.float32)

    def forward(x: direct.SparseTensor, kernel: jax.Array) -> direct.SparseTensor:
        return direct.conv(x, kernel, capacity=capacity)

    def backward(x: direct.SparseTensor, kernel: jax.Array, cotangent: jax.Array) -> Any:
        def values(v: jax.Array, w: jax.Array) -> Any:
            y = forward(x.replace(values=v), w)
            return y.values, y

        _, pullback, y = jax.vjp(values, x.values, kernel, has_aux=True)
        return y, pullback(cotangent)

    promised = direct.conv_workspace(x, kernel, capacity=capacity)
    y = jax.eval_shape(forward, x, kernel)
    held = sum(a.size * a.dtype.itemsize for a in (y.keys, y.values, y.nnz))
    paper = paper_bytes(resolution)
    return {
        "resolution": resolution,
        "paper": paper,
        "held": held,
        "of_paper_64bit": held / paper["sparse_64bit"],
        "workspace_forward": _temporaries(forward, x, kernel),
        "workspace_forward_backward": _temporaries(backward, x, kernel, x.values),
        "workspace_promised": max(promised),
    }


def _temporaries(function: Any, *arguments: Any) -> int:
    analysis = jax.jit(function).lower(*arguments).compile().memory_analysis()
    if analysis is None:
        raise UserError("this backend does not say how much memory a compiled program needs")
    return analysis.temp_size_in_bytes
