"""Fig. 3 of S3DCNN: precision against recall, from results of ``retrieve``."""

import json
from pathlib import Path
from typing import Any

from experiments.errors import DataError
from experiments.figures.spec import PrecisionRecallConfig
from experiments.retrieval.curves import curve_row, draw_curves


def measure(config: PrecisionRecallConfig, path: Path) -> list[dict[str, Any]]:
    """A JSON-like row for each curve; ``path`` is the figure's file."""
    rows = []
    for label, file in config.results.items():
        try:
            result = json.loads((path.parent / file).read_text(encoding="utf-8"))
            row = curve_row(label, result)
            rows.append({**row, "objects": result["objects"], "distance": result["distance"]})
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{file} is no result of retrieve: {error}") from error
    return rows


def lines(config: PrecisionRecallConfig, rows: list[dict[str, Any]]) -> list[str]:
    """The page behind its title, as Markdown."""
    recalls = (0.1, 0.25, 0.5, 0.75, 0.9)
    text = [
        "Precision interpolated (the highest at a recall of at least so much), averaged over the queries. The paper's curve is a "
        "picture without numbers.",
        "",
        "| run | objects | distance | mAP | AUC | "
        + " | ".join(f"at recall {recall:g}" for recall in recalls)
        + " |",
        "|---|---|---|---|---|" + "---|" * len(recalls),
    ]
    for row in rows:
        values = [row["precision"][row["recall"].index(recall)] for recall in recalls]
        text.append(
            f"| {row['label']} | {row['objects']} | {row['distance']} | {100 * row['map']:.2f} % | {100 * row['auc']:.2f} % | "
            + " | ".join(f"{value:.3f}" for value in values)
            + " |"
        )
    return text


def draw(config: PrecisionRecallConfig, rows: list[dict[str, Any]], path: Path) -> None:
    """The picture, as PNG."""
    draw_curves(rows, path, config.title)
