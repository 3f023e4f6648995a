"""The page, the plots and the lines in the README of ``benchmark block``, generated from its result file."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.benchmark import block_plot
from experiments.benchmark.block_cases import ASKED_NETWORK, BOX_GROWTH, UNITS, groups
from experiments.benchmark.block_plot import sizes_of
from experiments.benchmark.criteria import Verdict
from experiments.benchmark.report import replace_page
from experiments.benchmark.store import Results

Row = dict[str, Any]

PAGE = "docs/benchmarks/block.md"
BEGIN, END = "<!-- generated: benchmark block -->", "<!-- end generated -->"
PAPER = {
    ("conv", "top-left"): (3.39, 2.47, 1.34, 0.88),
    ("unit", "top-left"): (8.22, 6.27, 3.73, 1.64),
    ("unit", "road"): (3.05, 2.15, 1.65, 1.14),
    ("unit", "boxes"): (5.21, 3.25, 2.26, 1.32),
}
"""SBNet's Tables 1 to 4 on a GPU, at 90, 90, 75 and 90 %."""
TABLES = (
    ("Table 1: 3x3 convolution, synthetic masks of 90 %", "conv", "top-left"),
    ("Table 2: residual units, synthetic masks of 90 %", "unit", "top-left"),
    ("Table 3: residual units, road-like mask", "unit", "road"),
    ("Table 4: residual units, grown boxes", "unit", "boxes"),
    ("3x3 convolution, road-like mask", "conv", "road"),
    ("3x3 convolution, grown boxes", "conv", "boxes"),
)


def row_line(row: Row) -> str:
    """One row for the screen, as ratios."""
    peers = ", ".join(f"{name} {ratio:.2f}" for name, ratio in row["ratios"].items())
    tiles = "x".join(map(str, row["block_size"])) if "block_size" in row else f"held {_held(row)}"
    return (
        f"{row['mask']:8} {row['frame']:6} sparsity {row['sparsity']:.3f} blocks {tiles:11} {peers} "
        f"(spread {100 * row['jaxsparse']['spread']:.0f} %)"
    )


def best(row: Row, peer: str, *, without: str = "") -> float | None:
    """How many times faster than a peer's fastest form."""
    found = [
        ratio for name, ratio in row["ratios"].items()
        if row["dense"][name]["peer"] == peer and name != without
    ]  # fmt: skip
    return min(found, default=None)


def judge(results: Results) -> list[Verdict]:
    """What was asked of the CPU."""
    found = []
    for group in groups():
        rows = [r for r in results.rows if r["part"] == "layer" and r["layer"] == group.layer]
        rows = [r for r in rows if r["size"] == group.size and _is(r, "top-left", 0.9)]
        text = (
            f"{group}, synthetic mask of 90 %: at least {group.asked:g} times the dense twin in XLA"
        )
        found.append(_verdict(text, rows, group.asked))
    rows = [r for r in results.rows if r["part"] == "network" and _is(r, "top-left", 0.9)]
    text = f"whole network, mask of 90 %: at least {ASKED_NETWORK:g} times"
    return [*found, _verdict(text, rows, ASKED_NETWORK)]


def write_report(results: Results, root: Path) -> list[Path]:
    """Writes ``docs/benchmarks/block.md`` with its plots, and the generated part of ``README.md``."""
    page = root / PAGE
    page.parent.mkdir(parents=True, exist_ok=True)
    written, figures = [page], {}
    for name, svg in (
        ("speed_up", block_plot.speed_up_plot(results.rows)),
        ("speed_up_torch", block_plot.speed_up_plot(_against_torch(results.rows), "torch")),
        ("frames", block_plot.frame_plot(results.rows)),
    ):
        if svg is not None:
            path = page.with_name(f"block_{name}.svg")
            replace_page(path, svg)
            figures[name] = path.name
            written.append(path)
    replace_page(page, page_text(results, figures))
    readme = root / "README.md"
    if readme.exists() and BEGIN in (text := readme.read_text()):
        lines = f"{BEGIN}\n{readme_text(results)}\n{END}"
        pattern = f"{re.escape(BEGIN)}.*?{re.escape(END)}"
        replace_page(readme, re.sub(pattern, lambda _: lines, text, flags=re.S))
        written.append(readme)
    return written


def readme_text(results: Results) -> str:
    """A few lines: 90 % synthetic masks, and the network."""
    rows = [r for r in results.rows if r["part"] == "layer" and _is(r, "top-left", 0.9)]
    if not rows:
        return "Block-sparse layers: not measured yet (`python -m experiments benchmark block`)."
    lines = [
        "Block-sparse layers at 90 % sparsity (synthetic masks, their reduction included, in place), times the speed of the dense "
        "twin\nin XLA / of XLA with matrix products for 1 x 1 convolutions / of torch:\n",
        "| | 400x704 | 200x352 | 100x176 | 50x88 |\n|---|---|---|---|---|",
    ]
    for layer, words in (
        ("conv", "3x3 convolution, 24 to 96 channels"),
        ("unit", f"{UNITS} residual units, 96 to 384 channels"),
    ):
        chosen = [r for r in rows if r["layer"] == layer]
        cells = []
        for size in sizes_of(chosen):
            (row,) = [r for r in chosen if r["size"] == size]
            ratios = [
                row["ratios"].get("xla"),
                row["ratios"].get("xla products"),
                best(row, "torch"),
            ]
            cells.append(" / ".join(_number(r) for r in ratios if r is not None))
        lines.append(f"| {words} | {' | '.join(cells)} |")
    network = [r for r in results.rows if r["part"] == "network"]
    if network:
        words = [
            f"{_number(r['ratios']['xla'])} ({_mask(r)}, {r['sparsity']:.0%})"
            for r in _ordered(network)
        ]
        lines.append(f"\nSBNet's whole network: {', '.join(words)} times.")
    lines.append(f"Losing rows, real masks and what was asked: [{PAGE}]({PAGE}).")
    return "\n".join(lines)


def page_text(results: Results, figures: dict[str, str]) -> str:
    """The whole page."""
    parts = [
        "# Block-sparse convolution on CPU\n",
        "Generated by `python -m experiments benchmark block --report` from "
        "`experiments/results/benchmark_block_cpu.json`; edits are overwritten.\n",
        _how(results),
        "## What was asked\n",
        "| criterion | measured | reached |\n|---|---|---|",
        *(
            f"| {v.text} | {v.measured} | { ({True: 'yes', False: '**no**', None: '-'}[v.ok]) } |"
            for v in judge(results)
        ),
        "",
    ]
    layers = [r for r in results.rows if r["part"] == "layer"]
    for title, layer, mask in TABLES:
        rows = [r for r in layers if r["layer"] == layer and r["mask"] == mask]
        rows = [r for r in rows if mask != "top-left" or _is(r, mask, 0.9)]
        if rows:
            parts += [f"## {title}\n", _layer_table(rows, PAPER.get((layer, mask))), ""]
    for name, title in (
        ("speed_up", "Fig. 6: speed-up over sparsity, against XLA's dense twin"),
        ("speed_up_torch", "The same against torch"),
    ):
        if name in figures:
            parts += [f"## {title}\n", f"![{title}]({figures[name]})\n"]
    network = [r for r in results.rows if r["part"] == "network"]
    if network:
        parts += ["## Table 6: the whole network\n", _network_table(network), ""]
    frames = [r for r in results.rows if r["part"] == "frame"]
    if frames:
        parts += [
            "## Fig. 7: frame by frame\n",
            f"![Speed-up of the network on real sweeps]({figures['frames']})\n",
        ]
        parts += [_frame_table(frames), ""]
    if layers:
        parts += ["## Every row\n", _all_rows(layers), ""]
    return "\n".join(parts)


def _against_torch(rows: Sequence[Row]) -> list[Row]:
    """Rows with the ratio to torch's fastest form under its name."""
    layers = [r for r in rows if r["part"] == "layer" and best(r, "torch") is not None]
    return [{**r, "ratios": {"torch": best(r, "torch")}} for r in layers]


def _is(row: Row, mask: str, sparsity: float) -> bool:
    return row["mask"] == mask and (
        mask != "top-left" or abs(row["asked_sparsity"] - sparsity) < 1e-6
    )


def _verdict(text: str, rows: Sequence[Row], asked: float) -> Verdict:
    if not rows:
        return Verdict(text, "not measured", None)
    ratio = min(row["ratios"]["xla"] for row in rows)
    return Verdict(text, f"{ratio:.1f}", ratio >= asked)


def _how(results: Results) -> str:
    loads: dict[str, float] = {}
    for run in results.runs.values():
        machine = (
            f"{run['machine']['processor']}, {run['threads']} threads, jax {run['versions']['jax']}, torch "
            f"{run['versions'].get('torch') or 'absent'}, commit {(run['commit'] or {}).get('id', 'unknown')[:10]}"
        )
        loads[machine] = max(loads.get(machine, 0.0), run["load_average"])
    lines = [
        f"- {machine}; load average at most {load} at the start"
        for machine, load in sorted(loads.items())
    ]
    return (
        "One process, contestants alternating, medians; float32, batch 1. A call reduces the mask (bool, at the layer's "
        "resolution,\nactive where any pixel of a window is), and runs the layers on the tiles; the scatter is in place on a donated "
        f"map. Residual units:\n{UNITS} in a chain inside one `jit`. Block sizes and capacities fit the mask at hand: of rectangular "
        "blocks of many shapes the few whose active ones\nhold the fewest pixels, tiles and windows together, and of those the one "
        "that `block.tune` times fastest for one layer. The whole network has\nfixed square blocks, and each of its "
        "lists has room for the active blocks of the mask at hand and no more. Before a layer is timed it is compared\nwith its "
        "dense twin inside a mask of 90 %.\n\n"
        "*XLA*: the dense twin as `flax.nnx` would write it. *XLA, products*: its 1 x 1 convolutions written as matrix "
        "products, which XLA's\nCPU backend runs up to eight times faster: the harder rival. *torch*: the faster of contiguous and "
        "channels_last. *Theoretical*:\n1/(1 - sparsity). More than that comes from tiles that stay in the cache, and from products. "
        "*Road-like*: the open ground of a KITTI\nsweep. *Grown boxes*: the boxes of its labelled vehicles, grown by "
        f"{BOX_GROWTH:g} m on all sides. They stand for SBNet's predicted masks: its mask network\nlearns to predict them, but no "
        "mask here is a network's output. Ratios only: absolute times of a shared CPU mean little. Bold: slower\nthan the "
        "rival.\n\n" + "\n".join(lines) + "\n"
    )


def _layer_table(rows: Sequence[Row], paper: Sequence[float] | None) -> str:
    ordered = [next(r for r in rows if r["size"] == size) for size in sizes_of(rows)]
    lines = [
        "| | " + " | ".join(r["size"] for r in ordered) + " |",
        "|---" * (len(ordered) + 1) + "|",
    ]

    def add(label: str, values: Sequence[str | None]) -> None:
        if any(values):
            lines.append(f"| {label} | " + " | ".join(v or "-" for v in values) + " |")

    add("times XLA", [_number(r["ratios"].get("xla")) for r in ordered])
    if any("xla products" in r["ratios"] for r in ordered):
        add("times XLA, products", [_number(r["ratios"].get("xla products")) for r in ordered])
    add("times torch", [_number(best(r, "torch")) for r in ordered])
    add("theoretical", [f"{r['theoretical']:.1f}" for r in ordered])
    add("sparsity", [f"{r['sparsity']:.3f}" for r in ordered])
    add(
        "pixels in tiles / in windows, of all",
        [f"{r['tile_share']:.0%} / {r['window_share']:.0%}" for r in ordered],
    )
    add("block size", ["x".join(map(str, r["block_size"])) for r in ordered])
    if paper is not None:
        add("SBNet on a GPU, over cuDNN", [f"{value:.2f}" for value in paper[: len(ordered)]])
    frames = {r["frame"] for r in rows} - {""}
    note = f"\nFrame {', '.join(sorted(frames))} of KITTI." if frames else ""
    return "\n".join(lines) + note


def _network_table(rows: Sequence[Row]) -> str:
    lines = [
        "Share of the dense network's time; *masks*: resizing and reducing them for all layers, which is part of the total; *mask "
        "network*: PSPNet\nat an eighth of the resolution, which predicted masks would cost on top. SBNet on a GPU: .49 (road), .32 "
        "(predicted), .04 (mask network).\n",
        "| mask | sparsity | times XLA | theoretical | share of dense | masks | mask network | with it, times XLA |\n"
        + "|---" * 8
        + "|",
    ]
    for row in _ordered(rows):
        dense, own = row["dense"]["xla"]["median"], row["jaxsparse"]["median"]
        predictor = row["mask_network"]["median"]
        lines.append(
            f"| {_mask(row)} | {row['sparsity']:.3f} | {_number(dense / own)} | {row['theoretical']:.1f} | {own / dense:.3f} "
            f"| {row['reduction']['median'] / dense:.4f} | {predictor / dense:.3f} | {_number(dense / (own + predictor))} |"
        )
    return "\n".join(lines)


def _frame_table(rows: Sequence[Row]) -> str:
    lines = [
        "| frame | sparsity | times XLA | theoretical | lists hold, of all blocks |\n|---|---|---|---|---|"
    ]
    for row in sorted(rows, key=lambda r: r["sparsity"]):
        lines.append(
            f"| {row['frame']} | {row['sparsity']:.3f} | {_number(row['ratios']['xla'])} | {row['theoretical']:.1f} "
            f"| {_held(row)} |"
        )
    return "\n".join(lines)


def _held(row: Row) -> str:
    """The shares of their blocks that the lists of a network hold: the least and the most."""
    shares = row["densities"].values()
    return f"{min(shares):.0%} to {max(shares):.0%}"


def _all_rows(rows: Sequence[Row]) -> str:
    lines = [
        "| layer | map | mask | sparsity | times XLA | times XLA, products | times torch | theoretical | block size | blocks | in tiles "
        "| in windows | spread |\n" + "|---" * 13 + "|"
    ]
    for row in sorted(
        rows, key=lambda r: (r["layer"], -int(r["size"].split("x")[0]), r["mask"], r["sparsity"])
    ):
        ratios = (row["ratios"].get("xla"), row["ratios"].get("xla products"), best(row, "torch"))
        lines.append(
            f"| {row['layer']} | {row['size']} | {_mask(row)} | {row['sparsity']:.3f} | "
            + " | ".join(_number(r) or "-" for r in ratios)
            + f" | {row['theoretical']:.1f} | {'x'.join(map(str, row['block_size']))} | {row['capacity']} "
            f"| {row['tile_share']:.1%} | {row['window_share']:.1%} | {row['jaxsparse']['spread']:.0%} |"
        )
    return "\n".join(lines)


def _ordered(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda r: (("top-left", "road", "boxes").index(r["mask"]), r["frame"]))


def _mask(row: Row) -> str:
    words = {"top-left": "synthetic", "road": "road-like", "boxes": "grown boxes"}[row["mask"]]
    return f"{words} {row['frame']}".strip()


def _number(value: float | None) -> str:
    if value is None:
        return ""
    text = f"{value:.1f}" if value >= 1 else f"{value:.2f}"
    return text if value >= 1 else f"**{text}**"
