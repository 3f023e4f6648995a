"""From a run to embeddings, rankings, pictures and a page; what stands in them is what was found."""

import json
import re

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.data import load_dataset
from experiments.retrieval import gallery, report
from experiments.retrieval.embed import load_embedder
from experiments.retrieval.metrics import evaluate_retrieval, ranking
from experiments.retrieval.retrieve import chosen_queries
from tests.experiments.retrieval.clouds_folder import CLASSES, TRIPLET, small_shapes


@pytest.fixture(scope="module")
def run(clouds, tmp_path_factory):
    """A run of a few steps, made by the command line."""
    folder = tmp_path_factory.mktemp("runs")
    config = small_shapes(clouds, objective=TRIPLET, train={"epochs": 3})
    file = folder / "shapes.yaml"
    file.write_text(config.model_dump_json())
    assert main(["train", str(file), "--run-dir", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def result(run):
    """What ``retrieve`` leaves of it."""
    assert main(["retrieve", str(run), "--queries", "3"]) == 0
    return json.loads((run / "retrieval" / "result.json").read_text())


def test_result(run, result):
    """The metrics are those of the embeddings that lie beside them."""
    with np.load(run / "retrieval" / "embeddings.npz") as held:
        embeddings = held["embeddings"]
    assert embeddings.shape == (12, 16) and result["features"] == 16
    labels = np.arange(12) % 3
    scores = evaluate_retrieval(embeddings, labels, "cosine")
    assert result["distance"] == "cosine" and result["queries"] == result["objects"] == 12
    assert result["micro"] == pytest.approx(scores.micro, rel=1e-5)
    for row in result["gallery"]:
        found = [entry["number"] for entry in row["found"]]
        assert found == ranking(embeddings, row["query"]["number"], "cosine")[:10].tolist()
        assert [entry["right"] for entry in row["found"]] == [
            labels[number] == row["query"]["label"] for number in found
        ]
        assert row["query"]["label"] == labels[row["query"]["number"]]
    assert [row["query"]["label"] for row in result["gallery"]] == [0, 1, 2]
    assert result["trained"]["epochs"] == 3 and result["trained"]["test"]["accuracy"] > 0
    assert "root" not in result["config"]["data"] and str(run.parent) not in json.dumps(result)


def test_embeddings_do_not_depend_on_the_batch(run, clouds):
    embedder = load_embedder(run)
    split = load_dataset(small_shapes(clouds).data).test
    whole = embedder.embed(split, np.arange(12))  # batches of 9, the last filled up
    some = embedder.embed(split, np.array([11, 2]))
    np.testing.assert_allclose(some, whole[[11, 2]], rtol=1e-5, atol=1e-6)


def test_gallery(run, result):
    """A frame for every object that was found, right or wrong as it was; every picture inside the page."""
    text = (run / "retrieval" / "gallery.html").read_text()
    right = sum(entry["right"] for row in result["gallery"] for entry in row["found"])
    assert text.count('<figure class="query">') == 3
    assert text.count('<figure class="right">') == right
    assert text.count('<figure class="wrong">') == 30 - right
    assert text.count("✓") == right + 1 and text.count("✗") == 31 - right  # the legend has both
    assert text.count('src="data:image/png;base64,') == 33
    assert not re.search(r'(src|href)="(?!data:)', text) and "default-src 'none'" in text
    rows = text.split('<section class="row">')[1:]
    for row, shown in zip(result["gallery"], rows, strict=True):
        assert f"<b>query</b>: {CLASSES[row['query']['label']]}" in shown
        numbers = re.findall(r"object (\d+), ", shown)
        assert list(map(int, numbers)) == [entry["number"] for entry in row["found"]]
    for name in ("gallery.png", "precision_recall.png"):
        assert (run / "retrieval" / name).stat().st_size > 2000


def test_names_are_escaped(result, clouds):
    split = load_dataset(small_shapes(clouds).data).test
    text = gallery.page({**result, "classes": ["<b>", "&", "ok"], "name": "<script>"}, split)
    assert "<script>" not in text and "&lt;b&gt;" in text


def test_some_objects_of_every_class(run, tmp_path, capsys):
    path = tmp_path / "result.json"
    arguments = ["--per-class", "2", "--distance", "l2", "--queries", "0", "--result", str(path)]
    assert main(["retrieve", str(run), "--output", str(tmp_path / "out"), *arguments]) == 0
    result = json.loads(path.read_text())
    assert result["objects"] == 6 and result["per_class"] == 2 and result["distance"] == "l2"
    assert result["gallery"] == []
    output = capsys.readouterr().out
    assert f"{result['micro']['map']:.4f}" in output and "6 queries among 6 objects" in output


def test_queries_are_spread_over_the_classes():
    labels = np.repeat(np.arange(10), 4)
    rows = chosen_queries(labels, 4)
    assert labels[rows].tolist() == [0, 3, 6, 9]
    assert len(chosen_queries(labels, 50)) == 10 and chosen_queries(labels, 0) == []


def test_errors_are_one_message(tmp_path, capsys):
    assert main(["retrieve"]) == 2
    assert "needs a run's folder, or --report" in capsys.readouterr().err
    assert main(["retrieve", str(tmp_path)]) == 2
    assert "neither a run's folder nor a checkpoint" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["retrieve", "--help"])
    assert stop.value.code == 0 and "--per-class" in capsys.readouterr().out


def test_page(result, tmp_path):
    """The numbers of the result files beside the paper's; without any it says so."""
    folder = tmp_path / report.RESULTS
    assert main(["retrieve", "--report", "--root", str(tmp_path)]) == 0
    assert "Not run yet" in (tmp_path / report.PAGE).read_text()
    folder.mkdir(parents=True)
    (folder / "triplet.json").write_text(json.dumps(result))
    assert main(["retrieve", "--report", "--root", str(tmp_path)]) == 0
    text = (tmp_path / report.PAGE).read_text()
    assert f"{100 * result['micro']['map']:.2f} %" in text and "46.71 %" in text
    assert "triplet (margin 0.5, 3 classes)" in text
    assert f"{100 * result['macro']['map']:.2f} %" in text
