"""Warning-shot pruning: warn, recover, warn twice, remove for good; masks through every wrapper."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx, serialization

from jaxsparse import nn, optim
from jaxsparse.optim import WarningShotPruningState

pytestmark = pytest.mark.core


def follow(weights, threshold=1 / 8, every=1):
    """A single weight led through the given values; the masks after each update."""
    transform = optim.warning_shot_pruning(threshold, every)
    w = jnp.array([weights[0]])
    state = transform.init(w)
    alive, values = [], []
    for wanted in weights[1:]:
        updates, state = transform.update(jnp.array([wanted]) - w, state, w)
        w = optax.apply_updates(w, updates)
        alive.append(bool(state.mask[0]))
        values.append(float(w[0]))
    return alive, values, state


@pytest.mark.parametrize(
    "weights, every, alive",
    [
        ([1, 1 / 16, 1 / 16], 1, [True, False]),
        ([1, 1 / 16, -1 / 16], 1, [True, False]),
        (
            [1, 1 / 16, 1, 1 / 16],
            1,
            [True, True, True],
        ),  # recovered: the next is a first warning again
        ([1, 1 / 16, 1, 1 / 16, 0], 1, [True, True, True, False]),
        ([1, 1 / 8, 1 / 8, 1 / 8], 1, [True, True, True]),  # at the threshold is not below it
        ([1, 0, 0, 0, 0], 2, [True, True, True, False]),
        ([1, 0, 1, 0, 1], 2, [True, True, True, True]),  # small between screenings only
        ([1, 1, 0, 1, 0], 2, [True, True, True, False]),  # small at both screenings
        ([1, np.nan, np.nan], 1, [True, True]),
        ([1, np.inf], 1, [True]),
    ],
)
def test_a_weight_is_removed_at_the_second_warning_in_a_row(weights, every, alive):
    found, values, _ = follow([float(w) for w in weights], every=every)
    assert found == alive
    for wanted, value, lives in zip(weights[1:], values, alive, strict=True):
        np.testing.assert_equal(value, np.float32(wanted) if lives else 0.0)


def test_a_removed_weight_never_comes_back_and_revive_reopens_it_at_zero():
    transform = optim.warning_shot_pruning(0.1, 1)
    w, state = jnp.array([0.01, 1.0]), transform.init(jnp.array([0.01, 1.0]))
    for _ in range(2):
        updates, state = transform.update(jnp.zeros(2), state, w)
        w = optax.apply_updates(w, updates)
    for _ in range(3):
        updates, state = transform.update(jnp.full(2, 5.0), state, w)
        w = optax.apply_updates(w, updates)
        assert w[0] == 0 and not state.mask[0] and state.mask[1]
    state = optim.revive(state)
    assert state.mask.all() and not state.warned.any() and state.count == 5
    updates, state = transform.update(jnp.full(2, 5.0), state, w)
    np.testing.assert_array_equal(optax.apply_updates(w, updates), [5.0, 21.0])


@pytest.mark.parametrize("weight_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("update_dtype", ["float32", "bfloat16"])
def test_removal_is_exact_in_mixed_precision(weight_dtype, update_dtype, optax_promotes):
    w = jnp.array([0.0123456, 3.0], weight_dtype)
    transform = optim.warning_shot_pruning(0.1, 1)
    state = transform.init(w)
    for _ in range(2):
        updates, state = transform.update(jnp.zeros(2, update_dtype), state, w)
        w = optax.apply_updates(w, updates)
    assert w.dtype == weight_dtype and w[0] == 0 and w[1] == 3


def test_other_states_are_left_alone(optax_promotes):
    """Momenta and Adagrad's sums are those of a run without pruning, until a removal changes the gradients."""
    params = {"kernel": jnp.array([1.0, 0.01, -2.0])}
    gradients = {"kernel": jnp.array([0.1, 0.0, 0.3])}
    plain = optax.chain(optax.trace(0.9), optax.scale_by_rss(), optax.scale(-0.1))
    pruned = optax.chain(plain, optim.warning_shot_pruning(0.05, 1))
    plain_state, state = plain.init(params), pruned.init(params)
    for _ in range(4):
        _, plain_state = plain.update(gradients, plain_state, params)
        updates, state = pruned.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    assert params["kernel"][1] == 0
    jax.tree.map(np.testing.assert_array_equal, state[0], plain_state)


def prune_twice(optimiser, params, **extra):
    state = optimiser.init(params)
    zeros = jax.tree.map(jnp.zeros_like, params)
    for _ in range(2):
        updates, state = jax.jit(optimiser.update)(zeros, state, params, **extra)
        params = optax.apply_updates(params, updates)
    return params, state


PRUNING = optim.warning_shot_pruning(0.1, 1)
KERNELS = {"bias": False, "kernel": True}
WRAPPED = {
    "chain": optax.chain(optax.scale(-0.1), PRUNING),
    "masked": optax.masked(PRUNING, KERNELS),
    "masked chain": optax.chain(optax.adam(1e-3), optax.masked(PRUNING, KERNELS)),
    "MultiSteps": optax.MultiSteps(optax.masked(PRUNING, KERNELS), 1).gradient_transformation(),
    "inject_hyperparams": optax.inject_hyperparams(optim.warning_shot_pruning)(0.1, every=1),
    "flatten": optax.named_chain(("a", optax.scale(1.0)), ("b", PRUNING)),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_the_mask_is_found_through(name, optax_promotes):
    params = {"bias": jnp.array([0.0]), "kernel": jnp.array([0.0, 1.0])}
    params, state = prune_twice(WRAPPED[name], params)
    mask = optim.pruning_mask(state)
    np.testing.assert_array_equal(mask["kernel"], [False, True])
    assert (mask["bias"] is None) == ("masked" in name or name == "MultiSteps")
    assert optim.pruning_mask(optim.revive(state))["kernel"].all()


def test_every_and_threshold_may_be_traced():
    def masks(threshold, every):
        transform = optim.warning_shot_pruning(threshold, every)
        w = jnp.array([0.01, 0.5])
        _, state = transform.update(jnp.zeros(2), transform.init(w), w)
        return transform.update(jnp.zeros(2), state, w)[1].mask

    traced = jax.jit(masks)
    np.testing.assert_array_equal(traced(jnp.float32(0.1), jnp.int32(1)), [False, True])
    np.testing.assert_array_equal(traced(jnp.float32(1.0), jnp.int32(1)), [False, False])
    np.testing.assert_array_equal(traced(jnp.float32(0.1), jnp.int32(2)), [True, True])


def test_state_survives_a_checkpoint():
    _, _, state = follow([1.0, 1 / 16])
    buffer = io.BytesIO(serialization.msgpack_serialize(serialization.to_state_dict(state)))
    template = optim.warning_shot_pruning(0.1, 1).init(jnp.zeros(1))
    restored = serialization.from_state_dict(template, serialization.msgpack_restore(buffer.read()))
    assert isinstance(restored, WarningShotPruningState)
    _, after = optim.warning_shot_pruning(0.1, 1).update(
        jnp.zeros(1), restored, jnp.array([1 / 16])
    )
    assert not after.mask[0]


def test_in_an_nnx_optimizer_the_mask_reaches_the_layers_in_the_jitted_step(optax_promotes):
    model = nn.DirectConv(1, 4, (3, 3), capacity=20, rngs=nnx.Rngs(0))

    def is_kernel(params):
        return jax.tree_util.tree_map_with_path(
            lambda path, _: "kernel" in jax.tree_util.keystr(path), params
        )

    optimizer = nnx.Optimizer(
        model, optax.masked(optim.warning_shot_pruning(0.1, 1), is_kernel), wrt=nnx.Param
    )

    @nnx.jit
    def step(model, optimizer):
        gradients = jax.tree.map(jnp.zeros_like, nnx.state(model, nnx.Param))
        optimizer.update(model, gradients)
        nn.set_masks(model, optim.pruning_mask(optimizer))

    expected = np.abs(np.asarray(model.kernel[...])) >= 0.1
    for _ in range(2):
        step(model, optimizer)
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(model.mask[...], expected)
    np.testing.assert_array_equal(np.asarray(model.kernel[...]) != 0, expected)
    optimizer.opt_state = optim.revive(optimizer.opt_state)
    step(model, optimizer)
    assert model.mask[...].all()


@pytest.mark.parametrize(
    "arguments, error, match",
    [
        ((-1.0, 1), ValueError, r"threshold must be finite and at least 0, got -1.0"),
        ((np.nan, 1), ValueError, r"threshold must be finite"),
        (("a", 1), TypeError, r"threshold must be a number"),
        ((0.1, 0), ValueError, r"every must be at least 1, got 0"),
        ((0.1, 1.5), TypeError, r"every must be an integer, got 1.5"),
        ((0.1, jnp.array(1.5)), TypeError, r"every must be an integer, got float32"),
    ],
)
def test_bad_arguments(arguments, error, match):
    with pytest.raises(error, match=match):
        optim.warning_shot_pruning(*arguments)


def test_bad_states():
    transform = optim.warning_shot_pruning(0.1, 1)
    state = transform.init(jnp.ones(1))
    with pytest.raises(ValueError, match="params must be given"):
        transform.update(jnp.ones(1), state)
    for bad in (optax.adam(0.1).init(jnp.ones(1)), (state, state)):
        with pytest.raises(ValueError, match="pruning_mask: opt_state must be the state of one"):
            optim.pruning_mask(bad)
    with pytest.raises(ValueError, match="revive: opt_state must be the state"):
        optim.revive(optax.adam(0.1).init(jnp.ones(1)))
