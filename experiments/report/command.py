"""``python -m experiments report``: a run, a sweep or a table as one HTML page."""

import argparse
from pathlib import Path

from experiments.errors import UserError

ROOT = Path(__file__).parents[2]


def add_parser(commands) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "report",
        help="show a run, a sweep or a table as one HTML page",
        description="Write one HTML page that needs no network and no file beside it: curves, densities and live weights "
        "of every layer, step times, the confusion matrix, what the layers store as pictures that can be rotated, and, "
        "of sweeps and tables, accuracy against bounds and the paper's numbers beside ours. A run may still be going, "
        "or have been stopped: what is missing is said on the page.",
        epilog="example: python -m experiments report runs/mnist-20260101-120000 --output mnist.html",
    )
    parser.add_argument(
        "path",
        metavar="RUN_OR_SWEEP",
        type=Path,
        help="a run's folder or its result file, a sweep's folder (runs/NAME), or that of a table's results "
        "(experiments/results/NAME)",
    )
    parser.add_argument(
        "overrides",
        metavar="KEY=VALUE",
        nargs="*",
        help="override a key of the run's configuration for the pictures, as in data.root=DIR",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="the page (default: report.html in the folder, FILE.html of a file)",
    )
    parser.add_argument(
        "--index",
        type=int,
        nargs="+",
        default=[0, 1],
        metavar="N",
        help="which images of the test set to show (default: 0 1)",
    )
    parser.add_argument(
        "--no-pictures", action="store_true", help="leave out the pictures, which load a checkpoint"
    )
    parser.add_argument(
        "--root", type=Path, default=ROOT, help="where configs/ and experiments/results/ are"
    )
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    from experiments.report.contents import many_page, run_page
    from experiments.report.source import Many, page_path, read_source
    from experiments.train.run_folder import write_whole

    source = read_source(options.path, options.root)
    indices = [] if options.no_pictures else options.index
    overrides = tuple(options.overrides)
    if isinstance(source, Many):
        text = many_page(source, options.root, indices, overrides, options.path)
    else:
        text = run_page(source, options.root, indices, overrides)
    output = options.output or page_path(options.path)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_whole(output, text)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from error
    print(f"wrote {output} ({len(text.encode()) / 1e6:.1f} MB)")
    return 0
