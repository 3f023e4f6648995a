"""Arguments: what is accepted, and errors that name the argument, what came and what was expected."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

LARGEST = 2**31 - 1
"""Keys are int32: the largest volume, and the largest of all other sizes."""


def expected(function: str, argument: str, expectation: str, got: Any) -> str:
    """The wording of every error: ``conv: strides must be positive integers, got 0``."""
    return f"{function}: {argument} must be {expectation}, got {got}"


def described(value: Any) -> str:
    """How an error shows a value that is not of the kind asked for."""
    if isinstance(value, jax.core.Tracer):
        return f"a traced value, {value.aval}; it shapes the program and must be known before"
    return f"{value!r} ({type(value).__name__})"


def kind(value: Any) -> str:
    """How an error names a value that should have been a container: arrays, traced or not, by their shape."""
    if isinstance(value, jax.Array | np.ndarray):
        return f"an array of shape {tuple(value.shape)}"
    return type(value).__name__


def integer(
    function: str, argument: str, value: Any, *, minimum: int, wording: str = "an integer"
) -> int:
    """An integer (Python's or NumPy's, no bool) from ``minimum`` to 2^31 - 1."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(expected(function, argument, wording, described(value))) from None
    if not minimum <= number <= LARGEST:
        wanted = f"at least {minimum}" if number < minimum else f"at most {LARGEST}"
        raise ValueError(expected(function, argument, wanted, number))
    return number


def integers(
    function: str, argument: str, value: Any, *, dims: int, minimum: int = 1
) -> tuple[int, ...]:
    """An integer for all spatial dimensions, or a sequence of one for each."""
    wording = f"an integer or {dims} of them (one a spatial dimension)"
    if isinstance(value, (str, bytes)) or not is_sequence(value):  # a string is refused there
        return (integer(function, argument, value, minimum=minimum, wording=wording),) * dims
    if len(value) != dims:
        raise ValueError(expected(function, argument, wording, tuple(value)))
    return tuple(
        integer(function, f"{argument}[{i}]", v, minimum=minimum) for i, v in enumerate(value)
    )


def real(function: str, argument: str, value: Any, wording: str = "a number") -> float:
    """What ``float`` makes of a number; no string and no bool."""
    try:
        if isinstance(value, str | bytes | bool | np.bool_):  # float() would take them
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):  # a tracer's error is a TypeError
        raise TypeError(expected(function, argument, wording, described(value))) from None


def number(
    function: str,
    argument: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    finite: bool = True,
) -> float:
    """A number from ``low`` to ``high`` that is known at trace time; not NaN, and finite unless told otherwise."""
    found = real(function, argument, value, "a number, known at trace time")
    if not (low <= found <= high and (math.isfinite(found) or not finite)):
        limits = (f"at least {low:g}", low), (f"at most {high:g}", high)
        kinds = ["finite" if finite else "a number"]
        wording = " and ".join([*kinds, *(text for text, v in limits if math.isfinite(v))])
        raise ValueError(expected(function, argument, wording, found))
    return found


def traceable_number(
    function: str,
    argument: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    finite: bool = True,
) -> Any:
    """As :func:`number`, or a scalar JAX array, which is handed back: of a traced one only shape and dtype are known."""
    if not isinstance(value, jax.Array):
        return number(function, argument, value, low=low, high=high, finite=finite)
    _real_scalar(function, argument, value, jnp.floating, jnp.integer)
    if not isinstance(value, jax.core.Tracer):
        number(function, argument, value.item(), low=low, high=high, finite=finite)
    return value


def traceable_integer(function: str, argument: str, value: Any, *, minimum: int) -> Any:
    """As :func:`integer`, or a scalar JAX array of integers, which is handed back."""
    if not isinstance(value, jax.Array):
        return integer(function, argument, value, minimum=minimum)
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise TypeError(expected(function, argument, "an integer", value.dtype))
    _real_scalar(function, argument, value, jnp.integer)
    if not isinstance(value, jax.core.Tracer):
        integer(function, argument, value.item(), minimum=minimum)
    return value


def _real_scalar(function: str, argument: str, value: jax.Array, *kinds: Any) -> None:
    if not any(jnp.issubdtype(value.dtype, kind) for kind in kinds):
        raise TypeError(expected(function, argument, "a number", f"dtype {value.dtype}"))
    if value.ndim:
        raise ValueError(expected(function, argument, "a scalar", f"shape {value.shape}"))


def is_sequence(value: Any) -> bool:
    """A list, tuple or one-dimensional NumPy array."""
    return isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim == 1)


def one_of(function: str, argument: str, value: Any, choices: Sequence[str]) -> str:
    """One of some strings."""
    if not isinstance(value, str):
        raise TypeError(expected(function, argument, f"one of {list(choices)}", repr(value)))
    if value not in choices:
        raise ValueError(expected(function, argument, f"one of {list(choices)}", repr(value)))
    return value


def float_dtype(function: str, argument: str, value: Any) -> None:
    """A dtype, or what names one, must be one of the four supported floating point types."""
    wording = f"one of {', '.join(FLOATS)}"
    try:
        name = jnp.dtype(value).name
    except TypeError:
        raise TypeError(expected(function, argument, wording, repr(value))) from None
    if value is None or name not in FLOATS:  # NumPy takes None for float64
        raise TypeError(expected(function, argument, wording, value))


def function_of(function: str, argument: str, value: Any, signature: str) -> None:
    """Something to call."""
    if not callable(value):
        raise TypeError(expected(function, argument, f"a function {signature}", repr(value)))


def array(function: str, argument: str, value: Any) -> jax.Array:
    """A JAX array; NumPy arrays, numbers and nested lists are converted."""
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        what = f"{type(value).__name__} ({error})"
        raise TypeError(expected(function, argument, "an array", what)) from error


def host_integers(
    function: str, argument: str, value: Any, wording: str = "of an integer dtype"
) -> Any:
    """A JAX or NumPy array of integers; lists and numbers become NumPy's, so that none is too large for JAX."""
    if not isinstance(value, jax.Array):
        try:
            value = np.asarray(value)
        except jax.errors.TracerArrayConversionError:  # a list with traced values in it
            value = array(function, argument, value)
        except (TypeError, ValueError) as error:
            what = f"{type(value).__name__} ({error})"
            raise TypeError(expected(function, argument, "an array", what)) from error
        if value.size == 0:  # an empty list has no integers in it
            value = value.astype(np.int32)
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise TypeError(expected(function, argument, wording, f"dtype {value.dtype}"))
    return value


def int32_array(function: str, argument: str, value: Any) -> jax.Array:
    """Arrays must have the dtype; a list has none and must hold integers that fit."""
    given = getattr(value, "dtype", None)
    if given is not None and given != jnp.int32:
        raise TypeError(expected(function, argument, "of dtype int32", given))
    value = host_integers(function, argument, value, "of dtype int32")
    limits = jnp.iinfo(jnp.int32)
    if isinstance(value, np.ndarray) and value.size:
        least, most = value.min(), value.max()
        if least < limits.min or most > limits.max:
            what = f"numbers from {least} to {most}"
            raise ValueError(expected(function, argument, "within int32", what))
    return jnp.asarray(value, jnp.int32)


FLOATS = ("float16", "bfloat16", "float32", "float64")


def float_array(function: str, argument: str, value: Any) -> jax.Array:
    """An array of one of the four supported floating point types."""
    x = array(function, argument, value)
    if x.dtype.name not in FLOATS:
        raise TypeError(expected(function, argument, f"of dtype {', '.join(FLOATS)}", x.dtype))
    return x


def same_dtype(function: str, argument: str, x: Any, other: str, dtype: Any) -> None:
    """``x`` must have the dtype that another argument has."""
    if x.dtype != dtype:
        raise TypeError(expected(function, argument, f"of the dtype of {other}, {dtype}", x.dtype))


def shape(function: str, argument: str, x: Any, wanted: Sequence[int], meaning: str) -> None:
    """``x`` must have exactly this shape."""
    if tuple(x.shape) != tuple(wanted):
        wording = f"of shape {tuple(wanted)} ({meaning})"
        raise ValueError(expected(function, argument, wording, f"shape {tuple(x.shape)}"))


def random_key(function: str, argument: str, value: Any) -> jax.Array:
    """A single key of ``jax.random``, of the new kind or the old one (uint32)."""
    x = array(function, argument, value)
    typed = jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    if not typed and x.dtype != jnp.uint32:
        raise TypeError(expected(function, argument, "a key of jax.random", x.dtype))
    if x.ndim != (0 if typed else 1):
        raise ValueError(expected(function, argument, "a single key", f"shape {x.shape}"))
    return x


def concrete(x: Any) -> np.ndarray | None:
    """The contents of an array, or None where they cannot be seen.

    That is inside ``jit``, ``vmap``, ``scan`` and the like, where there are none yet (``grad`` outside of them has
    some), and where parts of the array lie on devices of other processes.
    """
    if isinstance(x, jax.core.Tracer):
        x = x.to_concrete_value()
    if x is None or not getattr(x, "is_fully_addressable", True):
        return None
    return np.asarray(x)
