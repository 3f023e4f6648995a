"""jit, vmap, scan, checkpoint, donation, and the platforms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xla_kernels
from jaxsparse import direct
from jaxsparse._core import kernel, partitioning
from jaxsparse.direct import SparseTensor
from tests.direct.jax_rules import (
    IN,
    NAMES,
    OUT,
    SPATIAL,
    assert_trees_close,
    assert_trees_equal,
    floats,
    image,
    loss,
    network,
    normal,
    operations,
    parameters,
    some,
    sparse,
)

pytestmark = pytest.mark.core


def stack(trees, axis=0):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis), *trees)


@functools.cache
def operation(name):
    return operations()[name]


# ---- jit ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_jit_gives_the_bits_of_eager_calls(name):
    f, x = operation(name), image()
    assert_trees_equal(jax.jit(f)(x), f(x))


def test_same_shapes_are_traced_once():
    traces = []

    @jax.jit
    def f(x, kernel):
        traces.append(1)
        return direct.conv(x, kernel, capacity=5)

    x, kernel = sparse(image()), normal(3, 3, IN, OUT)
    f(x, kernel)
    f(sparse(image(seed=5)), kernel + 1)
    assert len(traces) == 1


def test_calls_are_remembered_within_limits():
    x = SparseTensor.from_dense(jnp.ones((1, 4, 4, 1), jnp.float32))
    expected = direct.max_pool(x, 2)
    for remembered in (kernel._with_rules, partitioning.partitioned):
        assert 0 < remembered.cache_info().currsize <= remembered.cache_info().maxsize
        remembered.cache_clear()  # as if others had pushed it out
    assert_trees_equal(direct.max_pool(x, 2), expected)
    assert_trees_equal(jax.jit(direct.max_pool, static_argnums=1)(x, 2), expected)


def test_disable_jit():
    x = image()
    with jax.disable_jit():
        y = network(parameters(), x)
    assert_trees_equal(y, network(parameters(), x))


def test_numpy_integers_are_integers():
    x, kernel = sparse(image()), normal(3, 3, IN, OUT)
    plain = direct.conv(x, kernel, strides=2, kernel_dilation=(1, 2), padding=((1, 0), (2, 1)))
    for integer in (np.int32, np.int64, np.uint8):
        same = direct.conv(
            x,
            kernel,
            strides=integer(2),
            kernel_dilation=np.array([1, 2], integer),
            padding=np.array(((1, 0), (2, 1)), integer),
        )
        assert_trees_equal(same, plain)


def test_operands_may_be_numpy_arrays():
    x, kernel = image(), normal(3, 3, IN, OUT)
    y = direct.conv(sparse(np.asarray(x)), np.asarray(kernel), np.zeros(OUT, np.float32))
    assert_trees_equal(y, direct.conv(sparse(x), kernel))


@pytest.mark.parametrize("dims", [1, 2, 3, 4])
def test_empty_batch(dims):
    spatial = (4, 3, 2, 3)[:dims]

    def f(values, kernel):
        x = sparse(jnp.zeros((0, *spatial, IN)), 4).replace(values=values)
        y = direct.conv(x, kernel, jnp.ones(OUT), capacity=3)
        return direct.max_pool(direct.relu(y), 2).to_dense()

    kernel = normal(*(2,) * dims, IN, OUT)
    values = jnp.zeros((0, IN, 4))
    assert f(values, kernel).shape == (0, *(-(-n // 2) for n in spatial), OUT)
    gradient = jax.grad(lambda kernel: f(values, kernel).sum())(kernel)
    np.testing.assert_array_equal(gradient, np.zeros_like(kernel))


# ---- vmap --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_vmap_gives_the_bits_of_a_loop(name):
    f = operation(name)
    xs = stack([image(seed=s) for s in range(3)])
    assert_trees_equal(jax.vmap(f)(xs), stack([f(x) for x in xs]))
    assert_trees_equal(jax.jit(jax.vmap(f))(xs), stack([f(x) for x in xs]))


@pytest.mark.parametrize("name", NAMES)
def test_nested_vmap_over_other_axes(name):
    f = operation(name)
    xs = stack([stack([image(seed=10 * a + b) for a in range(2)], 1) for b in range(3)], -1)
    nested = jax.vmap(jax.vmap(f, 1, 1), -1, 0)(xs)
    loop = stack([stack([f(xs[:, :, ..., b][:, a]) for a in range(2)], 1) for b in range(3)])
    assert_trees_equal(nested, loop)


@pytest.mark.parametrize("name", NAMES)
def test_vmap_of_gradients(name):
    f = operation(name)
    xs = stack([image(seed=s) for s in range(2)])
    gradient = jax.grad(lambda x: jnp.sum(jnp.sin(floats(f(x)))))
    assert_trees_close(jax.jit(jax.vmap(gradient))(xs), stack([gradient(x) for x in xs]))


@pytest.mark.parametrize(
    "mapped",
    ["x", "kernel", "bias", "mask", "x kernel", "kernel bias", "bias mask", "x kernel bias mask"],
)
def test_vmap_over_any_operand_of_conv(mapped):
    size = 3
    operands = {
        "x": [sparse(image(seed=s)) for s in range(size)],
        "kernel": [normal(3, 3, IN, OUT, seed=s) for s in range(size)],
        "bias": [normal(OUT, seed=s) for s in range(size)],
        "mask": [some(3, 3, IN, OUT, seed=s) for s in range(size)],
    }
    axes = [0 if name in mapped.split() else None for name in operands]

    def f(x, kernel, bias, mask):
        return direct.conv(x, kernel, bias, mask=mask, capacity=6, select="magnitude")

    def objective(*args):
        return jnp.sum(jnp.sin(f(*args).values))

    def gradient(x, kernel, bias, mask):
        def from_floats(values, kernel, bias):
            return objective(x.replace(values=values), kernel, bias, mask)

        return jax.grad(from_floats, (0, 1, 2))(x.values, kernel, bias)

    args = [
        stack(v) if axis == 0 else v[0] for v, axis in zip(operands.values(), axes, strict=True)
    ]
    each = [
        [v[i] if axis == 0 else v[0] for v, axis in zip(operands.values(), axes, strict=True)]
        for i in range(size)
    ]
    assert_trees_equal(jax.vmap(f, axes)(*args), stack([f(*a) for a in each]))
    assert_trees_close(
        jax.jit(jax.vmap(gradient, axes))(*args), stack([gradient(*a) for a in each])
    )


def test_vmap_joins_the_batch_and_loops_only_over_weights():
    x, kernel = sparse(image()), normal(3, 3, IN, OUT)

    def conv(values, kernel):
        return direct.conv(x.replace(values=values), kernel).values

    values, kernels = jnp.stack([x.values] * 3), jnp.stack([kernel] * 3)
    folded = str(jax.make_jaxpr(jax.vmap(conv, (0, None)))(values, kernel))
    assert "scan" not in folded and "while" not in folded
    looped = str(jax.make_jaxpr(jax.vmap(conv))(values, kernels))
    assert "scan" in looped or "while" in looped


def test_vmap_of_a_container():
    xs = stack([sparse(image(seed=s)) for s in range(3)])
    assert isinstance(xs, SparseTensor) and xs.keys.ndim == 4
    dense = jax.vmap(SparseTensor.to_dense)(xs)
    np.testing.assert_array_equal(dense[1], sparse(image(seed=1)).to_dense())


# ---- scan, checkpoint, donation ------------------------------------------------------------------------------------------


def test_scan_and_its_gradient():
    params, xs = parameters(), stack([image(seed=s) for s in range(3)])

    def scanned(params):
        return jax.lax.scan(lambda total, x: (total + loss(params, x), None), 0.0, xs)[0]

    def unrolled(params):
        return sum(loss(params, x) for x in xs)

    actual = jax.jit(jax.value_and_grad(scanned))(params)
    assert_trees_close(actual, jax.value_and_grad(unrolled)(params))


def test_checkpoint():
    params, x = parameters(), image()
    plain = jax.jit(jax.grad(loss))(params, x)
    for policy in (None, jax.checkpoint_policies.nothing_saveable):
        again = jax.jit(jax.grad(jax.checkpoint(loss, policy=policy)))(params, x)
        assert_trees_close(again, plain)


def test_donated_inputs():
    def step(x, kernel):
        y = direct.conv(x, kernel, capacity=x.capacity)
        return y, kernel - jax.grad(lambda k: jnp.sum(direct.conv(x, k).values ** 2))(kernel)

    def inputs():
        return sparse(image()), normal(3, 3, IN, IN)

    expected = jax.jit(step)(*inputs())
    x, kernel = inputs()
    donated = jax.jit(step, donate_argnums=(0, 1))
    assert_trees_equal(donated(x, kernel), expected)
    assert kernel.is_deleted() and x.values.is_deleted()


def test_container_through_control_flow():
    x, kernel = sparse(image()), normal(3, 3, IN, IN) * 0.1

    @jax.jit
    def f(x, twice):
        def once(x):
            return direct.conv(x, kernel, capacity=12)

        x = jax.lax.cond(twice, lambda x: once(once(x)), once, x)
        return jax.lax.fori_loop(0, 2, lambda _, x: once(x), x)

    def loop(x, times):
        for _ in range(times):
            x = direct.conv(x, kernel, capacity=12)
        return x

    assert_trees_equal(f(x, True), loop(x, 4))
    assert_trees_equal(f(x, False), loop(x, 3))


# ---- Platforms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", ["tpu", "rocm"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "from_coords"])
def test_lowering_for_another_platform_names_it(name, platform):
    traced = jax.jit(operation(name)).trace(image())
    with pytest.raises(NotImplementedError, match=f"no kernels for the platform {platform}"):
        traced.lower(lowering_platforms=(platform,))


@pytest.mark.skipif(xla_kernels.available()["cuda"].usable, reason="there are CUDA kernels")
def test_cuda_without_kernels_says_why():
    traced = jax.jit(network).trace(parameters(), image())
    with pytest.raises(NotImplementedError, match=r"no CUDA kernels here; (not )?built"):
        traced.lower(lowering_platforms=("cuda",))


def test_import_starts_no_backend():
    # In a process of its own: here a backend runs long since.
    import subprocess
    import sys

    code = (
        "import jaxsparse; from jax._src import xla_bridge as b; "
        "assert not b.backends_are_initialized()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_workspace_does_not_depend_on_the_batch():
    def bytes_of(batch):
        x = sparse(jnp.zeros((batch, *SPATIAL, IN)))
        return direct.conv_workspace(x, normal(3, 3, IN, OUT), density=0.5)

    assert bytes_of(1) == bytes_of(7)
    assert all(size > 0 for size in bytes_of(1))


def test_workspace_is_what_xla_plans():
    x, kernel = sparse(image(1, (32, 32)), 100), normal(3, 3, IN, OUT)
    need = direct.conv_workspace(x, kernel, capacity=50)
    compiled = jax.jit(lambda x: direct.conv(x, kernel, capacity=50)).lower(x).compile()
    planned = compiled.memory_analysis().temp_size_in_bytes
    assert need.forward <= planned <= need.forward + 4096
