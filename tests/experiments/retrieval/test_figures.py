"""The figures of S3DCNN: made from data, drawn, and the paper's numbers beside them."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.config import load_config
from experiments.data import load_dataset
from experiments.data.active_sites import active_sites, layer_names
from experiments.figures import active_sites as sites_figure
from experiments.figures import renders
from experiments.figures.spec import load_figure
from tests.experiments.retrieval.clouds_folder import TRIPLET, small_shapes

CONFIGS = Path(__file__).parents[3] / "configs"

TETRAHEDRON = "OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"


@pytest.fixture
def figure(tmp_path, clouds):
    config = small_shapes(clouds, objective=TRIPLET, train={"epochs": 1})
    (tmp_path / "base.yaml").write_text(config.model_dump_json())
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "tetrahedron.off").write_text(TETRAHEDRON)

    def make(text, *arguments):
        path = tmp_path / "figure.yaml"
        path.write_text(text)
        assert main(["figure", str(path), "--root", str(tmp_path), *arguments]) == 0
        result = json.loads((tmp_path / "experiments" / "results" / "f.json").read_text())
        page = (tmp_path / "docs" / "figures" / "f.md").read_text()
        assert (tmp_path / "docs" / "figures" / "f.png").stat().st_size > 2000
        assert str(tmp_path) not in json.dumps(result) + page
        return result["rows"], page

    return make


def test_active_sites(figure, clouds, tmp_path):
    text = "{kind: active_sites, name: f, base: base.yaml, objects: 12}"
    rows, page = figure(text, f"meshes={tmp_path / 'meshes'}")
    split = load_dataset(small_shapes(clouds).data).test
    counts = np.mean([active_sites(split.voxels(n), 6, 1) for n in range(12)], axis=0)
    np.testing.assert_allclose(rows[0]["sites"], counts, atol=0.05)
    np.testing.assert_allclose(rows[0]["percent"], 100 * counts / [216, 125, 8, 1], rtol=1e-3)
    assert rows[1]["source"] == "meshes" and rows[1]["objects"] == 1
    assert "paper" not in page  # another field
    assert f"| conv1 | 5³ | {counts[1]:.0f} | {rows[0]['percent'][1]:.2f} | " in page


def test_the_papers_sites_are_shown_beside_those_of_its_setting():
    config = load_figure(CONFIGS / "figures" / "s3dcnn_sites.yaml")
    row = sites_figure._row("x", [np.array([[60, 60, 60]])], 126, 40, 5)
    lines = sites_figure.lines(config, [row])
    assert "| conv1 | 125³ | 8 | 0.00 | 0.35 |" in lines
    assert len(sites_figure.PAPER) == len(layer_names(5))


def test_renders(figure, tmp_path):
    text = "{kind: renders, name: f, renders: [4, 8], objects: [tetrahedron]}"
    rows, page = figure(text, f"meshes={tmp_path / 'meshes'}")
    assert [row["render"] for row in rows] == [4, 8]
    assert all(len(renders.unpack(r["packed"], r["render"])) == r["voxels"] > 0 for r in rows)
    assert f"| tetrahedron | {rows[0]['voxels']} |" in page


def test_map_over_render_sizes_and_its_curves(figure, tmp_path):
    """Two networks, trained and ranked; the same call again trains nothing."""
    text = "{kind: render_map, name: f, base: base.yaml, renders: [4, 5]}"
    runs = f"runs={tmp_path / 'runs'}"
    rows, page = figure(text, runs)
    assert [row["render"] for row in rows] == [4, 5]
    assert f"| 5 | {100 * rows[1]['micro']['map']:.2f} % |" in page
    metrics = tmp_path / "runs" / "f" / "5" / "metrics.jsonl"
    before = metrics.read_text()
    assert figure(text, runs)[0] == rows and metrics.read_text() == before

    assert main(["retrieve", str(metrics.parent), "--result", str(tmp_path / "r.json")]) == 0
    curve = "{kind: precision_recall, name: f, title: x, results: {five: r.json}}"
    (row,), page = figure(curve)
    assert row["label"] == "five" and row["map"] == pytest.approx(rows[1]["micro"]["map"])
    assert "| five | 12 | cosine |" in page


@pytest.mark.parametrize("name", ["s3dcnn_softmax", "s3dcnn_triplet"])
def test_committed_configurations(name):
    config = load_config(CONFIGS / f"{name}.yaml")
    assert config.model.field == config.data.resolution == 126
    assert config.data.render == 40 and config.model.depth == 5
