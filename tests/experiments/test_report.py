"""Reports: what stands on the pages of runs, sweeps and tables, and what is said where something is missing."""

import copy
import html
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import plotly.graph_objects
import pytest

from experiments.__main__ import main
from experiments.report import page
from experiments.report.traces import thinned
from tests.experiments.report_files import (
    LAYERS,
    SCALES,
    SPEED,
    config,
    lines,
    result,
    write_run,
    write_speed,
    write_sweep,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def report(tmp_path, capsys):
    """Makes a page as the command does; its text."""

    def make(path, *options, root=tmp_path):
        output = tmp_path / "pages" / "page.html"
        arguments = ["report", str(path), "--output", str(output), "--root", str(root), *options]
        assert main(arguments) == 0
        assert f"wrote {output}" in capsys.readouterr().out
        return Page(output.read_text(encoding="utf-8"))

    return make


class Page:
    """A page's parts: its text as it is read, and what its script draws."""

    def __init__(self, source):
        self.source = source
        head, self.scripts = source.split('<script type="application/json" id="data">')
        self.data = json.loads(self.scripts.split("</script>")[0])
        body = re.sub(r"<style>.*?</style>", "", head, flags=re.DOTALL)
        self.markup = body
        self.text = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())

    def traces(self, plot, panel=0):
        """name -> (x, y)"""
        held = self.data["plots"][plot][panel]["data"]
        return {trace["name"]: (trace["x"], trace["y"]) for trace in held}

    def rows(self, caption):
        """The cells of a table, its heading included."""
        found = re.search(
            rf"<caption>{re.escape(caption)}</caption>(.*?)</table>", self.markup, re.DOTALL
        )
        assert found, caption
        cells = [re.findall(r"<t[hd][^>]*>([^<]*)<", row) for row in found[1].split("<tr>")[1:]]
        return [[html.unescape(cell) for cell in row] for row in cells]


def test_a_finished_run(report, tmp_path):
    of = report(write_run(tmp_path / "run"))
    titles = re.findall(r"<h2>(.*?)</h2>", of.markup)
    assert titles == [
        "Overview", "Curves", "Sparsity", "Time", "Classes", "Through the layers", "Provenance",
    ]  # fmt: skip
    assert "finished 15 steps, 3 epochs" in of.text and "test accuracy 0.9000" in of.text
    assert list(of.data["plots"]) == [
        "curves",
        "densities",
        "dropped",
        "live",
        "steps",
        "confusion",
    ]

    assert of.traces("curves", 0)["test"] == ([1, 2, 3], [1, 0.5, 0.33333])
    assert of.traces("curves", 0)["training"][0][:6] == [0.2, 0.4, 0.6, 0.8, 1, 1.2]
    assert of.traces("curves", 1)["test"][1] == [0.7, 0.8, 0.9]
    panels = [part for part in of.data["plots"]["densities"]]
    assert len(panels) == len(LAYERS) and all(f"<h4>{name}</h4>" in of.markup for name in LAYERS)
    assert of.traces("densities", 1) == {
        "found before the cut": ([1, 2, 3], [0.31, 0.32, 0.33]),
        "stored": ([1, 2, 3], [0.11, 0.11, 0.11]),
        "bound": ([1, 3], [0.125, 0.125]),
    }
    assert of.traces("dropped") == {
        "conv1": ([1, 2, 3], [10, 5, 3.3333]),
        "conv2": ([1, 2, 3], [3.5, 3.5, 3.5]),
    }
    left = of.traces("live")
    assert left["conv1"][1] == [100, 90.278, 80.556] and left["conv2"][1] == [100, 89.931, 80.035]
    assert left["all together"] == ([1, 2, 3], [100, 89.969, 80.093])
    # The first step, a second, is left out.
    assert of.traces("steps", 0) == {"step": ([1, 2, 3], [19, 18, 17])}
    assert of.traces("steps", 1) == {"waiting": ([1, 2, 3], [12.5] * 3)}

    table = of.rows("Layers at the end")
    assert [row[0] for row in table[1:]] == list(LAYERS)
    assert table[2][1:] == [
        "8 x 8 x 4", "8 of 64", "0.1250", "0.1100", "0.3300", "3.3", "yes", "58 of 72 (80.6 %)",
    ]  # fmt: skip
    assert "0123456789abcdef with changes on top" in of.text
    assert "python 3.11.7, jax 0.10.2, optax absent" in of.text and "A processor" in of.text
    assert "train.batch_size 479" in of.text
    assert "Pictures of the layers need a run's folder with a checkpoint" in of.text
    assert "damaged" not in of.text


def test_confusions(report, tmp_path):
    of = report(write_run(tmp_path / "run"))
    (panel,) = of.data["plots"]["confusion"]
    (cells,) = panel["data"]
    assert cells["z"] == [[80, 20, 0], [0, 100, 0], [50, 40, 10]]
    assert cells["text"] == [["8", "2", ""], ["", "10", ""], ["5", "4", "1"]]
    assert panel["layout"]["xaxis"]["ticktext"] == ["zero", "one", "two"]
    assert of.rows("Class by class")[1:] == [
        ["zero", "one (2)", "10", "0.800", "0.615"],
        ["one", "", "10", "1.000", "0.625"],
        ["two", "zero (5)", "10", "0.100", "1.000"],
    ]
    old = json.loads((tmp_path / "run" / "result.json").read_text())
    del old["confusion"]
    (tmp_path / "run" / "result.json").write_text(json.dumps(old))
    of = report(tmp_path / "run")
    assert "This result has no confusion matrix" in of.text and "confusion" not in of.data["plots"]


def test_a_page_is_one_file_that_fetches_nothing(report, tmp_path):
    of = report(write_run(tmp_path / "run"))
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(https?:|//|file:|\w+\.\w)", of.markup)
    assert "url(" not in of.markup and "@import" not in of.source.split("</style>")[0]
    policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src"
    assert f'http-equiv="Content-Security-Policy" content="{policy}' in of.markup
    # Plotly once, and no element that the parser would end early.
    assert of.source.count("plotly.js v") == 1 and 4e6 < len(of.source) < 7e6
    assert of.scripts.count("</script>") == 5
    assert 'lang="en"' in of.markup and 'name="viewport"' in of.markup


def test_figures_are_valid(report, tmp_path):
    """Plotly's own schema knows every property."""
    write_speed(tmp_path)
    pages = [
        report(write_run(tmp_path / "run")),
        report(write_sweep(tmp_path / "sweep")),
        report(ROOT / "experiments" / "results" / "mnist", root=ROOT),
    ]
    figures = [panel for of in pages for panels in of.data["plots"].values() for panel in panels]
    assert len(figures) > 20
    for panel in figures:
        plotly.graph_objects.Figure(data=panel["data"], layout=panel["layout"])
        for axis in ("xaxis", "yaxis"):
            assert panel["layout"][axis]["title"]["text"]


def test_a_run_that_is_not_finished(report, tmp_path):
    run = write_run(tmp_path / "run", epochs=2, finished=False)
    with (run / "metrics.jsonl").open("a") as log:
        log.write('{"kind": "train", "step": 11, "ep')
    of = report(run)
    assert "The last line of metrics.jsonl is cut short and left out." in of.text
    assert (
        "The run is not finished (2 of 2 epochs, step 10); the last line was written 20" in of.text
    )
    assert "of the last test so far" in of.text
    assert of.traces("live")["all together"][1] == [100, 89.969]
    assert set(of.traces("densities", 1)) == {"found before the cut", "stored"}
    for said in ("The bounds are not known", "The table of layers is written with the result",
                 "The confusion matrix is written", "Machine, versions and commit are written"):  # fmt: skip
        assert said in of.text

    # Within the first epoch steps are all there is to count by.
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines(1)[:3]))
    of = report(run)
    assert of.traces("curves", 0) == {"training": ([1, 2, 3], [2, 1, 0.66667])}
    assert of.data["plots"]["curves"][0]["layout"]["xaxis"]["title"]["text"] == "step"

    # Begun, and no more.
    (run / "metrics.jsonl").unlink()
    of = report(run)
    assert "There is no metrics.jsonl" in of.text and "no lines of metrics to draw" in of.text
    (run / "config.json").write_text("{")
    assert "config.json is no valid JSON" in report(run).text


def test_a_run_that_went_on_behind_its_result(report, tmp_path):
    run = write_run(tmp_path / "run")
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines(4)))
    assert "The result is of step 15; the run has gone on to step 20 since." in report(run).text


def test_only_a_result(report, tmp_path, capsys):
    history = [{key: line[key] for key in ("epoch", "step", "loss", "accuracy")}
               for line in lines(3) if line["kind"] == "test"]  # fmt: skip
    kept = result(config("kept"), lines(3), history=history)
    path = tmp_path / "kept.json"
    path.write_text(json.dumps(kept))
    of = report(path)
    assert "finished" in of.text and of.traces("curves", 1) == {
        "test": ([1, 2, 3], [0.7, 0.8, 0.9])
    }
    assert "Density over the epochs is not known" in of.text and "confusion" in of.data["plots"]
    assert of.rows("Layers at the end")

    evaluation = {**kept, "kind": "evaluate", "split": "train", "loss": 0.25, "accuracy": 0.75}
    del evaluation["history"], evaluation["test"]
    path.write_text(json.dumps(evaluation))
    of = report(path)
    assert "Evaluation of a network on some digits" in of.text
    assert "train accuracy 0.7500" in of.text and list(of.data["plots"]) == ["confusion"]
    assert main(["report", str(path)]) == 0
    assert "wrote" in capsys.readouterr().out and path.with_suffix(".html").exists()


NASTY = "</script><script>alert(1)</script><b>&'\"{{ 7*7 }} \u2028 \ud800"


def test_texts_are_escaped(report, tmp_path):
    of = config(NASTY, model={"kernel_init": NASTY}, train={"epochs": 3})
    confusion = {"classes": [NASTY, "b"], "counts": [[3, 1], [0, 2]]}
    provenance = {"date": NASTY, "commit": {"id": NASTY}, "machine": {NASTY: NASTY}}
    run = write_run(tmp_path / NASTY.replace("/", "")[:20], of, dataset=NASTY, confusion=confusion, provenance=provenance)  # fmt: skip
    text = (run / "metrics.jsonl").read_text().replace("conv1", json.dumps(NASTY)[1:-1])
    (run / "metrics.jsonl").write_text(text)
    made = report(run)
    assert "<script>alert" not in made.source.replace("\\u003c", "<")[: len(made.markup)]
    assert "alert(1)" in made.text and "{{ 7*7 }}" in made.text and "<b>" not in made.markup.replace("<b>not", "").split("</header>")[0]  # fmt: skip
    assert made.scripts.count("</script>") == 5
    shown = html.escape(NASTY, quote=False)
    assert made.data["plots"]["confusion"][0]["layout"]["xaxis"]["ticktext"][0] == shown
    assert shown in made.traces("dropped")


JUNK = (None, [], {}, "text", -1, 1e400, float("nan"), True, [[]], {"a": {"b": None}}, 10**400)


def test_whatever_stands_in_the_files_a_page_is_made(tmp_path, monkeypatch, rng):
    """Parts of the files are replaced by others at random; a page says so, and none of it is an error."""
    whole = json.loads((write_run(tmp_path / "run") / "result.json").read_text())
    monkeypatch.setattr(page, "SCRIPTS", ())
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "")
    output, said = tmp_path / "x.html", 0
    for _ in range(60):
        damaged, written = copy.deepcopy(whole), lines(2)
        for target in (damaged, damaged, written[-1], written[0]):
            replace_somewhere(target, rng)
        (tmp_path / "run" / "result.json").write_text(json.dumps(damaged))
        text = "".join(json.dumps(line) + "\n" for line in [*written, "odd", 3])
        (tmp_path / "run" / "metrics.jsonl").write_text(text)
        assert main(["report", str(tmp_path / "run"), "--output", str(output)]) == 0
        text = output.read_text()
        assert "2 unreadable lines are left out (13, 14)" in text
        said += "its data are damaged" in text
        json.loads(text.split('id="data">')[1].split("</script>")[0], parse_constant=pytest.fail)
    assert 0 < said < 60


def replace_somewhere(tree, rng):
    places = []

    def walk(node):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(value, dict | list):
                walk(value)

    walk(tree)
    node, key = places[rng.integers(len(places))]
    node[key] = JUNK[rng.integers(len(JUNK))]


def test_a_sweep(report, tmp_path):
    of = report(write_sweep(tmp_path / "lambdas"))
    assert "Sweep" in of.text and "runs finished 5 of 6" in of.text
    assert "Not finished: scale-0.2-seed5." in of.text
    rows = of.rows("Settings")
    assert rows[0][0] == "regularizer.scale"
    assert [row[:4] for row in rows[1:]] == [
        ["0.0", "2 of 2", "0.9250", "0.9000 to 0.9500"],
        ["0.1", "2 of 2", "0.8750", "0.8500 to 0.9000"],
        ["0.2", "1 of 2", "0.8000", "0.8000 to 0.8000"],
    ]
    # Fig. 6: over lambda, every run and the mean; seconds an epoch are 18 ms times 5 steps.
    left, time, accuracy = (of.traces("scale", panel) for panel in range(3))
    assert left["mean"] == (list(SCALES), [80.093] * 3) and len(left["each run"][0]) == 5
    np.testing.assert_allclose(time["mean"][1], [0.09] * 3)
    np.testing.assert_allclose(accuracy["mean"][1], [0.925, 0.875, 0.8])
    np.testing.assert_allclose(accuracy["each run"][1], [0.9, 0.95, 0.85, 0.9, 0.8])
    curves = of.data["plots"]["curves-by-setting"][0]["data"]
    assert len(curves) == 6 and len({trace["line"]["color"] for trace in curves}) == 3
    assert [trace["name"] for trace in curves[::2]] == [f"regularizer.scale={s}" for s in SCALES]
    weights, times, both = (of.data["plots"]["live-by-setting"][n]["data"] for n in range(3))
    assert weights[0]["y"] == [100, 89.969, 80.093] and times[0]["y"] == [0.095, 0.09, 0.085]
    assert both[0]["x"][:3] == weights[0]["y"] and both[0]["y"][:3] == [19, 18, 17]
    assert len(of.rows("Every run")) == 7
    assert "axes" not in of.data["plots"] and "bound" not in of.data["plots"]
    # Results that are kept count where a folder has none, and alone.
    results = tmp_path / "other" / "results"
    results.mkdir(parents=True)
    name = "scale-0.1-seed0"
    (results / f"{name}.json").write_bytes(
        (tmp_path / "lambdas" / name / "result.json").read_bytes()
    )
    (tmp_path / "other" / "sweep.json").write_text("[]")
    assert "runs finished 1 of 1" in report(tmp_path / "other").text


def test_a_sweep_of_bounds_has_its_dense_twin(report, tmp_path):
    for number, (name, model) in enumerate(
        {"a": {"rho1": 0.05}, "b": {"rho1": 0.2}, "dense": {"sparse": False}}.items()
    ):
        of = config(name, model={**model}, train={"epochs": 3})
        rows = result(of, lines(3))["layers"]
        rows = [{**row, "rho": model.get("rho1")} for row in rows]
        write_run(tmp_path / "sweep" / name, of, better=0.01 * number, prunes=False, layers=rows)
    drawn = report(tmp_path / "sweep").traces("bound")
    assert drawn["mean"] == ([0.05, 0.2], [0.9, 0.91])
    assert drawn["dense twin, mean"][1] == [0.92, 0.92]


def test_the_table_of_mnist(report):
    folder = ROOT / "experiments" / "results" / "mnist"
    of = report(folder, root=ROOT)
    found = [json.loads((folder / f"0.035-seed{n}.json").read_text()) for n in range(3)]
    dense = [json.loads((folder / f"dense-seed{n}.json").read_text()) for n in range(3)]
    ours, twin = (np.mean([run["test"]["accuracy"] for run in runs]) for runs in (found, dense))
    row = of.rows("Networks")[1]
    assert row[:5] == ["ρ 0.035, 0.07, 10 epochs", "0.035", "10", "3 of 3", f"{ours:.4f}"]
    assert row[6:] == [
        f"{100 * (ours - twin):+.2f}", "0.954", f"{100 * (ours - 0.954):+.2f}", "0.945 (met)",
    ]  # fmt: skip
    drawn = of.traces("bound")
    label = "image_size 28, epochs 10"
    assert drawn[f"paper: {label}"] == ([0.035, 0.05, 0.075], [0.954, 0.971, 0.976])
    assert len(drawn[f"each seed: {label}"][0]) == 9
    assert drawn[f"mean: {label}"][1][0] == float(f"{ours:.5g}")
    assert drawn[f"dense twin, mean: {label}"][1] == [float(f"{twin:.5g}")] * 2
    assert len(of.rows("Every run")) == 1 + len(list(folder.glob("*.json")))
    assert "damaged" not in of.text and "Not run yet" not in of.text


def test_a_table_that_is_not_complete(report, tmp_path):
    (tmp_path / "configs" / "tables").mkdir(parents=True)
    (tmp_path / "configs" / "base.yaml").write_text(json.dumps(config("base")))
    (tmp_path / "configs" / "tables" / "little.yaml").write_text(
        "name: little\ntitle: A <little> table\nbase: ../base.yaml\nset: {train.epochs: 3}\nseeds: [0, 1]\n"
        "rows: [{name: a, set: {model.rho1: 0.1}, paper: 0.95}, {name: b, set: {model.rho1: 0.3}}]\n"
    )
    folder = tmp_path / "experiments" / "results" / "little"
    folder.mkdir(parents=True)
    kept = result(config("little-a", train={"epochs": 3}), lines(3))
    (folder / "a-seed0.json").write_text(json.dumps(kept))
    (folder / "a-seed1.json").write_text(json.dumps(kept))  # of seed 0
    (folder / "old.json").write_text(json.dumps(kept))
    of = report(folder)
    assert "A <little> table" in of.text
    assert "Not run yet: b-seed0, b-seed1." in of.text
    assert "Results of another configuration are left out: a-seed1." in of.text
    assert "Results that the table does not name are left out: old." in of.text
    assert of.rows("Networks")[1][2:9] == ["3", "1 of 2", "0.9000", "0.9000 to 0.9000", "", "0.950", "-5.00"]  # fmt: skip
    (tmp_path / "configs" / "tables" / "little.yaml").unlink()
    assert "There is no configs/tables/little.yaml" in report(folder).text


def test_speed_against_live_weights(report, tmp_path):
    run = write_run(tmp_path / "run")
    write_speed(tmp_path)
    of = report(run)
    shares = [100, 50, 30, 10, 5]
    assert of.traces("live-weights", 0)["median"] == (shares, [11, 6, 4, 2, 1.5])
    assert of.traces("live-weights", 1)["time"][1] == [1, 1.8333, 2.75, 5.5, 7.3333]
    assert of.traces("live-weights", 1)["multiply-adds alone"][1] == [1, 2, 3.3333, 10, 20]
    assert of.rows("Speed against live weights")[4] == ["a network", "10", "2.00", "1.00", "5.50", "100,000"]  # fmt: skip
    broken = copy.deepcopy(SPEED)
    del broken["rows"][2]["ms_median"]
    write_speed(tmp_path).write_text(json.dumps(broken))
    assert "A part cannot be shown, its data are damaged: KeyError: 'ms_median'" in report(run).text


def test_long_curves_are_averaged():
    points = [(float(x), float(x % 2)) for x in range(1001)]
    short = thinned(points)
    assert len(short) == 334 and short[0] == (1, 1 / 3) and short[-1] == (999.5, 0.5)
    assert thinned(points[:400]) == points[:400]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "there is no"),
        (lambda path: path.mkdir(), "is neither a run's folder (config.json,"),
        (lambda path: path.write_text("# text"), "is no result of a run: x is no valid JSON"),
        (lambda path: path.write_text("[]"), "x holds a list where an object was expected"),
        (lambda path: path.write_text("{}"), "is no result of a run or an evaluation"),
    ],
)
def test_what_is_no_run_is_one_message(tmp_path, capsys, make, message):
    make(tmp_path / "x")
    assert main(["report", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not (tmp_path / "x" / "report.html").exists()


def test_refusals(tmp_path, capsys, monkeypatch):
    run = write_run(tmp_path / "run")
    assert main(["report", str(run), "--output", "/dev/null/page.html"]) == 2
    assert "error: cannot write /dev/null/page.html" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "plotly.offline", None)
        assert main(["report", str(run)]) == 2
        assert "pip install '.[experiments,report]'" in capsys.readouterr().err


def test_an_interruption_leaves_the_old_page(tmp_path, capsys, monkeypatch):
    run = write_run(tmp_path / "run")
    assert main(["report", str(run)]) == 0
    old = (run / "report.html").read_bytes()
    before = sorted(path.name for path in run.iterdir())

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    assert main(["report", str(run)]) == 130
    assert sorted(path.name for path in run.iterdir()) == before
    assert (run / "report.html").read_bytes() == old
