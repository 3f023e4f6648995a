"""Fig. 2 of S3DCNN: mAP against the render size, a network trained for each."""

import json
from pathlib import Path
from typing import Any

from experiments.config import load_config
from experiments.figures.spec import RenderMapConfig


def measure(config: RenderMapConfig, path: Path) -> list[dict[str, Any]]:
    """A JSON-like row for each render size; ``path`` is the figure's file.

    Runs are in ``runs/NAME/RENDER``: what was stopped goes on, what is finished is embedded again, not trained.

    Raises:
      Interrupted: the training was asked to stop; the same call goes on.
    """
    from experiments.retrieval.embed import load_embedder
    from experiments.retrieval.retrieve import retrieve
    from experiments.train import train
    from experiments.train.run_folder import has_begun

    rows = []
    for render in config.renders:
        settings = {**config.set, "data.render": render, "name": f"{config.name}-{render}"}
        texts = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        run = load_config(path.parent / config.base, texts)
        folder = config.runs / config.name / str(render)
        print(f"== render {render} ({folder})", flush=True)
        train(run, folder, resume=has_begun(folder))
        embedder = load_embedder(folder)
        result, _ = retrieve(embedder, per_class=config.per_class, queries=0, run=folder)
        rows.append(
            {
                "render": render,
                "field": embedder.dataset.image_shape[0],
                "objective": run.objective.kind,
                "epochs": run.train.epochs,
                "train_size": len(embedder.dataset.train),
                "objects": result["objects"],
                "micro": result["micro"],
                "accuracy": result["trained"]["test"]["accuracy"],
            }
        )
    return rows


def lines(config: RenderMapConfig, rows: list[dict[str, Any]]) -> list[str]:
    """The page behind its title, as Markdown."""
    first = rows[0]
    what = "accuracy" if first["objective"] == "softmax" else "test triplets in order"
    text = [
        f"A field of {first['field']}³; objective {first['objective']}, {first['epochs']} epochs of {first['train_size']:,} objects, "
        f"{first['objects']:,} objects ranked. The paper: mAP rises up to a render size of about 45 to 50, then drops slightly and "
        "levels off.",
        "",
        f"| render | mAP | AUC | nearest neighbour | {what} |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        micro = row["micro"]
        text.append(
            f"| {row['render']} | {100 * micro['map']:.2f} % | {100 * micro['auc']:.2f} % | {100 * micro['nn']:.2f} % | "
            f"{100 * row['accuracy']:.2f} % |"
        )
    return text


def draw(config: RenderMapConfig, rows: list[dict[str, Any]], path: Path) -> None:
    """The picture, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    values = [100 * row["micro"]["map"] for row in rows]
    axes.plot([row["render"] for row in rows], values, marker="o", color="#2274a5")
    axes.set_xlabel("render size, voxels")
    axes.set_ylabel("mAP, %")
    axes.set_title(f"A field of {rows[0]['field']}³", fontsize=10)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
