"""The plots of ``benchmark block``: SBNet's Fig. 6 and 7, written by hand as those of ``plot.py``."""

import math
from collections.abc import Sequence
from typing import Any

from experiments.benchmark.plot import COLOURS, GRID, INK

Row = dict[str, Any]

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 330, 290, 44, 34, 12, 38
TICKS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
TITLES = {"conv": "3x3 convolution", "unit": "residual units", "network": "SBNet's network"}


def speed_up_plot(rows: Sequence[Row], rival: str = "xla") -> str | None:
    """Fig. 6: times the speed of a dense contestant over the sparsity of synthetic masks, one colour a map.

    Both axes are logarithmic, that of the sparsity in 1/(1 - s): the theoretical speed-up is a straight line (dashed).
    """
    rows = [
        r for r in rows if r["part"] == "layer" and r["mask"] == "top-left" and rival in r["ratios"]
    ]
    panels = [name for name in ("conv", "unit") if any(r["layer"] == name for r in rows)]
    if not panels:
        return None
    low, high = _decades(
        [r["ratios"][rival] for r in rows] + [1 / (1 - r["sparsity"]) for r in rows]
    )
    parts = []
    for number, layer in enumerate(panels):
        panel = _Panel(number * WIDTH, low, high)
        parts += [panel.axes(TITLES[layer]), panel.theory()]
        chosen = [r for r in rows if r["layer"] == layer]
        for size, colour in zip(sizes_of(chosen), COLOURS, strict=False):
            line = sorted((r["sparsity"], r["ratios"][rival]) for r in chosen if r["size"] == size)
            parts.append(panel.line(line, colour))
    x = len(panels) * WIDTH
    labels = [
        size.rsplit("x", 1)[0] for size in sizes_of([r for r in rows if r["layer"] == panels[0]])
    ]
    parts.append(_legend(x, [*zip(labels, COLOURS, strict=False)], "map"))
    return _svg(x + 120, f"Times the speed of the dense twin ({rival}), synthetic masks", parts)


def frame_plot(rows: Sequence[Row]) -> str | None:
    """Fig. 7: the whole network on real sweeps, one dot a frame."""
    rows = [r for r in rows if r["part"] == "frame"]
    if not rows:
        return None
    low, high = _decades([r["ratios"]["xla"] for r in rows] + [1, 10])
    panel = _Panel(0, low, high)
    dots = [(r["sparsity"], r["ratios"]["xla"]) for r in rows]
    parts = [
        panel.axes("road-like masks of KITTI sweeps"),
        panel.theory(),
        panel.dots(dots, COLOURS[1]),
    ]
    parts.append(_legend(WIDTH, [("a frame", COLOURS[1])], ""))
    return _svg(WIDTH + 120, "Times the speed of the dense network", parts)


def sizes_of(rows: Sequence[Row]) -> list[str]:
    """The maps of some rows, the finest first."""
    return sorted({r["size"] for r in rows}, key=lambda size: -int(size.split("x")[0]))


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low = math.floor(math.log10(min(values)) + 1e-9)
    return min(low, 0), max(1, math.ceil(math.log10(max(values)) - 1e-9))


class _Panel:
    """Axes, and how numbers map onto them."""

    def __init__(self, x: int, low: int, high: int):
        self.x0, self.low, self.high = x, low, high

    def x(self, sparsity: float) -> float:
        first, last = (-math.log(1 - s) for s in (0.15, 0.992))
        share = (-math.log(1 - min(max(sparsity, 0.15), 0.992)) - first) / (last - first)
        return self.x0 + LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, ratio: float) -> float:
        share = (math.log10(ratio) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def axes(self, title: str) -> str:
        left, right = self.x0 + LEFT, self.x0 + WIDTH - RIGHT
        middle = (left + right) / 2
        parts = [
            f'<text x="{middle:.0f}" y="{TOP - 5}" fill="{INK}" text-anchor="middle">{title}</text>'
        ]
        for power in range(self.low, self.high + 1):
            for factor in (1, 2, 5) if power < self.high else (1,):
                value = factor * 10.0**power
                y = self.y(value)
                # Level with the dense twin: the line that matters.
                stroke = INK if value == 1 else GRID
                parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="{stroke}" fill="none"/>')
                parts.append(
                    f'<text x="{left - 4}" y="{y + 4:.1f}" fill="{INK}" text-anchor="end">{value:g}</text>'
                )
        for sparsity in TICKS:
            parts.append(
                f'<text x="{self.x(sparsity):.1f}" y="{HEIGHT - BOTTOM + 14}" fill="{INK}" '
                f'text-anchor="middle">{sparsity:g}</text>'
            )
        parts.append(
            f'<text x="{middle:.0f}" y="{HEIGHT - 8}" fill="{INK}" text-anchor="middle">sparsity</text>'
        )
        return "\n".join(parts)

    def theory(self) -> str:
        ends = [s for s in (0.15, 0.992) if 1 / (1 - s) <= 10**self.high] or [0.15]
        last = ends[-1] if len(ends) > 1 else 1 - 10.0**-self.high
        points = [(0.15, 1 / 0.85), (last, 1 / (1 - last))]
        path = "L".join(f"{self.x(s):.1f} {self.y(r):.1f}" for s, r in points)
        return f'<path d="M{path}" stroke="{INK}" stroke-dasharray="5 3" fill="none"/>'

    def line(self, values: Sequence[tuple[float, float]], colour: str) -> str:
        path = "L".join(f"{self.x(s):.1f} {self.y(r):.1f}" for s, r in values)
        line = f'<path d="M{path}" stroke="{colour}" stroke-width="1.6" fill="none"/>'
        return line + self.dots(values, colour)

    def dots(self, values: Sequence[tuple[float, float]], colour: str) -> str:
        return "".join(
            f'<circle cx="{self.x(s):.1f}" cy="{self.y(r):.1f}" r="2.6" fill="{colour}"/>'
            for s, r in values
        )


def _legend(x: int, entries: Sequence[tuple[str, str]], title: str) -> str:
    parts = [f'<text x="{x}" y="{TOP + 10}" fill="{INK}">{title}</text>']
    for number, (label, colour) in enumerate(entries):
        y = TOP + 28 + 17 * number
        parts.append(f'<circle cx="{x + 10}" cy="{y - 4}" r="3" fill="{colour}"/>')
        parts.append(f'<text x="{x + 22}" y="{y}" fill="{INK}">{label}</text>')
    y = TOP + 28 + 17 * len(entries)
    parts.append(f'<path d="M{x} {y - 4}h18" stroke="{INK}" stroke-dasharray="5 3"/>')
    parts.append(f'<text x="{x + 22}" y="{y}" fill="{INK}">1/(1 - sparsity)</text>')
    return "\n".join(parts)


def _svg(width: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" '
        f'viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" font-size="11">\n'
        f"<title>{title}</title>\n"
        f'<text x="{LEFT}" y="14" fill="{INK}" font-size="12">{title}</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
