"""Mesh files: what is read, what is refused, which are closed."""

import sys

import numpy as np
import pytest

from jaxsparse import data
from tests.shared_data import shared_data

BODY = "0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"


@pytest.fixture
def trimesh():
    return pytest.importorskip("trimesh", reason="the extra mesh is not installed")


@pytest.mark.parametrize(
    "head", ["OFF\n4 4 6\n", "OFF4 4 6\n", "OFF 4 4 6\n", "# a comment\nOFF\n\n4 4 0 # so many\n"]
)
def test_off_headers(trimesh, tmp_path, head):
    (tmp_path / "x.off").write_text(head + BODY)
    mesh = data.load_mesh(tmp_path / "x.off")
    assert mesh.watertight and mesh.faces.tolist() == [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
    assert mesh.vertices.dtype == np.float64
    assert len(data.voxelize_mesh(tmp_path / "x.off", 8)) == len(data.voxelize_mesh(mesh, 8))


def test_other_formats(trimesh, tmp_path):
    (tmp_path / "x.off").write_text("OFF\n4 4 6\n" + BODY)
    expected = data.load_mesh(tmp_path / "x.off")
    solid = data.voxelize_mesh(expected, 16, fill="solid")
    for suffix in ("obj", "ply", "stl"):
        path = tmp_path / f"x.{suffix}"
        trimesh.Trimesh(expected.vertices, expected.faces, process=False).export(str(path))
        mesh = data.load_mesh(str(path))
        assert mesh.watertight  # STL has every vertex three times
        np.testing.assert_array_equal(data.voxelize_mesh(mesh, 16, fill="solid"), solid)


def test_polygons_are_cut_into_triangles(trimesh, tmp_path):
    (tmp_path / "x.off").write_text("OFF\n4 1 4\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n")
    mesh = data.load_mesh(tmp_path / "x.off")
    assert mesh.faces.shape == (2, 3) and not mesh.watertight
    assert len(data.voxelize_mesh(mesh, 4, bounds=((0, 0, -0.5), (1, 1, 0.5)))) == 32


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.off", "", "cannot read"),
        ("x.off", "hello", "cannot read"),
        ("x.off", "OFF\n4 4 6\n" + BODY[:-16], "it is truncated: 6 lines, its header asks for 8"),
        ("x.off", "OFF4 4 6\n" + BODY[:30], "it is truncated"),
        ("x.off", "OFF\n4 4 6\n" + BODY.replace("1 2 3", "1 2 4"), "cannot read"),
        ("x.off", "OFF\n4 4 6\n" + BODY.replace("1 0 0", "1 nan 0"), "vertices must be finite"),
        ("x.off", "OFF\n1 0 0\n0 0 0\n", "has no triangle"),
        ("x.obj", "hello", "has no triangle"),
        ("x.what", "hello", "cannot read"),
    ],
)
def test_broken_files_are_named(trimesh, tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        data.load_mesh(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    with pytest.raises(FileNotFoundError, match="path must be the path of a file"):
        data.load_mesh(tmp_path / "absent.off")


def test_without_trimesh(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "trimesh", None)
    (tmp_path / "x.off").write_text("OFF\n4 4 6\n" + BODY)
    with pytest.raises(ImportError, match=r"pip install 'jaxsparse\[mesh\]'"):
        data.load_mesh(tmp_path / "x.off")


def test_real_meshes(trimesh):
    """Which are closed is what the README of the data says; a closed one has an inside."""
    root = shared_data("meshes")
    for name, closed in (("spot.obj", True), ("bunny.off", True), ("cow.off", False)):
        mesh = data.load_mesh(root / name)
        assert mesh.watertight == closed
        surface, solid = (data.voxelize_mesh(mesh, 32, fill=f) for f in ("surface", "solid"))
        assert len(solid) > 1.2 * len(surface)
