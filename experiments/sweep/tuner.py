"""Runs trials side by side on Ray Tune: one machine, or a cluster by its address."""

import logging
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.errors import UserError
from experiments.sweep.spec import Resources
from experiments.sweep.trial import run_trial


def run_trials(
    trials: Mapping[str, dict[str, Any]],
    *,
    name: str,
    storage: Path,
    resources: Resources,
    retries: int,
    address: str | None,
    on_end: Callable[[str, str | None], None],
) -> None:
    """Runs every trial to its end.

    Args:
      trials: name -> ``trial.parameters``.
      name: of the sweep.
      storage: where Tune keeps its own files.
      resources: what a trial holds while it runs.
      retries: how often a trial whose process died is started again.
      address: of a Ray cluster, as ``ray.init`` takes it; None starts Ray on this machine.
      on_end: called with each trial's name when it ends, and with the error if it failed for good.

    Raises:
      UserError: Ray is not installed or not to be reached, or no machine has a trial's resources.
    """
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # this module shows the progress
    try:
        import ray
        from ray import tune
    except ImportError as error:
        raise UserError(f"sweeps need Ray Tune: pip install '.[sweep]' ({error})") from None
    try:
        ray.init(
            address=address,
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise UserError(f"there is no Ray cluster at {address!r}: {error}") from None
    try:
        _check_room(ray.cluster_resources(), resources)
        tuner = tune.Tuner(
            tune.with_resources(run_trial, {"cpu": resources.cpus, "gpu": resources.gpus}),
            param_space={"trial": tune.grid_search(list(trials.values()))},
            run_config=tune.RunConfig(
                name=f"{name}-{uuid.uuid4().hex[:8]}",
                storage_path=str(storage.absolute()),
                failure_config=tune.FailureConfig(max_failures=retries),
                callbacks=[_callback(on_end)],
                verbose=0,
            ),
        )
        tuner.fit()
    finally:
        ray.shutdown()


def _callback(on_end: Callable[[str, str | None], None]) -> Any:
    from ray.tune import Callback

    class Ends(Callback):
        """Tells of every trial's end."""

        def __init__(self, tell: Callable[[str, str | None], None]):
            self.tell = tell

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Tune writes its callbacks down, and what is told here holds a terminal

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self._end(trial, (trial.last_result or {}).get("refused"))

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            error = trial.get_error()
            self._end(trial, "its actor died" if error is None else str(error))

        def _end(self, trial: Any, error: str | None) -> None:
            self.tell(Path(trial.config["trial"]["folder"]).name, error)

    return Ends(on_end)


def _check_room(has: Mapping[str, float], needs: Resources) -> None:
    for what, key, wanted in (("CPUs", "CPU", needs.cpus), ("GPUs", "GPU", needs.gpus)):
        if wanted > has.get(key, 0):
            raise UserError(
                f"resources: a trial asks for {wanted:g} {what}, and Ray has {has.get(key, 0):g}"
            )
