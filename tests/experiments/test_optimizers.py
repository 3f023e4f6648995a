"""Optimisers and learning rates by name, against their definitions in plain Python."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.config import OptimizerConfig, completed, load_config
from experiments.errors import ConfigError
from experiments.optimizers import learning_rate, transformation
from tests.experiments.common import small_config
from tests.experiments.test_config import MNIST

TOTAL, EPOCH, BASE = 40, 10, 0.5


def cosine(done):
    return 0.5 * (1 + math.cos(math.pi * min(done, 1)))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"schedule": "cosine"}, lambda n: cosine(n / TOTAL)),
        ({"warmup_epochs": 0.5}, lambda n: min((n + 1) / 5, 1)),
        (
            {"schedule": "cosine", "warmup_epochs": 1},
            lambda n: min((n + 1) / 10, 1) * cosine(max(n - 10, 0) / 30),
        ),
        ({"schedule": "exponential", "decay_rate": 0.5}, lambda n: 0.5 ** (n / EPOCH)),
        (
            {"schedule": "exponential", "warmup_epochs": 1},
            lambda n: min((n + 1) / 10, 1) * 0.9 ** (max(n - 10, 0) / EPOCH),
        ),
        (
            {"schedule": "piecewise", "boundaries": (1, 2.5), "factors": (0.1, 2)},
            lambda n: (0.1 if n >= 10 else 1) * (2 if n >= 25 else 1),
        ),
    ],
)
def test_schedules(keys, expected):
    config = OptimizerConfig(learning_rate=BASE, **keys)
    rate = learning_rate(config, TOTAL, EPOCH)
    found = [float(rate(jnp.int32(n))) for n in range(TOTAL + 5)]
    np.testing.assert_allclose(found, [BASE * expected(n) for n in range(TOTAL + 5)], rtol=2e-5)


def test_a_constant_rate_is_a_number():
    assert learning_rate(OptimizerConfig(learning_rate=BASE), TOTAL, EPOCH) == BASE


def adagrad(gradients, rate):
    total, w = 0.1, 0.0
    for g in gradients:
        total += g * g
        w -= rate * g / math.sqrt(total + 1e-7)
    return w


def adam(gradients, rate):
    m = v = w = 0.0
    for n, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= rate * (m / (1 - 0.9**n)) / (math.sqrt(v / (1 - 0.999**n)) + 1e-8)
    return w


def sgd(momentum, nesterov=False):
    def run(gradients, rate):
        m = w = 0.0
        for g in gradients:
            m = momentum * m + g
            w -= rate * (g + momentum * m if nesterov else m)
        return w

    return run


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"kind": "adagrad"}, adagrad),
        ({"kind": "adam"}, adam),
        ({"kind": "sgd"}, sgd(0.9)),
        ({"kind": "sgd", "momentum": 0.0}, sgd(0.0)),
        ({"kind": "sgd", "momentum": 0.8, "nesterov": True}, sgd(0.8, nesterov=True)),
    ],
)
def test_optimisers(keys, expected):
    transform = transformation(OptimizerConfig(learning_rate=BASE, **keys), TOTAL, EPOCH)
    gradients, w = [0.5, -0.25, 1.0, 0.125], jnp.float32(0)
    state = transform.init(w)
    for g in gradients:
        with jax.numpy_dtype_promotion("standard"):  # Optax's adam mixes integers and floats
            update, state = transform.update(jnp.float32(g), state, w)
        w += update
    np.testing.assert_allclose(w, expected(gradients, BASE), rtol=1e-5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.kind=adamw", "'optimizer.kind': input should be 'adagrad', 'adam' or 'sgd'"),
        ("optimizer.schedule=linear", "'optimizer.schedule': input should be 'constant', 'cosine', 'exponential' or"),
        ("optimizer.schedule=piecewise", "boundaries and factors belong to schedule piecewise"),
        ("optimizer.boundaries=[1]", "boundaries and factors belong to schedule piecewise"),
        ("optimizer={schedule: piecewise, boundaries: [1, 2], factors: [1]}", "factors must be as many"),
        ("optimizer={schedule: piecewise, boundaries: [2, 1], factors: [1, 1]}", "boundaries must ascend"),
        ("optimizer={schedule: piecewise, boundaries: [0], factors: [1]}", "'optimizer.boundaries.0': input should be greater than 0"),
        ("optimizer.warmup_epochs=-1", "'optimizer.warmup_epochs': input should be greater than or equal to 0"),
        ("optimizer.decay_rate=0", "'optimizer.decay_rate': input should be greater than 0"),
        ("optimizer.nesterov=true", "nesterov is for sgd with a momentum"),
        ("pruning={}", "the key 'pruning.threshold' is missing"),
        ("pruning={threshold: -1}", "'pruning.threshold': input should be greater than or equal to 0"),
        ("pruning={threshold: .1, every: 0}", "'pruning.every': input should be greater than or equal to 1"),
        ("pruning.treshold=1", "unknown key 'pruning.treshold' (did you mean 'pruning.threshold'?)"),
        ("regularizer={scale: .inf}", "'regularizer.scale': input should be a finite number"),
        ("regularizer={scale: 1, bound: 2}", "'regularizer.bound': input should be less than or equal to 1"),
        ("regularizer={scale: 1, per: filter}", "'regularizer.per': input should be 'layer' or 'channel'"),
        ("regularizer={scale: 1, momentum: 1}", "'regularizer.momentum': input should be less than 1"),
        ("model.dtype=float8", "'model.dtype': input should be 'float32', 'bfloat16' or 'float16'"),
        ("train.devices=0", "'train.devices"),
        ("distributed={coordinator_address: host, num_processes: 2, process_id: 0}", "'distributed.coordinator_address': string should match"),
        ("distributed={coordinator_address: 'host:1', num_processes: 2, process_id: 2}", "process_id must be less than num_processes"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(override, message):
    with pytest.raises(ConfigError) as error:
        load_config(MNIST, [override])
    assert message in str(error.value)


def test_configurations_of_earlier_runs_are_completed():
    """A run goes on, and a table's row counts, although keys have come since."""
    now = small_config().model_dump(mode="json")
    before = {key: now[key] for key in ("name", "seed", "data", "model", "train")}
    before["optimizer"] = {"kind": "adagrad", "schedule": "constant"}
    del before["model"]["dtype"], before["train"]["devices"]
    assert completed(before) == small_config().model_dump(mode="json")
    assert completed({"name": "x"}) == {"name": "x"}
