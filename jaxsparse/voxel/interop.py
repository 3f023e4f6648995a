"""Weights of other libraries."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxsparse._core import checks, windows
from jaxsparse._core.checks import expected


def kernel_from_spconv(weight: jax.typing.ArrayLike, *, transposed: bool = False) -> jax.Array:
    """The kernel of a layer of spconv 2: of ``[out, *window, in]`` (KRSC) to ``[*window, in, out]``.

    Which function then gives the layer's result, with the strides, dilation and number of padding ``p`` of the layer:

    * ``SubMConvNd``: :func:`submanifold_conv`
    * ``SparseConvNd``: :func:`conv` with ``padding=p``
    * ``SparseInverseConvNd``: :func:`inverse_conv` with the padding of the convolution that it undoes
    * ``SparseConvTransposeNd``: :func:`conv_transpose` with ``transposed=True`` here, for ``lax.conv_transpose`` has its taps
      in reverse order, and ``padding`` of ``(dilation * (window - 1) - p, dilation * (window - 1) - p + output_padding)``
      along each axis

    Biases need no conversion.

    Args:
      weight: a torch tensor's ``.detach().numpy()``, or any array ``[out, *window, in]`` with 1 to 4 window axes.
      transposed: whether it is of a ``SparseConvTransposeNd``: the window is reversed along each axis.

    Returns:
      ``[*window, in, out]``.

    Raises:
      ValueError: a wrong rank or an empty axis.
      TypeError: not of a floating point type.

    Source: spconv 2.3 (Apache-2.0), checked against its CPU build.

    Example::

      >>> import numpy as np
      >>> from jaxsparse import voxel

      >>> voxel.kernel_from_spconv(np.zeros((32, 3, 3, 3, 16), np.float32)).shape
      (3, 3, 3, 16, 32)
    """
    return jnp.moveaxis(_checked("kernel_from_spconv", "weight", weight, transposed), 0, -1)


def kernel_to_spconv(kernel: jax.typing.ArrayLike, *, transposed: bool = False) -> jax.Array:
    """The way back from :func:`kernel_from_spconv`: ``[*window, in, out]`` to ``[out, *window, in]``.

    Args:
      kernel: ``[*window, in, out]`` with 1 to 4 window axes.
      transposed: whether it is meant for a ``SparseConvTransposeNd``.

    Returns:
      ``[out, *window, in]``.

    Raises:
      ValueError: a wrong rank or an empty axis.
      TypeError: not of a floating point type.

    Example::

      >>> import numpy as np
      >>> from jaxsparse import voxel

      >>> voxel.kernel_to_spconv(np.zeros((3, 16, 32), np.float32)).shape
      (32, 3, 16)
    """
    w = _checked("kernel_to_spconv", "kernel", kernel, transposed, first=0)
    return jnp.moveaxis(w, -1, 0)


def _checked(
    function: str, argument: str, value: Any, transposed: Any, first: int = 1
) -> jax.Array:
    """The array, its window reversed if transposed; window axes begin at ``first``."""
    w = checks.float_array(function, argument, value)
    if not 3 <= w.ndim <= windows.MAX_DIMS + 2 or 0 in w.shape:
        layout = "[out, *window, in]" if first else "[*window, in, out]"
        wording = f"{layout} with 1 to {windows.MAX_DIMS} window axes, none of them empty"
        raise ValueError(expected(function, argument, wording, f"shape {tuple(w.shape)}"))
    if not isinstance(transposed, bool):
        what = checks.described(transposed)
        raise TypeError(expected(function, "transposed", "True or False", what))
    return jnp.flip(w, range(first, first + w.ndim - 2)) if transposed else w
