"""Validation errors in the user's words: the key as it is written, what came, and the nearest key that exists."""

import difflib
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """One line for each thing that is wrong."""
    lines = []
    for item in error.errors(include_url=False):
        path, parent = _locate(item["loc"], root)
        key = ".".join(path)
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown key {key!r}{_suggest(path, parent, root)}")
        elif item["type"] == "missing":
            lines.append(f"the key {key!r} is missing")
        elif item["type"] in ("union_tag_invalid", "union_tag_not_found"):
            kinds = _kinds(path, root)
            tag = item.get("ctx", {}).get("tag")
            names = ", ".join(map(repr, kinds))
            if not isinstance(item["input"], dict):
                lines.append(
                    f"{key!r} must be a section with keys of its own, got {item['input']!r}"
                )
            elif tag is None:
                lines.append(f"{key}.kind is missing, one of {names}")
            else:
                near = difflib.get_close_matches(str(tag), kinds, n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                lines.append(f"{key}.kind must be one of {names}, got {tag!r}{hint}")
        else:
            message = item["msg"][:1].lower() + item["msg"][1:]
            message = message.removeprefix("value error, ")
            # What is wrong with the whole file says its keys itself.
            lines.append(f"{key!r}: {message}, got {item['input']!r}" if key else message)
    return lines


def _locate(
    location: Sequence[int | str], root: type[BaseModel]
) -> tuple[list[str], type[BaseModel] | None]:
    """The key as written (pydantic puts a union's tag into it) and the section that holds its last part."""
    path: list[str] = []
    section: type[BaseModel] | None = root
    holder: type[BaseModel] | None = root
    alternatives: dict[str, type[BaseModel]] = {}
    for part in location:
        if alternatives and part in alternatives:
            section, alternatives = alternatives[str(part)], {}
            continue
        path.append(str(part))
        holder = section
        field = section.model_fields.get(str(part)) if section else None
        choices = list(_sections(field.annotation)) if field else []
        section = choices[0] if len(choices) == 1 else None
        if field is not None and not choices:
            # What follows are positions in a list, and pydantic's names of what the value might be.
            rest = location[len(path) :]
            path += [str(position) for position in rest if isinstance(position, int)]
            break
        alternatives = {_tag(choice): choice for choice in choices} if len(choices) > 1 else {}
    return path, holder


def _kinds(path: Sequence[str], root: type[BaseModel]) -> list[str]:
    """What the ``kind`` of a section with several kinds may be."""
    field = root.model_fields[path[-1]]
    return [_tag(section) for section in _sections(field.annotation)]


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _sections(argument)


def _tag(section: type[BaseModel]) -> str:
    return typing.get_args(section.model_fields["kind"].annotation)[0]


def _keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield prefix + name
        for inner in _sections(field.annotation):
            yield from _keys(inner, f"{prefix}{name}.")


def _matches(name: str, keys: list[str]) -> list[str]:
    """The keys that a name may stand for: similar ones, else those with its letters as initials (``lr``)."""
    initials = [key for key in keys if "".join(word[:1] for word in key.split("_")) == name]
    return difflib.get_close_matches(name, keys, n=1) or initials


def _suggest(path: list[str], parent: type[BaseModel] | None, root: type[BaseModel]) -> str:
    prefix = ".".join([*path[:-1], ""])
    name, siblings = path[-1], list(parent.model_fields) if parent else []
    everywhere = {key.split(".")[-1]: key for key in reversed(list(_keys(root)))}
    near = [prefix + match for match in _matches(name, siblings)]
    far = [everywhere[match] for match in _matches(name, list(everywhere))]
    # The right name in the wrong section comes before a similar name in the right one.
    for candidates in ([everywhere[name]] if name in everywhere else [], near, far):
        if candidates:
            return f" (did you mean {candidates[0]!r}?)"
    known = ", ".join(prefix + sibling for sibling in siblings)
    return f" (known here: {known})" if known else ""
