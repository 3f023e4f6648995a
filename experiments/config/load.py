"""From a YAML file and overrides to a validated configuration, or to an error that says what to change."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from experiments.config.explain import explain
from experiments.config.schema import ExperimentConfig
from experiments.config.yaml_loader import parse_yaml
from experiments.errors import ConfigError

S = TypeVar("S", bound=BaseModel)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Reads the configuration of an experiment with a network of :mod:`jaxsparse.direct`: :func:`read_config`."""
    return read_config(path, ExperimentConfig, overrides)


def read_config(path: str | Path, kind: type[S], overrides: Sequence[str] = ()) -> S:
    """Reads a configuration.

    Args:
      path: a YAML file.
      kind: what it is to be.
      overrides: ``key=value`` strings, keys dotted (``train.epochs=1``), values written as in YAML.

    Returns:
      The validated configuration.

    Raises:
      ConfigError: the file is missing or no YAML, or a key is unknown or ill-typed; the message names every such key
        and suggests the nearest that exists.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"the configuration {path} is no UTF-8 text: {error}") from error
    try:
        values = parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not a valid YAML file: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a mapping of keys to values")
    for override in overrides:
        apply_override(values, override)
    return validate_as(kind, values, source=str(path))


def validate(values: dict[str, Any], source: str) -> ExperimentConfig:
    """:func:`validate_as` for the kind of :func:`load_config`."""
    return validate_as(ExperimentConfig, values, source)


def validate_as(kind: type[S], values: dict[str, Any], source: str) -> S:
    """Validates plain values; ``source`` names them in errors."""
    try:
        # Through JSON: strict about numbers and strings, and still able to read a path or a tuple.
        return kind.model_validate_json(json.dumps(values))
    except (TypeError, ValueError) as error:
        if isinstance(error, ValidationError):
            lines = explain(error, kind)
            raise ConfigError("\n".join(f"{source}: {line}" for line in lines)) from None
        raise ConfigError(f"{source}: {error}") from error


def completed(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration as it was once written, with the keys that have come since, at their defaults.

    What is no valid configuration any more comes back as it is.
    """
    try:
        return validate(values, "").model_dump(mode="json")
    except ConfigError:
        return values


def parse_override(override: str) -> tuple[str, Any]:
    """The dotted key and the value of ``key=value``.

    Raises:
      ConfigError: it is not written so.
    """
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise ConfigError(
            f"an override is written key=value (as in train.epochs=1), got {override!r}"
        )
    try:
        return key, parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"the value of the override {override!r} is not valid YAML") from error


def apply_override(values: dict[str, Any], override: str) -> None:
    """Sets one ``key=value`` in nested dictionaries; whether the key exists is the validation's business."""
    key, value = parse_override(override)
    parts = key.split(".")
    for depth, part in enumerate(parts[:-1], start=1):
        if values.get(part) is None:  # absent, or a section that a file left empty
            values[part] = {}
        values = values[part]
        if not isinstance(values, dict):
            raise ConfigError(
                f"the override {override!r} needs a section, but {'.'.join(parts[:depth])} is a value"
            )
    values[parts[-1]] = value
