"""Direct sparse convolution."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks, windows
from jaxsparse._core.checks import expected
from jaxsparse._core.derivatives import custom_vjp
from jaxsparse._core.entries import SELECT
from jaxsparse._core.reachable import reachable
from jaxsparse.direct import _bilinear, _kernels
from jaxsparse.direct._sums import channel_sum
from jaxsparse.direct.tensor import SparseTensor, check_tensor

Ints = int | tuple[int, ...] | list[int]


def conv(
    x: SparseTensor,
    kernel: jax.typing.ArrayLike,
    bias: jax.typing.ArrayLike | None = None,
    *,
    mask: jax.typing.ArrayLike | None = None,
    capacity: int | None = None,
    density: float | None = None,
    select: str = "value",
    strides: Ints = 1,
    padding: windows.Padding = "SAME",
    kernel_dilation: Ints = 1,
) -> SparseTensor:
    """Convolution of sparse entries with sparse filters that keeps each channel's strongest responses.

    The response is the cross-correlation of the stored entries with the unmasked weights, as
    ``lax.conv_general_dilated`` defines it. A response that is not exactly 0 is *active*; the bias is added to active
    responses only. Then each (batch element, output channel) keeps its ``capacity`` strongest ones, equal scores the
    lower key. ``nnz`` of the result says how many there were, so nothing is lost silently.

    Gradients reach stored inputs, unmasked weights and the bias, through the kept responses (restricted
    back-propagation). Reverse mode of any order; forward mode (``jvp``, ``jacfwd``, ``hessian``) raises a
    ``TypeError``. Forward result and input gradient have a fixed order of summation: the same bits on every machine.

    Args:
      x: ``SparseTensor`` ``[batch, *spatial, in]`` with 1 to 4 spatial dimensions.
      kernel: ``[*window, in, out]``, the dtype of ``x``.
      bias: ``[out]``, the dtype of ``x``; None for none.
      mask: bool, the kernel's shape: False = pruned. A masked weight takes no part (inf times it is nothing) and gets
        gradient 0. An (input channel, tap) without a live weight costs nothing. None: all alive.
      capacity: entries that a (batch element, output channel) may store.
      density: the same as a share of the output volume, ``ceil(density * volume - 1e-6)`` entries. Both left out:
        ``min(volume, in * x.capacity * prod(ceil(window / strides)))``, which cannot overflow.
      select: what is strongest. ``"value"``: the largest; ``"magnitude"``: the largest absolute value; ``"relu"``:
        the largest of the positive ones, ReLU and selection in one. NaN is above infinity in each.
      strides: an integer >= 1, or one a spatial dimension.
      padding: ``"SAME"``, ``"VALID"``, an integer, or for each dimension an integer or a pair (low, high); may be
        negative.
      kernel_dilation: an integer >= 1, or one a spatial dimension.

    Returns:
      ``SparseTensor`` ``[batch, *out_spatial, out]`` of the dtype of ``x``.

    Raises:
      ValueError: a rank or shape does not fit, ``capacity`` and ``density`` are both given or 0, ``select`` is unknown,
        a stride or dilation is below 1, the window is larger than the padded input, the output has more than
        2^31 - 1 voxels, more than 2^24 taps can meet the input, or the strides' product is above 2^20 for a kernel as
        large as the strides.
      TypeError: ``x`` is no ``SparseTensor``, dtypes differ or are not floating point, or ``mask`` is not bool.

    Source: ILA-SCNN (Hackel et al.), direct sparse convolution, attention by k-selection, Eq. 3.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> image = jnp.zeros((1, 8, 8, 1)).at[0, 3, 4, 0].set(2.0)
      >>> x = direct.SparseTensor.from_dense(image, capacity=4)
      >>> y = direct.conv(x, jnp.ones((3, 3, 1, 5)), jnp.full((5,), 0.5), density=0.1)
      >>> y
      SparseTensor(batch=1, spatial_shape=(8, 8), channels=5, capacity=7, dtype=float32)
      >>> int(y.nnz[0, 0]), float(y.values[0, 0, 0])  # 9 responses, 7 of them kept
      (9, 2.5)
    """
    plan = _plan(
        "conv", x, kernel, bias, mask, capacity, density, select, strides, padding, kernel_dilation
    )
    keys, values, nnz = _conv(
        plan.static, *_kernels.conv.align(x.keys, x.values, plan.kernel, plan.bias, plan.mask)
    )
    return SparseTensor(keys, values, nnz, plan.static.geometry.out_shape)


class ConvWorkspace(NamedTuple):
    """Bytes of scratch memory of a convolution's kernels, for any batch size."""

    forward: int
    input_grad: int
    kernel_grad: int


def conv_workspace(
    x: SparseTensor,
    kernel: Any,
    *,
    capacity: int | None = None,
    density: float | None = None,
    strides: Ints = 1,
    padding: windows.Padding = "SAME",
    kernel_dilation: Ints = 1,
) -> ConvWorkspace:
    """The memory that :func:`conv` with the same arguments will need beside its inputs and outputs.

    Nothing is run and nothing but shapes and dtypes is read: ``x`` and ``kernel`` may hold ``jax.ShapeDtypeStruct``.

    Returns:
      Bytes, forward and for the two gradients. They do not depend on the batch size, and calls after each other share
      the memory.

    Raises:
      ValueError, TypeError: as :func:`conv`.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> x = direct.SparseTensor.from_dense(jnp.zeros((1, 16, 16, 16, 1)), density=0.1)
      >>> need = direct.conv_workspace(x, jnp.zeros((3, 3, 3, 1, 8)), density=0.1)
      >>> need.forward > 0
      True
    """
    plan = _plan(
        "conv_workspace", x, kernel, None, None, capacity, density, "value", strides, padding,
        kernel_dilation, specs=True,
    )  # fmt: skip
    geometry, keys, values = plan.static.geometry, x.keys, x.values
    batch, channels = keys.shape[0], plan.kernel.shape[-1]
    yk = jax.ShapeDtypeStruct((batch, channels, plan.static.capacity), keys.dtype)
    gy = jax.ShapeDtypeStruct(yk.shape, values.dtype)
    kernels = _kernels
    return ConvWorkspace(
        kernels.conv.workspace_bytes(plan.static, keys, values, plan.kernel, plan.bias, plan.mask),
        kernels.conv_input_grad.workspace_bytes(geometry, keys, plan.kernel, plan.mask, yk, gy),
        kernels.conv_kernel_grad.workspace_bytes(geometry, keys, values, plan.mask, yk, gy),
    )


class _Plan(NamedTuple):
    static: _kernels.Convolve
    kernel: Any
    bias: Any
    mask: Any


def _plan(
    name, x, kernel, bias, mask, capacity, density, select, strides, padding, kernel_dilation,
    *, specs=False,
) -> _Plan:  # fmt: skip
    """Checks everything that shapes and dtypes tell; with ``specs`` nothing else need be there."""
    check_tensor(name, "x", x, specs=specs)
    if not (specs and isinstance(kernel, jax.ShapeDtypeStruct)):
        kernel = checks.array(name, "kernel", kernel)
    checks.same_dtype(name, "kernel", kernel, "x", x.dtype)
    dims = len(x.spatial_shape)
    if kernel.ndim != dims + 2:
        wording = f"of rank {dims + 2} ([*window, in, out]) for {dims} spatial dimensions"
        raise ValueError(expected(name, "kernel", wording, f"shape {kernel.shape}"))
    *window, channels, features = kernel.shape
    if channels != x.channels:
        wording = f"[*window, in, out] with in = {x.channels}, the channels of x"
        raise ValueError(expected(name, "kernel", wording, f"shape {kernel.shape}"))
    if not all(kernel.shape):
        raise ValueError(expected(name, "kernel", "of no empty axis", f"shape {kernel.shape}"))
    if bias is not None:
        bias = checks.array(name, "bias", bias)
        checks.same_dtype(name, "bias", bias, "x", x.dtype)
        checks.shape(name, "bias", bias, (features,), "one an output channel")
    if mask is not None:
        mask = checks.array(name, "mask", mask)
        if mask.dtype != jnp.bool_:
            raise TypeError(expected(name, "mask", "of dtype bool", mask.dtype))
        checks.shape(name, "mask", mask, kernel.shape, "the kernel's")
    checks.one_of(name, "select", select, SELECT)
    geometry = windows.convolution(
        name, x.spatial_shape, tuple(window), strides, padding, kernel_dilation
    )
    slots = capacities.resolve(
        name,
        capacity,
        density,
        volume=geometry.out_volume,
        bound=min(geometry.out_volume, channels * x.capacity * geometry.reach),
    )
    geometry, taps = reachable(name, geometry)
    static = _kernels.Convolve(geometry, slots, SELECT.index(select))
    return _Plan(static, _part(kernel, taps), bias, _part(mask, taps))


def _part(kernel: Any, taps: tuple[slice, ...]) -> Any:
    shape = tuple(t.stop - t.start for t in taps)
    if kernel is None or kernel.shape[: len(shape)] == shape:
        return kernel
    if isinstance(kernel, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct((*shape, *kernel.shape[len(shape) :]), kernel.dtype)
    return kernel[taps]


@custom_vjp(static=1)
def _conv(static, xk, xv, kernel, bias, mask):
    return _kernels.conv(static, xk, xv, kernel, bias, mask)


def _conv_fwd(static, xk, xv, kernel, bias, mask):
    yk, yv, nnz = _conv(static, xk, xv, kernel, bias, mask)
    return (yk, yv, nnz), (xk, xv, kernel, bias, mask, yk)


def _conv_bwd(static, residuals, cotangents):
    xk, xv, kernel, bias, mask, yk = residuals
    geometry, gy = static.geometry, cotangents[1]
    return (
        None,
        _bilinear.input_grad(geometry, xk, kernel, mask, yk, gy),
        _bilinear.kernel_grad(geometry, xk, xv, mask, yk, gy),
        None if bias is None else channel_sum(geometry.out_volume, yk, gy),
        None,
    )


_conv.defvjp(_conv_fwd, _conv_bwd)
