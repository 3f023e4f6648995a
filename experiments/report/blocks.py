"""What a page is made of. The template shows one kind of block after the other and escapes every text."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph; ``missing``: it stands where something else should."""

    kind: ClassVar[str] = "text"
    text: str
    missing: bool = False


@dataclasses.dataclass(frozen=True)
class Facts:
    """Names and values."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Tiles:
    """The numbers to see first: label, value, what it is about."""

    kind: ClassVar[str] = "tiles"
    tiles: Sequence[tuple[str, str, str]]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table. The first ``labels`` columns are text, the others numbers."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int = 1
    text: str = ""


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
      traces: of plotly.
      layout: of plotly.
      title: above it, where a plot has several panels.
    """

    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    title: str = ""


@dataclasses.dataclass(frozen=True)
class Plot:
    """A figure of one or several panels, which share a legend.

    Attributes:
      id: of the page's element.
      title: above it.
      text: what is shown and how it was made.
      panels: side by side, as many as there is room for.
      height: of a panel, in pixels.
      min_width: of a panel, in pixels; a narrower page scrolls it.
      max_width: of a panel, in pixels, if there is one.
    """

    kind: ClassVar[str] = "plot"
    id: str
    title: str
    text: str
    panels: Sequence[Panel]
    height: int = 320
    min_width: int = 0
    max_width: int | None = None

    @property
    def size(self) -> str:
        """Many panels are small ones, two or three share a row."""
        return ("", "", "few", "few")[len(self.panels)] if len(self.panels) < 4 else "small"

    @property
    def data(self) -> list[dict[str, Any]]:
        """What the page's script draws."""
        return [{"data": panel.traces, "layout": panel.layout} for panel in self.panels]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """What the layers store, to be drawn by the page's script."""

    kind: ClassVar[str] = "pictures"
    data: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Details:
    """Blocks that are folded away."""

    kind: ClassVar[str] = "details"
    summary: str
    blocks: Sequence["Block"]


Block = Text | Facts | Tiles | Table | Plot | Pictures | Details


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    id: str
    title: str
    blocks: Sequence[Block]
