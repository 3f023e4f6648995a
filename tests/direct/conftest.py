"""Many small programs: their results do not hang on XLA's optimisation."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def _compiled_quickly(quick_compiles):
    pass
