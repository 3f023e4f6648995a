"""Lines, points and axes in plotly's terms. Colours that depend on the reader's theme are the page's script's business."""

import html
from collections.abc import Sequence
from typing import Any

from experiments.report.record import Point

# Legible on white and on near black alike: at least 3:1 on either.
COLOURS = (
    "#2f7fd6", "#d9580f", "#2b8f4a", "#a34bc4", "#c08a00", "#0c8f9c", "#d6336c", "#6f7f30", "#8a6d5a", "#5f6fe8",
)  # fmt: skip
PALE = 0.55
"""Opacity of what stands behind: measurements one by one behind their mean."""
LONGEST = 400
"""Points of a curve; more are averaged, neighbours with neighbours."""


def colour(index: int) -> str:
    """One of the colours, again and again."""
    return COLOURS[index % len(COLOURS)]


def plain(text: Any) -> str:
    """A text as plotly shall show it: it would take what looks like HTML for its own markup."""
    return html.escape(str(text), quote=False)


def thinned(points: Sequence[Point], longest: int = LONGEST) -> list[Point]:
    """At most ``longest`` points: means of equally many neighbours."""
    if len(points) <= longest:
        return list(points)
    group = -(-len(points) // longest)
    parts = [points[start : start + group] for start in range(0, len(points), group)]
    return [(sum(x for x, _ in p) / len(p), sum(y for _, y in p) / len(p)) for p in parts]


def line(
    points: Sequence[Point],
    name: str,
    shade: str,
    *,
    dash: str = "solid",
    width: float = 2,
    opacity: float = 1,
    group: str | None = None,
    text: Sequence[str] | None = None,
    mode: str | None = None,
    symbol: str = "circle",
    size: float = 6,
) -> dict[str, Any]:
    """A trace of a curve or of points.

    Args:
      points: x and y.
      name: in the legend, and beside the pointer.
      shade: its colour.
      dash: ``solid``, ``dash`` or ``dot``.
      width: of the line, in pixels.
      opacity: of all of it.
      group: traces of one group share a line of the legend; the name if left out.
      text: what stands beside the pointer, by point.
      mode: of plotly; a line, with markers where points are few, if left out.
      symbol: of the markers.
      size: of the markers, in pixels.
    """
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": mode or ("lines+markers" if len(points) <= 12 else "lines"),
        "x": [_short(x) for x, _ in points],
        "y": [_short(y) for _, y in points],
        "name": plain(name),
        "legendgroup": plain(group or name),
        "opacity": opacity,
        "line": {"color": shade, "dash": dash, "width": width},
        "marker": {"color": shade, "symbol": symbol, "size": size, "line": {"color": shade}},
    }
    if text is not None:
        trace |= {"text": [plain(item) for item in text], "hoverinfo": "x+y+text"}
    return trace


def dots(
    points: Sequence[Point],
    name: str,
    shade: str,
    *,
    symbol: str = "circle-open",
    size: float = 7,
    opacity: float = 1,
    group: str | None = None,
    text: Sequence[str] | None = None,
) -> dict[str, Any]:
    """A trace of points that no line joins."""
    return line(
        points, name, shade, mode="markers", symbol=symbol, size=size, opacity=opacity, group=group, text=text
    )  # fmt: skip


def level(
    value: float, span: tuple[float, float], name: str, shade: str, dash: str = "dash"
) -> dict[str, Any]:
    """A trace of a horizontal line."""
    return line([(span[0], value), (span[1], value)], name, shade, dash=dash, mode="lines")


def axes(
    x: str, y: str, *, zero: bool = False, share: bool = False, ticks: Sequence[float] | None = None
) -> dict[str, Any]:
    """A layout: what stands at the axes, units included.

    Args:
      x: below.
      y: at the left.
      zero: whether y begins at 0.
      share: whether y is a share of 1, shown with three digits.
      ticks: of x where they are given; x is then logarithmic.
    """
    below: dict[str, Any] = {"title": {"text": plain(x)}}
    if x in ("epoch", "step"):
        below["rangemode"] = "nonnegative"
    if ticks:
        below |= {
            "type": "log",
            "tickvals": list(ticks),
            "ticktext": [f"{tick:g}" for tick in ticks],
        }
    left: dict[str, Any] = {"title": {"text": plain(y)}}
    if zero:
        left["rangemode"] = "tozero"
    if share:
        left["tickformat"] = ".3~f"
    return {"xaxis": below, "yaxis": left}


def _short(value: float) -> float:
    return float(f"{value:.5g}")
