"""The metrics of a trained network on a split of its data."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from experiments.config import ExperimentConfig, S3DCNNConfig
from experiments.config.load import apply_override, validate
from experiments.data import Dataset, load_dataset
from experiments.data.pipeline import WHOLE
from experiments.errors import UserError
from experiments.models import Network, build_model, sites_of
from experiments.optimizers import build_optimizer
from experiments.provenance import provenance
from experiments.train.aggregate import Aggregate
from experiments.train.checkpoint import Checkpoints
from experiments.train.feed import build_feed
from experiments.train.layers import LayerInfo, density_bounds, describe_layers
from experiments.train.metrics import to_json
from experiments.train.objectives import build_objective
from experiments.train.run_folder import checkpoint_folder
from experiments.train.step import State, Steps, make_steps
from experiments.train.summary import layer_rows, print_evaluation

CHANGEABLE = ("data.", "model.", "train.test_batch_size")
"""What an override may touch: the rest says how the network came about."""


def run_test(
    steps: Steps, state: State, batches: Iterable[Any], stop: object = False
) -> dict[str, Any] | None:
    """Loss, accuracy and layer statistics over all batches; ``None`` if ``stop`` became true meanwhile."""
    total = Aggregate()
    for batch in batches:
        if stop:
            return None
        total.add(steps.test(state, batch))
    return total.take()


def describe(config: ExperimentConfig, model: Network, dataset: Dataset) -> list[LayerInfo]:
    """The layers of an experiment's network."""
    if isinstance(config.model, S3DCNNConfig):
        return describe_layers(model, dataset, sites_of(config.model, dataset)[0])
    return describe_layers(model, dataset)


def confusion_of(dataset: Dataset, metrics: dict[str, Any]) -> dict[str, Any]:
    """What a result says of which class was taken for which; nothing where no classes are learnt."""
    if "confusion" not in metrics:
        return {}
    return {"confusion": {"classes": dataset.class_names, "counts": metrics["confusion"]}}


def load_trained(
    path: Path, *, step: int | None = None, overrides: tuple[str, ...] = ()
) -> tuple[int, ExperimentConfig, Any, Steps, State]:
    """A trained network from a checkpoint, ready to be run.

    Args:
      path: a run's folder, or one of its checkpoints.
      step: which of the run's checkpoints; the newest if left out.
      overrides: ``key=value`` strings, of ``data`` or ``model`` (where parameters keep their shapes).

    Returns:
      The step, the configuration, the dataset, the compiled steps, the state.

    Raises:
      UserError: there is no such checkpoint, it does not fit the configuration, or the data cannot be read.
    """
    folder, step = locate(path, step)
    with closing(Checkpoints(folder, read_only=True)) as checkpoints:
        steps = checkpoints.steps()
        if not steps or (step is not None and step not in steps):
            held = ", ".join(map(str, steps)) or "none"
            wanted = "no checkpoint" if step is None else f"no checkpoint of step {step}"
            raise UserError(f"{folder} holds {wanted} (there: {held})")
        step = steps[-1] if step is None else step
        values = checkpoints.config(step)
        for override in overrides:
            if not override.startswith(CHANGEABLE):
                raise UserError(
                    f"an evaluation can change {', '.join(CHANGEABLE)} only, got {override!r}"
                )
            apply_override(values, override)
        config = validate(values, source=str(folder))
        dataset = load_dataset(config.data)
        model = build_model(config.model, dataset, seed=config.seed, objective=config.objective)
        # For the state's structure.
        optimizer = build_optimizer(config, model, total_steps=1, steps_per_epoch=1)
        objective = build_objective(config.objective)
        compiled = make_steps(model, optimizer, config.seed, objective=objective)
        state = checkpoints.restore_state(step, compiled.state)
    return step, config, dataset, compiled, state


def evaluate(
    path: Path,
    *,
    step: int | None = None,
    split: Literal["train", "test"] = "test",
    overrides: tuple[str, ...] = (),
    console: Console | None = None,
) -> dict[str, Any]:
    """Runs a trained network over a split of its data and shows the table that training ends in.

    Args:
      path: a run's folder, or one of its checkpoints.
      step: which of the run's checkpoints; the newest if left out.
      split: which split.
      overrides: ``key=value`` strings, of ``data`` or ``model`` (where parameters keep their shapes).
      console: where to show the table.

    Returns:
      The result, JSON-like.

    Raises:
      UserError: there is no such checkpoint, it does not fit the configuration, or the data cannot be read.
    """
    step, config, dataset, steps, state = load_trained(path, step=step, overrides=overrides)
    layers = describe(config, steps.model, dataset)
    part = dataset.train if split == "train" else dataset.test
    batches = build_feed(config, dataset).test(part, config.train.test_batch_size, WHOLE)
    metrics = run_test(steps, state, batches)
    assert metrics is not None
    rho = density_bounds(steps.model, layers)
    result = {
        "kind": "evaluate",
        "name": config.name,
        "dataset": dataset.name,
        "smoke_test": dataset.smoke_test,
        "notes": dataset.notes,
        "provenance": provenance(),
        "config": config.model_dump(mode="json"),
        "steps": step,
        "split": split,
        "images": len(part),
        "loss": metrics["loss"],
        "accuracy": metrics["accuracy"],
        **confusion_of(dataset, metrics),
        "layers": layer_rows(layers, metrics, rho),
    }
    result = to_json(result)
    print_evaluation(console or Console(), result)
    return result


def locate(path: Path, step: int | None) -> tuple[Path, int | None]:
    """The folder of checkpoints that ``path`` means, and the step."""
    if path.parent.name == "checkpoints" and path.name.isdigit() and path.is_dir():
        return path.parent, int(path.name) if step is None else step
    if not checkpoint_folder(path).is_dir():
        raise UserError(f"{path} is neither a run's folder nor a checkpoint")
    return checkpoint_folder(path), step
