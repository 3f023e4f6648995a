"""What is written of one run: the numbers to see first, the table of layers, where it comes from."""

import json
from typing import Any

from experiments.report.blocks import Block, Details, Facts, Table, Text, Tiles
from experiments.report.files import at, flatten, number
from experiments.report.record import RunRecord


def shown(value: Any) -> str:
    """A value of a configuration, as in its file."""
    return value if isinstance(value, str) else json.dumps(value)


def fixed(value: float | None, digits: int = 4) -> str:
    """A number with so many decimals, nothing where there is none."""
    return "" if value is None else f"{value:.{digits}f}"


def headline(run: RunRecord) -> Tiles:
    """Where the run stands, and what came out."""
    tiles = [("state", "finished" if run.finished else "not finished", run.progress)]
    split = at(run.result, "split") or "test"
    if run.accuracy is not None:
        when = "at the end" if run.finished else "of the last test so far"
        tiles.append((f"{split} accuracy", f"{run.accuracy:.4f}", when))
        tiles.append((f"{split} loss", fixed(number(run.test.get("loss"))), when))
    if run.step_ms is not None:
        tiles.append(
            (
                "time of a step",
                f"{run.step_ms:.1f} ms",
                f"median, batch of {at(run.config, 'train', 'batch_size')}",
            )
        )
    if run.live_share is not None:
        tiles.append(("weights left", f"{run.live_share:.1f} %", "of the sparse convolutions"))
    return Tiles(tiles)


def layer_table(run: RunRecord) -> list[Block]:
    """The final table of layers."""
    if not run.layers:
        return [Text("The table of layers is written with the result, at the end.", missing=True)]
    pruned = any("live_weights" in row for row in run.layers)
    rows = []
    for row in run.layers:
        shape = row.get("spatial_shape")
        shape = shape if isinstance(shape, list) else []
        volume = 1
        for extent in shape:
            volume *= int(number(extent) or 0)
        capacity, lost = number(row.get("capacity")), number(row.get("dropped"))
        cells = [
            str(row.get("layer")),
            f"{' x '.join(map(str, shape))} x {row.get('channels')}",
            "" if capacity is None else f"{min(capacity, volume):,.0f} of {volume:,}",
            *(fixed(number(row.get(key))) for key in ("bound", "stored", "found")),
            "" if lost is None else f"{max(lost, 0.0):,.1f}",
            {True: "yes", False: "NO"}.get(row.get("within_bound"), ""),  # pyright: ignore
        ]
        if pruned:
            left, whole = number(row.get("live_weights")), number(row.get("weights"))
            cells.append(
                f"{left:,.0f} of {whole:,.0f} ({100 * left / whole:.1f} %)"
                if left is not None and whole
                else ""
            )
        rows.append(cells)
    columns = (
        "layer",
        "voxels x channels",
        "entries",
        "bound",
        "density",
        "found",
        "dropped",
        "within bound",
    )
    return [
        Table(
            "Layers at the end",
            (*columns, "live weights") if pruned else columns,
            rows,
            labels=2,
            text="entries: what a channel may store, of its volume; bound: their ratio. density: what it stored, found: "
            "before the cut, both means over the test set. dropped: entries cut, a sample.",
        )
    ]


def provenance(run: RunRecord) -> list[Block]:
    """Machine, versions, commit, date, configuration."""
    blocks: list[Block] = []
    told = at(run.result, "provenance")
    if not isinstance(told, dict):
        blocks.append(
            Text(
                "Machine, versions and commit are written with the result, at the end.",
                missing=True,
            )
        )
    else:
        blocks.append(Facts(provenance_facts(told)))
    if run.config:
        rows = [(key, shown(value)) for key, value in flatten(run.config).items()]
        blocks.append(Details("Configuration", [Facts(rows)]))
    return blocks


def provenance_facts(told: dict[str, Any]) -> list[tuple[str, str]]:
    """The rows of a result's ``provenance``."""
    commit, machine, versions = (at(told, key) for key in ("commit", "machine", "versions"))
    known = at(commit, "id")
    facts = [
        ("date", shown(at(told, "date") or "unknown")),
        (
            "commit",
            f"{known}{' with changes on top' if at(commit, 'modified') else ''}"
            if known
            else "unknown",
        ),
    ]
    if isinstance(machine, dict):
        facts += [(key.replace("_", " "), _listed(value)) for key, value in machine.items()]
    if isinstance(versions, dict):
        pairs = [f"{key} {'absent' if v is None else shown(v)}" for key, v in versions.items()]
        facts.append(("versions", ", ".join(pairs)))
    return facts


def _listed(value: Any) -> str:
    return ", ".join(map(shown, value)) if isinstance(value, list) else shown(value)
