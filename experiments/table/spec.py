"""What a table's YAML file may say, and the runs that follow from it."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import Field, ValidationError

from experiments.config import ExperimentConfig, load_config
from experiments.config.explain import explain
from experiments.config.section import Section
from experiments.config.yaml_loader import parse_yaml
from experiments.errors import ConfigError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Overrides = dict[str, Any]
S = TypeVar("S", bound=Section)
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class BesideConfig(Section):
    """Another row that a row is compared with."""

    row: Name
    below: Annotated[float, Field(ge=0, le=1)] | None = None
    """The project asks for a mean at most so much below the other's. Left out: the difference is shown, no more."""
    standard_errors: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Or at most so many standard errors of the difference below, where that is more."""


class RowConfig(Section):
    """One row: the same network, trained from several seeds."""

    name: Name
    title: str | None = None
    """What stands in the table; the name if left out."""
    set: Overrides = Field(default_factory=dict)
    """Keys of the experiment, dotted, and their values."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] | None = None
    """The table's, if left out."""
    paper: float | None = None
    """The test accuracy that the paper prints for it."""
    asked: float | None = None
    """The mean test accuracy that the project asks for."""
    beside: BesideConfig | None = None
    """The row it is compared with, as a sparse network with its dense twin."""


class TableConfig(Section):
    """A table of runs."""

    name: Name
    title: str
    base: Path
    """The experiment that every row varies, relative to the table's file."""
    set: Overrides = Field(default_factory=dict)
    """Keys that are the same in all rows."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    rows: Annotated[tuple[RowConfig, ...], Field(min_length=1)]


@dataclasses.dataclass(frozen=True)
class Run:
    """One cell of a table.

    Attributes:
      row: of the table.
      seed: of the run.
      config: the whole experiment.
    """

    row: RowConfig
    seed: int
    config: ExperimentConfig

    @property
    def name(self) -> str:
        """Of its result file and its run folder."""
        return f"{self.row.name}-seed{self.seed}"


def load_table(path: Path) -> TableConfig:
    """Reads a table's file.

    Raises:
      ConfigError: it is missing or no YAML, or a key is unknown or ill-typed.
    """
    table = read_section(path, TableConfig, "table")
    names = [row.name for row in table.rows]
    if len(set(names)) < len(names):
        raise ConfigError(f"{path}: two rows have the same name")
    for row in table.rows:
        if row.beside is not None and row.beside.row not in names:
            raise ConfigError(f"{path}: {row.name!r} is beside {row.beside.row!r}, which is no row")
    return table


def read_section(path: Path, kind: type[S], what: str) -> S:
    """Reads a YAML file that is one section; ``what`` it is stands in errors.

    Raises:
      ConfigError: it is missing or no YAML, or a key is unknown or ill-typed.
    """
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the {what} {path} is no UTF-8 text: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not a valid YAML file: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a mapping of keys to values")
    try:
        return kind.model_validate_json(json.dumps(values))
    except ValidationError as error:
        lines = explain(error, kind)
        raise ConfigError("\n".join(f"{path}: {line}" for line in lines)) from None


def runs_of(table: TableConfig, path: Path, overrides: tuple[str, ...] = ()) -> list[Run]:
    """All runs of a table: seed by seed, so that what is finished early is a smaller table; rows with seeds of their own last.

    Args:
      table: of ``load_table``.
      path: the table's file.
      overrides: ``key=value`` strings for every run, as ``data.root=DIR``.

    Raises:
      ConfigError: a row's configuration is invalid.
    """
    runs = []
    for row in table.rows:
        for seed in row.seeds or table.seeds:
            values = {**table.set, **row.set, "name": f"{table.name}-{row.name}", "seed": seed}
            settings = [f"{key}={json.dumps(value)}" for key, value in values.items()]
            try:
                config = load_config(path.parent / table.base, [*settings, *overrides])
            except ConfigError as error:
                raise ConfigError(f"row {row.name!r} of {path}: {error}") from error
            runs.append(Run(row, seed, config))
    order = [row.name for row in table.rows]
    return sorted(
        runs, key=lambda run: (run.row.seeds is not None, run.seed, order.index(run.row.name))
    )
