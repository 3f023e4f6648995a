"""Batch normalisation as a Flax layer."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsparse import direct, voxel
from jaxsparse._core.checks import expected
from jaxsparse._core.entries import wide_dtype
from jaxsparse.direct.tensor import check_tensor
from jaxsparse.nn.variables import assign
from jaxsparse.voxel.tensor import check_tensor as check_voxels


class BatchNorm(nnx.BatchNorm):
    """``flax.nnx.BatchNorm`` that also takes a ``SparseTensor`` or a ``VoxelTensor``: statistics over what is *stored*.

    Constructor, parameters, running statistics (``nnx.BatchStat``) and the switching by ``train()`` and ``eval()`` are
    those of ``nnx.BatchNorm``, so that its weights drop in unchanged; arrays are handed on to it. For a
    ``SparseTensor``:

    * mean and biased variance are those of the stored entries of the whole batch (:func:`direct.batch_statistics`),
      a stored 0 included; the variance takes two passes whatever ``use_fast_variance`` says;
    * a channel without an entry keeps its running statistics;
    * keys stay: ``bias`` reaches stored entries only;
    * statistics and normalisation are in float32 (float64), whatever ``dtype`` is; ``promote_dtype`` has no effect.

    For a ``VoxelTensor`` they are those of the active sites (:func:`voxel.batch_statistics`); the background goes through
    the same affine map.

    Under automatic partitioning the statistics are those of the batch on all devices; inside ``shard_map`` give
    ``axis_name``.

    Args:
      num_features: number of channels.
      use_running_average: normalise by the running statistics and do not update them.
      axis: -1, the channels; another axis for arrays only.
      momentum: decay rate of the running statistics.
      epsilon: what is added to the variance.
      dtype: the type of the result (default: inferred from input and parameters).
      param_dtype: the type of scale and bias.
      use_bias: whether to add a bias.
      use_scale: whether to multiply by a scale.
      bias_init: initialiser of the bias.
      scale_init: initialiser of the scale.
      axis_name: mesh axis over whose devices the batch is spread, inside ``shard_map``.
      axis_index_groups: groups of devices along it.
      use_fast_variance: see above.
      promote_dtype: see above.
      rngs: ``nnx.Rngs`` with a ``params`` stream.

    Source: batch normalisation (Ioffe and Szegedy) over active entries.

    Example usage::

      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import direct, nn

      >>> x = direct.SparseTensor.from_dense(jnp.array([[[1.0], [0.0], [5.0]]]), capacity=2)
      >>> layer = nn.BatchNorm(1, momentum=0.5, rngs=nnx.Rngs(0))
      >>> layer(x).values.round(3).tolist()
      [[[-1.0, 1.0]]]
      >>> layer.mean[...].tolist(), layer.var[...].tolist()
      ([1.5], [2.5])
      >>> layer.eval()
      >>> layer(x).keys.tolist()
      [[[0, 2]]]
    """

    def __call__(
        self, x: Any, use_running_average: bool | None = None, *, mask: jax.Array | None = None
    ) -> Any:
        """Normalises ``x`` and, unless it uses the running statistics, updates them.

        Args:
          x: ``SparseTensor`` or ``VoxelTensor`` of ``num_features`` channels, or an array as ``nnx.BatchNorm`` takes it.
          use_running_average: takes precedence over that of the layer.
          mask: for arrays only.

        Returns:
          The same kind as ``x``.

        Raises:
          ValueError: ``x`` has other channels, or a container came with ``mask`` or another ``axis``.
        """
        if isinstance(x, direct.SparseTensor):
            check_tensor("BatchNorm", "x", x)
        elif isinstance(x, voxel.VoxelTensor):
            check_voxels("BatchNorm", "x", x)
        else:
            return super().__call__(x, use_running_average, mask=mask)
        container = type(x).__name__
        if use_running_average is None:
            use_running_average = self.use_running_average
        if mask is not None:
            what = type(mask).__name__
            raise ValueError(expected("BatchNorm", "mask", f"None for this {container}", what))
        for name, value, wanted in (
            ("axis", self.axis, -1),
            ("the number of channels", x.channels, self.num_features),
        ):
            if value != wanted:
                wording = f"{wanted} for this {container}"
                raise ValueError(expected("BatchNorm", name, wording, value))
        if use_running_average is None:
            wording = "given to the constructor, to the call or by train() and eval()"
            raise ValueError(expected("BatchNorm", "use_running_average", wording, None))

        scale = None if self.scale is None else self.scale[...]
        bias = None if self.bias is None else self.bias[...]
        mean, var = self.mean[...], self.var[...]
        dtype = self.dtype
        if dtype is None:
            present = [v for v in (_stored(x), mean, var, scale, bias) if v is not None]
            dtype = jnp.result_type(*present)
        x = cast(x, dtype)
        sparse = isinstance(x, direct.SparseTensor)
        if not use_running_average:
            statistics = direct.batch_statistics if sparse else voxel.batch_statistics
            found = statistics(
                x, axis_name=self.axis_name, axis_index_groups=self.axis_index_groups
            )
            *_, counted = found
            assign(self.mean, updated(self.momentum, mean, found.mean, counted))
            assign(self.var, updated(self.momentum, var, found.var, counted))
            mean, var = found.mean, found.var
        wide = wide_dtype(dtype)
        numbers = (None if v is None else v.astype(wide) for v in (scale, bias, mean, var))
        scale, bias, mean, var = numbers
        normalise = direct.batch_norm if sparse else voxel.batch_norm
        return normalise(x, scale, bias, mean=mean, var=var, epsilon=self.epsilon)


def _stored(x: Any) -> jax.Array:
    return x.values if isinstance(x, direct.SparseTensor) else x.features


def cast(x: Any, dtype: Any) -> Any:
    """A container of another dtype."""
    if isinstance(x, direct.SparseTensor):
        return x.replace(values=x.values.astype(dtype))
    background = None if x.background is None else x.background.astype(dtype)
    return x.replace(features=x.features.astype(dtype), background=background)


def updated(momentum: float, running: jax.Array, found: jax.Array, counted: jax.Array) -> jax.Array:
    """The running statistic after a batch; where nothing was counted it stays."""
    found = jax.lax.stop_gradient(found).astype(running.dtype)
    mixed = momentum * running + (1 - momentum) * found
    return jnp.where(counted > 0, mixed, running)
