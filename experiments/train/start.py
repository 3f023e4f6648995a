"""The weights of one run as the beginning of another."""

from contextlib import closing
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from experiments.errors import UserError
from experiments.models import Network
from experiments.train.checkpoint import Checkpoints
from experiments.train.evaluate import locate

HEAD = "logits"
"""What belongs to the classes that were learnt: a network without them, or with others, begins with its own."""


def begin_with(model: Network, path: Path) -> None:
    """Copies the parameters of a run's newest checkpoint into a model.

    Args:
      model: of the same kind and size.
      path: a run's folder, or one of its checkpoints.

    Raises:
      UserError: there is no such checkpoint, or its parameters are not those of the model.
    """
    folder, step = locate(path, None)
    with closing(Checkpoints(folder, read_only=True)) as checkpoints:
        steps = checkpoints.steps()
        if not steps or (step is not None and step not in steps):
            raise UserError(f"train.start: {folder} holds no such checkpoint")
        held = _flat(checkpoints.parameters(steps[-1] if step is None else step))
    wanted = _flat(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    for name, leaf in wanted.items():
        if name.startswith(HEAD):
            if name in held and held[name].shape == leaf.shape:
                wanted[name] = held[name]
        elif name not in held or held[name].shape != leaf.shape:
            there = list(held[name].shape) if name in held else "nothing"
            raise UserError(
                f"train.start: {name} is {there} in {path}, the network has {list(leaf.shape)}"
            )
        else:
            wanted[name] = held[name]
    state = nnx.state(model, nnx.Param)
    leaves, shape = jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(state))
    filled = jax.tree_util.tree_unflatten(shape, [wanted[_name(keys)] for keys, _ in leaves])
    nnx.replace_by_pure_dict(state, filled)
    nnx.update(model, state)


def _flat(tree: Any) -> dict[str, Any]:
    return {_name(keys): leaf for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _name(keys: Any) -> str:
    return ".".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in keys)
