"""ILA-SCNN's pruning: a weight that is small at two screenings in a row is removed for good."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax

from jaxsparse._core.checks import expected, traceable_integer, traceable_number

T = TypeVar("T")


class WarningShotPruningState(NamedTuple):
    """What :func:`warning_shot_pruning` remembers.

    Attributes:
      mask: a tree like the parameters of bool arrays, True = alive.
      warned: the same, True = small at the last screening.
      count: int32, updates so far.
    """

    mask: Any
    warned: Any
    count: Any


def warning_shot_pruning(
    threshold: float | jax.Array, every: int | jax.Array
) -> optax.GradientTransformation:
    """Removes weights that stay small, after one warning shot.

    At every ``every``-th update, that is, at the end of each epoch, the live weights are screened as they are after this
    update: one with ``|w| < threshold`` is warned; one that was warned at the screening before is removed: it becomes
    exactly 0 and stays so whatever its later updates. A weight that only crosses 0 once survives.

    It belongs at the end of a chain, and on kernels only, by ``optax.masked``: a bias has no pruning mask that its layer
    would obey. Other states of the chain (momenta, Adagrad's sums) are left alone. The mask is part of the state;
    ``nn.set_masks(model, optim.pruning_mask(opt_state))`` brings it to the layers.

    Args:
      threshold: finite, at least 0; may be traced.
      every: updates from one screening to the next, at least 1; may be traced.

    Raises:
      ValueError: ``threshold`` is negative or not finite, ``every`` is less than 1, either is an array that is no scalar;
        ``params`` is missing at the update.
      TypeError: either is no number, ``every`` no integer.

    Source: ILA-SCNN, section 3.6.

    Example:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from jaxsparse import optim
      >>> optimiser = optax.chain(optax.sgd(0.1), optim.warning_shot_pruning(0.01, every=1))
      >>> params = {"kernel": jnp.array([1.0, 0.001])}
      >>> state = optimiser.init(params)
      >>> for _ in range(2):
      ...     updates, state = optimiser.update({"kernel": jnp.zeros(2)}, state, params)
      ...     params = optax.apply_updates(params, updates)
      >>> params["kernel"]
      Array([1., 0.], dtype=float32)
      >>> optim.pruning_mask(state)["kernel"]
      Array([ True, False], dtype=bool)
    """
    name = "warning_shot_pruning"
    threshold = traceable_number(name, "threshold", threshold, low=0)
    every = traceable_integer(name, "every", every, minimum=1)

    def init(params: Any) -> WarningShotPruningState:
        return WarningShotPruningState(
            mask=jax.tree.map(lambda w: jnp.ones(jnp.shape(w), bool), params),
            warned=jax.tree.map(lambda w: jnp.zeros(jnp.shape(w), bool), params),
            count=jnp.zeros((), jnp.int32),
        )

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            raise ValueError(expected(name, "params", "given: what is small is a weight", None))
        count = jnp.asarray(optax.safe_increment(state.count))
        screening = count % every == 0
        small = jax.tree.map(lambda w, u: jnp.abs(_sum(w, u)) < threshold, params, updates)
        mask = jax.tree.map(
            lambda alive, warned, small: alive & ~(screening & warned & small),
            *(state.mask, state.warned, small),
        )
        warned = jax.tree.map(
            lambda alive, warned, small: jnp.where(screening, small & alive, warned),
            *(mask, state.warned, small),
        )
        updates = jax.tree.map(_onto_zero, mask, updates, params)
        return updates, WarningShotPruningState(mask, warned, count)

    return optax.GradientTransformation(init, update)


def _sum(weight: jax.Array, update: jax.Array) -> jax.Array:
    """The weight as ``optax.apply_updates`` makes it."""
    dtype = jnp.promote_types(update.dtype, weight.dtype)
    return (weight.astype(dtype) + update.astype(dtype)).astype(weight.dtype)


def _onto_zero(alive: jax.Array, update: jax.Array, weight: jax.Array) -> jax.Array:
    """The update, which leads a dead weight to exactly 0: ``-w`` needs all digits of the weight."""
    dtype = jnp.promote_types(update.dtype, weight.dtype)
    return jnp.where(alive, update.astype(dtype), -weight.astype(dtype))


def pruning_mask(opt_state: Any) -> Any:
    """The mask of :func:`warning_shot_pruning` within an optimiser's state.

    It is found through ``optax.chain``, ``masked``, ``MultiSteps``, ``inject_hyperparams`` and the like, and in an
    ``nnx.Optimizer``.

    Args:
      opt_state: the state of a transformation, or an ``nnx.Optimizer``.

    Returns:
      A tree like the parameters: bool arrays, True = alive; ``None`` for parameters that ``optax.masked`` leaves out.

    Raises:
      ValueError: ``opt_state`` holds no such mask, or several.

    Example:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from jaxsparse import optim
      >>> kernels = optax.masked(
      ...     optim.warning_shot_pruning(0.01, 100), {"kernel": True, "bias": False}
      ... )
      >>> state = kernels.init({"kernel": jnp.ones(2), "bias": jnp.ones(1)})
      >>> optim.pruning_mask(state)
      {'bias': None, 'kernel': Array([ True,  True], dtype=bool)}
    """
    states = [leaf for leaf in jax.tree.leaves(_pure(opt_state), is_leaf=_ours) if _ours(leaf)]
    if len(states) != 1:
        found = f"{type(opt_state).__name__} with {len(states)} of them"
        wording = "the state of one warning_shot_pruning, or of what wraps it"
        raise ValueError(expected("pruning_mask", "opt_state", wording, found))
    left_out = _is_left_out
    return jax.tree.map(lambda m: None if left_out(m) else m, states[0].mask, is_leaf=left_out)


def revive(opt_state: T) -> T:
    """Re-opens removed weights, at 0: what ILA-SCNN advises before a pruned network learns something else.

    Args:
      opt_state: the state of a transformation with one or more :func:`warning_shot_pruning`, or the ``opt_state`` of an
        ``nnx.Optimizer`` (``optimizer.opt_state = optim.revive(optimizer.opt_state)``).

    Returns:
      The same with all weights alive and none warned. The layers learn of it from ``nn.set_masks``, as ever.

    Raises:
      ValueError: there is nothing to revive.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxsparse import optim
      >>> state = optim.warning_shot_pruning(0.01, 100).init(jnp.ones(2))
      >>> state = state._replace(mask=jnp.array([True, False]))
      >>> optim.revive(state).mask
      Array([ True,  True], dtype=bool)
    """
    if not any(map(_ours, jax.tree.leaves(opt_state, is_leaf=_ours))):
        wording = "the state of a warning_shot_pruning, or of what wraps it"
        raise ValueError(expected("revive", "opt_state", wording, type(opt_state).__name__))
    return _map_ours(
        lambda state: WarningShotPruningState(
            mask=jax.tree.map(jnp.ones_like, state.mask),
            warned=jax.tree.map(jnp.zeros_like, state.warned),
            count=state.count,
        ),
        opt_state,
    )


def _map_ours(change: Callable[[WarningShotPruningState], WarningShotPruningState], tree: T) -> T:
    return jax.tree.map(lambda leaf: change(leaf) if _ours(leaf) else leaf, tree, is_leaf=_ours)


def _ours(node: Any) -> bool:
    return isinstance(node, WarningShotPruningState)


def _is_left_out(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _pure(opt_state: Any) -> Any:
    """Arrays instead of Flax's variables."""
    from flax import nnx  # takes a second to import

    if isinstance(opt_state, nnx.Optimizer):
        opt_state = opt_state.opt_state
    return nnx.as_pure(opt_state)
