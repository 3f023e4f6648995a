"""Rows of the table of arguments: `jaxsparse.optim`."""

import jax.numpy as jnp
import numpy as np
import optax

from jaxsparse import optim
from tests.argument_rows import Defined, Late, Row, f32, section, type_error, value_error

NAN = float("nan")


def at_least_0(name: str) -> tuple:
    return (
        (name, "negative", -0.1, value_error(f"{name} must be finite and at least 0")),
        (name, "NaN", NAN, value_error(f"{name} must be finite and at least 0")),
        (name, "a string", "some", type_error(f"{name} must be a number, known at trace time")),
        (name, "a bool", True, type_error(f"{name} must be a number, known at trace time")),
        (name, "an array of two", Late(lambda: jnp.ones(2)), value_error(f"{name} must be a scalar, got shape (2,)")),
        (name, "a JAX array out of range", Late(lambda: jnp.float32(-1)), value_error(f"{name} must be finite and at least 0")),
        (name, "a complex JAX array", Late(lambda: jnp.ones((), jnp.complex64)), type_error(f"{name} must be a number, got dtype complex64")),
    )  # fmt: skip


PRUNING = section(
    "optim.warning_shot_pruning",
    optim.warning_shot_pruning,
    {"threshold": 0.1, "every": 10},
    *at_least_0("threshold"),
    ("threshold", "0", 0, Defined("nothing is ever below it", lambda t: isinstance(t, optax.GradientTransformation))),
    ("every", "0", 0, value_error("every must be at least 1, got 0")),
    ("every", "negative", -5, value_error("every must be at least 1, got -5")),
    ("every", "a float", 10.0, type_error("every must be an integer, got 10.0")),
    ("every", "a bool", True, type_error("every must be an integer, got True")),
    ("every", "an array of two", Late(lambda: jnp.array([1, 2])), value_error("every must be a scalar, got shape (2,)")),
    ("every", "a JAX array of floats", Late(lambda: jnp.float32(10)), type_error("every must be an integer, got float32")),
    ("every", "a JAX array that is 0", Late(lambda: jnp.int32(0)), value_error("every must be at least 1, got 0")),
)  # fmt: skip


def pruned(params=None, updates=None):
    """One update of the pruning."""
    transform = optim.warning_shot_pruning(0.1, 10)
    return transform.update(updates, transform.init({"kernel": jnp.ones(2)}), params)


UPDATE_PRUNING = section(
    "optim.warning_shot_pruning.update",
    pruned,
    {"updates": {"kernel": f32(2)}, "params": {"kernel": f32(2)}},
    ("params", "left out", None, value_error("params must be given: what is small is a weight")),
)

DECAY = section(
    "optim.adaptive_density_decay",
    optim.adaptive_density_decay,
    {"scale": 0.1, "bound": 0.1},
    *at_least_0("scale"),
    ("bound", "None", None, value_error("bound must be a density, or a tree with one for at least one parameter")),
    ("bound", "negative", -0.1, value_error("bound must be finite and at least 0 and at most 1, got -0.1")),
    ("bound", "above 1", 1.5, value_error("bound must be finite and at least 0 and at most 1, got 1.5")),
    ("bound", "a string", "low", type_error("bound must be a number, known at trace time")),
    ("bound", "a tree with one that is none", {"bound": {"a": 0.1, "b": "low"}}, type_error("bound must be a number, known at trace time")),
    ("bound", "a tree with None", {"bound": {"a": 0.1, "b": None}}, Defined("what has None does not decay", lambda t: callable(t.update))),
    *at_least_0("offset"),
    *at_least_0("gain_over"),
    *at_least_0("gain_under"),
    *at_least_0("momentum"),
    ("momentum", "1", 1, value_error("momentum must be less than 1, got 1")),
    ("momentum", "a JAX array that is 1", Late(lambda: jnp.float32(1)), value_error("momentum must be less than 1, got 1")),
    ("momentum", "above 1", 1.5, value_error("momentum must be finite and at least 0 and at most 1, got 1.5")),
)  # fmt: skip


def decayed(updates, params, density, mask=None):
    """One update of the decay."""
    transform = optim.adaptive_density_decay(0.1, 0.1)
    return transform.update(
        updates, transform.init({"kernel": jnp.ones((2, 3))}), params, density=density, mask=mask
    )


W = {"kernel": f32(2, 3)}
UPDATE_DECAY = section(
    "optim.adaptive_density_decay.update",
    decayed,
    {"updates": W, "params": W, "density": {"kernel": 0.5}},
    ("params", "left out", None, value_error("params must be given: it decays weights")),
    ("density", "left out", None, value_error("density must be given (see nn.densities)")),
    ("density", "of another length than the channels", {"density": {"kernel": f32(2)}}, value_error("density['kernel'] must be a scalar or of shape (3,)")),
    ("density", "a string", {"density": {"kernel": "full"}}, type_error("density['kernel'] must be an array")),
    ("density", "None for a parameter", {"density": {"kernel": None}}, Defined("it is left alone", lambda new: (new[0]["kernel"] == 1).all())),
    ("mask", "of floats", {"mask": W}, type_error("mask['kernel'] must be of dtype bool, got float32")),
    ("mask", "of another shape", {"mask": {"kernel": np.ones((3, 2), bool)}}, value_error("mask['kernel'] must be of shape (2, 3)")),
    ("mask", "None", None, Defined("all are alive", lambda new: (new[0]["kernel"] > 1).all())),
)  # fmt: skip


def state(*transforms):
    return Late(lambda: optax.chain(*transforms).init({"kernel": jnp.ones(2)}))


SHOT = optim.warning_shot_pruning(0.1, 10)
OPT_STATES = (
    ("opt_state", "of other transformations", state(optax.scale(1.0)), value_error("opt_state must be the state of")),
    ("opt_state", "None", None, value_error("opt_state must be the state of")),
    ("opt_state", "a number", 3, value_error("opt_state must be the state of")),
)  # fmt: skip
PRUNING_MASK = section(
    "optim.pruning_mask",
    optim.pruning_mask,
    {},
    *OPT_STATES,
    ("opt_state", "with two of them", state(SHOT, SHOT), value_error("opt_state must be the state of one warning_shot_pruning, or of what wraps it, got tuple with 2 of them")),
)  # fmt: skip
REVIVE = section(
    "optim.revive",
    optim.revive,
    {},
    *OPT_STATES,
    ("opt_state", "with two of them", state(SHOT, SHOT), Defined("both are revived", lambda new: new[0].mask["kernel"].all())),
)  # fmt: skip

OPTIM: list[Row] = [
    *PRUNING, *UPDATE_PRUNING, *DECAY, *UPDATE_DECAY, *PRUNING_MASK, *REVIVE,
]  # fmt: skip
