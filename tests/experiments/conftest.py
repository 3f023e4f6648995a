"""What several of the runner's tests start from."""

import pytest

from experiments.gpu_check.options import Options
from experiments.gpu_check.results import Results
from experiments.gpu_check.running import Stage


@pytest.fixture
def stage(tmp_path):
    """Of the check on a GPU, rehearsed: the benchmark, in which nothing has been measured."""
    options = Options(platform="cpu", quick=True)
    return Stage("bench-direct", options, Results(tmp_path / "check.json"), tmp_path / "log")
