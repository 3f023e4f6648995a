"""Which class was taken for which, from the counts that a test leaves in a result."""

from typing import Any

import numpy as np

from experiments.report.blocks import Block, Details, Panel, Plot, Table, Text
from experiments.report.files import at
from experiments.report.record import RunRecord
from experiments.report.traces import COLOURS, plain

FEW = 15
"""Classes up to which counts are written into the cells."""


def confusion(run: RunRecord) -> list[Block]:
    """The confusion matrix and what follows from it for every class."""
    if run.result is None:
        return [Text("The confusion matrix is written with the result, at the end.", missing=True)]
    held = at(run.result, "confusion")
    if held is None:
        return [
            Text(
                "This result has no confusion matrix: it was written before results had one. "
                "python -m experiments evaluate RUN --result FILE counts it again, and python -m experiments report "
                "FILE shows it.",
                missing=True,
            )
        ]
    classes, counts = checked(held)
    return [_matrix(classes, counts), Details("Class by class", [_by_class(classes, counts)])]


def checked(held: Any) -> tuple[list[str], np.ndarray]:
    """Class names and counts ``[classes, classes]``.

    Raises:
      ValueError: it is no such thing.
    """
    classes, rows = at(held, "classes"), at(held, "counts")
    if not isinstance(classes, list) or not isinstance(rows, list):
        raise ValueError("the confusion matrix of this result has no classes or no counts")
    counts = np.array(rows)
    if counts.shape != (len(classes),) * 2 or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError("the confusion matrix of this result is no square table of counts")
    return [str(name) for name in classes], counts


def _matrix(classes: list[str], counts: np.ndarray) -> Plot:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [plain(name) for name in classes]
    trace: dict[str, Any] = {
        "type": "heatmap",
        "z": np.round(100 * share, 2).tolist(),
        # Numbers as names would become an axis of numbers, and equal names one row.
        "x": list(range(len(names))),
        "y": list(range(len(names))),
        "customdata": [
            [[names[row], names[column], int(count)] for column, count in enumerate(line)]
            for row, line in enumerate(counts)
        ],
        "hovertemplate": "%{customdata[0]} taken for %{customdata[1]}<br>%{customdata[2]} images, %{z:.1f} % of the class"
        "<extra></extra>",
        "zmin": 0,
        "zmax": 100,
        # From nothing to a colour on which black and white are both legible: it suits either theme.
        "colorscale": [[0, "rgba(47,127,214,0)"], [0.02, "rgba(47,127,214,0.12)"], [1, COLOURS[0]]],
        "showscale": len(classes) > FEW,
        "colorbar": {"title": {"text": "% of the class"}, "thickness": 12},
        "xgap": 1,
        "ygap": 1,
    }
    if len(classes) <= FEW:
        trace |= {
            "text": [[str(count) if count else "" for count in line] for line in counts.tolist()],
            "texttemplate": "%{text}",
        }
    ticks = {
        "tickvals": list(range(len(names))),
        "ticktext": names,
        "showgrid": False,
        "zeroline": False,
    }
    layout = {
        "xaxis": {"title": {"text": "taken for"}, "constrain": "domain", **ticks},
        "yaxis": {"title": {"text": "class"}, "autorange": "reversed", **ticks},
    }
    text = "Rows: what an image shows; columns: what the network took it for. " + (
        "Numbers are images of the test set, colours their share of the class."
        if len(classes) <= FEW
        else "Colours are shares of the class; the pointer tells the numbers."
    )
    return Plot(
        "confusion",
        "Confusion matrix",
        text,
        [Panel([trace], layout)],
        height=max(380, 140 + 17 * len(classes)),
        min_width=0 if len(classes) <= FEW else 180 + 15 * len(classes),
        max_width=200 + 48 * len(classes),
    )


def _by_class(classes: list[str], counts: np.ndarray) -> Table:
    rows = []
    for index, name in enumerate(classes):
        images, taken = int(counts[index].sum()), int(counts[:, index].sum())
        right = int(counts[index, index])
        others = counts[index].copy()
        others[index] = 0
        worst = int(others.argmax())
        rows.append(
            (
                name,
                f"{classes[worst]} ({others[worst]})" if others.any() else "",
                f"{images:,}",
                _share(right, images),
                _share(right, taken),
            )
        )
    return Table(
        "Class by class",
        ("class", "most often taken for", "images", "recall", "precision"),
        rows,
        labels=2,
        text="Recall: the share of the class that was found. Precision: the share that is right of what was taken for it.",
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else ""
