"""ILA-SCNN's density regularisation: a weight decay that follows how full the layers are."""

from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import optax

from jaxsparse._core.checks import array, expected, shape, traceable_number

NAME = "adaptive_density_decay"


class AdaptiveDensityDecayState(NamedTuple):
    """What :func:`adaptive_density_decay` remembers.

    Attributes:
      bias: a tree like the parameters: b of Eq. 4 for each output channel, the last axis of a kernel.
    """

    bias: Any


def adaptive_density_decay(
    scale: float | jax.Array,
    bound: float | jax.Array | Any,
    *,
    offset: float | jax.Array = 0.1,
    gain_over: float | jax.Array = 0.1,
    gain_under: float | jax.Array = 0.1,
    momentum: float | jax.Array = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """Adds the gradient of ``scale / 2 * sum((w + b)^2)`` to the gradients; b follows the densities of the layers.

    With the density rho of a layer's responses before selection and its bound (Eq. 4)::

      b = offset + gain_over * (rho - bound)    if rho > bound      (weights are pushed down: fewer responses)
      b = -gain_under * (bound - rho)           otherwise           (there is room: weights are pushed up)

    and, with momentum m, ``b <- (1 - m) * b_new + m * b`` from b = 0. It belongs at the front of a chain: it is part of
    the loss. b = 0 is ``optax.add_decayed_weights(scale)``.

    ``update(updates, state, params, density=densities, mask=None)`` takes two trees like the parameters:

    - ``density``: scalars, or ``[out]`` for a b of every output channel; a parameter with ``None``, or without an entry,
      is left alone. ``nn.densities(model)`` gives what the layers measured.
    - ``mask``: pruning masks, True = alive (:func:`jaxsparse.optim.pruning_mask`); a dead weight is left alone, and with
      it what later transforms remember of it. ``None``, or an entry of ``None``: all are alive.

    Args:
      scale: at least 0.
      bound: the densities to stay below, 0 to 1: one for all, or a tree like the parameters.
      offset: the o of Eq. 4, at least 0.
      gain_over: its b1, at least 0.
      gain_under: its b2, at least 0.
      momentum: 0 (b follows at once) up to, but not, 1. The authors' code used .95.

    Every number may be traced.

    Raises:
      ValueError: a number is out of range; ``params`` or ``density`` is missing at the update; a density is neither a
        scalar nor of shape ``[out]``, a mask not of the parameter's shape.
      TypeError: not a number; a mask is not bool.

    Source: ILA-SCNN, section 3.5, Eq. 4; ``gain_over``, ``gain_under`` and ``offset`` are its b1, b2 and o.

    Example:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from jaxsparse import optim
      >>> decay = optim.adaptive_density_decay(0.5, bound=0.05)
      >>> params = {"kernel": jnp.ones((3, 3, 1, 2)), "bias": jnp.ones(2)}
      >>> gradients = {"kernel": jnp.zeros((3, 3, 1, 2)), "bias": jnp.zeros(2)}
      >>> state = decay.init(params)
      >>> full = {"kernel": 0.15, "bias": None}  # too full: b = .1 + .1 * (.15 - .05)
      >>> updates, state = decay.update(gradients, state, params, density=full)
      >>> updates["kernel"][0, 0, 0]
      Array([0.555, 0.555], dtype=float32)
    """
    scale = _checked("scale", scale)
    offset = _checked("offset", offset)
    gain_over = _checked("gain_over", gain_over)
    gain_under = _checked("gain_under", gain_under)
    momentum = _checked("momentum", momentum, high=1)
    if not isinstance(momentum, jax.core.Tracer) and float(momentum) == 1:
        raise ValueError(expected(NAME, "momentum", "less than 1", momentum))
    bound = jax.tree.map(lambda b: _checked("bound", b, high=1), bound)
    if not jax.tree.leaves(bound):
        wording = "a density, or a tree with one for at least one parameter"
        raise ValueError(expected(NAME, "bound", wording, bound))

    def init(params: Any) -> AdaptiveDensityDecayState:
        return AdaptiveDensityDecayState(
            jax.tree.map(
                lambda w: jnp.zeros(w.shape[-1:], jnp.promote_types(w.dtype, jnp.float32)), params
            )
        )

    def update(
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        density: Any = None,
        mask: Any = None,
        **_: Any,
    ) -> tuple[Any, Any]:
        if params is None:
            raise ValueError(expected(NAME, "params", "given: it decays weights", None))
        if density is None:
            raise ValueError(expected(NAME, "density", "given (see nn.densities)", None))
        densities, bounds, masks = _Entries(density), _Entries(bound), _Entries(mask)

        def new_bias(path, b):
            rho, limit = densities.at(path), bounds.at(path)
            if rho is None or limit is None:
                return b
            rho = _of_channels(path, rho, b)
            excess = rho - jnp.asarray(limit, b.dtype)
            target = jnp.where(excess > 0, offset + gain_over * excess, gain_under * excess)
            return ((1 - momentum) * target + momentum * b).astype(b.dtype)

        def decayed(path, u, w, b):
            if densities.at(path) is None or bounds.at(path) is None:
                return u
            of_channels = b.reshape((1,) * (w.ndim - b.ndim) + b.shape)
            pull = (scale * (w.astype(b.dtype) + of_channels)).astype(u.dtype)
            alive = _mask(path, masks.at(path), w)
            return u + (pull if alive is None else jnp.where(alive, pull, jnp.zeros_like(pull)))

        bias = jax.tree_util.tree_map_with_path(new_bias, state.bias)
        updates = jax.tree_util.tree_map_with_path(decayed, updates, params, bias)
        return updates, AdaptiveDensityDecayState(bias)

    return optax.GradientTransformationExtraArgs(init, update)


class _Entries:
    """What a tree has for a parameter, by its path: the parameters may be fewer (``optax.masked``), or the entries."""

    def __init__(self, tree: Any):
        leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
        self._entries = {_without_variables(path): leaf for path, leaf in leaves}
        self._for_all = self._entries.get(())  # one number instead of a tree

    def at(self, path: tuple[Any, ...]) -> Any:
        return self._entries.get(_without_variables(path), self._for_all)


def _without_variables(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same for arrays and for Flax's variables that hold them."""
    return tuple(key for key in path if key != jax.tree_util.GetAttrKey("value"))


def _of_channels(path: tuple[Any, ...], density: Any, bias: jax.Array) -> jax.Array:
    where = f"density{jax.tree_util.keystr(path)}"
    density = array(NAME, where, density).astype(bias.dtype)
    if density.ndim and density.shape != bias.shape:
        wording = f"a scalar or of shape {bias.shape}, a number for each output channel"
        raise ValueError(expected(NAME, where, wording, f"shape {density.shape}"))
    return jnp.broadcast_to(density, bias.shape)


def _mask(path: tuple[Any, ...], mask: Any, weight: jax.Array) -> jax.Array | None:
    if mask is None:
        return None
    where = f"mask{jax.tree_util.keystr(path)}"
    mask = array(NAME, where, mask)
    if mask.dtype != jnp.bool_:
        raise TypeError(expected(NAME, where, "of dtype bool", mask.dtype))
    shape(NAME, where, mask, weight.shape, "the parameter's")
    return mask


def _checked(argument: str, value: Any, high: float = float("inf")) -> Any:
    return traceable_number(NAME, argument, value, low=0, high=high)
