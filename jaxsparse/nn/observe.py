"""Looking at what the layers of a model store while it runs, without changing the model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jaxsparse import direct

Observer = Callable[[Any, direct.SparseTensor], None]

_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)


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


def notify(layer: Any, output: direct.SparseTensor) -> None:
    """Tells the observer, if there is one, what a layer returns."""
    observer = _observer.get()
    if observer is not None:
        observer(layer, output)
