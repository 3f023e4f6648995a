"""Functions of single numbers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxsparse._core import checks
from jaxsparse._core.entries import wide_dtype
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor


def apply(x: VoxelTensor, function: Callable[[jax.Array], jax.Array]) -> VoxelTensor:
    """``function`` of every number of ``x``, the background included.

    With a ground state the whole tensor equals ``function`` of the dense one. Without one inactive sites stay 0, whatever
    ``function`` makes of 0. Derivatives are those of ``function``.

    Args:
      x: :class:`VoxelTensor`.
      function: from arrays ``[..., channels]`` to arrays of the same shape and a floating point dtype; it may know about
        channels, but not about rows.

    Returns:
      :class:`VoxelTensor` with the sites of ``x``.

    Raises:
      TypeError: ``x`` is no ``VoxelTensor``, ``function`` cannot be called or returns something else.
      ValueError: it returns another shape.

    Source: SparseConvNet's activations, which also change the ground state.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_dense(jnp.array([[[1.0], [0.0]]]), background=jnp.zeros(1))
      >>> voxel.apply(x, lambda v: v + 1.0).to_dense().ravel().tolist()
      [2.0, 1.0]
    """
    check_tensor("apply", "x", x)
    checks.function_of("apply", "function", function, "(array) -> array")
    y = _result("apply", function(x.features), x.features)
    y = jnp.where(x.in_use()[:, None], y, jnp.zeros_like(y))
    if x.background is None:
        return x.replace(features=y)
    # As a row: broadcasting over rows is all that function may do.
    (background,) = _result("apply", function(x.background[None]), x.background[None])
    return x.replace(features=y, background=background.astype(y.dtype))


def relu(x: VoxelTensor) -> VoxelTensor:
    """Negative numbers become 0, the background's, too; NaN stays. Sites stay active, also with nothing but 0.

    Args:
      x: :class:`VoxelTensor`.

    Returns:
      :class:`VoxelTensor` with the sites of ``x``.

    Raises:
      TypeError: ``x`` is no ``VoxelTensor``.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_dense(jnp.array([[[1.0], [-2.0], [0.0]]]), capacity=2)
      >>> voxel.relu(x).features.ravel().tolist()
      [1.0, 0.0]
    """
    check_tensor("relu", "x", x)
    return _keeping_zero(x, jax.nn.relu)


def leaky_relu(x: VoxelTensor, slope: float = 0.01) -> VoxelTensor:
    """Negative numbers times ``slope``, the background's, too; the others and NaN as they are.

    The product is rounded once. Derivatives are those of ``jax.nn.leaky_relu``.

    Args:
      x: :class:`VoxelTensor`.
      slope: a number, known at trace time.

    Returns:
      :class:`VoxelTensor` with the sites of ``x``.

    Raises:
      TypeError: ``x`` is no ``VoxelTensor``, ``slope`` no number.
      ValueError: ``slope`` is not finite.

    Source: S3DCNN (slope 0.33).

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_dense(jnp.array([[[1.0], [-2.0], [0.0]]]), capacity=2)
      >>> voxel.leaky_relu(x, 0.5).features.ravel().tolist()
      [1.0, -1.0]
    """
    check_tensor("leaky_relu", "x", x)
    slope = checks.number("leaky_relu", "slope", slope)
    dtype = wide_dtype(x.dtype)

    def leaky(v: jax.Array) -> jax.Array:
        below = (v.astype(dtype) * jnp.asarray(slope, dtype)).astype(v.dtype)
        return jnp.where(v >= 0, v, below)

    return _keeping_zero(x, leaky)


def _keeping_zero(x: VoxelTensor, function: Callable[[jax.Array], jax.Array]) -> VoxelTensor:
    """A function of which 0 is 0, so that unused rows need nothing."""
    background = None if x.background is None else function(x.background)
    return x.replace(features=function(x.features), background=background)


def _result(name: str, y: jax.Array, like: jax.Array) -> jax.Array:
    wording = "a function that returns floating point arrays"
    if not isinstance(y, jax.Array) or y.dtype.name not in checks.FLOATS:
        what = f"one that returns {checks.kind(y)}"
        raise TypeError(checks.expected(name, "function", wording, what))
    if y.shape != like.shape:
        what = f"{y.shape} for {like.shape}"
        wording = "a function that keeps shapes"
        raise ValueError(checks.expected(name, "function", wording, what))
    return y
