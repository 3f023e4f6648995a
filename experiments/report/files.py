"""Reading what runs left behind: whatever is damaged is said, never raised."""

import json
import math
from pathlib import Path
from typing import Any


def read_object(path: Path, notes: list[str]) -> dict[str, Any] | None:
    """A JSON file that holds an object; ``None`` if it is absent or damaged, the latter with a note."""
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_bytes().decode("utf-8", errors="replace"))
    except OSError as error:
        notes.append(f"{path.name} cannot be read: {error.strerror}.")
    except (ValueError, RecursionError) as error:
        notes.append(f"{path.name} is no valid JSON: {error}.")
    else:
        if isinstance(value, dict):
            return value
        notes.append(f"{path.name} holds a {type(value).__name__} where an object was expected.")
    return None


def read_lines(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; a last one that is cut short belongs to a run that was killed, or is writing it."""
    if not path.exists():
        return []
    try:
        texts = path.read_bytes().decode("utf-8", errors="replace").split("\n")
    except OSError as error:
        notes.append(f"{path.name} cannot be read: {error.strerror}.")
        return []
    lines, damaged = [], []
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text) if text.strip() else None
        except (ValueError, RecursionError):
            damaged.append(number)
            continue
        if isinstance(line, dict):
            lines.append(line)
        elif line is not None:
            damaged.append(number)
    if damaged == [len(texts)]:
        notes.append(f"The last line of {path.name} is cut short and left out.")
    elif damaged:
        first = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        notes.append(f"{path.name}: {len(damaged)} unreadable lines are left out ({first}).")
    return lines


def number(value: Any) -> float | None:
    """A finite number, else ``None``: what may be drawn."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def at(value: Any, *keys: str) -> Any:
    """What stands under keys in nested objects; ``None`` if something on the way is absent or no object."""
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys, as ``key=value`` overrides name them."""
    flat: dict[str, Any] = {}
    for key, value in config.items() if isinstance(config, dict) else ():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
