"""Small SVG plots, written by hand: the same bytes from the same numbers, whatever is installed."""

import math
from typing import Any

from experiments.benchmark.cases import CHANNELS, FILTER_DENSITIES, SELECTIONS

Row = dict[str, Any]

WIDTH, HEIGHT = 260, 240
LEFT, TOP, RIGHT, BOTTOM = 44, 34, 10, 34
COLOURS = ("#0b6e4f", "#2274a5", "#e09f3e", "#9e2a2b")
INK, GRID = "#57606a", "#d0d7de"  # legible on light and dark pages alike


def ratio_plot(rows: list[Row], passes: str, points: str) -> str | None:
    """How many times faster than the fastest dense peer, over r: one panel a pair of channels, log-log.

    Solid lines: without selection; dashed: with it. One colour a filter density.

    Returns:
      The SVG text, ``None`` where there is nothing to plot.
    """
    rows = [r for r in rows if r["passes"] == passes and r["points"] == points and r["ratio"]]
    panels = [c for c in CHANNELS if any((r["in_channels"], r["out_channels"]) == c for r in rows)]
    resolutions = sorted({r["resolution"] for r in rows})
    if not panels or len(resolutions) < 2:
        return None
    ratios = [r["ratio"] for r in rows]
    low = min(-1, math.floor(math.log10(min(ratios))))
    high = max(1, math.ceil(math.log10(max(ratios))))
    parts = []
    for index, channels in enumerate(panels):
        frame = _Frame(index * WIDTH, resolutions, low, high)
        parts.append(frame.axes(f"{channels[0]} -> {channels[1]} channels"))
        chosen = [r for r in rows if (r["in_channels"], r["out_channels"]) == channels]
        for density, colour in zip(FILTER_DENSITIES, COLOURS, strict=True):
            for selection in SELECTIONS:
                line = sorted(
                    (r["resolution"], r["ratio"])
                    for r in chosen
                    if r["filter_density"] == density and r["selection"] == selection
                )
                parts.append(frame.line(line, colour, dashed=selection == "with"))
    parts.append(_legend(len(panels) * WIDTH))
    width, height = len(panels) * WIDTH + 130, HEIGHT
    title = f"Times the speed of the fastest dense convolution: {passes}, {points} voxels"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">\n'
        f"<title>{title}</title>\n"
        f'<text x="{LEFT}" y="14" fill="{INK}" font-size="12">{title}</text>\n'
        + "\n".join(part for part in parts if part)
        + "\n</svg>\n"
    )


class _Frame:
    """One panel: its axes and how numbers map onto it."""

    def __init__(self, x: int, resolutions: list[int], low: int, high: int):
        self.x0 = x
        self.resolutions = resolutions
        self.low, self.high = low, high

    def x(self, resolution: float) -> float:
        first, last = math.log2(self.resolutions[0]), math.log2(self.resolutions[-1])
        share = (math.log2(resolution) - first) / (last - first)
        return self.x0 + LEFT + 6 + share * (WIDTH - LEFT - RIGHT - 12)

    def y(self, ratio: float) -> float:
        share = (math.log10(ratio) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def axes(self, title: str) -> str:
        left, right = self.x0 + LEFT, self.x0 + WIDTH - RIGHT
        parts = [
            f'<text x="{(left + right) / 2:.0f}" y="{TOP - 5}" fill="{INK}" text-anchor="middle">{title}</text>'
        ]
        for power in range(self.low, self.high + 1):
            y = self.y(10.0**power)
            # Level with the dense peer: the line that matters.
            stroke = INK if power == 0 else GRID
            parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="{stroke}" fill="none"/>')
            parts.append(
                f'<text x="{left - 4}" y="{y + 4:.1f}" fill="{INK}" text-anchor="end">{10.0**power:g}</text>'
            )
        for resolution in self.resolutions:
            x = self.x(resolution)
            parts.append(
                f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 14}" fill="{INK}" text-anchor="middle">{resolution}</text>'
            )
        parts.append(
            f'<text x="{(left + right) / 2:.0f}" y="{HEIGHT - 6}" fill="{INK}" text-anchor="middle">r</text>'
        )
        return "\n".join(parts)

    def line(self, values: list[tuple[int, float]], colour: str, *, dashed: bool) -> str:
        if not values:
            return ""
        points = [(self.x(resolution), self.y(ratio)) for resolution, ratio in values]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        dash = ' stroke-dasharray="5 3"' if dashed else ""
        dots = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{colour}"/>' for x, y in points
        )
        return f'<path d="M{path}" stroke="{colour}" stroke-width="1.6" fill="none"{dash}/>{dots}'


def _legend(x: int) -> str:
    parts = [f'<text x="{x}" y="{TOP + 10}" fill="{INK}">filter density</text>']
    for index, (density, colour) in enumerate(zip(FILTER_DENSITIES, COLOURS, strict=True)):
        y = TOP + 28 + 17 * index
        parts.append(f'<path d="M{x} {y - 4}h22" stroke="{colour}" stroke-width="1.6"/>')
        parts.append(f'<text x="{x + 28}" y="{y}" fill="{INK}">{density:g}</text>')
    for index, selection in enumerate(SELECTIONS):
        y = TOP + 28 + 17 * (len(COLOURS) + 0.5 + index)
        dash = ' stroke-dasharray="5 3"' if selection == "with" else ""
        parts.append(f'<path d="M{x} {y - 4}h22" stroke="{INK}" stroke-width="1.6"{dash}/>')
        parts.append(f'<text x="{x + 28}" y="{y}" fill="{INK}">{selection} selection</text>')
    return "\n".join(parts)
