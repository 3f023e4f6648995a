"""Custom derivatives with static parameters."""

from collections.abc import Callable
from typing import TypeVar, cast

import jax

R = TypeVar("R")


def custom_vjp(*, static: int) -> Callable[[Callable[..., R]], jax.custom_vjp[R]]:
    """A decorator: ``jax.custom_vjp`` of a function whose first ``static`` arguments are hashable and not arrays.

    In forward mode (``jvp``, ``jacfwd``, ``hessian``) the function raises a ``TypeError`` that says so. Written with
    functions that are themselves decorated so, the backward pass can be differentiated again, to any order.
    """

    def decorate(function):
        wrapped = jax.custom_vjp(function, nondiff_argnums=tuple(range(static)))
        return cast(jax.custom_vjp[R], wrapped)

    return decorate
