"""Density over resolution: numbers by hand, a page from the file alone, broken meshes named."""

import json

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.densities.measure import limit, measure
from experiments.densities.report import page, scaled
from jaxsparse.data import Mesh


def test_limit_is_what_a_plane_tends_to():
    """A square: its face is 1; a diagonal plane meets |n|_1 times as many voxels as its area."""
    square = Mesh(np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]]), [[0, 1, 2], [0, 2, 3]])
    assert limit(square) == 1
    slope = Mesh(np.array([[0, 0, 0], [2, 0, 2], [2, 2, 2], [0, 2, 0]]), [[0, 1, 2], [0, 2, 3]])
    np.testing.assert_allclose(limit(slope), 2)


def test_measured_drawn_and_written(tmp_path, capsys):
    pytest.importorskip("trimesh", reason="the extra mesh is not installed")
    root = tmp_path / "shapes"
    (root / "deep").mkdir(parents=True)
    # A square in the middle of a voxel layer at every resolution asked for; the cube's edge is 1.
    text = "OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n"
    (root / "deep" / "square.off").write_text(text)
    (root / "broken.off").write_text("OFF\n4 2 0\n0 0 0\n")
    arguments = ["densities", str(root), "--resolutions", "5", "9", "--root", str(tmp_path)]
    assert main(arguments) == 0
    assert "shapes/broken.off: broken, left out" in capsys.readouterr().out
    result = json.loads((tmp_path / "experiments/results/densities.json").read_text())
    (mesh,), (skipped,) = result["meshes"], result["skipped"]
    assert mesh["name"] == "shapes/deep/square.off" and not mesh["watertight"]
    assert mesh["voxels"] == {"5": 25, "9": 81} and mesh["limit"] == 1
    assert skipped["name"] == "shapes/broken.off" and str(tmp_path) not in json.dumps(result)
    assert scaled(result) == {5: [1.0], 9: [1.0]}
    written = (tmp_path / "docs/density.md").read_text()
    assert "| 5 | 0.2000 | **1.00** | 1.00 to 1.00 | 1.5 to 2 | -0.50 |" in written
    assert "Broken and left out: 1; shapes/broken.off" in written
    picture = tmp_path / "docs/images/density.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    picture.unlink()
    (tmp_path / "docs/density.md").unlink()
    assert main(["densities", "--report", "--root", str(tmp_path)]) == 0
    assert (tmp_path / "docs/density.md").read_text() == written == page(result)
    assert not picture.exists()


def test_refusals(tmp_path, capsys):
    assert main(["densities", "--root", str(tmp_path)]) == 2
    assert "needs a folder of meshes" in capsys.readouterr().err
    assert main(["densities", str(tmp_path / "no"), "--root", str(tmp_path)]) == 2
    assert "no folder" in capsys.readouterr().err
    assert main(["densities", str(tmp_path), "--root", str(tmp_path)]) == 2
    assert "no meshes" in capsys.readouterr().err
    assert main(["densities", "--report", "--root", str(tmp_path)]) == 2
    assert "cannot read the result file" in capsys.readouterr().err
    (tmp_path / "x.off").write_text("no mesh")
    pytest.importorskip("trimesh", reason="the extra mesh is not installed")
    with pytest.raises(Exception, match="all 1 meshes are broken"):
        measure([tmp_path], [8])
