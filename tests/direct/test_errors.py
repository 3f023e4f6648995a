"""Every row of the table of arguments, and the page that is written from it."""

import inspect
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxsparse import direct
from jaxsparse.direct import SparseTensor
from tests.argument_rows import Refused, container
from tests.argument_table import TABLE, page

pytestmark = [pytest.mark.core, pytest.mark.asan]


def name_of(row):
    return f"{row.function}-{row.argument}-{row.given}".replace(" ", "_")


@pytest.mark.parametrize("row", TABLE, ids=name_of)
def test_row(row):
    if not isinstance(row.outcome, Refused):
        assert row.outcome.holds(row.call())
        return
    with pytest.raises(row.outcome.error) as caught:
        row.call()
    message = str(caught.value)
    assert row.outcome.says in message
    # who says it, of which argument; the sentence ends with what came
    function = row.function.removeprefix("SparseTensor.")
    assert message.startswith(f"{function}: ")
    assert ", got " in message or "do not fit" in message


def public_functions():
    """Name and parameters of everything in `direct` that takes arguments to check."""
    for name in direct.__all__:
        if inspect.isfunction(getattr(direct, name)):
            yield name, set(inspect.signature(getattr(direct, name)).parameters)
    for name, _ in inspect.getmembers(SparseTensor, callable):
        if not name.startswith("_") and name not in ("replace", "coords"):
            parameters = set(inspect.signature(getattr(SparseTensor, name)).parameters)
            if name == "validate":
                parameters = {"keys", "values", "nnz", "spatial_shape"}
            yield f"SparseTensor.{name}", parameters


@pytest.mark.parametrize("function, parameters", list(public_functions()))
def test_every_argument_of_every_public_function_has_rows(function, parameters):
    assert parameters == {row.argument for row in TABLE if row.function == function}


def test_the_page_is_current():
    committed = Path(__file__).parents[2] / "docs" / "arguments.md"
    assert committed.read_text() == page(), "python -m tests.argument_table > docs/arguments.md"


def test_shapes_are_checked_at_trace_time():
    x = container()
    with pytest.raises(ValueError, match="kernel"):
        jax.eval_shape(lambda x: direct.conv(x, np.ones((3, 3, 9, 4), np.float32)), x)
    with pytest.raises(TypeError, match="dtype"):
        jax.eval_shape(lambda x: direct.conv(x, np.ones((3, 3, 2, 4), np.float16)), x)


def test_a_platform_without_kernels_is_named_at_lowering():
    with pytest.raises(NotImplementedError, match="tpu"):
        jax.jit(direct.relu).trace(container()).lower(lowering_platforms=("tpu",))
