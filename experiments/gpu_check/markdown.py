"""Tables in Markdown."""

from typing import Any


def table(title: str, head: list[str], lines: list[str]) -> str:
    """Rows under a heading; nothing where there is no row."""
    if not lines:
        return ""
    top = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return (f"## {title}\n\n" if title else "") + "\n".join([*top, *lines]) + "\n"


def cell(text: str) -> str:
    """What a table can hold."""
    return text.replace("|", "/").replace("\n", " ")[:400]


def number(value: Any, digits: int = 1) -> str:
    """With so many decimals; a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"
