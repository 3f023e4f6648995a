"""Strict by default: eight virtual CPU devices, no silent promotion of dtype or rank; warnings are errors (pyproject)."""

import importlib.util
import os

# In front: a number that the environment names wins.
os.environ["XLA_FLAGS"] = (
    f"--xla_force_host_platform_device_count=8 {os.environ.get('XLA_FLAGS', '')}".strip()
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# XLA without most of its optimisation, on CPUs: it is most of the time of many tests, and our kernels are compiled already.
# The core set runs with all that XLA does (.ci/run).
if os.environ["JAX_PLATFORMS"] == "cpu":
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import jax
import numpy as np
import pytest

# A plugin: importing it has an effect.
collect_ignore = ["emulated_session.py"]

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# A machine with a GPU may not have it: `make gpu-check` leaves out what needs it.
if importlib.util.find_spec("hypothesis"):
    import hypothesis

    hypothesis.settings.register_profile(
        "repeatable", derandomize=True, deadline=None, max_examples=60, database=None
    )
    hypothesis.settings.register_profile("long", deadline=None, max_examples=3000)
    hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(autouse=True, scope="session")
def _cache_of_the_session(tmp_path_factory):
    """What is measured here is remembered nowhere else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXSPARSE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _compiled_once(tmp_path_factory):
    """What takes XLA long is kept on disk for the length of the tests: all their processes compile the same programs."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder /= "compiled"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("jax_compilation_cache_dir", str(folder)),
            ("jax_persistent_cache_min_compile_time_secs", 0.3),
        ):
            patch.setenv(name.upper(), str(value))
            jax.config.update(name, value)
        yield


@pytest.fixture
def rng():
    """Random numbers that are the same on every run."""
    return np.random.default_rng(0)
