"""Real data for tests, which no checkout holds: beside it in ../shared/data, or where JAXSPARSE_SHARED_DATA says."""

import os
from pathlib import Path

import pytest

FOLDER = Path(
    os.environ.get("JAXSPARSE_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data"
)


def shared_data(name: str) -> Path:
    """One of its folders or files; a test that asks for what is not there is skipped."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no real data here: {path} does not exist (JAXSPARSE_SHARED_DATA=DIR)")
    return path
