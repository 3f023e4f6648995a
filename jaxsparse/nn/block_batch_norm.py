"""Batch normalisation of gathered blocks as a Flax layer."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsparse import block
from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse._core.entries import wide_dtype
from jaxsparse.block.indices import check_blocks
from jaxsparse.nn.batch_norm import updated
from jaxsparse.nn.tile_weights import tile_weights
from jaxsparse.nn.variables import assign


class BlockBatchNorm(nnx.BatchNorm):
    """``flax.nnx.BatchNorm`` that also takes gathered blocks: statistics over the pixels of the active tiles.

    Constructor, parameters, running statistics (``nnx.BatchStat``) and the switching by ``train()`` and ``eval()`` are
    those of ``nnx.BatchNorm``, so that its weights drop in unchanged; without ``blocks`` the call is handed on to it. With
    ``blocks`` the input is what ``block.gather`` returned, or what the convolutions of a chain made of it, so that one
    gather serves a whole residual unit:

    * mean and biased variance are those of the pixels under the active tiles; a pixel that several windows hold counts
      once, one outside the image not at all. With all blocks active and ``"SAME"`` padding at stride 1 that is the whole
      image;
    * the variance takes two passes whatever ``use_fast_variance`` says;
    * no active block (on no device, with ``axis_name``): the running statistics stay;
    * statistics and normalisation are in float32 (float64), whatever ``dtype`` is; ``promote_dtype`` has no effect.

    Args:
      num_features: number of channels.
      use_running_average: normalise by the running statistics and do not update them.
      axis: -1, the channels; another axis without ``blocks`` only.
      momentum: decay rate of the running statistics.
      epsilon: what is added to the variance.
      dtype: the type of the result (default: inferred from input and parameters).
      param_dtype: the type of scale and bias.
      use_bias: whether to add a bias.
      use_scale: whether to multiply by a scale.
      bias_init: initialiser of the bias.
      scale_init: initialiser of the scale.
      axis_name: mesh axis over whose devices the lists are spread, inside ``shard_map``.
      axis_index_groups: groups of devices along it.
      use_fast_variance: see above.
      promote_dtype: see above.
      rngs: ``nnx.Rngs`` with a ``params`` stream.

    Source: SBNet's batch normalisation over active blocks (Ren et al., 2018), which counts halo and padding, too.

    Example usage::

      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import block, nn

      >>> x = jnp.arange(1.0, 7.0).reshape(1, 6, 1)
      >>> blocks = block.reduce_mask(x[..., 0] > 5, block.geometry((6,), 4, kernel_sizes=3))
      >>> layer = nn.BlockBatchNorm(1, momentum=0.5, rngs=nnx.Rngs(0))
      >>> y = layer(block.gather(x, blocks), blocks=blocks, batch_size=1)
      >>> y.shape, layer.mean[...].tolist()  # tile 2 has pixels 5 and 6
      ((3, 4, 1), [2.75])
    """

    def __call__(
        self,
        x: Any,
        use_running_average: bool | None = None,
        *,
        blocks: block.BlockIndices | None = None,
        level: int = 0,
        batch_size: int | None = None,
        mask: jax.Array | None = None,
    ) -> Any:
        """Normalises ``x`` and, unless it uses the running statistics, updates them.

        Args:
          x: with ``blocks`` ``[M, *size, num_features]``, the boxes of ``blocks.geometry.levels[level]``; else an array as
            ``nnx.BatchNorm`` takes it.
          use_running_average: takes precedence over that of the layer.
          blocks: :class:`jaxsparse.block.BlockIndices` of capacity M.
          level: 0 for what ``block.gather`` returns, 1 behind the first convolution of the chain, and so on.
          batch_size: images; needed with ``blocks`` where statistics are taken.
          mask: without ``blocks`` only.

        Returns:
          An array like ``x``.

        Raises:
          ValueError: a shape that does not fit, no such level, ``mask`` or another ``axis`` with ``blocks``, no
            ``batch_size``.
          TypeError: ``blocks`` is no ``BlockIndices``.
        """
        if blocks is None:
            return super().__call__(x, use_running_average, mask=mask)
        name = "BlockBatchNorm"
        check_blocks(name, "blocks", blocks)
        levels = len(blocks.geometry.levels)
        level = checks.integer(name, "level", level, minimum=-levels)
        if level >= levels:
            wording = f"one of {levels} levels, 0 to {levels - 1} or from the end"
            raise ValueError(expected(name, "level", wording, level))
        x = checks.float_array(name, "x", x)
        shape = (blocks.capacity, *blocks.geometry.levels[level].size, self.num_features)
        checks.shape(name, "x", x, shape, "[M, *size of that level, num_features]")
        if self.axis != -1:
            raise ValueError(expected(name, "axis", "-1 with blocks", self.axis))
        if mask is not None:
            what = type(mask).__name__
            raise ValueError(expected(name, "mask", "None with blocks", what))
        if use_running_average is None:
            use_running_average = self.use_running_average
        if use_running_average is None:
            wording = "given to the constructor, to the call or by train() and eval()"
            raise ValueError(expected(name, "use_running_average", wording, None))

        scale = None if self.scale is None else self.scale[...]
        bias = None if self.bias is None else self.bias[...]
        mean, var = self.mean[...], self.var[...]
        dtype = self.dtype
        if dtype is None:
            dtype = jnp.result_type(*(v for v in (x, mean, var, scale, bias) if v is not None))
        wide = wide_dtype(dtype)
        x, mean, var = x.astype(wide), mean.astype(wide), var.astype(wide)
        if not use_running_average:
            if batch_size is None:
                wording = "the number of images where statistics are taken"
                raise ValueError(expected(name, "batch_size", wording, None))
            batch_size = checks.integer(name, "batch_size", batch_size, minimum=0)
            weights = tile_weights(blocks, level, batch_size)
            count, mean, var = self._statistics(x, weights.astype(wide))
            for running, found in ((self.mean, mean), (self.var, var)):
                assign(running, updated(self.momentum, running[...], found, count))
        factor = jax.lax.rsqrt(var + jnp.asarray(self.epsilon, wide))
        if scale is not None:
            factor = factor * scale.astype(wide)
        y = (x - _row(mean, x.ndim)) * _row(factor, x.ndim)
        if bias is not None:
            y = y + _row(bias.astype(wide), x.ndim)
        return y.astype(dtype)

    def _statistics(self, x: jax.Array, weights: jax.Array) -> tuple[jax.Array, ...]:
        """How many pixels count, their mean and variance."""
        axes = tuple(range(x.ndim - 1))

        def total(values: jax.Array) -> jax.Array:
            found = jnp.sum(values, axes)
            if self.axis_name is None:
                return found
            groups = self.axis_index_groups
            return jax.lax.psum(found, self.axis_name, axis_index_groups=groups)

        weights = weights[..., None]
        counted = weights > 0
        count = total(weights)  # [1]
        each = 1 / jnp.maximum(count, 1)
        mean = total(jnp.where(counted, x * weights, 0)) * each  # what does not count may be NaN
        centred = jnp.where(counted, x - _row(mean, x.ndim), 0)
        return count, mean, total(weights * centred**2) * each


def _row(vector: jax.Array, rank: int) -> jax.Array:
    return vector.reshape(*(1,) * (rank - 1), -1)
