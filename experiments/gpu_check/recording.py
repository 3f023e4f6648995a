"""Runs one program again and again with changing inputs; digests of all results. ``python -m experiments.gpu_check.recording``.

The stage `sanitize` runs it with command buffers and without. With JAX_GPU_CHECK_TRACE=FOLDER a profile of the last
rounds goes there.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.gpu_check.child import emit
from experiments.gpu_check.inputs import batch_input, kernel_values
from experiments.gpu_check.voxel_kernels import shell
from jaxsparse import block, direct, voxel

ROUNDS = 6
TRACE = "JAX_GPU_CHECK_TRACE"


def network(values, kernel, bias, x):
    """Layers of all kinds; results and gradients."""

    def chain(values, kernel, bias):
        y = direct.conv(x.replace(values=values), kernel, bias, capacity=200, select="relu")
        y = direct.max_pool(y, 2)
        y = direct.conv(y, kernel, bias, density=0.3)
        y = direct.add(direct.relu(y), direct.leaky_relu(y, 0.1))
        y = direct.avg_pool(y, 2)
        return (direct.global_avg_pool(y) ** 2).sum(), y

    (loss, y), gradients = jax.value_and_grad(chain, argnums=(0, 1, 2), has_aux=True)(
        values, kernel, bias
    )
    of_voxels = jax.value_and_grad(voxels, argnums=(0, 1))(values, kernel)
    return loss, y, gradients, jax.value_and_grad(blocks)(values), of_voxels


def blocks(values):
    """The kernels of jaxsparse.block. No convolution between them: XLA may choose another algorithm in each process."""
    image = values.reshape(2, 16, 16, 4)
    chain = block.geometry((16, 16), 6, kernel_sizes=3)
    found = block.reduce_mask(image[..., 0], chain, threshold=0.5, mode="mean", capacity=20)
    y = jnp.tanh(block.gather(image, found))
    first = block.gather(image, found, channels_first=True)
    out = block.scatter_add(y[:, 1:-1, 1:-1], found, image)
    out = block.scatter(first[:, :, 1:-1, 1:-1] ** 2, found, out, channels_first=True)
    return (out**2).sum()


def voxels(values, kernel):
    """The kernels of jaxsparse.voxel; every site is there twice."""
    sites = np.tile(shell(8, batch=2), (2, 1))
    features = jnp.resize(values, (len(sites), 4))
    x = voxel.VoxelTensor.from_coords(
        sites, features, batch_size=2, spatial_shape=(8,) * 3, duplicates="mean"
    )
    y = voxel.relu(voxel.submanifold_conv(x, kernel))
    y = voxel.conv(voxel.max_pool(y, 2), kernel, strides=2, capacity=50)
    return (voxel.global_avg_pool(y) ** 2).sum()


def main() -> None:
    """Emits one row: the digest of each round."""
    x = batch_input("surface", 16, 4, 2)
    kernel, bias = jnp.asarray(kernel_values((4, 4))), jnp.full((4,), 0.25, jnp.float32)
    compiled = jax.jit(network).lower(x.values, kernel, bias, x).compile()
    digests = []
    folder = os.environ.get(TRACE)
    trace = jax.profiler.trace(folder) if folder else contextlib.nullcontext()
    with trace:
        for number in range(ROUNDS):
            # New arrays every time: a recorded program has to follow its arguments.
            values = x.values * np.float32(1 + number % 3)
            results = jax.block_until_ready(compiled(values, kernel + np.float32(number), bias, x))
            digest = hashlib.sha256()
            for leaf in jax.tree.leaves(results):
                digest.update(np.asarray(leaf).tobytes())
            digests.append(digest.hexdigest())
    text = compiled.as_text() or ""
    if folder:
        Path(folder, "compiled.txt").write_text(text)
    emit(
        {
            "row": "recording",
            "section": "recording",
            "digests": digests,
            "targets": text.count('custom_call_target="jaxsparse_'),
        }
    )


if __name__ == "__main__":
    main()
