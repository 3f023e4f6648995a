"""What is written of a sweep and of a table: the settings in order of merit, the paper's numbers, the runs."""

from collections.abc import Sequence

from experiments.report.blocks import Block, Details, Facts, Table, Text, Tiles
from experiments.report.files import at, number
from experiments.report.many import Setting, comparable
from experiments.report.record import RunRecord
from experiments.report.run_tables import fixed, layer_table, provenance_facts, shown


def headline(settings: Sequence[Setting]) -> Tiles:
    """How much is done, and the best of it."""
    runs = [run for setting in settings for run in setting.runs]
    missing = sum(len(setting.missing) for setting in settings)
    done = sum(run.finished for run in runs)
    tiles = [
        ("runs finished", f"{done} of {len(runs) + missing}", f"{len(settings)} settings"),
    ]
    best = ranked(settings)[:1]
    if best and best[0].accuracies:
        tiles.append(("best mean accuracy", fixed(best[0].mean("accuracy")), best[0].title))
    return Tiles(tiles)


def ranked(settings: Sequence[Setting]) -> list[Setting]:
    """The best mean accuracy first, what is not finished last."""
    return sorted(settings, key=lambda setting: -(setting.mean("accuracy") or -1))


def table_of_settings(settings: Sequence[Setting]) -> list[Block]:
    """A row a setting: of a sweep."""
    keys = list(dict.fromkeys(key for setting in settings for key in setting.values))
    pruned = any(setting.mean("live_share") is not None for setting in settings)
    rows = []
    for setting in ranked(settings):
        low, high = min(setting.accuracies, default=None), max(setting.accuracies, default=None)
        rows.append(
            [
                *(shown(setting.values.get(key)) for key in keys),
                f"{len(setting.done)} of {len(setting.runs) + len(setting.missing)}",
                fixed(setting.mean("accuracy")),
                "" if low is None or high is None else f"{low:.4f} to {high:.4f}",
                fixed(setting.mean("loss")),
                fixed(setting.mean("step_ms"), 1),
                *([fixed(setting.mean("live_share"), 1)] if pruned else []),
            ]
        )
    columns = [*keys, "runs done", "mean accuracy", "lowest to highest", "loss", "ms a step"]
    columns += ["weights left (%)"] if pruned else []
    text = "Of the finished runs, after the last epoch, on the test set; the best first."
    return [Table("Settings", columns, rows, labels=len(keys), text=text)]


def table_of_rows(settings: Sequence[Setting]) -> list[Block]:
    """A row a network: of a table, beside the paper."""
    twins = {
        id(setting): mean
        for _, group in comparable(settings)
        for twin in group
        if twin.dense and (mean := twin.mean("accuracy")) is not None
        for setting in group
        if setting is not twin
    }
    rows = []
    for setting in settings:
        mean = setting.mean("accuracy")
        low, high = min(setting.accuracies, default=None), max(setting.accuracies, default=None)
        epochs = next((run.epochs for run in setting.runs if run.epochs is not None), None)
        rows.append(
            [
                setting.title,
                "dense" if setting.dense else fixed(setting.bound, 3),
                "" if epochs is None else str(epochs),
                f"{len(setting.done)} of {len(setting.runs) + len(setting.missing)}",
                fixed(mean),
                "" if low is None or high is None else f"{low:.4f} to {high:.4f}",
                _points(mean, twins.get(id(setting))),
                fixed(setting.paper, 3),
                _points(mean, setting.paper),
                "" if setting.asked is None else fixed(setting.asked, 3) + _verdict(mean, setting),
            ]
        )
    return [
        Table(
            "Networks",
            (
                "network",
                "bound",
                "epochs",
                "seeds",
                "mean accuracy",
                "lowest to highest",
                "minus dense twin (points)",
                "paper",
                "minus paper (points)",
                "asked of the mean",
            ),
            rows,
            text="Test accuracy after the last epoch; differences in per cent of all images. The dense twin is the same "
            "network with dense convolutions, trained alike.",
        )
    ]


def layer_tables(settings: Sequence[Setting]) -> list[Block]:
    """The layers of the first finished run of every setting, folded away."""
    blocks: list[Block] = [Text("The tables of layers, of one run each:")]
    for setting in settings:
        run = next(iter(setting.done), None)
        if run is not None and run.layers:
            blocks.append(Details(f"{setting.title}, seed {run.seed}", layer_table(run)))
    return blocks if len(blocks) > 1 else []


def every_run(settings: Sequence[Setting]) -> list[Block]:
    """A row a run, with where it comes from."""
    rows = []
    for setting in settings:
        for run in setting.runs:
            lost = [number(row.get("dropped")) for row in run.layers]
            rows.append(
                (
                    setting.title,
                    run.name,
                    "finished" if run.finished else run.progress,
                    str(run.seed),
                    fixed(run.accuracy),
                    fixed(number(run.test.get("loss"))),
                    "" if not lost else f"{sum(value or 0 for value in lost):,.0f}",
                    fixed(run.step_ms, 1),
                    str(at(run.result, "provenance", "commit", "id") or "")[:10],
                )
            )
        rows += [(setting.title, name, "not run yet", *[""] * 6) for name in setting.missing]
    columns = (
        "setting", "run", "state", "seed", "accuracy", "loss", "entries dropped a sample", "ms a step", "commit",
    )  # fmt: skip
    return [Table("Every run", columns, rows, labels=3)]


def provenance(settings: Sequence[Setting]) -> list[Block]:
    """Machines, versions and commits, each once, with the runs that they are of."""
    found: dict[tuple[tuple[str, str], ...], list[RunRecord]] = {}
    for run in (run for setting in settings for run in setting.runs):
        told = at(run.result, "provenance")
        if isinstance(told, dict):
            facts = tuple(fact for fact in provenance_facts(told) if fact[0] != "date")
            found.setdefault(facts, []).append(run)
    if not found:
        return [Text("Machine, versions and commit are written with results.", missing=True)]
    blocks: list[Block] = []
    for facts, runs in found.items():
        dates = sorted(str(at(run.result, "provenance", "date")) for run in runs)
        of = f"{len(runs)} run{'s' if len(runs) > 1 else ''}, {dates[0]} to {dates[-1]}"
        blocks.append(Facts([("runs", of), *facts]))
    return blocks


def _points(ours: float | None, theirs: float | None) -> str:
    return "" if ours is None or theirs is None else f"{100 * (ours - theirs):+.2f}"


def _verdict(mean: float | None, setting: Setting) -> str:
    if mean is None or setting.asked is None:
        return ""
    return " (met)" if mean >= setting.asked else " (missed)"
