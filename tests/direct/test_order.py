"""The promise on bits (design.md, section 2): sums in the stated order, whoever computes them and however."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import xla_kernels
from jaxsparse import direct
from jaxsparse.direct import SparseTensor
from tests import oracle
from tests.direct.common import F32, assert_same_bits, plain, random_input, tensor
from tests.direct.digests import CASES, HEAVY, digests, run, stated

ROOT = Path(__file__).parents[2]


# --- the stated order --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.core] * (i % 3 == 0)) for i, n in enumerate(CASES)]
)
def test_forward_and_input_gradient_are_the_stated_sums(name):
    y, (gx, _, _) = run(CASES[name])
    expected, expected_gx = stated(CASES[name])
    np.testing.assert_array_equal(y.nnz, expected.nnz)
    np.testing.assert_array_equal(y.keys, expected.keys)
    assert_same_bits(y.values, expected.values)
    assert_same_bits(gx, expected_gx)


def test_another_order_would_be_noticed():
    """Input channels descending, and products rounded before they are added: other bits in many places."""
    case = CASES["lanes with a rest"]
    x, kernel, bias, mask = case.operands()
    arithmetic, static = oracle.stated(F32), case.static | {"capacity": None}
    turned = x._replace(keys=x.keys[:, ::-1], values=x.values[:, ::-1])
    y = oracle.conv(x, kernel, bias, mask=mask, arithmetic=arithmetic, **static)
    others = [
        oracle.conv(
            turned, kernel[..., ::-1, :], bias, mask=mask[..., ::-1, :], arithmetic=arithmetic, **static
        ),
        oracle.conv(
            x, kernel, bias, mask=mask, **static,
            arithmetic=oracle.Arithmetic(np.float32, oracle.EXACT.multiply_add),
        ),
    ]  # fmt: skip
    for other in others:
        assert (oracle.to_dense(other) != oracle.to_dense(y)).sum() > 0.1 * y.nnz.sum()


# --- threads and instruction sets --------------------------------------------------------------------------------


@functools.cache
def here():
    return digests()


def elsewhere(**environment):
    """The digests of a fresh process; one device, so that NPROC is the number of its threads."""
    child = subprocess.run(
        [sys.executable, "-m", "tests.direct.digests"],
        env=os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    return json.loads(child.stdout.splitlines()[-1])


@pytest.mark.parametrize("threads", ["1", "2", "4"])
def test_any_number_of_threads_gives_the_same_bits(threads):
    assert elsewhere(NPROC=threads)["digests"] == here()


@pytest.mark.parametrize("isa", ["portable", "avx2"])
def test_every_instruction_set_gives_the_same_bits(isa):
    ladder = ["portable", "avx2", "avx512"]
    if ladder.index(isa) > ladder.index(xla_kernels.isa()):
        pytest.skip(f"this processor has no {isa}")
    child = elsewhere(NPROC="2", JAXSPARSE_ISA=isa)
    assert child["isa"] == isa
    assert child["digests"] == here()


def test_repeats_give_the_same_bits():
    assert digests() == here()


# --- transformations ---------------------------------------------------------------------------------------------


@pytest.fixture
def operands(rng):
    x = random_input(rng, 8, (10, 11, 12), 3, 0.15)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 3, 3, 5)).astype(F32))
    bias = jnp.asarray(rng.normal(size=5).astype(F32))
    gy = jnp.asarray(rng.normal(size=(8, 5, 300)).astype(F32))
    return tensor(x), kernel, bias, gy


def forward_and_input_gradient(x, kernel, bias, gy):
    def values_of(values):
        y = direct.conv(x.replace(values=values), kernel, bias, capacity=300, select="magnitude")
        return y.values, y

    _, vjp, y = jax.vjp(values_of, x.values, has_aux=True)
    return y, vjp(gy)[0]


def assert_bits_agree(actual, expected):
    (y, gx), (y_expected, gx_expected) = actual, expected
    np.testing.assert_array_equal(y.nnz, y_expected.nnz)
    np.testing.assert_array_equal(y.keys, y_expected.keys)
    assert_same_bits(y.values, y_expected.values)
    assert_same_bits(gx, gx_expected)


@pytest.fixture
def expected(operands):
    return jax.jit(forward_and_input_gradient)(*operands)


@pytest.mark.core
def test_eager(operands, expected):
    assert_bits_agree(forward_and_input_gradient(*operands), expected)


@pytest.mark.core
def test_permuted_batch(operands, expected, rng):
    x, kernel, bias, gy = operands
    order = rng.permutation(8)
    permuted = jax.tree.map(lambda a: a[order], (x, gy))
    y, gx = jax.jit(forward_and_input_gradient)(permuted[0], kernel, bias, permuted[1])
    back = np.argsort(order)
    assert_bits_agree((jax.tree.map(lambda a: a[back], y), gx[back]), expected)


@pytest.mark.core
def test_one_element_at_a_time(operands, expected):
    x, kernel, bias, gy = operands
    for b in (0, 5):
        one = jax.tree.map(lambda a, b=b: a[b : b + 1], (x, gy, expected))
        assert_bits_agree(jax.jit(forward_and_input_gradient)(one[0], kernel, bias, one[1]), one[2])


def unfold(tree, *axes):
    return jax.tree.map(lambda a: a.reshape(*axes, -1, *a.shape[1:]), tree)


def fold(tree, axes=1):
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[axes + 1 :]), tree)


@pytest.mark.core
@pytest.mark.parametrize("axes", [(4,), (2, 2)], ids=["vmap", "vmap of vmap"])
def test_vmap(operands, expected, axes):
    x, kernel, bias, gy = operands
    mapped = forward_and_input_gradient
    for _ in axes:
        mapped = jax.vmap(mapped, (0, None, None, 0))
    x, gy = unfold((x, gy), *axes)
    assert_bits_agree(fold(jax.jit(mapped)(x, kernel, bias, gy), len(axes)), expected)


@pytest.mark.core
def test_vmap_over_kernels(operands):
    x, kernel, bias, gy = operands
    kernels, biases = jnp.stack([kernel, -kernel, 2 * kernel]), jnp.stack([bias, bias, 2 * bias])
    result = jax.jit(jax.vmap(forward_and_input_gradient, (None, 0, 0, None)))(
        x, kernels, biases, gy
    )
    for i in range(3):
        alone = jax.jit(forward_and_input_gradient)(x, kernels[i], biases[i], gy)
        assert_bits_agree(jax.tree.map(lambda a, i=i: a[i], result), alone)


@pytest.mark.core
def test_shard_map(operands, expected):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.shard_map(
        forward_and_input_gradient,
        mesh=mesh,
        in_specs=(P("data"), P(), P(), P("data")),
        out_specs=P("data"),
    )
    assert_bits_agree(jax.jit(sharded)(*operands), expected)


@pytest.mark.core
@pytest.mark.parametrize("devices", [2, 8])
def test_automatically_sharded_jit(operands, expected, devices):
    x, kernel, bias, gy = operands
    mesh = jax.make_mesh(
        (devices,),
        ("data",),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.devices()[:devices],
    )
    split, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    x, gy = jax.device_put((x, gy), split)
    kernel, bias = jax.device_put((kernel, bias), whole)
    assert_bits_agree(jax.jit(forward_and_input_gradient)(x, kernel, bias, gy), expected)


def test_scan_and_checkpoint(operands, expected):
    x, kernel, bias, gy = operands

    def step(carry, one):
        return carry, jax.checkpoint(forward_and_input_gradient)(one[0], kernel, bias, one[1])

    _, result = jax.jit(lambda x, gy: jax.lax.scan(step, 0, unfold((x, gy), 8)))(x, gy)
    assert_bits_agree(fold(result), expected)


def test_pool_and_relu_under_vmap_and_shard_map(operands):
    x, *_ = operands

    def chain(x) -> SparseTensor:
        return direct.max_pool(direct.relu(x), 2)

    expected = plain(jax.jit(chain)(x))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.shard_map(chain, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    for result in (fold(jax.jit(jax.vmap(chain))(unfold(x, 4))), jax.jit(sharded)(x)):
        np.testing.assert_array_equal(result.keys, expected.keys)
        np.testing.assert_array_equal(result.nnz, expected.nnz)
        assert_same_bits(result.values, expected.values)


def test_heavy_forward_is_the_stated_sum():
    case = HEAVY["volume"]
    y, (gx, _, _) = run(case)
    expected, expected_gx = stated(case)
    np.testing.assert_array_equal(y.keys, expected.keys)
    assert_same_bits(y.values, expected.values)
    assert_same_bits(gx, expected_gx)
