"""The examples of docs/voxel.md."""

import doctest
from pathlib import Path


def test_examples():
    path = Path(__file__).parents[2] / "docs" / "voxel.md"
    found = doctest.testfile(str(path), module_relative=False)
    assert found.attempted > 10 and found.failed == 0
