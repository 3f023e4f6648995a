"""The ratios that the benchmark has to reach, and whether it did."""

import dataclasses
from typing import Any

from experiments.benchmark.store import Results

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One criterion.

    Attributes:
      text: what is asked.
      measured: what was found, in words.
      ok: ``None`` where it was not measured.
    """

    text: str
    measured: str
    ok: bool | None


def judge(results: Results) -> list[Verdict]:
    """Every criterion, in order."""
    rows = [row for row in results.rows if {"xla", "torch"} <= _peers(row)]
    uniform = _pick(rows, points="uniform", filter_density=0.1, **_HEADLINE)
    surface = _pick(rows, points="surface", filter_density=1.0, **_HEADLINE)
    return [
        _at_least("r=256, 1->8, uniform, filter density .1, forward, without selection", 14, 40,
                  _pick(uniform, passes="forward", selection="without")),
        _at_least("the same with selection", 7, 20,
                  _pick(uniform, passes="forward", selection="with")),
        _at_least("r=256, 1->8, surface, filter density 1, forward, without selection", 50, None,
                  _pick(surface, passes="forward", selection="without")),
        _at_least("the same with selection", 18, None,
                  _pick(surface, passes="forward", selection="with")),
        _at_least("uniform headline case, forward+backward", 7, None,
                  _pick(uniform, passes="forward+backward")),
        _at_least("surface headline case, forward+backward", 18, None,
                  _pick(surface, passes="forward+backward")),
        _wins("faster than both, uniform, from r=128, filter density up to .5",
              [r for r in _pick(rows, points="uniform") if r["resolution"] >= 128]),
        _wins("faster than both, surface, from r=64, filter density up to .5",
              [r for r in _pick(rows, points="surface") if r["resolution"] >= 64]),
        _live_weights(results.rows),
        *_table1(results.table1),
    ]  # fmt: skip


_HEADLINE = {"resolution": 256, "in_channels": 1, "out_channels": 8}


def _peers(row: Row) -> set[str]:
    """Who took part; who died trying did."""
    return {entry["peer"] for entry in [*row["dense"].values(), *row["failed"].values()]}


def _pick(rows: list[Row], **wanted: Any) -> list[Row]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def _at_least(text: str, ratio: float, aim: float | None, rows: list[Row]) -> Verdict:
    text = f"{text}: at least {ratio} times faster" + (f", aiming at {aim}" if aim else "")
    if not rows:
        return Verdict(text, "not measured", None)
    worst = min(row["ratio"] for row in rows)
    return Verdict(text, f"{worst:.1f}", worst >= ratio)


def _wins(text: str, rows: list[Row]) -> Verdict:
    rows = [row for row in rows if row["filter_density"] <= 0.5]
    if not rows:
        return Verdict(text, "not measured", None)
    lost = [row for row in rows if row["ratio"] <= 1]
    worst = min(rows, key=lambda row: row["ratio"])
    measured = (
        f"{len(rows) - len(lost)} of {len(rows)} rows, worst {worst['ratio']:.2f} ({name(worst)})"
    )
    return Verdict(text, measured, not lost)


def _live_weights(rows: list[Row]) -> Verdict:
    text = (
        "8->8, r=256, forward: filter density .1 at least 1.5 times faster than 1 on the same input"
    )
    rows = _pick(rows, resolution=256, in_channels=8, out_channels=8, passes="forward")
    gains = []
    for sparse in _pick(rows, filter_density=0.1):
        same = {key: sparse[key] for key in ("points", "selection")}
        for full in _pick(rows, filter_density=1.0, **same):
            gain = full["jaxsparse"]["median"] / sparse["jaxsparse"]["median"]
            gains.append((gain, f"{same['points']} {same['selection']} selection {gain:.2f}"))
    if not gains:
        return Verdict(text, "not measured", None)
    return Verdict(text, ", ".join(words for _, words in gains), min(gains)[0] >= 1.5)


def _table1(table: dict[str, Any] | None) -> list[Verdict]:
    rows = [row for row in (table or {"rows": []})["rows"] if row["resolution"] == 512]
    texts = (
        "Table 1, 512^3: at most .667 of the paper's 64-bit bytes",
        "Table 1, 512^3: workspace under 64 MiB",
    )
    if not rows:
        return [Verdict(text, "not measured", None) for text in texts]
    row = rows[0]
    workspace = max(row["workspace_forward"], row["workspace_forward_backward"]) / 2**20
    return [
        Verdict(texts[0], f"{row['of_paper_64bit']:.4f}", row["of_paper_64bit"] <= 0.667),
        Verdict(texts[1], f"{workspace:.1f} MiB", workspace < 64),
    ]


def name(row: Row) -> str:
    """A row in a few words."""
    return (
        f"r={row['resolution']} {row['in_channels']}->{row['out_channels']} {row['points']}, filter "
        f"density {row['filter_density']:g}, {row['passes']}, {row['selection']} selection"
    )
