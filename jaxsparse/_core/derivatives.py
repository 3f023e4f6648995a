"""Custom derivatives with static parameters."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

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


def backward_of(
    function: jax.custom_vjp[Any],
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the backward pass of a function of :func:`custom_vjp` that needs none of its results.

    The parameters of the backward pass are the static arguments, those arrays of ``function`` that it needs, by their
    names there (no others are kept for it), and last the cotangent. It returns cotangents as ``defvjp`` wants them.
    """

    def decorate(backward):
        static = len(function.nondiff_argnums)
        arguments = list(inspect.signature(function).parameters)
        needed = list(inspect.signature(backward).parameters)[static:-1]
        places = [arguments.index(name) for name in needed]

        def forward(*operands):
            return function(*operands), tuple(operands[place] for place in places)

        def with_residuals(*operands):
            *parameters, residuals, cotangent = operands
            return backward(*parameters, *residuals, cotangent)

        function.defvjp(forward, with_residuals)
        return backward

    return decorate
