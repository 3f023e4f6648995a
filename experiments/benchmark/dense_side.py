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

LAYOUTS = {
    "xla": ("xla NDHWC", "xla NCDHW"),
    "torch": ("torch contiguous", "torch channels_last_3d"),
}


def available_peers(wanted: Sequence[str]) -> list[str]:
    """Those of the wanted peers that are installed."""
    return [peer for peer in wanted if peer == "xla" or importlib.util.find_spec(peer)]


def prepare(
    peer: str, group: Group, x: np.ndarray, weights: np.ndarray, layouts: Sequence[str]
) -> dict[str, Call]:
    """Layouts of a peer, by name.

    Args:
      peer: ``"xla"`` or ``"torch"``.
      group: what to compute.
      x: float32 ``[1, r, r, r, in]``.
      weights: float32 ``[3, 3, 3, in, out]``.
      layouts: those of ``LAYOUTS[peer]`` to prepare.
    """
    return {layout: _PREPARE[peer](group, layout, x, weights) for layout in layouts}


def dense_bytes(group: Group) -> int:
    """Bytes of a dense layer's input and output."""
    return 4 * group.resolution**3 * sum(group.channels)


def xla_convolution(x: jax.Array, weights: jax.Array) -> jax.Array:
    """The reference: ``lax.conv_general_dilated``, channels last, SAME."""
    return lax.conv_general_dilated(
        x, weights, (1, 1, 1), "SAME", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )


def _xla(group: Group, layout: str, x: np.ndarray, weights: np.ndarray) -> Call:
    dimensions, image, kernel = {
        "xla NDHWC": (("NDHWC", "DHWIO", "NDHWC"), x, weights),
        "xla NCDHW": (
            ("NCDHW", "OIDHW", "NCDHW"),
            np.moveaxis(x, -1, 1),
            np.moveaxis(weights, (-1, -2), (0, 1)),
        ),
    }[layout]
    return _xla_call(group, dimensions, jnp.array(image), jnp.array(kernel))


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


def _torch(group: Group, layout: str, x: np.ndarray, weights: np.ndarray) -> Call:
    import torch  # pyright: ignore[reportMissingImports]

    memory_format = {
        "torch contiguous": torch.contiguous_format,
        "torch channels_last_3d": torch.channels_last_3d,
    }[layout]

    def tensor(array: np.ndarray) -> Any:
        copy = torch.from_numpy(np.ascontiguousarray(array)).clone()
        return copy.contiguous(memory_format=memory_format)

    image = tensor(np.moveaxis(x, -1, 1))
    kernel = tensor(np.moveaxis(weights, (-1, -2), (0, 1)))
    return _torch_call(group, image, kernel, memory_format)


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


_PREPARE: dict[str, Callable[[Group, str, np.ndarray, np.ndarray], Call]] = {
    "xla": _xla,
    "torch": _torch,
}
