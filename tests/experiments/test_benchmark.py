"""The benchmark's parts, and all of it once on a small volume."""

import importlib.util
import json
import time
from xml.etree import ElementTree

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.benchmark import direct as command
from experiments.benchmark import machine, probe, table1
from experiments.benchmark.cases import (
    Case,
    Group,
    cases,
    entry_keys,
    filter_mask,
    groups,
)
from experiments.benchmark.criteria import judge
from experiments.benchmark.dense_side import LAYOUTS
from experiments.benchmark.plot import ratio_plot
from experiments.benchmark.report import BEGIN, END, page_text, write_report
from experiments.benchmark.store import Results
from experiments.benchmark.timing import Effort, alternate


def test_headline_filter_has_22_live_weights():
    alive = filter_mask((1, 8), 0.1)
    assert alive.sum() == 22 and alive.size == 216
    assert alive.any(axis=(0, 1, 2, 3)).all()
    assert filter_mask((8, 16), 1.0).all()
    for density in (0.1, 0.3, 0.5):
        for channels in ((8, 8), (8, 16)):
            alive = filter_mask(channels, density)
            assert alive.sum() == round(density * alive.size)
            assert alive.any(axis=(0, 1, 2, 3)).all()


@pytest.mark.parametrize("points", ["uniform", "surface"])
@pytest.mark.parametrize("resolution", [8, 16, 33])
def test_input_density_is_exactly_one_over_r(points, resolution):
    keys = entry_keys(points, resolution, 4)
    assert keys.shape == (4, resolution**2) and keys.dtype == np.int32
    assert (np.diff(keys, axis=1) > 0).all()
    assert keys.min() >= 0 and keys.max() < resolution**3


def test_surface_is_a_closed_thin_shell():
    resolution = 32
    full = np.zeros((resolution,) * 3, bool)
    full.ravel()[entry_keys("surface", resolution, 1)[0]] = True
    half = resolution // 2
    for axis in range(3):
        line = np.moveaxis(full, axis, 0)[:, half, half]
        assert 2 <= line.sum() <= 6 and not line[half]
        assert line[:half].any() and line[half:].any()


def test_the_grid():
    assert len(groups((16, 32), ((1, 8),), ("forward",))) == 2
    assert len(list(cases(("uniform", "surface"), (0.1, 1.0), ("without", "with")))) == 8


def test_alternation():
    order = []

    def call(name, seconds):
        def run():
            order.append(name)
            time.sleep(seconds)

        return run

    calls = {"a": call("a", 0.001), "slow": call("slow", 0.02), "b": call("b", 0.001)}
    effort = Effort(seconds=0.01, repeats=(3, 5), sample=0.001)
    timings = alternate(calls, effort, cold={"a": 9.0}, rivals={"slow": "peer", "b": "peer"})
    assert timings["a"].cold == 9.0
    assert timings["a"].repeats >= 3
    assert timings["slow"].repeats == 1  # more than twice as slow as its rival
    assert timings["slow"].median > timings["b"].median
    tail = [name for name in order[-6:]]
    assert set(tail) == {"a", "b"} and tail[-1] == "b"


def make_row(**values):
    peers = {"xla NDHWC": ("xla", 4.0), "torch contiguous": ("torch", 2.0)}
    timing = {"median": 0.1, "best": 0.1, "spread": 0.0, "repeats": 3, "cold": 1.0}
    row = {
        "passes": "forward",
        "in_channels": 1,
        "out_channels": 8,
        "resolution": 256,
        "points": "uniform",
        "filter_density": 0.1,
        "selection": "without",
        "jaxsparse": timing,
        "dense": {k: {**timing, "median": m, "peer": p} for k, (p, m) in peers.items()},
        "failed": {},
        "fastest_dense": "torch contiguous",
        "ratio": 20.0,
        "entries_in": 65536,
        "responses_found": 10,
        "kept_share": 1.0,
        "multiply_adds": 1000,
        "share_of_matrix_rate": 0.1,
        "share_of_copy_bandwidth": 0.1,
        "bytes_held": 10,
        "dense_bytes": 1000,
        "workspace_bytes": 2**20,
        "run": "1",
    }
    return {**row, **values}


RUN = {
    "machine": {"processor": "some processor"},
    "threads": 2,
    "load_average": 0.0,
    "versions": {"jax": "1", "torch": "2"},
}


@pytest.fixture
def results(tmp_path):
    results = Results(tmp_path / "results.json")
    assert results.begin_run(RUN) == "1"
    return results


def test_rows_are_replaced_and_runs_forgotten(results):
    results.put(make_row(ratio=1.0))
    results.put(make_row(ratio=2.0, selection="with"))
    results.save()
    again = Results(results.path)
    assert again.begin_run(RUN) == "2"
    again.put(make_row(ratio=3.123456789, run="2"))
    again.save()
    final = Results(results.path)
    assert sorted((row["ratio"], row["run"]) for row in final.rows) == [(2.0, "1"), (3.1235, "2")]
    assert set(final.runs) == {"1", "2"}
    final.put(make_row(ratio=2.0, selection="with", run="2"))
    final.save()
    assert set(Results(results.path).runs) == {"2"}


def test_verdicts(results):
    assert all(verdict.ok is None for verdict in judge(results))
    results.put(make_row(ratio=14.5))
    results.put(make_row(ratio=6.9, selection="with"))
    results.put(make_row(ratio=0.9, resolution=128, filter_density=0.5))
    results.put(make_row(ratio=0.5, resolution=64, filter_density=0.5))
    results.put(make_row(ratio=1.2, resolution=64, filter_density=0.5, points="surface"))
    fast = {"in_channels": 8, "filter_density": 0.1, "jaxsparse": {"median": 0.1}}
    results.put(make_row(**fast))
    results.put(make_row(**fast | {"filter_density": 1.0, "jaxsparse": {"median": 0.16}}))
    results.table1 = {
        "run": "1",
        "rows": [
            {
                "resolution": 512,
                "of_paper_64bit": 0.6667,
                "workspace_forward": 2**20,
                "workspace_forward_backward": 65 * 2**20,
            }
        ],
    }
    found = [verdict.ok for verdict in judge(results)]
    assert found == [True, False, None, None, None, None, False, True, True, True, False]


def test_rows_without_torch_decide_nothing(results):
    row = make_row(ratio=100.0)
    del row["dense"]["torch contiguous"]
    results.put(row)
    assert judge(results)[0].ok is None


def test_a_peer_that_died_counts_as_beaten_and_is_named(results):
    row = make_row(ratio=100.0, failed={"xla NDHWC": {"peer": "xla", "why": "SIGABRT"}})
    del row["dense"]["xla NDHWC"]
    results.put(row)
    assert judge(results)[0].ok
    line = page_text(results, {}).splitlines()[-1]
    assert "| *died* | 20.0 |" in line


SMALL = Group("forward", (1, 2), 4)


def test_only_what_may_not_fit_is_tried_beforehand(monkeypatch):
    assert probe.unrolled_bytes(SMALL) == 4 * 27 * 64 * 2
    monkeypatch.setitem(LAYOUTS, "xla", ("no such layout",))
    assert probe.failures("xla", SMALL, memory=2 * probe.unrolled_bytes(SMALL)) == {}


@pytest.mark.parametrize(
    "layout, failures",
    [("xla NDHWC", {}), ("unknown", {"unknown": "the process ended with status 1"})],
)
def test_a_contestant_is_tried_in_its_own_process(layout, failures, monkeypatch, capfd):
    monkeypatch.setitem(LAYOUTS, "xla", (layout,))
    assert probe.failures("xla", SMALL, memory=0) == failures
    assert ("KeyError" in capfd.readouterr().err) == bool(failures)


def test_report_is_repeatable_and_says_what_loses(results, tmp_path):
    for resolution, ratio in ((16, 0.5), (64, 3.0), (256, 30.0)):
        for selection in ("with", "without"):
            results.put(make_row(resolution=resolution, ratio=ratio, selection=selection))
    results.table1 = {"run": "1", "rows": table1.measure((8, 16))}
    (tmp_path / "README.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    written = write_report(results, tmp_path)
    before = {path: path.read_bytes() for path in written}
    assert write_report(results, tmp_path) == written
    assert {path: path.read_bytes() for path in written} == before

    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("before\n") and readme.endswith("after\n") and "old" not in readme
    assert "**0.50** / **0.50** | 3.0 / 3.0 | 30.0 / 30.0" in readme
    page = (tmp_path / "docs/benchmarks/direct.md").read_text()
    assert "## Memory: Table 1" in page and "## What was asked" in page
    assert "direct_forward_uniform.svg" in page


def test_report_of_nothing(results, tmp_path):
    assert "not measured" in page_text(results, {})
    assert [path.name for path in write_report(results, tmp_path)] == ["direct.md"]


def test_plot_is_well_formed():
    rows = [
        make_row(resolution=r, ratio=r / 30, filter_density=d)
        for r in (16, 256)
        for d in (0.1, 1.0)
    ]
    root = ElementTree.fromstring(ratio_plot(rows, "forward", "uniform"))
    assert root.tag.endswith("svg")
    assert ratio_plot(rows[:1], "forward", "uniform") is None
    assert ratio_plot(rows, "forward", "surface") is None


def test_table1_follows_the_paper():
    row = table1.measure((32,))[0]
    assert row["paper"]["dense"] == 32**3 * 32 * 8 * 4
    assert row["paper"]["sparse_64bit"] == 32**2 * 32 * 8 * 12
    assert row["held"] == 32**2 * 32 * 8 * 8 + 32 * 8 * 4  # keys and values; the counters
    assert row["of_paper_64bit"] < 0.6672
    assert row["workspace_forward"] <= row["workspace_forward_backward"]
    assert row["workspace_promised"] >= 1


def test_everything_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        command, "pin_threads", lambda count: count
    )  # this process has more tests to run
    ceilings = {"copy_bytes_per_s": 1e10, "matrix_flops_per_s": 1e11}
    monkeypatch.setattr(machine, "ceilings", lambda threads: ceilings)
    output = tmp_path / "results.json"
    options = "--resolutions 8 --channels 2:3 --points surface --filter-densities 0.3 1"
    options += " --seconds 0.01 --repeats 3 --no-table1"
    arguments = ["benchmark", "direct", "--output", str(output), *options.split()]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "r=8 2->3 forward+backward" in text and "What is asked" in text

    rows = json.loads(output.read_text())["rows"]
    assert len(rows) == 2 * 2 * 2
    peers = {"xla", "torch"} if importlib.util.find_spec("torch") else {"xla"}
    for row in rows:
        assert {timing["peer"] for timing in row["dense"].values()} == peers
        assert row["ratio"] > 0 and row["entries_in"] == 2 * 64
        assert row["capacity"] == (64 if row["selection"] == "with" else row["responses_found"])
        assert row["live_weights"] == (162 if row["filter_density"] == 1 else 49)

    assert main([*arguments, "--missing"]) == 0
    assert "nothing is missing" in capsys.readouterr().out
    assert Results(output).rows == rows
    assert main([*arguments, "--report", "--root", str(tmp_path)]) == 0
    assert (tmp_path / "docs/benchmarks/direct.md").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--channels", "8"], "IN:OUT"), (["--points", "line"], "invalid choice")],
)
def test_bad_arguments(capsys, arguments, message):
    with pytest.raises(SystemExit):
        main(["benchmark", "direct", *arguments])
    assert message in capsys.readouterr().err


def test_ceilings_are_positive():
    assert machine._copy_bandwidth(2, megabytes=1) > 0
    assert machine._matrix_rate(size=64) > 0


def test_group_and_case_read_well():
    assert str(Group("forward", (1, 8), 64)) == "r=64 1->8 forward"
    assert "uniform" in str(Case("uniform", 0.1, "with"))
