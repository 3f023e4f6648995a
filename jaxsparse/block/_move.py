"""Moving blocks between images and lists, differentiably.

All of it is linear in images and blocks, and each one's adjoint is another one: reverse mode of any order needs no more.
Images are ``[B, *S, C]``, blocks ``[M, *size, C]`` or ``[M, C, *size]``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsparse._core.derivatives import backward_of, custom_vjp
from jaxsparse.block import _kernels
from jaxsparse.block._kernels import Move


class Places(NamedTuple):
    """Static: how blocks are moved, and how many images there are (may be symbolic)."""

    move: Move
    batch: Any

    def only_shown(self, shown: bool) -> "Places":
        """The same, with or without pixels that a later block covers."""
        return self._replace(move=self.move._replace(shown=shown))


def gather(places: Places, x: jax.Array, indices: jax.Array) -> jax.Array:
    """Blocks of ``x``."""
    return _gather(places, *_kernels.gather.align(x, indices))


def scatter(places: Places, blocks: jax.Array, indices: jax.Array, base: jax.Array) -> jax.Array:
    """``base`` with blocks in it; the later one wins."""
    return _scatter(places, *_kernels.scatter.align(blocks, indices, base))


def scatter_new(
    places: Places, blocks: jax.Array, indices: jax.Array, value: jax.Array
) -> jax.Array:
    """An image of ``value``, which has no gradient, with blocks in it; the later one wins."""
    return _scatter_new(places, *_kernels.scatter_new.align(blocks, indices, value))


def scatter_add(
    places: Places, blocks: jax.Array, indices: jax.Array, base: jax.Array
) -> jax.Array:
    """``base`` plus blocks."""
    return _scatter_add(places, *_kernels.scatter_add.align(blocks, indices, base))


def erase(places: Places, indices: jax.Array, base: jax.Array) -> jax.Array:
    """``base``, 0 where blocks are."""
    return _erase(places, *_kernels.erase.align(indices, base))


@custom_vjp(static=1)
def _gather(places, x, indices):
    (blocks,) = _kernels.gather(places.move, x, indices)
    return blocks


@backward_of(_gather)
def _gather_bwd(places, indices, cotangent):
    channels = cotangent.shape[1 if places.move.channels_first else -1]
    shape = (places.batch, *places.move.boxes.tiling.spatial_shape, channels)
    onto = scatter if places.move.shown else scatter_add
    zeros = jnp.zeros(shape, cotangent.dtype)
    return onto(places.only_shown(False), cotangent, indices, zeros), None


@custom_vjp(static=1)
def _scatter(places, blocks, indices, base):
    (out,) = _kernels.scatter(places.move, blocks, indices, base)
    return out


@backward_of(_scatter)
def _scatter_bwd(places, indices, cotangent):
    blocks = gather(places.only_shown(True), cotangent, indices)
    return blocks, None, erase(places, indices, cotangent)


@custom_vjp(static=1)
def _scatter_new(places, blocks, indices, value):
    def at_once(blocks, indices, value):
        (out,) = _kernels.scatter_new(places, blocks, indices, value)
        return out

    def in_turn(blocks, indices, value):
        channels = blocks.shape[1 if places.move.channels_first else -1]
        shape = (places.batch, *places.move.boxes.tiling.spatial_shape, channels)
        return scatter(places, blocks, indices, jnp.full(shape, value))

    return jax.lax.platform_dependent(blocks, indices, value, cpu=at_once, default=in_turn)


@backward_of(_scatter_new)
def _scatter_new_bwd(places, indices, value, cotangent):
    blocks = gather(places.only_shown(True), cotangent, indices)
    return blocks, None, jnp.zeros_like(value)


@custom_vjp(static=1)
def _scatter_add(places, blocks, indices, base):
    (out,) = _kernels.scatter_add(places.move, blocks, indices, base)
    return out


@backward_of(_scatter_add)
def _scatter_add_bwd(places, indices, cotangent):
    return gather(places, cotangent, indices), None, cotangent


@custom_vjp(static=1)
def _erase(places, indices, base):
    (out,) = _kernels.erase(places.move, indices, base)
    return out


@backward_of(_erase)
def _erase_bwd(places, indices, cotangent):
    return None, erase(places, indices, cotangent)
