"""Dropout as a Flax layer."""

from typing import Any

import jax
from flax import nnx

from jaxsparse import direct, voxel
from jaxsparse._core.checks import expected


class Dropout(nnx.Dropout):
    """``flax.nnx.Dropout`` that also takes a ``SparseTensor`` or a ``VoxelTensor``: what is dropped stays stored and holds 0.

    Constructor, random streams and the switching by ``train()`` and ``eval()`` are those of ``nnx.Dropout``; arrays are
    handed on to it. For a ``SparseTensor`` see :func:`jaxsparse.direct.dropout`, for a ``VoxelTensor`` :func:`jaxsparse.voxel.dropout`.

    Args:
      rate: the share that is dropped, from 0 to 1.
      broadcast_dims: dimensions that share a mask; not for a ``SparseTensor``. For a ``VoxelTensor``, whose features are
        rows of channels, ``(0,)``: whole channels are dropped, of the background, too.
      deterministic: drop nothing.
      rng_collection: name of the random stream.
      rngs: ``nnx.Rngs`` or a stream; may come with the call instead.

    Example usage::

      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import direct, nn

      >>> x = direct.SparseTensor.from_dense(jnp.ones((1, 100, 1)))
      >>> layer = nn.Dropout(0.5, rngs=nnx.Rngs(0))
      >>> sorted(set(layer(x).values.ravel().tolist()))
      [0.0, 2.0]
      >>> layer.eval()
      >>> layer(x) is x
      True
    """

    def __call__(
        self,
        inputs: Any,
        *,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | jax.Array | None = None,
    ) -> Any:
        """Drops entries at random.

        Args:
          inputs: ``SparseTensor``, ``VoxelTensor``, or an array as ``nnx.Dropout`` takes it.
          deterministic: takes precedence over that of the layer.
          rngs: ``nnx.Rngs``, a stream or a key; takes precedence over that of the layer.

        Returns:
          The same kind as ``inputs``.

        Raises:
          TypeError: ``rngs`` is none of these.
          ValueError: there is no ``rngs``, neither here nor in the layer, or ``deterministic`` is nowhere given, or a
            container came with ``broadcast_dims`` that it does not have.
        """
        sparse = isinstance(inputs, direct.SparseTensor)
        if not sparse and not isinstance(inputs, voxel.VoxelTensor):
            return super().__call__(inputs, deterministic=deterministic, rngs=rngs)
        if deterministic is None:
            deterministic = self.deterministic
        if deterministic is None:
            wording = "given to the constructor, to the call or by train() and eval()"
            raise ValueError(expected("Dropout", "deterministic", wording, None))
        shared = tuple(self.broadcast_dims)
        if shared and (sparse or shared != (0,)):
            wording = "empty for a SparseTensor" if sparse else "empty or (0,) for a VoxelTensor"
            raise ValueError(expected("Dropout", "broadcast_dims", wording, self.broadcast_dims))
        if self.rate == 0.0 or deterministic:
            return inputs
        key = self._key(self.rngs if rngs is None else rngs)
        if sparse:
            return direct.dropout(inputs, self.rate, key)
        return voxel.dropout(inputs, self.rate, key, by_channel=bool(shared))

    def _key(self, rngs: Any) -> jax.Array:
        if isinstance(rngs, nnx.Rngs):
            return rngs[self.rng_collection]()
        if isinstance(rngs, nnx.RngStream):
            return rngs()
        if isinstance(rngs, jax.Array):
            return rngs
        wording = "nnx.Rngs, nnx.RngStream or a key, in the constructor or the call"
        error = ValueError if rngs is None else TypeError
        raise error(expected("Dropout", "rngs", wording, type(rngs).__name__))
