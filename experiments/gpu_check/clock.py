"""Timing on a device: many calls in one executable.

A call of a compiled function costs tens of microseconds of Python and of the runtime, more than a small kernel takes. So what is
timed is a loop that is compiled with its body: one dispatch for ``count`` calls, which is how a layer is called within a
program. Starting kernels is part of it, Python is not. (XLA records no loop into a command buffer by default, so each kernel is started
by itself, in either contestant.) The arguments and the result of one round go through an optimisation barrier
together before the next, so that XLA neither merges rounds nor moves the work out of the loop (the compiled text is looked at for
that), and no extra kernel runs; the rounds follow each other on one stream. Arguments and result are donated and come back, so that they stay where
they are: nothing is copied into the loop. The number of rounds is a constant, so that the host does not wait for the device to decide
about the next round.

The clock is the host's, around a call that waits for the result: dispatch and wait, some tens of microseconds, are about a
hundredth of a loop (`rounds`). `Loop.on_device` looks at the same loop in a profile, that is with the device's own
clock: ``busy`` leaves the pauses between kernels out, ``span`` has them, but they are longer there than without the profiler. So the
host's clock is what ratios are made of, and the profile stands beside it.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.benchmark.timing import Timing
from experiments.gpu_check import profile


@dataclasses.dataclass(frozen=True)
class Chained:
    """A function ``(*arguments, a former result) -> result``, which may write the result into the former one's memory."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


def repeated(function: Callable[..., Any], count: int) -> Callable[[Any, Any], tuple[Any, Any]]:
    """``(arguments, a former result) -> (arguments, result)``: calls ``function`` ``count`` times."""

    def run(arguments: tuple[Any, ...], result: Any) -> tuple[Any, Any]:
        def body(_: Any, carry: Any) -> Any:
            arguments, former = lax.optimization_barrier(carry)
            if isinstance(function, Chained):
                return arguments, function(*arguments, former)
            return arguments, function(*arguments)

        return lax.fori_loop(0, count, body, (arguments, result))

    return run


class Arguments:
    """What loops are called with. A call gives the arrays away and gets them back; whoever made them must not use them.

    ``former``: for functions that are `Chained`, the result to begin with.
    """

    def __init__(self, *values: Any, former: Any = None):
        self.values = values
        self._result: Any = former

    def all_of(self, function: Callable[..., Any]) -> tuple[Any, ...]:
        """What the function takes."""
        return (*self.values, self._result) if isinstance(function, Chained) else self.values

    def result(self, shapes: Any) -> Any:
        """What loops write their result to: the last one, or zeros. Loops of the same shapes share it, too."""
        described = jax.tree.map(lambda x: (x.shape, x.dtype), (self._result, shapes))
        if self._result is None or described[0] != described[1]:
            self._result = jax.tree.map(_zeros, shapes)
        return self._result

    def take_back(self, values: Any, result: Any) -> None:
        """After a call."""
        self.values, self._result = values, result


def own_array(x: np.ndarray) -> jax.Array:
    """On the device, a copy that may be given away; `jnp.array` would compile a program for every shape."""
    return jax.device_put(x, may_alias=False)


def _zeros(like: Any) -> jax.Array:
    """From the host where they are few, for `jnp.zeros` compiles a program, too."""
    if math.prod(like.shape) * like.dtype.itemsize < 2**26:
        return own_array(np.zeros(like.shape, like.dtype))
    return jnp.zeros(like.shape, like.dtype)


class Loop:
    """A compiled loop, to be timed.

    Attributes:
      count: how many calls of the function one call of this is.
    """

    def __init__(self, function: Callable[..., Any], arguments: Arguments, count: int):
        self.count = count
        self._arguments = arguments
        self._shapes = jax.eval_shape(function, *arguments.all_of(function))
        self._compiled = _compiled(function, arguments.values, self._shapes, count)

    def text(self) -> str:
        """The compiled program."""
        return self._compiled.as_text() or ""

    def __call__(self) -> Any:
        """Runs it and waits."""
        holder = self._arguments
        values, result = jax.block_until_ready(
            self._compiled(holder.values, holder.result(self._shapes))
        )
        holder.take_back(values, result)
        return result

    def per_call(self, timing: Timing) -> dict[str, Any]:
        """A timing of the loop as one of the function: seconds."""
        values: dict[str, Any] = dataclasses.asdict(timing)
        for key in ("median", "best"):
            values[key] /= self.count
        return values | {"calls_a_sample": self.count}

    def on_device(self) -> dict[str, float] | None:
        """What a profile of one call says of the device, for one call of the function; None: it does not tell."""
        found = profile.device_time(profile.profiled(self))
        if found is None:
            return None
        return {name: value / self.count for name, value in dataclasses.asdict(found).items()}


Request = tuple[Callable[..., Any], tuple[Any, ...], int]
"""A loop to be compiled: function, arguments (only their shapes count), number of calls."""


def compile_ahead(chains: Sequence[Sequence[Request]], threads: int = 8) -> None:
    """Compiles loops that are going to be made: the chains beside each other, each chain in its order.

    XLA's compiler is one thread a program. Loops with convolutions of cuDNN's belong into one chain, for compiling them
    tries algorithms out on the device, and no other must run there then. What does not compile here says so when its
    loop is made.
    """

    def compile_chain(chain: Sequence[Request]) -> None:
        for function, arguments, count in chain:
            try:
                _compiled(function, arguments, jax.eval_shape(function, *arguments), count)
            except RuntimeError:
                continue

    # Two threads with the same loop would both compile it.
    fresh = {tuple(_key(*request) for request in chain): chain for chain in chains}
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(compile_chain, fresh.values()))


_CACHE: dict[Any, Any] = {}


def _compiled(function: Callable[..., Any], arguments: Any, result: Any, count: int) -> Any:
    """Compiles a loop once for a function and its arguments' shapes."""
    key = _key(function, arguments, count)
    if key not in _CACHE:
        loop = jax.jit(repeated(function, count), donate_argnums=(0, 1))
        compiled = loop.lower(arguments, result).compile()
        if moved_out(compiled.as_text() or ""):
            raise RuntimeError("XLA moved the work out of the loop: there is nothing to time")
        _CACHE[key] = compiled
    return _CACHE[key]


def _key(function: Callable[..., Any], arguments: Any, count: int) -> Any:
    leaves, structure = jax.tree.flatten(arguments)
    return function, count, structure, *((x.shape, x.dtype) for x in leaves)


def forget() -> None:
    """Frees the compiled loops."""
    _CACHE.clear()


def moved_out(text: str) -> bool:
    """Whether a compiled program has a loop, and convolutions or calls of our handlers outside of it."""
    entry = re.search(r"^ENTRY .*?^}", text, re.M | re.S)
    if entry is None or " while(" not in entry[0]:
        return False  # rolled out
    return bool(re.search(r'custom_call_target="(jaxsparse_|__cudnn)| convolution\(', entry[0]))


def rounds(bytes_moved: float, *, target: float = 8e-3, most: int = 256) -> int:
    """How many calls make a loop long enough, by a guess of what one takes: eight times the copying at 4 TB/s."""
    return max(2, min(most, round(target / max(8 * bytes_moved / 4e12, 3e-5))))
