"""What all convolutions of this room share: their arguments, and features, bias and ground state over a kernel map."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsparse._core import checks, rows
from jaxsparse._core.checks import expected
from jaxsparse._core.entries import wide_dtype
from jaxsparse.voxel import _bilinear
from jaxsparse.voxel._conv_kernels import Conv
from jaxsparse.voxel.kernel_map import KernelMap
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor


class Weights(NamedTuple):
    """A kernel ``[*k, in / groups, out]``, a bias ``[out]`` or None, and the groups; checked."""

    kernel: jax.Array
    bias: jax.Array | None
    groups: int

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Taps along each axis."""
        return tuple(self.kernel.shape[:-2])


def weights(
    function: str, x: VoxelTensor, kernel: Any, bias: Any, groups: Any, precision: Any
) -> Weights:
    """Checks a convolution's arguments, ``x`` first.

    Raises:
      ValueError, TypeError: one is no good.
    """
    check_tensor(function, "x", x)
    groups = checks.integer(function, "feature_group_count", groups, minimum=1)
    if x.channels % groups:
        wording = f"a divisor of the channels of x, {x.channels}"
        raise ValueError(expected(function, "feature_group_count", wording, groups))
    w = checks.array(function, "kernel", kernel)
    dims = len(x.spatial_shape)
    if w.ndim != dims + 2 or 0 in w.shape:
        wording = f"of rank {dims + 2}, [*window, in / groups, out], and of no empty axis"
        raise ValueError(expected(function, "kernel", wording, f"shape {tuple(w.shape)}"))
    each = x.channels // groups
    if w.shape[-2] != each or w.shape[-1] % groups:
        wording = (
            f"of shape [*window, in / groups, out] with in / groups = {each} and out a multiple "
            f"of feature_group_count, {groups}"
        )
        raise ValueError(expected(function, "kernel", wording, f"shape {tuple(w.shape)}"))
    checks.same_dtype(function, "kernel", w, "x", x.dtype)
    if bias is not None:
        bias = checks.array(function, "bias", bias)
        checks.shape(function, "bias", bias, (w.shape[-1],), "[out]")
        checks.same_dtype(function, "bias", bias, "x", x.dtype)
    check_precision(function, precision)
    return Weights(w, bias, groups)


def check_precision(function: str, precision: Any) -> None:
    """Raises unless it is what ``lax.conv_general_dilated`` takes. On a CPU it changes nothing: float32 is float32."""
    each = precision if isinstance(precision, tuple) and len(precision) == 2 else (precision,)
    for one in each:
        try:
            if one is not None and not isinstance(one, str | jax.lax.Precision):
                raise ValueError
            jax.lax.Precision(one)
        except ValueError:
            wording = "None, a jax.lax.Precision or the name of one, or a pair of these"
            raise TypeError(expected(function, "precision", wording, repr(precision))) from None


def refuse_background(function: str, argument: str, x: VoxelTensor) -> None:
    """Raises where a tensor has a ground state that the result could not have."""
    if x.background is not None:
        wording = "without a background: the result has a different one for each phase of the strides; x.without_background() drops it"
        raise ValueError(
            expected(function, argument, wording, f"one of shape {x.background.shape}")
        )


def convolve(x: VoxelTensor, w: Weights, kernel_map: KernelMap) -> VoxelTensor:
    """The convolution at the map's output sites: ground state, bias to rows in use, rounded to the storage type last."""
    taps = w.kernel.reshape(kernel_map.taps, *w.kernel.shape[-2:])
    wide = wide_dtype(x.dtype)
    features, ground = x.features, None
    if x.background is not None:
        # A window over the ground state alone gives `ground`; what the features add to it is linear in their difference.
        background = x.background.astype(wide)
        taps = taps.astype(wide)
        features = features.astype(wide) - background[None]
        ground = _of_background(background, taps, w.groups)
    out = _bilinear.conv(Conv(w.groups), features, taps, kernel_map.inputs, kernel_map.outputs)
    shift = ground
    if w.bias is not None:
        bias = w.bias.astype(wide)
        shift = bias if ground is None else ground + bias
    if shift is not None:
        limits = (kernel_map.batch_size, *kernel_map.spatial_shape)
        used = rows.in_use(kernel_map.coords, limits)
        out = jnp.where(used[:, None], out + shift[None], jnp.zeros((), wide))
    new = None if ground is None or shift is None else shift.astype(x.dtype)
    return kernel_map.tensor(out.astype(x.dtype), new)


def _of_background(background: jax.Array, taps: jax.Array, groups: int) -> jax.Array:
    """``[out]``: the response of a window that holds the background only."""
    total = taps.sum(axis=0)  # [in / groups, out]
    each = total.reshape(total.shape[0], groups, total.shape[1] // groups)
    ground = jnp.einsum(
        "gi,igo->go",
        background.reshape(groups, -1),
        each,
        precision=jax.lax.Precision.HIGHEST,
    )
    return ground.reshape(-1)
