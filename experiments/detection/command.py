"""``python -m experiments detector``: trains, evaluates and draws detectors on KITTI's sweeps."""

import argparse
import datetime
import json
import shlex
from pathlib import Path
from typing import Any

from experiments.errors import INTERRUPTED, UserError


def add_parser(commands) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "detector",
        help="train and evaluate a block-sparse detector on KITTI's sweeps",
        description="SBNet's detector on LiDAR sweeps: a mask network says where to look, a block-sparse detector looks there.",
    )
    subjects = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(subjects)
    _add_evaluate(subjects)
    _add_draw(subjects)
    _add_page(subjects)


def _add_train(commands) -> None:
    parser = commands.add_parser(
        "train",
        help="train a detector and its mask network as a configuration says",
        description="Train a detector and its mask network, end to end. Ctrl-C stops after the current step and leaves a "
        "checkpoint.",
        epilog="example: python -m experiments detector train configs/kitti_detector.yaml data.root=/data/kitti",
    )
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, as in configs/")
    _overrides(parser, "override a key, as in train.steps=100")
    parser.add_argument("--run-dir", type=Path, help="the run's folder (default: runs/NAME-DATE)")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the newest checkpoint in --run-dir"
    )
    parser.add_argument("--result", type=Path, help="write the result to this JSON file, too")
    parser.set_defaults(run=_train)


def _overrides(parser: Any, text: str) -> None:
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", help=text)


def _train(options: argparse.Namespace) -> int:
    from experiments.detection.config import load_detector
    from experiments.detection.trainer import train
    from experiments.train import Interrupted

    config = load_detector(options.config, options.overrides)
    if options.resume and options.run_dir is None:
        raise UserError("--resume needs --run-dir: the folder of the run to continue")
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    run_dir = options.run_dir or Path("runs") / f"{config.name}-{stamp}"
    try:
        result = train(config, run_dir, resume=options.resume)
    except Interrupted as stop:
        again = [options.config, *options.overrides, "--run-dir", str(run_dir), "--resume"]
        if options.result is not None:
            again += ["--result", str(options.result)]
        print(
            f"Stopped after step {stop.step}; the checkpoint is whole. Continue with\n"
            f"  python -m experiments detector train {shlex.join(again)}"
        )
        return INTERRUPTED
    _write(options.result, result)
    print(f"run folder  {run_dir}")
    return 0


def _add_evaluate(commands) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="a trained detector on its frames, beside its dense twin",
        description="What a trained detector finds, how far the block-sparse network and its dense twin agree, and the time "
        "they take.",
        epilog="example: python -m experiments detector evaluate runs/kitti_detector data.root=/data/kitti",
    )
    parser.add_argument("path", metavar="RUN", type=Path, help="a run's folder")
    _overrides(parser, "override a key of the run's configuration, as in data.root=DIR")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls of each network")
    parser.add_argument("--result", type=Path, help="write the result to this JSON file")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from experiments.detection.evaluate import evaluate

    if options.repeats < 1:
        raise UserError(f"--repeats must be at least 1, got {options.repeats}")
    result = evaluate(options.path, tuple(options.overrides), repeats=options.repeats)
    _write(options.result, result)
    return 0


def _add_draw(commands) -> None:
    parser = commands.add_parser(
        "draw",
        help="draw a frame from above: mask, blocks, detections",
        description="Draw what a trained detector makes of a frame: the sweep with the predicted mask, the blocks that are "
        "computed, and what the block-sparse network and its dense twin find.",
    )
    parser.add_argument("path", metavar="RUN", type=Path, help="a run's folder")
    _overrides(parser, "override a key of the run's configuration, as in data.root=DIR")
    parser.add_argument("--frame", required=True, help="one of the run's frames, as 000008")
    parser.add_argument("--output", type=Path, required=True, help="the picture, as in x.png")
    parser.set_defaults(run=_draw)


def _draw(options: argparse.Namespace) -> int:
    from experiments.detection.draw import draw

    draw(options.path, options.frame, options.output, tuple(options.overrides))
    print(f"wrote {options.output}")
    return 0


def _add_page(commands) -> None:
    parser = commands.add_parser("page", help="write the page of a detector from its result files")
    parser.add_argument("trained", metavar="TRAINED", type=Path, help="the result of train")
    parser.add_argument("evaluated", metavar="EVALUATED", type=Path, help="the result of evaluate")
    parser.add_argument("--pictures", type=Path, nargs="*", default=[], help="of draw")
    parser.add_argument("--output", type=Path, required=True, help="the page, as in x.md")
    parser.set_defaults(run=_page)


def _page(options: argparse.Namespace) -> int:
    from experiments.detection.page import write_page

    write_page(options.trained, options.evaluated, options.pictures, options.output)
    print(f"wrote {options.output}")
    return 0


def _write(path: Path | None, result: dict[str, Any]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
