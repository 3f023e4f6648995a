"""Fingerprints of forward results and gradients, to compare processes that run with other threads or instructions.

`python -m tests.direct.digests` prints them as JSON, with the instruction set that was used.
"""

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import xla_kernels
from jaxsparse import direct
from tests import oracle
from tests.direct.common import BF16, F16, F32, F64, bits, precision, random_input, tensor
from tests.oracle import Sparse


class Sums(NamedTuple):
    """A convolution of random floats, whose sums round differently in any other order."""

    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    channels: tuple[int, int]
    batch: int = 2
    density: float = 0.1
    dtype: Any = F32
    scale: float = 1.0  # of the inputs: how near the sums come to the smallest or greatest numbers
    static: Mapping[str, Any] = MappingProxyType({"select": "magnitude"})
    masked: float = 0.3  # share of masked weights

    @np.errstate(all="ignore")
    def operands(self) -> tuple[Sparse, np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(7)
        x = random_input(rng, self.batch, self.spatial, self.channels[0], self.density, F64)
        x = x._replace(values=(x.values * self.scale).astype(self.dtype))
        kernel = rng.normal(size=(*self.kernel, *self.channels)).astype(self.dtype)
        bias = (rng.normal(size=self.channels[1]) * self.scale).astype(self.dtype)
        return x, kernel, bias, rng.random(kernel.shape) >= self.masked

    def window(self) -> dict[str, Any]:
        return {k: v for k, v in self.static.items() if k not in ("select", "capacity")}

    @np.errstate(all="ignore")
    def cotangents(self, y_shape) -> np.ndarray:
        return (np.random.default_rng(8).normal(size=y_shape) * self.scale).astype(self.dtype)


CASES = {
    "line": Sums((900,), (5,), (3, 2)),
    "one channel each": Sums((40, 50), (3, 3), (1, 1), static={"capacity": 100}),
    "lanes with a rest": Sums((20, 21, 22), (3, 3, 3), (3, 17), static={"capacity": 900}),
    "many outputs": Sums((12, 13), (3, 3), (17, 70), static={"select": "relu"}),
    "eight": Sums((24, 23, 22), (3, 3, 3), (8, 8), density=0.02, masked=0.0),
    "sixteen": Sums((30, 31), (3, 2), (5, 16), static={"strides": 2, "padding": "VALID"}),
    "dilated": Sums((19, 18), (3, 3), (3, 5), static={"kernel_dilation": (2, 3)}),
    "four dimensions": Sums((7, 6, 5, 8), (3, 1, 2, 3), (3, 4), static={"strides": (1, 2, 1, 2)}),
    "full": Sums((9, 8, 7), (3, 3, 3), (4, 6), density=1.0, masked=0.0),
    "padded": Sums((17, 12), (3, 5), (2, 3), static={"padding": ((-1, 3), (4, 0))}),
    "underflow": Sums((30, 30), (3, 3), (3, 5), scale=1e-42),
    "overflow": Sums((30, 30), (3, 3), (3, 5), scale=2e38),
    "float64": Sums((10, 11), (3, 3), (3, 5), dtype=F64, static={"capacity": 40}),
    "bfloat16": Sums((30, 20), (3, 3), (5, 9), dtype=BF16, static={"capacity": 100}),
    "float16": Sums((30, 20), (3, 3), (5, 9), dtype=F16, scale=1e-3),
}
# big enough that several threads find work
HEAVY = {
    "volume": Sums((48, 50, 49), (3, 3, 3), (3, 16), 5, 0.03, static={"capacity": 5000}),
    "one element": Sums((64, 64, 64), (3, 3, 3), (8, 8), 1, 0.02, masked=0.0),
    "wide map": Sums((600, 500), (3, 3), (1, 8), 3, 0.05, static={"strides": 2}),
}


def run(case: Sums):
    """(y, (values', kernel', bias')) of one case, by one jitted program."""
    x, kernel, bias, mask = case.operands()

    @jax.jit
    def both(x, kernel, bias, mask):
        def values_of(values, kernel, bias):
            y = direct.conv(x.replace(values=values), kernel, bias, mask=mask, **case.static)
            return y.values, y

        _, vjp, y = jax.vjp(values_of, x.values, kernel, bias, has_aux=True)
        return y, vjp

    with precision(case.dtype):
        y, vjp = both(tensor(x), *map(jax.device_put, (kernel, bias, mask)))
        return y, vjp(jax.device_put(case.cotangents(y.values.shape)))


def stated(case: Sums):
    """What the promise says `run` gives: (y, values')."""
    x, kernel, bias, mask = case.operands()
    arithmetic = oracle.stated(case.dtype)
    y = oracle.conv(x, kernel, bias, mask=mask, arithmetic=arithmetic, **case.static)
    gy = case.cotangents(y.values.shape)
    gx, _, _ = oracle.conv_gradients(
        x, kernel, y, gy, mask=mask, arithmetic=arithmetic, **case.window()
    )
    return y, gx


def digest(*arrays) -> str:
    sha = hashlib.sha256()
    for array in map(np.asarray, arrays):
        sha.update(bits(array).tobytes() if array.dtype.kind not in "iub" else array.tobytes())
    return sha.hexdigest()[:16]


@jax.jit
def chain(x, y, scale):
    """Every operation beside convolution: results, and the gradients of values and scale."""

    def of(a, b, scale):
        a, b = x.replace(values=a), y.replace(values=b)
        normal = direct.batch_norm(a, scale)
        total = direct.add(direct.leaky_relu(normal, 0.3), b, capacity=a.capacity)
        mean = direct.avg_pool(total, 3, 2, capacity=a.capacity // 2)
        back = direct.unpool(direct.max_pool(total, 2), total)
        joined = direct.concat([total, direct.dropout(back, 0.3, jax.random.key(4))])
        whole = direct.global_avg_pool(joined), direct.global_max_pool(joined)
        return [normal, total, mean, joined, *whole]

    def objective(*operands):
        leaves = [part for part in jax.tree.leaves(of(*operands)) if part.dtype == x.dtype]
        return sum(jnp.sum(jnp.sin(part)) for part in leaves)

    return of(x.values, y.values, scale), jax.grad(objective, (0, 1, 2))(x.values, y.values, scale)


def run_chain():
    """Of lists so long that several threads find work."""
    rng = np.random.default_rng(9)
    x, y = (tensor(random_input(rng, 2, (40, 50, 45), 2, 0.2)) for _ in range(2))
    return chain(x, y, jnp.asarray(rng.normal(size=2), jnp.float32))


def digests() -> dict[str, dict[str, str]]:
    """By case: fingerprints of the forward result and of each gradient."""
    out = {}
    parts = zip(("results", "gradients"), run_chain(), strict=True)
    out["chain"] = {part: digest(*jax.tree.leaves(tree)) for part, tree in parts}
    for name, case in (CASES | HEAVY).items():
        y, (gx, gw, gb) = run(case)
        parts = {"forward": (y.keys, y.values, y.nnz), "values'": (gx,)}
        parts |= {"kernel'": (gw,), "bias'": (gb,)}
        out[name] = {part: digest(*arrays) for part, arrays in parts.items()}
    return out


if __name__ == "__main__":
    print(json.dumps({"isa": xla_kernels.isa(), "digests": digests()}))
