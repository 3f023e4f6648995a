"""Operations whose outputs are chosen inputs: activation and pooling.

Their kernels say which slot each output came from (its *source*, -1 for an unused one). Values are then a ``take`` and
gradients a ``put_add``, which are each other's adjoint.
"""

import jax

from jaxsparse._core.derivatives import backward_of, custom_vjp
from jaxsparse._core.kernel import Kernel
from jaxsparse.direct import _kernels


def choose(
    kernel: Kernel, static, keys: jax.Array, values: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Runs a kernel with results keys, values, nnz, source; returns the first three."""
    return _choose(kernel, static, keys.shape[-1], *kernel.align(keys, values))[:3]


def take(values: jax.Array, source: jax.Array) -> jax.Array:
    """``[B, C, Ko]``: the values in the slots ``source``, 0 where there is none."""
    return _take(values.shape[-1], *_kernels.take.align(values, source))


def put_add(slots: int, values: jax.Array, source: jax.Array) -> jax.Array:
    """``[B, C, slots]``: every value added to the slot that ``source`` says."""
    return _put_add(slots, *_kernels.put_add.align(values, source))


@custom_vjp(static=3)
def _choose(kernel, static, slots, keys, values):
    return kernel(static, keys, values)


def _choose_fwd(kernel, static, slots, keys, values):
    results = _choose(kernel, static, slots, keys, values)
    return results, results[3]


def _choose_bwd(kernel, static, slots, source, cotangents):
    return None, put_add(slots, cotangents[1], source)


_choose.defvjp(_choose_fwd, _choose_bwd)


@custom_vjp(static=1)
def _take(slots, values, source):
    (out,) = _kernels.take(None, values, source)
    return out


@backward_of(_take)
def _take_bwd(slots, source, cotangent):
    return put_add(slots, cotangent, source), None


@custom_vjp(static=1)
def _put_add(slots, values, source):
    (out,) = _kernels.put_add(slots, values, source)
    return out


@backward_of(_put_add)
def _put_add_bwd(slots, source, cotangent):
    return take(cotangent, source), None
