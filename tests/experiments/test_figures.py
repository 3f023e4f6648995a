"""The paper's figures: what is measured is right, the page says the paper's numbers beside ours, bad files are named."""

import json
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.errors import ConfigError
from experiments.figures import command, epoch_cost
from experiments.figures.epoch_cost import experiment
from experiments.figures.spec import load_figure
from tests.experiments.detection_kit import SMALL, write_frames

ROOT = Path(__file__).parents[2]

FILL_IN = "{kind: fill_in, name: filling, resolution: 16, layers: 2}"
EPOCH_COST = """
kind: epoch_cost
name: cost
base: base.yaml
set: {model.hidden: 8}
resolutions: [16]
batch_size: 2
steps: 1
"""
BASE = """
name: base
data: {kind: solids, train_size: 8, test_size: 2}
model: {kind: octnet3, input_density: 0.3}
"""


@pytest.fixture
def figure(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)

    def write(text):
        path = tmp_path / "figure.yaml"
        path.write_text(text)
        return path

    return write


def run(path, *options):
    return main(["figure", str(path), "--root", str(path.parent), *options])


def result_of(path, name):
    return json.loads((path.parent / "experiments" / "results" / f"{name}.json").read_text())


def test_fill_in(figure):
    path = figure(FILL_IN)
    assert run(path) == 0
    rows = {
        (row["points"], row["bound"]): row["density"] for row in result_of(path, "filling")["rows"]
    }
    for points in ("uniform", "surface"):
        free, bounded = rows[points, None], rows[points, 1 / 16]
        assert free[0] == bounded[0] == 1 / 16
        assert free[0] < free[1] < free[2] <= 1
        assert all(density <= 1 / 16 for density in bounded)
    assert rows["uniform", None][1] > rows["surface", None][1]
    page = (path.parent / "docs" / "figures" / "filling.md").read_text()
    assert f"{rows['uniform', None][1]:.4f}" in page and "27, until dense" in page
    assert (path.parent / "docs" / "figures" / "filling.png").stat().st_size > 1000


def test_epoch_cost(figure):
    path = figure(EPOCH_COST)
    assert run(path) == 0
    (row,) = result_of(path, "cost")["rows"]
    assert row["sparse"] and row["temporaries"] > 0
    assert row["steps_per_epoch"] == 4 and row["epoch_s"] == 4 * row["step_s"]
    page = path.parent / "docs" / "figures" / "cost.md"
    text = page.read_text()
    assert "2 min 10 s" in text and "3.83 MB" in text  # the paper's row
    page.unlink()
    assert run(path, "--report") == 0
    assert page.read_text() == text
    config = load_figure(path)
    twin = experiment(config, path, 16, sparse=False)
    assert not twin.model.sparse and twin.model.densities == (1 / 16, 1 / 16)
    lines = epoch_cost.lines(config, [row, {**row, "sparse": False}])
    assert sum("| dense twin |" in line for line in lines) == 1


def test_overrides_reach_the_experiment(figure, capsys):
    path = figure(EPOCH_COST)
    assert run(path, "data.train_sise=4") == 2
    assert (
        "unknown key 'data.train_sise' (did you mean 'data.train_size'?)" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{name: x}", "the key 'kind' is missing"),
        ("{kind: pie, name: x}", "'kind': input should be 'fill_in', 'epoch_cost', "),
        ("{kind: fill_in, name: x, layer: 2}", "unknown key 'layer' (did you mean 'layers'?)"),
        ("{kind: epoch_cost, name: x, base: b, resolutions: []}", "'resolutions'"),
    ],
)
def test_bad_figures(figure, text, message):
    with pytest.raises(ConfigError) as error:
        load_figure(figure(text))
    assert message in str(error.value)


def test_a_report_needs_the_result_of_this_very_configuration(figure, capsys):
    path = figure(FILL_IN)
    assert run(path, "--report") == 2
    assert "cannot read the result file" in capsys.readouterr().err
    folder = path.parent / "experiments" / "results"
    folder.mkdir(parents=True)
    (folder / "filling.json").write_text(json.dumps({"config": {"kind": "fill_in"}, "rows": []}))
    assert run(path, "--report") == 2
    assert "another configuration" in capsys.readouterr().err
    assert run(path, "data.root=x") == 2
    assert "no experiment to override" in capsys.readouterr().err


@pytest.mark.parametrize("file", sorted((ROOT / "configs" / "figures").glob("*.yaml")), ids=str)
def test_committed_pages_are_those_of_the_committed_results(file):
    config = load_figure(file)
    result = ROOT / "experiments" / "results" / f"{config.name}.json"
    page = ROOT / "docs" / "figures" / f"{config.name}.md"
    assert result.exists() == page.exists()
    if result.exists():
        text = command.page(config, file.relative_to(ROOT), json.loads(result.read_text()))
        assert page.read_text() == text


def test_block_geometry(figure):
    """The page and the drawing are of the numbers that the library says."""
    path = figure("{kind: block_geometry, name: geometry, block_size: 7, kernel_sizes: [3, 3]}")
    assert run(path) == 0
    (row,) = result_of(path, "geometry")["rows"]
    assert row["window"] == {"size": [7, 7], "stride": [3, 3], "offset": [-2, -2]}
    assert row["tile"] == {"size": [3, 3], "stride": [3, 3], "offset": [0, 0]}
    # Pixel (4, 11): window (i, j) has rows -2 + 3 i to 4 + 3 i, columns alike.
    assert row["active"] == [[i, j] for i in (0, 1, 2) for j in (3, 4)]
    page = (path.parent / "docs" / "figures" / "geometry.md").read_text()
    assert "2 pixels on either side" in page and "makes 6 blocks active" in page
    assert (path.parent / "docs" / "figures" / "geometry.png").read_bytes()[1:4] == b"PNG"


def test_block_size(figure, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSPARSE_CACHE", str(tmp_path / "cache"))
    write_frames(tmp_path / "kitti")
    (tmp_path / "base.yaml").write_text(json.dumps(SMALL))
    path = figure(
        "{kind: block_size, name: size, base: base.yaml, frame: '000001', features: [4], dilation: 0.5, "
        "block_sizes: [5, 9], repeats: 1}"
    )
    assert run(path, f"data.root={tmp_path / 'kitti'}") == 0
    text = (path.parent / "experiments" / "results" / "size.json").read_text()
    (row,) = json.loads(text)["rows"]
    assert str(tmp_path) not in text
    assert row["shape"] == [16, 16, 4] and 0 < row["mask"] < 0.2
    assert [entry[:2] for entry in row["seconds"]] == [[5, 5], [9, 9]]
    assert min(entry[2] for entry in row["seconds"]) > 0 < row["dense"]
    assert row["best"] == min(row["seconds"], key=lambda entry: entry[2])[:2]
    assert "| 16 x 16 x 4 |" in (path.parent / "docs" / "figures" / "size.md").read_text()
