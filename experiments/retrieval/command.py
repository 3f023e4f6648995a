"""``python -m experiments retrieve``: ranks objects by a trained network's embeddings and shows what was found."""

import argparse
import json
from pathlib import Path

from experiments.errors import UserError

ROOT = Path(__file__).parents[2]


def add_parser(commands) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "retrieve",
        help="rank objects by a trained network's embeddings",
        description="Embed the objects of a split by a trained S3DCNN, rank for every object all others by their distance "
        "to it, and show mAP, the area under the precision-recall curve, nearest neighbour, tiers and NDCG. Writes "
        "result.json, embeddings.npz, precision_recall.png, gallery.png and gallery.html (queries and their ten nearest "
        "objects, framed by whether they are right) to RUN/retrieval. With --report: writes docs/s3dcnn.md from "
        "experiments/results/s3dcnn/.",
        epilog="example: python -m experiments retrieve runs/s3dcnn_triplet data.root=DIR --per-class 20",
    )
    parser.add_argument(
        "path",
        metavar="RUN",
        type=Path,
        nargs="?",
        help="a run's folder, or a checkpoint: RUN/checkpoints/STEP",
    )
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="override a key of the run's configuration, as in data.root=DIR or data.render=50",
    )
    parser.add_argument("--step", type=int, help="which checkpoint (default: the newest)")
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument(
        "--per-class", type=_positive, metavar="N", help="only the first N objects of every class"
    )
    parser.add_argument(
        "--distance",
        choices=("cosine", "l2"),
        help="what objects are ranked by (default: that of the run's triplets; l2 of a run that learnt classes)",
    )
    parser.add_argument(
        "--queries", type=int, default=12, metavar="N", help="of the gallery (default: 12)"
    )
    parser.add_argument("--output", type=Path, help="the folder (default: RUN/retrieval)")
    parser.add_argument("--result", type=Path, help="write the result to this JSON file, too")
    parser.add_argument("--report", action="store_true", help="write the page, run nothing")
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="where experiments/results/ and docs/ are"
    )
    parser.set_defaults(run=_retrieve)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _retrieve(options: argparse.Namespace) -> int:
    from experiments.train.run_folder import write_whole

    if options.report:
        from experiments.retrieval.report import write_page

        print(f"wrote {write_page(options.root)}")
        return 0
    if options.path is None:
        raise UserError("retrieve needs a run's folder, or --report")
    import numpy as np
    from rich.console import Console

    from experiments.retrieval import gallery
    from experiments.retrieval.curves import curve_row, draw_curves
    from experiments.retrieval.embed import load_embedder
    from experiments.retrieval.retrieve import print_scores, retrieve

    embedder = load_embedder(options.path, step=options.step, overrides=tuple(options.overrides))
    of_checkpoint = options.path.parent.name == "checkpoints"
    run = options.path.parent.parent if of_checkpoint else options.path
    result, embeddings = retrieve(
        embedder,
        split=options.split,
        per_class=options.per_class,
        distance=options.distance,
        queries=options.queries,
        run=run,
    )
    print_scores(Console(), result)
    output = options.output or run / "retrieval"
    split = embedder.split(options.split)
    text = json.dumps(result, indent=1) + "\n"
    try:
        output.mkdir(parents=True, exist_ok=True)
        np.savez(output / "embeddings.npz", embeddings=embeddings)
        title = f"{result['dataset']}, {result['objects']} objects"
        draw_curves([curve_row(result["name"], result)], output / "precision_recall.png", title)
        gallery.draw(result, split, output / "gallery.png")
        write_whole(output / "gallery.html", gallery.page(result, split))
        write_whole(output / "result.json", text)
        if options.result is not None:
            options.result.parent.mkdir(parents=True, exist_ok=True)
            write_whole(options.result, text)
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror}") from error
    print(f"wrote {output}")
    return 0
