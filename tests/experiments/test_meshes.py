"""Folders of meshes: found, made once, kept; what is broken is named and left out."""

import concurrent.futures
import io

import numpy as np
import pytest
from rich.console import Console

from experiments.config import MeshesConfig
from experiments.data import load_dataset, mesh_cache, meshes
from experiments.data.mesh_cache import voxels_of
from experiments.errors import DataError
from experiments.train.summary import print_summary
from jaxsparse.data import voxelize_mesh

pytest.importorskip("trimesh", reason="the extra mesh is not installed")

SETTINGS = {"resolution": 12, "fill": "surface", "padding": 0, "fit": "cube"}


def off(scale, head="OFF\n4 4 6\n", faces=4):
    corners = [(0, 0, 0), (1, 0, 0), (0, scale, 0), (0, 0, 1)]
    triangles = ["3 0 2 1", "3 0 1 3", "3 0 3 2", "3 1 2 3"]
    return (
        head
        + "\n".join(" ".join(map(str, c)) for c in corners)
        + "\n"
        + "\n".join(triangles[:faces])
        + "\n"
    )


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "shapes"
    for name in ("flat", "tall"):
        for part, count in (("train", 3), ("test", 2)):
            (folder / name / part).mkdir(parents=True)
            for number in range(count):
                scale = (number + 1) / (10 if name == "flat" else 1)
                (folder / name / part / f"{name}_{number}.off").write_text(off(scale))
    (folder / "readme.txt").write_text("no class")
    return folder


def config(root, **keys):
    keys = {"resolution": 12, "cache": root.parent / "cache", "workers": 1, **keys}
    return MeshesConfig(kind="meshes", root=root, **keys)


def test_found_by_class_and_part(root):
    data = load_dataset(config(root, padding=1))
    assert data.class_names == ("flat", "tall") and data.notes == ()
    assert len(data.train) == 6 and len(data.test) == 4
    images, labels = data.train.gather(np.arange(6))
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    for image, name in zip(images, ["flat/train/flat_0", "flat/train/flat_1"], strict=False):
        expected = voxelize_mesh(root / f"{name}.off", 12, padding=1)
        np.testing.assert_array_equal(np.argwhere(image[..., 0]), expected)


def test_broken_meshes_are_named_and_left_out(root):
    (root / "flat/train/flat_1.off").write_text(off(1.0)[:60])
    (root / "tall/test/tall_0.off").write_text("no mesh")
    (root / "tall/train/tall_0.off").write_text(off(2.0, head="OFF4 4 6\n"))  # not broken
    (root / "tall/train/tall_1.off").write_text(off(2.0, head="OFF4 3 6\n", faces=3))  # open
    broken, open_ones = load_dataset(config(root, fill="solid")).notes
    assert broken.startswith(
        "2 of 10 meshes are broken and left out: flat/train/flat_1.off (it is truncated: "
    )
    assert "; tall/test/tall_0.off (" in broken
    assert open_ones.startswith("1 of 10 meshes are not watertight")
    result = {
        "name": "x", "dataset": "y", "layers": [], "test": {"accuracy": 0.5, "loss": 1.0}, "epochs": 1,
        "step_ms": None, "smoke_test": False, "notes": [broken, open_ones],
    }  # fmt: skip
    print_summary(Console(file=(shown := io.StringIO()), width=500), result)
    assert broken in shown.getvalue() and open_ones in shown.getvalue()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: None, None),
        (lambda root: [p.unlink() for p in root.glob("*/test/*")], "has no mesh in CLASS/test/"),
        (lambda root: [p.write_text("") for p in root.glob("*/train/*")], "all meshes of CLASS/train/ are broken"),
    ],
)  # fmt: skip
def test_folders_without_meshes(root, damage, message):
    damage(root)
    if message is None:
        load_dataset(config(root))
        return
    with pytest.raises(DataError, match=message):
        load_dataset(config(root))


def test_made_once(root, monkeypatch):
    first = load_dataset(config(root))
    entries = sorted((root.parent / "cache").iterdir())
    assert len(entries) == 6  # by content: the shapes of both parts are the same
    # The same bytes elsewhere, under another name: nothing is made.
    moved = root.rename(root.parent / "moved")
    with monkeypatch.context() as patch:
        patch.setattr(mesh_cache, "load_mesh", None)
        again = load_dataset(config(moved))
        with pytest.raises(TypeError):
            load_dataset(config(moved, padding=1))
        patch.setattr(mesh_cache, "FORMAT", mesh_cache.FORMAT + 1)
        with pytest.raises(TypeError):
            load_dataset(config(moved))
    np.testing.assert_array_equal(
        first.train.gather(np.arange(6))[0], again.train.gather(np.arange(6))[0]
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-30],
        lambda content: content[:80] + bytes([content[80] ^ 255]) + content[81:],
        lambda content: b"\x93NUMPY" + content,
    ],
    ids=["empty", "cut", "flipped", "another"],
)
def test_damaged_entries_are_made_again(root, tmp_path, damage):
    path, cache = root / "tall/train/tall_0.off", tmp_path / "entries"
    expected = voxels_of(path, SETTINGS, cache)
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    found = voxels_of(path, SETTINGS, cache)
    np.testing.assert_array_equal(found.keys, expected.keys)
    assert found.watertight and [p.name for p in cache.iterdir()] == [entry.name]
    assert mesh_cache._read(entry) is not None


def test_writers_at_once(root, tmp_path):
    """Many at the same entry: each has the right voxels, nothing but the entry is left."""
    path, cache = root / "tall/train/tall_1.off", tmp_path / "entries"
    expected = voxels_of(path, SETTINGS, None).keys
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: voxels_of(path, SETTINGS, cache), range(24)))
    assert all((voxels.keys == expected).all() for voxels in found)
    (entry,) = cache.iterdir()
    assert mesh_cache._read(entry) is not None


def test_in_several_processes(root, monkeypatch):
    monkeypatch.setattr(meshes, "FEW", 2)
    (root / "tall/test/tall_0.off").write_text("no mesh")
    several = load_dataset(config(root, workers=2, cache=root.parent / "several"))
    one = load_dataset(config(root, workers=1))
    assert several.notes == one.notes and len(several.notes) == 1
    for a, b in ((several.train, one.train), (several.test, one.test)):
        index = np.arange(len(a))
        np.testing.assert_array_equal(a.gather(index)[0], b.gather(index)[0])
