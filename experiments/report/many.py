"""Many runs of one configuration: what they differ in, and the settings that their seeds share."""

import dataclasses
import functools
import json
import statistics
from collections.abc import Sequence
from typing import Any

from experiments.report.files import at, number
from experiments.report.record import RunRecord

BOUND_KEYS = ("model.rho1", "model.rho2", "model.densities", "model.preset", "model.sparse")
"""Keys that say how tight the bounds are; the dense twin has none."""
SCALE = "regularizer.scale"
"""The paper's lambda."""


@dataclasses.dataclass
class Setting:
    """Runs that differ in their seed alone.

    Attributes:
      title: what tells it from the others.
      values: the keys that differ between settings.
      runs: one a seed.
      missing: names of runs that are not there.
      paper: the test accuracy that the paper prints.
      asked: the mean test accuracy that the project asks for.
    """

    title: str
    values: dict[str, Any]
    runs: list[RunRecord]
    missing: list[str] = dataclasses.field(default_factory=list)
    paper: float | None = None
    asked: float | None = None

    @property
    def done(self) -> list[RunRecord]:
        return [run for run in self.runs if run.finished and run.accuracy is not None]

    def mean(self, what: str) -> float | None:
        """The mean of a property of the finished runs: ``accuracy``, ``live_share``, ``step_ms``, ``epoch_s``, ``loss``."""
        values = [
            number(run.test.get("loss")) if what == "loss" else getattr(run, what)
            for run in self.done
        ]
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if known else None

    @property
    def accuracies(self) -> list[float]:
        return [run.accuracy for run in self.done if run.accuracy is not None]

    @functools.cached_property
    def bound(self) -> float | None:
        return next((run.bound for run in self.runs if run.bound is not None), None)

    @functools.cached_property
    def dense(self) -> bool:
        return bool(self.runs) and not self.runs[0].sparse

    @functools.cached_property
    def rest(self) -> dict[str, Any]:
        """All of the configuration but the bounds: what bounds may be compared under."""
        settings = self.runs[0].settings if self.runs else {}
        return {
            key: value
            for key, value in settings.items()
            if key not in BOUND_KEYS and key != "model.input_density"
        }


def settings_of_runs(runs: Sequence[RunRecord]) -> list[Setting]:
    """The settings that some runs are of, found from where their configurations differ, in the order of their values."""
    axes = differing([run.settings for run in runs])
    found: dict[str, Setting] = {}
    for run in runs:
        values = {key: run.settings.get(key) for key in axes}
        # The configuration itself, should it be damaged, keeps runs apart as little as equal ones.
        key = json.dumps(values, sort_keys=True)
        title = ", ".join(f"{key}={_text(value)}" for key, value in values.items())
        found.setdefault(key, Setting(title or "as it is", values, [])).runs.append(run)
    return sorted(found.values(), key=lambda setting: [_order(v) for v in setting.values.values()])


def differing(configs: Sequence[dict[str, Any]]) -> list[str]:
    """The keys in which configurations differ, in their order."""
    keys = dict.fromkeys(key for config in configs for key in config)
    absent = object()
    return [
        key
        for key in keys
        if any(config.get(key, absent) != configs[0].get(key, absent) for config in configs)
    ]


def comparable(settings: Sequence[Setting]) -> list[tuple[str, list[Setting]]]:
    """Settings that differ in their bounds alone, group by group, with what tells the groups apart."""
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        if setting.runs:
            key = json.dumps(setting.rest, sort_keys=True, default=str)
            groups.setdefault(key, []).append(setting)
    apart = differing([group[0].rest for group in groups.values()]) if groups else []
    return [
        (
            ", ".join(f"{key.split('.')[-1]} {_text(group[0].rest.get(key))}" for key in apart),
            group,
        )
        for group in groups.values()
    ]


def scale_of(setting: Setting) -> float | None:
    """The regulariser's lambda."""
    for run in setting.runs:
        value = number(at(run.config, *SCALE.split(".")))
        if value is not None:
            return value
    return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _order(value: Any) -> tuple[int, float, str]:
    known = number(value)
    return (0, known, "") if known is not None else (1, 0.0, str(value))
