"""Looking at what the layers of a model store while it runs, without changing the model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jaxsparse import direct

Observer = Callable[[Any, Any], None]
Replacer = Callable[[Any, direct.SparseTensor, direct.SparseTensor], direct.SparseTensor]

_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)
_replacer: ContextVar[Replacer | None] = ContextVar("replacer", default=None)


@contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """Calls ``observer(layer, output)`` for every sparse layer that runs in a ``with`` block.

    Inside a traced function the outputs are tracers: what is to leave it must be returned from it.
    """
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


@contextmanager
def replacing(replacer: Replacer) -> Iterator[None]:
    """Has every direct convolution that runs in a ``with`` block return ``replacer(layer, input, output)``."""
    token = _replacer.set(replacer)
    try:
        yield
    finally:
        _replacer.reset(token)


def notify(layer: Any, x: Any, output: Any) -> Any:
    """Tells the observer, if there is one, what a layer returns; what the layer shall return."""
    replacer, observer = _replacer.get(), _observer.get()
    if replacer is not None and isinstance(output, direct.SparseTensor):
        output = replacer(layer, x, output)
    if observer is not None:
        observer(layer, output)
    return output
