"""Orbax checkpoints of all that a run needs to go on: the state, the input pipeline's position, the configuration."""

import copy
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx

from experiments.config import PLACES, completed
from experiments.errors import UserError
from experiments.train.step import State


class Checkpoints:
    """The checkpoints of one run.

    Writing is synchronous, goes to a folder of another name and ends in a rename: a checkpoint that is listed is whole,
    and a run that is killed while writing still has the one before. What such a run left behind is removed by the next
    writer.

    Args:
      folder: where they are.
      keep: how many, the newest ones.
      read_only: look at them while another process may be writing.
    """

    def __init__(self, folder: Path, keep: int = 1, *, read_only: bool = False):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=None if read_only else keep,
            enable_async_checkpointing=False,
            create=not read_only,
            read_only=read_only,
            cleanup_tmp_directories=not read_only,
        )
        handlers = {"state": ocp.StandardCheckpointHandler(), "run": ocp.JsonCheckpointHandler()}
        self._manager = ocp.CheckpointManager(
            folder.absolute(), options=options, item_handlers=handlers
        )

    def save(self, step: int, state: State, position: Any, config: dict[str, Any]) -> None:
        """Writes a checkpoint unless there is one of this step.

        Args:
          step: updates done.
          state: of the training step.
          position: JSON-like, of the training batches.
          config: JSON-like, of the experiment.
        """
        if step in self._manager.all_steps():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(nnx.to_pure_dict(state)),
                run=ocp.args.JsonSave({"position": position, "config": config}),
            ),
        )
        self._manager.wait_until_finished()

    def restore(self, state: State, config: dict[str, Any]) -> tuple[int, State, Any] | None:
        """Reads the newest checkpoint of a run that is to go on.

        Args:
          state: a state of the same structure, for shapes and dtypes.
          config: of the experiment; what determines the state must be as it was.

        Returns:
          The step, the state and the pipeline's position; ``None`` if there is no checkpoint.

        Raises:
          UserError: the checkpoint belongs to another configuration.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        run = self._run(step)
        before, now = _fixed(completed(run["config"])), _fixed(config)
        changed = [key for key in now if before.get(key) != now[key]]
        if changed:
            raise UserError(f"cannot continue this run: {', '.join(changed)} changed since")
        return step, self.restore_state(step, state), run["position"]

    def restore_state(self, step: int, state: State) -> State:
        """The state of one checkpoint, in the structure of ``state``.

        Raises:
          UserError: the checkpoint holds other arrays than ``state``.
        """
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, nnx.to_pure_dict(state))
        # Before anything is read: Orbax leaves reads behind when it fails half-way.
        self._check_fit(step, shapes)
        restored = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(shapes))
        )["state"]
        nnx.replace_by_pure_dict(state, restored)
        return state

    def parameters(self, step: int) -> Any:
        """The model's part of a checkpoint's state: nested dictionaries of arrays, whatever network it is."""
        metadata = self._manager.item_metadata(step)["state"].tree
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), metadata)
        state = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(shapes))
        )["state"]
        return state["0"] if "0" in state else state[0]  # in front of the optimiser's

    def _check_fit(self, step: int, shapes: Any) -> None:
        held, wanted = _arrays(self._manager.item_metadata(step)["state"].tree), _arrays(shapes)
        for name in sorted(held.keys() | wanted.keys()):
            there, here = held.get(name, "nothing"), wanted.get(name, "nothing")
            if there != here:
                raise UserError(
                    f"the checkpoint of step {step} does not fit the configuration: "
                    f"{name} is {there} in it, the network has {here}"
                )

    def config(self, step: int) -> dict[str, Any]:
        """The configuration that a checkpoint was trained with."""
        return self._run(step)["config"]

    def steps(self) -> list[int]:
        """The steps of which there is a checkpoint, ascending."""
        return sorted(self._manager.all_steps())

    def close(self) -> None:
        self._manager.close()

    def _run(self, step: int) -> dict[str, Any]:
        restored = self._manager.restore(step, args=ocp.args.Composite(run=ocp.args.JsonRestore()))
        return restored["run"]


def _arrays(tree: Any) -> dict[str, str]:
    """The arrays of a tree by their path, as ``0.hidden.bias``: dtype and shape, as ``float32[16]``."""
    return {
        ".".join(str(getattr(key, "key", key)) for key in path): (
            f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
        )
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def _fixed(config: dict[str, Any]) -> dict[str, Any]:
    """What may not change between the parts of one run. Epochs and logging may, and so may the place of the data."""
    free = ("name", "train", "distributed")
    fixed = copy.deepcopy({key: value for key, value in config.items() if key not in free})
    if isinstance(fixed["data"], dict):
        for key in PLACES:
            fixed["data"].pop(key, None)
    train = config["train"]
    always = ("batch_size", "dense_steps")
    # The learning rate depends on the length.
    ending = ("epochs", "steps") if (fixed["optimizer"] or {}).get("schedule") == "cosine" else ()
    return fixed | {f"train.{key}": train[key] for key in (*always, *ending) if key in train}
