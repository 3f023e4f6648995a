"""The density regulariser is Eq. 4, by hand and against a plain training loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxsparse import direct, nn, optim

pytestmark = pytest.mark.core

W = jnp.arange(6.0).reshape(3, 2) - 2


def decayed(density, *, scale=0.5, bound=0.2, mask=None, **numbers):
    transform = optim.adaptive_density_decay(scale, bound, **numbers)
    updates, state = transform.update(
        jnp.ones_like(W), transform.init(W), W, density=density, mask=mask
    )
    return np.asarray(updates), np.asarray(state.bias)


@pytest.mark.parametrize(
    "density, b",
    [
        (0.5, 0.3 + 2 * (0.5 - 0.2)),  # too full
        (0.2, 0.0),  # at the bound
        (0.1, -4 * (0.2 - 0.1)),  # room left
        (0.0, -4 * 0.2),
    ],
)
def test_eq_4_on_both_sides_of_the_bound(density, b):
    updates, bias = decayed(density, offset=0.3, gain_over=2, gain_under=4)
    np.testing.assert_allclose(bias, [b, b], rtol=1e-6)
    np.testing.assert_allclose(updates, 1 + 0.5 * (np.asarray(W) + b), rtol=1e-6)


def test_a_density_for_each_output_channel():
    updates, bias = decayed(jnp.array([0.5, 0.1]), offset=0.3, gain_over=2, gain_under=4)
    np.testing.assert_allclose(bias, [0.9, -0.4], rtol=1e-6)
    np.testing.assert_allclose(updates, 1 + 0.5 * (np.asarray(W) + bias), rtol=1e-6)


def test_b_of_0_is_add_decayed_weights():
    updates, _ = decayed(0.7, scale=0.3, offset=0, gain_over=0, gain_under=0)
    plain = optax.add_decayed_weights(0.3)
    expected, _ = plain.update(jnp.ones_like(W), plain.init(W), W)
    np.testing.assert_array_equal(updates, expected)


def test_dead_weights_are_left_alone():
    mask = jnp.arange(6).reshape(3, 2) % 2 == 0
    updates, _ = decayed(0.5, mask=mask)
    full, _ = decayed(0.5)
    np.testing.assert_array_equal(updates, np.where(mask, full, 1))


def test_what_has_no_density_or_no_bound_is_left_alone():
    params = {"a": W, "b": W, "c": W, "d": W}
    transform = optim.adaptive_density_decay(0.5, {"a": 0.1, "b": None, "c": 0.1, "d": 0.1})
    state = transform.init(params)
    density = {"a": 0.5, "b": 0.5, "c": None}
    updates, _ = transform.update(params, state, params, density=density)
    assert (updates["a"] != W).any()
    for name in "bcd":
        np.testing.assert_array_equal(updates[name], W)


def test_momentum_is_a_low_pass():
    transform = optim.adaptive_density_decay(1.0, 0.2, gain_under=1, momentum=0.75)
    state, b = transform.init(W), 0.0
    for density in (0.0, 0.1, 0.5):
        _, state = transform.update(W, state, W, density=density)
        target = 0.1 + 0.1 * (density - 0.2) if density > 0.2 else density - 0.2
        b = 0.25 * target + 0.75 * b
        np.testing.assert_allclose(state.bias, [b, b], rtol=1e-6)


@pytest.mark.parametrize("wrap", ["masked", "chain", "inject_hyperparams", "MultiSteps"])
def test_it_works_within(wrap, optax_promotes):
    params = {"bias": jnp.ones(2), "kernel": W}
    kernels = {"bias": False, "kernel": True}
    plain = optim.adaptive_density_decay(0.5, 0.2)
    transform = {
        "masked": optax.masked(plain, kernels),
        "chain": optax.chain(plain, optax.scale(1.0)),
        "inject_hyperparams": optax.inject_hyperparams(optim.adaptive_density_decay)(0.5, 0.2),
        "MultiSteps": optax.MultiSteps(plain, 1).gradient_transformation(),
    }[wrap]
    density = {"bias": None, "kernel": jnp.float32(0.5)}
    updates, _ = jax.jit(transform.update)(
        jax.tree.map(jnp.ones_like, params), transform.init(params), params, density=density
    )
    np.testing.assert_array_equal(updates["kernel"], decayed(0.5)[0])
    np.testing.assert_array_equal(updates["bias"], 1.0)


def test_both_transforms_follow_a_plain_training_loop(optax_promotes):
    """50 steps of least squares with momentum, in float64 beside NumPy."""
    rng = np.random.default_rng(0)
    a, y = rng.normal(size=(20, 6)), rng.normal(size=(20, 3))
    densities = rng.uniform(0, 0.4, size=(50, 3))
    scale, bound, threshold, every, rate, m = 0.05, 0.2, 0.06, 5, 0.01, 0.9
    with jax.enable_x64(True):
        optimiser = optax.chain(
            optim.adaptive_density_decay(scale, bound, momentum=0.5),
            optax.sgd(rate, momentum=m),
            optim.warning_shot_pruning(threshold, every),
        )
        start = rng.normal(size=(6, 3)) * 0.1
        params = jnp.asarray(start)
        state = optimiser.init(params)

        @jax.jit
        def step(params, state, density):
            mask = optim.pruning_mask(state)
            gradient = jax.grad(lambda w: 0.5 * jnp.sum((a @ (w * mask) - y) ** 2))(params)
            updates, state = optimiser.update(gradient, state, params, density=density, mask=mask)
            return optax.apply_updates(params, updates), state

        for density in densities:
            params, state = step(params, state, jnp.asarray(density))

    w, alive, warned = start.copy(), np.ones((6, 3), bool), np.zeros((6, 3), bool)
    velocity, b = np.zeros((6, 3)), np.zeros(3)
    for n, density in enumerate(densities, 1):
        target = np.where(density > bound, 0.1 + 0.1 * (density - bound), 0.1 * (density - bound))
        b = 0.5 * target + 0.5 * b
        gradient = a.T @ (a @ (w * alive) - y) * alive + np.where(alive, scale * (w + b), 0)
        velocity = gradient + m * velocity
        w = np.where(alive, w - rate * velocity, 0)
        if n % every == 0:
            small = alive & (np.abs(w) < threshold)
            alive &= ~(small & warned)
            warned = small & alive
            w[~alive] = 0
    assert 0 < alive.sum() < alive.size
    np.testing.assert_array_equal(optim.pruning_mask(state), alive)
    np.testing.assert_allclose(params, w, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_layers_report_what_the_regulariser_needs(per, optax_promotes):
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.convs = nnx.List(
                [nn.DirectConv(i, 4, (3, 3), density=0.2, rngs=rngs) for i in (1, 4)]
            )
            self.head = nnx.Linear(4, 2, rngs=rngs)

        def __call__(self, x):
            for conv in self.convs:
                x = conv(x)
            return self.head(nn.global_avg_pool(x))

    model = Net(nnx.Rngs(0))
    x = direct.SparseTensor.from_dense(jnp.eye(8)[None, :, :, None], density=0.2)
    transform = optax.chain(optim.adaptive_density_decay(0.5, 0.2), optax.sgd(0.1))
    optimizer = nnx.Optimizer(model, transform, wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        gradients = nnx.grad(lambda model: jnp.sum(model(x) ** 2))(model)
        optimizer.update(model, gradients, density=nn.densities(model, per=per))
        return gradients

    before = nnx.state(model, nnx.Param)
    before = jax.tree.map(jnp.copy, before)
    gradients = step(model, optimizer)
    for i, conv in enumerate(model.convs):
        rho = np.asarray(conv.density[...])
        rho = np.full(4, rho.mean()) if per == "layer" else rho
        b = np.where(rho > 0.2, 0.1 + 0.1 * (rho - 0.2), 0.1 * (rho - 0.2))
        w = before["convs"][i]["kernel"][...]
        w = np.asarray(w)
        expected = w - 0.1 * (np.asarray(gradients["convs"][i]["kernel"][...]) + 0.5 * (w + b))
        np.testing.assert_allclose(conv.kernel[...], expected, rtol=1e-5, atol=1e-7)
    w = before["head"]["kernel"][...]
    expected = w - 0.1 * gradients["head"]["kernel"][...]
    np.testing.assert_allclose(model.head.kernel[...], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "arguments, error, match",
    [
        ({"scale": -1}, ValueError, "scale must be finite and at least 0"),
        ({"scale": "a"}, TypeError, "scale must be a number"),
        ({"bound": 1.5}, ValueError, "bound must be finite and at least 0 and at most 1, got 1.5"),
        ({"bound": {"kernel": -0.1}}, ValueError, "bound must be finite"),
        ({"offset": -0.1}, ValueError, "offset must be"),
        ({"gain_over": np.inf}, ValueError, "gain_over must be finite"),
        ({"gain_under": -1}, ValueError, "gain_under must be"),
        ({"momentum": 1}, ValueError, "momentum must be less than 1"),
    ],
)
def test_bad_arguments(arguments, error, match):
    with pytest.raises(error, match=match):
        optim.adaptive_density_decay(**{"scale": 1.0, "bound": 0.1} | arguments)


def test_bad_updates():
    transform = optim.adaptive_density_decay(1.0, 0.1)
    state = transform.init(W)
    with pytest.raises(ValueError, match="params must be given"):
        transform.update(W, state, density=0.1)
    with pytest.raises(ValueError, match="density must be given"):
        transform.update(W, state, W)
    with pytest.raises(ValueError, match=r"density must be a scalar or of shape \(2,\)"):
        transform.update(W, state, W, density=jnp.ones(3))
    with pytest.raises(ValueError, match="per must be 'layer' or 'channel', got 'filter'"):
        nn.densities(nn.DirectConv(1, 1, (3,), rngs=nnx.Rngs(0)), per="filter")  # pyright: ignore[reportArgumentType]
