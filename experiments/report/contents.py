"""What stands on which page."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.report import many_plots, many_tables, run_plots, run_tables
from experiments.report.blocks import Block, Section, Text
from experiments.report.confusion import confusion
from experiments.report.files import at
from experiments.report.live_weights import live_weights
from experiments.report.many import SCALE, Setting
from experiments.report.page import render, section
from experiments.report.pictures import bounds, load, pictures
from experiments.report.record import RunRecord
from experiments.report.source import Many

if TYPE_CHECKING:
    from experiments.activations import Trained

NONE = Text("There are no pictures.", missing=True)


def run_page(run: RunRecord, root: Path, indices: Sequence[int], overrides: tuple[str, ...]) -> str:
    """The page of one run.

    Args:
      run: what is known of it.
      root: of the checkout.
      indices: which images of the test set to show; none: no pictures.
      overrides: ``key=value`` strings for the configuration the pictures are made with.
    """
    smoke = bool(at(run.result, "smoke_test")) or at(run.config, "data", "kind") == "digits"
    evaluated = at(run.result, "kind") == "evaluate"
    trained = load(run.path, overrides) if indices else NONE
    sections = [
        section("overview", "Overview", lambda: [run_tables.headline(run), *_smoke(smoke)]),
        *([] if evaluated else [section("curves", "Curves", partial(run_plots.curves, run))]),
        section(
            "sparsity",
            "Sparsity",
            *(
                []
                if evaluated
                else [
                    lambda: run_plots.densities(run, bounds(trained)),
                    partial(run_plots.dropped, run),
                    partial(run_plots.live_weights, run),
                ]
            ),
            partial(run_tables.layer_table, run),
        ),
        *([] if evaluated else [section("time", "Time", partial(run_plots.step_time, run))]),
        section("confusions", "Classes", partial(confusion, run)),
        *_pictures(trained, indices),
        section("speed", "Speed against live weights", partial(live_weights, root)),
        section("provenance", "Provenance", partial(run_tables.provenance, run)),
    ]
    dataset = at(run.result, "dataset") or at(run.config, "data", "kind") or "unknown data"
    what = "Evaluation of a network" if evaluated else "Training run"
    return render(run.name, f"{what} on {dataset}, {run.path}", run.notes, sections)


def many_page(
    many: Many, root: Path, indices: Sequence[int], overrides: tuple[str, ...], path: Path
) -> str:
    """The page of a sweep or of a table; arguments as those of :func:`run_page`."""
    settings = many.settings
    table = many.kind == "table"
    smoke = any(at(run.result, "smoke_test") for s in settings for run in s.runs)
    best = _best(settings)
    sections = [
        section("overview", "Overview", lambda: [many_tables.headline(settings), *_smoke(smoke)]),
        section(
            "results",
            "Results",
            partial(
                many_tables.table_of_rows if table else many_tables.table_of_settings, settings
            ),
            partial(many_plots.accuracy_against_bound, settings),
            partial(many_plots.against_scale, settings),
            partial(many_plots.against_axes, settings, (SCALE,)) if not table else list,
        ),
        section("curves", "Curves", partial(many_plots.curves_by_setting, settings)),
        section(
            "sparsity",
            "Sparsity and time",
            partial(many_plots.sparsity_by_setting, settings),
            partial(many_plots.density_by_layer, settings),
            partial(many_tables.layer_tables, settings),
        ),
        *([] if best is None else _of_best(best, indices, overrides)),
        section("speed", "Speed against live weights", partial(live_weights, root)),
        section("runs", "Every run", partial(many_tables.every_run, settings)),
        section("provenance", "Provenance", partial(many_tables.provenance, settings)),
    ]
    what = "Table of runs" if table else "Sweep"
    return render(many.title, f"{what}, {path}", many.notes, sections)


def _best(settings: Sequence[Setting]) -> RunRecord | None:
    """The run of the highest accuracy, a sparse one if there is one."""
    done = [run for setting in settings for run in setting.done]
    return max(done, key=lambda run: (run.sparse, run.accuracy or 0.0), default=None)


def _of_best(best: RunRecord, indices: Sequence[int], overrides: tuple[str, ...]) -> list[Section]:
    """Confusions and pictures of the best run."""
    chosen = Text(f"Of {best.name}, the sparse run of the highest accuracy.")
    own = Text(f"Of {best.name}, the run of the highest accuracy.")
    note = chosen if best.sparse else own
    return [
        section("confusions", "Classes", lambda: [note], partial(confusion, best)),
        *_pictures(load(best.path, overrides) if indices else NONE, indices, [note]),
    ]


def _pictures(
    trained: "Trained | Text", indices: Sequence[int], first: Sequence[Block] = ()
) -> list[Section]:
    if not indices:
        return []
    return [Section("pictures", "Through the layers", [*first, *pictures(trained, indices)])]


def _smoke(smoke: bool) -> list[Block]:
    return [Text("A smoke test: its accuracy says nothing about the method.")] if smoke else []
