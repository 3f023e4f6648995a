"""``python -m experiments figure``: measures what a figure shows, draws it, and writes its page."""

import argparse
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.config.load import parse_override
from experiments.errors import INTERRUPTED, UserError
from experiments.figures import (
    active_sites,
    block_geometry,
    block_size,
    epoch_cost,
    fill_in,
    precision_recall,
    render_map,
    renders,
)
from experiments.figures.spec import FigureConfig, load_figure
from experiments.provenance import provenance
from experiments.train.run_folder import write_whole

ROOT = Path(__file__).parents[2]

KINDS: dict[str, ModuleType] = {
    "fill_in": fill_in,
    "epoch_cost": epoch_cost,
    "block_geometry": block_geometry,
    "block_size": block_size,
    "active_sites": active_sites,
    "renders": renders,
    "render_map": render_map,
    "precision_recall": precision_recall,
}
TITLES = {
    "fill_in": "Fill-in: ILA-SCNN's Fig. 3",
    "epoch_cost": "Time and memory of an epoch: ILA-SCNN's Table 2",
    "block_geometry": block_geometry.TITLE,
    "block_size": block_size.TITLE,
    "active_sites": "Active sites behind every layer: S3DCNN's Table 1",
    "renders": "One object at several render sizes: S3DCNN's Fig. 1",
    "render_map": "Retrieval against the render size: S3DCNN's Fig. 2",
    "precision_recall": "Precision and recall: S3DCNN's Fig. 3",
}


FOLDERS = ("meshes", "runs")
"""Keys of a figure that say where things are."""


class Stopped(UserError):
    """A figure that trains was asked to stop."""


def add_parser(commands) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "figure",
        help="measure and draw one of the paper's figures",
        description="Measure what a figure of the paper shows, write experiments/results/NAME.json, and from it the "
        "picture docs/figures/NAME.png and the page docs/figures/NAME.md: data, setting, the paper's numbers, ours.",
        epilog="example: python -m experiments figure configs/figures/fill_in.yaml",
    )
    parser.add_argument(
        "figure", metavar="FIGURE", type=Path, help="a YAML file, as in configs/figures/"
    )
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="override a key of the experiment that the figure is made with: data.root=DIR; or a folder of the figure "
        "itself: meshes=DIR, runs=DIR",
    )
    parser.add_argument("--report", action="store_true", help="draw from the result file only")
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="where experiments/results/ and docs/ are"
    )
    parser.set_defaults(run=_figure)


def _figure(options: argparse.Namespace) -> int:
    try:
        return _make(options)
    except Stopped as stop:
        print(stop)
        return INTERRUPTED


def _make(options: argparse.Namespace) -> int:
    config = load_figure(options.figure)
    kind = KINDS[config.kind]
    result_path = options.root / "experiments" / "results" / f"{config.name}.json"
    if options.report:
        result = _read(result_path, config)
    else:
        config_run = _overridden(config, options.overrides)
        result = {
            "name": config.name,
            "config": _told(config),
            "provenance": provenance(),
            "rows": _measured(kind, config_run, options.figure),
        }
        result_path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(result_path, json.dumps(result, indent=1) + "\n")
    folder = options.root / "docs" / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    kind.draw(config, result["rows"], folder / f"{config.name}.png")
    file = options.figure.absolute()
    file = file.relative_to(ROOT) if file.is_relative_to(ROOT) else Path(file.name)
    path = folder / f"{config.name}.md"
    write_whole(path, page(config, file, result))
    print(f"wrote {path}")
    return 0


def _overridden(config: Any, overrides: list[str]) -> Any:
    keys = dict(map(parse_override, overrides))
    folders = {
        key: Path(str(keys.pop(key))) for key in FOLDERS if key in keys and hasattr(config, key)
    }
    if keys and not hasattr(config, "set"):
        raise UserError(f"a figure of kind {config.kind} has no experiment to override keys of")
    settings = {"set": {**config.set, **keys}} if keys else {}
    return config.model_copy(update={**folders, **settings})


def _told(config: Any) -> dict[str, Any]:
    """The configuration as it stands in the result: without where things lie on a machine."""
    return config.model_dump(mode="json", exclude=set(FOLDERS))


def _measured(kind: ModuleType, config: Any, path: Path) -> list[dict[str, Any]]:
    from experiments.train import Interrupted

    try:
        return kind.measure(config, path)
    except Interrupted as stop:
        told = f"Stopped after step {stop.step} of {stop.run_dir}; the same command goes on."
        raise Stopped(told) from None


def _read(path: Path, config: FigureConfig) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the result file {path}: {error.strerror}") from error
    if result["config"] != _told(config):
        raise UserError(f"{path} is the result of another configuration: measure again")
    return result


def page(config: Any, file: Path, result: dict[str, Any]) -> str:
    """The page of a figure, as Markdown; ``file`` is its configuration."""
    told = result["provenance"]
    machine, versions, commit = told["machine"], told["versions"], told["commit"]
    return "\n".join(
        [
            f"# {TITLES[config.kind]}",
            "",
            f"Generated by `python -m experiments figure {file.as_posix()}` from "
            f"`experiments/results/{config.name}.json`.",
            "",
            *KINDS[config.kind].lines(config, result["rows"]),
            "",
            f"![{TITLES[config.kind]}]({config.name}.png)",
            "",
            f"Machine: {machine['processor']}, {machine['cpus']} threads, jax {versions['jax']}, commit "
            f"{(commit or {'id': 'unknown'})['id'][:10]}. Times are of that machine while other work may have run on it.",
            "",
        ]
    )
