"""``python -m experiments densities``: measures meshes, draws the figure and writes its page."""

import argparse
import json
from pathlib import Path
from typing import Any

from experiments.densities.measure import measure
from experiments.densities.report import draw, page
from experiments.errors import DataError, UserError
from experiments.train.run_folder import write_whole

ROOT = Path(__file__).parents[2]
RESULT = Path("experiments") / "results" / "densities.json"
PAGE = Path("docs") / "density.md"
PICTURE = Path("docs") / "images" / "density.png"
RESOLUTIONS = (8, 16, 32, 64, 128, 256)


def add_parser(commands) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "densities",
        help="measure the density of voxelised meshes over the resolution",
        description="Voxelise all mesh files below some folders at several resolutions, and write the result file, the "
        f"figure and the page ({PAGE}). A broken mesh is named and left out.",
        epilog="example: python -m experiments densities DATA/meshes DATA/modelnet10/off_samples",
    )
    parser.add_argument("roots", metavar="ROOT", nargs="*", type=Path, help="folders of meshes")
    parser.add_argument("--resolutions", nargs="+", type=int, default=RESOLUTIONS, metavar="R")
    parser.add_argument("--output", type=Path, help=f"the result file (default: {RESULT})")
    parser.add_argument("--report", action="store_true", help="write the page, measure nothing")
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="where experiments/results/ and docs/ are"
    )
    parser.set_defaults(run=_densities)


def _densities(options: argparse.Namespace) -> int:
    output = options.output or options.root / RESULT
    if options.report:
        result = _read(output)
    else:
        if not options.roots:
            raise UserError("densities needs a folder of meshes, or --report")
        result = measure(options.roots, tuple(options.resolutions))
        output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(output, json.dumps(result, indent=1) + "\n")
        print(f"wrote {output}")
        # Matplotlib's bytes differ from version to version: drawn with the measurement only.
        draw(result, options.root / PICTURE)
        print(f"wrote {options.root / PICTURE}")
    (options.root / PAGE).parent.mkdir(parents=True, exist_ok=True)
    write_whole(options.root / PAGE, page(result))
    print(f"wrote {options.root / PAGE}")
    return 0


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the result file {path}: {error}") from error
