"""What a user would pick instead: XLA's and torch's dense convolutions, each in two layouts."""

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.benchmark.cases import Group
from experiments.benchmark.timing import Call

PEERS = ("xla", "torch")


def available_peers(wanted: Sequence[str]) -> list[str]:
    """Those of the wanted peers that are installed."""
    return [peer for peer in wanted if peer == "xla" or importlib.util.find_spec(peer)]


def prepare(peer: str, group: Group, x: np.ndarray, weights: np.ndarray) -> dict[str, Call]:
    """Both layouts of a peer, by name.

    Args:
      peer: ``"xla"`` or ``"torch"``.
      group: what to compute.
      x: float32 ``[1, r, r, r, in]``.
      weights: float32 ``[3, 3, 3, in, out]``.
    """
    return _PREPARE[peer](group, x, weights)


def dense_bytes(group: Group) -> int:
    """Bytes of a dense layer's input and output."""
    return 4 * group.resolution**3 * sum(group.channels)


def xla_convolution(x: jax.Array, weights: jax.Array) -> jax.Array:
    """The reference: ``lax.conv_general_dilated``, channels last, SAME."""
    return lax.conv_general_dilated(
        x, weights, (1, 1, 1), "SAME", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )


def _xla(group: Group, x: np.ndarray, weights: np.ndarray) -> dict[str, Call]:
    calls: dict[str, Call] = {}
    layouts = {
        "xla NDHWC": (("NDHWC", "DHWIO", "NDHWC"), x, weights),
        "xla NCDHW": (
            ("NCDHW", "OIDHW", "NCDHW"),
            np.moveaxis(x, -1, 1),
            np.moveaxis(weights, (-1, -2), (0, 1)),
        ),
    }
    for name, (dimensions, image, kernel) in layouts.items():
        calls[name] = _xla_call(group, dimensions, jnp.array(image), jnp.array(kernel))
    return calls


def _xla_call(group: Group, dimensions: tuple[str, str, str], x: jax.Array, w: jax.Array) -> Call:
    def forward(x: jax.Array, w: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(x, w, (1, 1, 1), "SAME", dimension_numbers=dimensions)

    if group.passes == "forward":
        compiled = jax.jit(forward)
        return lambda: jax.block_until_ready(compiled(x, w))

    @jax.jit
    def both(x: jax.Array, w: jax.Array, cotangent: jax.Array) -> Any:
        y, pullback = jax.vjp(forward, x, w)
        return y, pullback(cotangent)

    shape = jax.eval_shape(forward, x, w).shape
    cotangent = jax.random.normal(jax.random.key(3), shape)
    return lambda: jax.block_until_ready(both(x, w, cotangent))


def _torch(group: Group, x: np.ndarray, weights: np.ndarray) -> dict[str, Call]:
    import torch  # pyright: ignore[reportMissingImports]

    calls: dict[str, Call] = {}
    for name, memory_format in (
        ("torch contiguous", torch.contiguous_format),
        ("torch channels_last_3d", torch.channels_last_3d),
    ):

        def tensor(array: np.ndarray, layout: Any = memory_format) -> Any:
            copy = torch.from_numpy(np.ascontiguousarray(array)).clone()
            return copy.contiguous(memory_format=layout)

        image = tensor(np.moveaxis(x, -1, 1))
        kernel = tensor(np.moveaxis(weights, (-1, -2), (0, 1)))
        calls[name] = _torch_call(group, image, kernel, memory_format)
    return calls


def _torch_call(group: Group, x: Any, w: Any, memory_format: Any) -> Call:
    import torch  # pyright: ignore[reportMissingImports]

    def convolve() -> Any:
        return torch.nn.functional.conv3d(x, w, padding=1)

    def forward() -> Any:
        with torch.inference_mode():
            return convolve()

    if group.passes == "forward":
        return forward
    x.requires_grad_()
    w.requires_grad_()
    with torch.no_grad():
        cotangent = torch.randn_like(convolve()).contiguous(memory_format=memory_format)
    return lambda: torch.autograd.grad(convolve(), (x, w), cotangent)


_PREPARE: dict[str, Callable[[Group, np.ndarray, np.ndarray], dict[str, Call]]] = {
    "xla": _xla,
    "torch": _torch,
}
