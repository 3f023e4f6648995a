"""The command line: ``python -m experiments train|evaluate|activations|retrieve|table|figure|densities|sweep|report|detector|benchmark``."""

import argparse
import datetime
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.errors import INTERRUPTED, UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description="Train jaxsparse's networks and measure the library against its peers.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_activations(commands)
    _add_retrieve(commands)
    _add_benchmark(commands)
    _add_table(commands)
    _add_figure(commands)
    _add_sweep(commands)
    _add_report(commands)
    _add_densities(commands)
    _add_detector(commands)
    options, rest = parser.parse_known_args(arguments)
    # argparse gives up on KEY=VALUE behind an option.
    stray = [text for text in rest if text.startswith("-") or "=" not in text]
    if stray or (rest and not hasattr(options, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(stray or rest)}")
    if rest:
        options.overrides += rest
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax warns of what was asked for
    try:
        return options.run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED


def _add_train(commands) -> None:
    parser = commands.add_parser(
        "train",
        help="train a network as a configuration says",
        description="Train a network as a YAML configuration says; end in a table of accuracy, density of every "
        "layer against its bound, and time per step. Ctrl-C stops after the current step and leaves a checkpoint.",
        epilog="example: python -m experiments train configs/mnist.yaml data.root=/data/mnist train.epochs=1",
    )
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, as in configs/")
    parser.add_argument(
        "overrides", metavar="KEY=VALUE", nargs="*", help="override a key, as in train.epochs=1"
    )
    parser.add_argument(
        "--run-dir",
        type=Path,
        help="folder for metrics, checkpoints and result (default: runs/NAME-DATE)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the newest checkpoint in --run-dir"
    )
    parser.add_argument("--result", type=Path, help="write the result to this JSON file, too")
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    from experiments.config import load_config

    config = load_config(options.config, options.overrides)
    if options.resume and options.run_dir is None:
        raise UserError("--resume needs --run-dir: the folder of the run to continue")
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    if config.distributed is not None and options.run_dir is None:
        raise UserError("distributed needs --run-dir: the same folder for all processes")
    run_dir = options.run_dir or Path("runs") / f"{config.name}-{stamp}"

    from experiments.train import Interrupted, train

    try:
        train(config, run_dir, resume=options.resume)
    except Interrupted as stop:
        again = [options.config, *options.overrides, "--run-dir", str(run_dir), "--resume"]
        if options.result is not None:
            again += ["--result", str(options.result)]
        print(
            f"Stopped after step {stop.step}; the checkpoint is whole. Continue with\n"
            f"  python -m experiments train {shlex.join(again)}"
        )
        return INTERRUPTED
    if config.distributed is not None and config.distributed.process_id != 0:
        return 0
    if options.result is not None:
        options.result.parent.mkdir(parents=True, exist_ok=True)
        options.result.write_bytes((run_dir / "result.json").read_bytes())
    print(f"run folder  {run_dir}")
    return 0


def _add_evaluate(commands) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="test a trained network",
        description="Run a trained network over a split of its data and show the table that training ends in.",
        epilog="example: python -m experiments evaluate runs/mnist-20260101-120000 --split train",
    )
    parser.add_argument(
        "path",
        metavar="RUN",
        type=Path,
        help="a run's folder, or a checkpoint: RUN/checkpoints/STEP",
    )
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="override a key of the run's configuration, as in data.root=DIR",
    )
    parser.add_argument("--step", type=int, help="which checkpoint (default: the newest)")
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument("--result", type=Path, help="write the result to this JSON file")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    import json

    from experiments.train import evaluate

    result = evaluate(
        options.path, step=options.step, split=options.split, overrides=tuple(options.overrides)
    )
    if options.result is not None:
        options.result.parent.mkdir(parents=True, exist_ok=True)
        options.result.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def _add_activations(commands) -> None:
    parser = commands.add_parser(
        "activations",
        help="draw what the layers of a trained network store",
        description="Draw one channel of some layers for one image of the test set: the dense network above, the sparse "
        "one below, with the same weights.",
    )
    parser.add_argument("path", metavar="RUN", type=Path, help="a run's folder, or a checkpoint")
    parser.add_argument(
        "overrides", metavar="KEY=VALUE", nargs="*", help="override a key, as in data.root=DIR"
    )
    parser.add_argument("--output", type=Path, required=True, help="the picture, as in x.png")
    parser.add_argument("--index", type=int, default=0, help="which image of the test set")
    parser.add_argument("--layers", nargs="+", default=["conv1", "conv2", "conv3"])
    parser.set_defaults(run=_activations)


def _activations(options: argparse.Namespace) -> int:
    from experiments.activations import draw_activations

    draw_activations(
        options.path,
        options.output,
        index=options.index,
        layers=tuple(options.layers),
        overrides=tuple(options.overrides),
    )
    print(f"wrote {options.output}")
    return 0


def _add_retrieve(commands) -> None:
    from experiments.retrieval import command

    command.add_parser(commands)


def _add_benchmark(commands) -> None:
    parser = commands.add_parser("benchmark", help="measure against what a user would pick instead")
    subjects = parser.add_subparsers(title="subjects", required=True, metavar="SUBJECT")
    from experiments.benchmark import block, direct, live_weights, voxel

    direct.add_parser(subjects)
    live_weights.add_parser(subjects)
    block.add_parser(subjects)
    voxel.add_parser(subjects)


def _add_table(commands) -> None:
    from experiments.table import command

    command.add_parser(commands)


def _add_figure(commands) -> None:
    from experiments.figures import command

    command.add_parser(commands)


def _add_sweep(commands) -> None:
    from experiments.sweep import command

    command.add_parser(commands)


def _add_report(commands) -> None:
    from experiments.report import command

    command.add_parser(commands)


def _add_densities(commands) -> None:
    from experiments.densities import command

    command.add_parser(commands)


def _add_detector(commands) -> None:
    from experiments.detection import command

    command.add_parser(commands)


if __name__ == "__main__":
    sys.exit(main())
