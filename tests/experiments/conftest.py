"""The runner's tests compile the same few programs again and again: keep them on disk for the length of the tests."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from experiments.gpu_check.options import Options
from experiments.gpu_check.results import Results
from experiments.gpu_check.running import Stage

OPTIONS = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture(scope="package", autouse=True)
def compiled_once(tmp_path_factory):
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    jax.config.update(OPTIONS[0], str(tmp_path_factory.mktemp("compiled")))
    jax.config.update(OPTIONS[1], 0.3)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture
def stage(tmp_path):
    """Of the check on a GPU, rehearsed: the benchmark, in which nothing has been measured."""
    options = Options(platform="cpu", quick=True)
    return Stage("bench-direct", options, Results(tmp_path / "check.json"), tmp_path / "log")
