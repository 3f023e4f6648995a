"""Orbax checkpoints of all that a run needs to go on: the state, the input pipeline's position, the configuration."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import nnx

from experiments.errors import UserError
from experiments.train.step import State


class Checkpoints:
    """The checkpoints of one run.

    Writing is synchronous and ends in a rename: a checkpoint that is listed is whole, and a run that is stopped while
    writing still has the one before.
    """

    def __init__(self, folder: Path, keep: int):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=False, create=True
        )
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

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
        """Reads the newest checkpoint.

        Args:
          state: a state of the same structure, for shapes and dtypes.
          config: of the experiment that is to go on; what determines the state must be as it was.

        Returns:
          The step, the state and the pipeline's position; ``None`` if there is no checkpoint.

        Raises:
          UserError: the checkpoint belongs to another configuration.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        run = self._manager.restore(step, args=ocp.args.Composite(run=ocp.args.JsonRestore()))[
            "run"
        ]
        changed = [key for key in _FIXED if run["config"].get(key) != config.get(key)]
        changed += ["train.batch_size"] * (
            run["config"]["train"]["batch_size"] != config["train"]["batch_size"]
        )
        if changed:
            raise UserError(f"cannot continue this run: {', '.join(changed)} changed since")
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, nnx.to_pure_dict(state))
        restored = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(shapes))
        )["state"]
        nnx.replace_by_pure_dict(state, restored)
        return step, state, run["position"]

    def steps(self) -> list[int]:
        """The steps of which there is a checkpoint, ascending."""
        return sorted(self._manager.all_steps())

    def close(self) -> None:
        self._manager.close()


_FIXED = ("seed", "data", "model", "optimizer")
"""Sections that may not change between the parts of one run; epochs and logging may."""
