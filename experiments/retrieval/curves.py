"""Precision-recall curves as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

COLOURS = ("#2274a5", "#e09f3e", "#9e2a2b", "#0b6e4f", "#6d597a")


def draw_curves(rows: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Draws interpolated curves.

    Args:
      rows: ``label``, ``recall``, ``precision``, ``map`` and ``auc`` of each.
      path: the picture; its ending says in what format.
      title: above it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.4), dpi=120, layout="constrained")
    axes = figure.subplots()
    for number, row in enumerate(rows):
        label = f"{row['label']}: mAP {100 * row['map']:.2f} %, AUC {100 * row['auc']:.2f} %"
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(row["recall"], row["precision"], label=label, color=colour, linewidth=2)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision (interpolated)")
    axes.set_title(title, fontsize=10)
    axes.grid(True, color="#e3e7eb")
    axes.legend(fontsize=8, loc="lower left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def curve_row(label: str, result: dict[str, Any]) -> dict[str, Any]:
    """What ``draw_curves`` wants of a result."""
    return {
        "label": label,
        **result["precision_recall"],
        "map": result["micro"]["map"],
        "auc": result["micro"]["auc"],
    }
