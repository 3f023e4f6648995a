"""What a sweep's YAML file may say, and the table of runs that follows from it."""

import hashlib
import itertools
import json
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from experiments.config.section import Section
from experiments.errors import ConfigError
from experiments.table.spec import Name, Overrides, RowConfig, Seed, TableConfig, read_section

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Distribution(Section):
    """What to draw a value from: one of the four."""

    uniform: tuple[Number, Number] | None = None
    """Evenly between two numbers."""
    log_uniform: tuple[Positive, Positive] | None = None
    """Evenly between the logarithms of two numbers."""
    integers: tuple[int, int] | None = None
    """The whole numbers from one to another, both included."""
    choice: Annotated[tuple[Any, ...], Field(min_length=1)] | None = None
    """The values of a list."""

    @model_validator(mode="after")
    def _one_in_order(self) -> "Distribution":
        given = {key: value for key, value in self if value is not None}
        if len(given) != 1:
            raise ValueError(f"must be one of {', '.join(type(self).model_fields)}")
        ((kind, values),) = given.items()
        if kind != "choice" and values[0] > values[1]:
            raise ValueError(f"the first number of {kind} must not be the larger one")
        return self

    def draw(self, rng: np.random.Generator) -> Any:
        """A value; numbers with six digits, so that a file can say them."""
        if self.uniform:
            return float(f"{rng.uniform(*self.uniform):.6g}")
        if self.log_uniform:
            return float(f"{math.exp(rng.uniform(*np.log(self.log_uniform))):.6g}")
        if self.integers:
            return int(rng.integers(*self.integers, endpoint=True))
        assert self.choice is not None
        return self.choice[int(rng.integers(len(self.choice)))]


class Resources(Section):
    """What one trial holds while it runs; Ray starts as many side by side as there is room for."""

    cpus: Annotated[float, Field(gt=0)] = 1
    gpus: Annotated[float, Field(ge=0)] = 0


class SweepConfig(Section):
    """A sweep: every combination of ``grid``, each with every draw of ``random``, from every seed."""

    name: Name
    title: str | None = None
    base: Path
    """The experiment that every trial varies, relative to the sweep's file."""
    set: Overrides = Field(default_factory=dict)
    """Keys that are the same in all trials."""
    grid: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """Key of the experiment, dotted -> its values."""
    random: dict[str, Distribution] = Field(default_factory=dict)
    """Key of the experiment, dotted -> what to draw its values from."""
    samples: Annotated[int, Field(ge=1)] = 1
    """How many draws."""
    sampling_seed: Seed = 0
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    resources: Resources = Field(default_factory=Resources)
    retries: Annotated[int, Field(ge=0)] = 2
    """How often a trial whose process died goes on from its newest checkpoint."""
    rank_by: Literal["accuracy", "loss"] = "accuracy"
    """The test metric to rank by."""

    @model_validator(mode="after")
    def _each_key_once(self) -> "SweepConfig":
        places = [*self.set, *self.grid, *self.random]
        twice = sorted({key for key in places if places.count(key) > 1} | {"seed"} & set(places))
        if twice:
            raise ValueError(f"{', '.join(twice)}: a key has one place in set, grid, random, seeds")
        if self.samples > 1 and not self.random:
            raise ValueError("samples is the number of draws, and random is empty")
        return self


def load_sweep(path: Path) -> SweepConfig:
    """Reads a sweep's file.

    Raises:
      ConfigError: it is missing or no YAML, or a key is unknown or ill-typed.
    """
    return read_section(path, SweepConfig, "sweep")


def settings_of(sweep: SweepConfig) -> list[dict[str, Any]]:
    """The settings of every row: the grid's combinations in order, each with every draw.

    The draws depend on ``sampling_seed`` alone, so more samples later leave the first ones as they are.
    """
    draws = []
    for index in range(sweep.samples):
        rng = np.random.default_rng([sweep.sampling_seed, index])
        draws.append({key: what.draw(rng) for key, what in sweep.random.items()})
    grid = [
        dict(zip(sweep.grid, values, strict=True))
        for values in itertools.product(*sweep.grid.values())
    ]
    return [{**point, **draw} for point in grid for draw in draws]


def table_of(sweep: SweepConfig) -> TableConfig:
    """The sweep as a table: a row a setting.

    Raises:
      ConfigError: two settings are the same.
    """
    rows = [
        RowConfig(name=_name(settings), title=describe(settings), set=settings)
        for settings in settings_of(sweep)
    ]
    names = [row.name for row in rows]
    for row in rows:
        if names.count(row.name) > 1:
            raise ConfigError(f"sweep {sweep.name}: the setting {row.title} is there twice")
    return TableConfig(
        name=sweep.name,
        title=sweep.title or sweep.name,
        base=sweep.base,
        set=sweep.set,
        seeds=sweep.seeds,
        rows=tuple(rows),
    )


def describe(settings: dict[str, Any]) -> str:
    """Settings in a line."""
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in settings.items()) or "as it is"


def _name(settings: dict[str, Any]) -> str:
    """Readable, and another one for every setting, also where values look alike or are long."""
    text = json.dumps(settings, sort_keys=True)
    words = [
        f"{key.split('.')[-1]}-{value if isinstance(value, str) else json.dumps(value)}"
        for key, value in settings.items()
    ]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(words)).strip("-._")[:60]
    return "_".join(filter(None, [readable, hashlib.sha256(text.encode()).hexdigest()[:6]]))
