"""What JAX does with the operations: in place, vmap, scan, remat, export, platforms."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jaxsparse
import xla_kernels
from jaxsparse import block
from jaxsparse.block import _kernels
from tests.block.common import GRIDS, chain, normal

pytestmark = pytest.mark.core

G = chain("3")
BATCH = 2


def inputs(batch=BATCH, channels=3):
    rng = np.random.default_rng(0)
    mask = jnp.asarray(rng.random((batch, *G.spatial_shape)) < 0.03)
    x = jnp.asarray(normal(rng, batch, *G.spatial_shape, channels))
    return x, mask, jnp.asarray(normal(rng, 3, 3, channels, channels))


def layer(x, mask, kernel, base=None):
    blocks = block.reduce_mask(mask, G, capacity=9)
    return block.conv(x, kernel, blocks=blocks, base=base)


def loss(x, mask, kernel):
    return jnp.sum(jnp.sin(layer(x, mask, kernel)))


# ---- In place ----------------------------------------------------------------------------------------------------------


def copies(text, shape):
    """Copies, and fusions that hold one, of arrays of this shape in optimised HLO."""
    wanted = re.escape(f"f32[{','.join(map(str, shape))}]")
    return re.findall(rf"= {wanted}\S* (?:copy|copy-start|dynamic-update-slice)\(.*", text)


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("channels_first", [False, True])
def test_a_donated_base_is_written_in_place(add, channels_first):
    onto = block.scatter_add if add else block.scatter
    x, mask, kernel = inputs()

    def step(base, x, mask, kernel):
        blocks = block.reduce_mask(mask, G, capacity=9)
        y = block.gather(x, blocks)[:, 1:-1, 1:-1] * 2
        y = jnp.moveaxis(y, -1, 1) if channels_first else y
        return onto(y, blocks, base, channels_first=channels_first)

    base = x + 1
    wanted = step(base, x, mask, kernel)
    executable = jax.jit(step, donate_argnums=0).lower(base, x, mask, kernel).compile()
    assert copies(executable.as_text(), base.shape) == []
    memory = executable.memory_analysis()
    assert memory.alias_size_in_bytes == base.nbytes
    pointer = base.unsafe_buffer_pointer()
    out = executable(base, x, mask, kernel)
    assert out.unsafe_buffer_pointer() == pointer and base.is_deleted()
    np.testing.assert_array_equal(out, wanted)


def test_a_chain_of_convolutions_goes_through_one_map():
    """Inside one program each layer writes onto the map that the one before left."""
    x, mask, kernel = inputs()

    def step(x, mask, kernel):
        blocks = block.reduce_mask(mask, G, capacity=9)
        for _ in range(4):
            y = jnp.tanh(block.gather(x, blocks)[:, 1:-1, 1:-1])
            x = block.scatter_add(y, blocks, x)
        return x

    wanted = step(x, mask, kernel)
    executable = jax.jit(step, donate_argnums=0).lower(x, mask, kernel).compile()
    assert copies(executable.as_text(), x.shape) == []
    pointer = x.unsafe_buffer_pointer()
    out = executable(x, mask, kernel)
    assert out.unsafe_buffer_pointer() == pointer
    np.testing.assert_allclose(out, wanted, rtol=1e-6)


def test_a_base_that_is_needed_later_is_copied():
    x, mask, _ = inputs()
    kept = np.asarray(x)

    def both(x, mask):
        blocks = block.reduce_mask(mask, G, capacity=9)
        return block.scatter(jnp.ones((9, 4, 4, 3)), blocks, x), x * 2

    executable = jax.jit(both).lower(x, mask).compile()
    assert len(copies(executable.as_text(), x.shape)) == 1
    out, doubled = executable(x, mask)
    np.testing.assert_array_equal(doubled, kept * 2)
    np.testing.assert_array_equal(x, kept)
    assert not np.array_equal(out, kept)


# ---- Transformations ---------------------------------------------------------------------------------------------------


def test_jit_and_eager_and_disable_jit_are_the_same():
    x, mask, kernel = inputs()
    wanted = layer(x, mask, kernel, x)
    np.testing.assert_allclose(jax.jit(layer)(x, mask, kernel, x), wanted, rtol=1e-6, atol=1e-6)
    with jax.disable_jit():
        np.testing.assert_allclose(layer(x, mask, kernel, x), wanted, rtol=1e-6, atol=1e-6)


def test_vmap_calls_one_after_the_other():
    """Of every operand, to any depth, with gradients."""
    x, mask, kernel = inputs(batch=6)
    xs, masks = x.reshape(3, 2, *x.shape[1:]), mask.reshape(3, 2, *mask.shape[1:])
    mapped = jax.jit(jax.vmap(jax.value_and_grad(loss, 2), (0, 0, None)))
    values, gradients = mapped(xs, masks, kernel)
    shared = jax.jit(jax.vmap(layer, (0, None, None)))(xs, masks[0], kernel)
    one = jax.jit(jax.value_and_grad(loss, 2))
    for i in range(3):
        value, gradient = one(xs[i], masks[i], kernel)
        np.testing.assert_allclose(values[i], value, rtol=1e-5)
        np.testing.assert_allclose(gradients[i], gradient, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(shared[i], layer(xs[i], masks[0], kernel), rtol=1e-5, atol=1e-5)


def test_scan_and_remat():
    x, mask, kernel = inputs()

    def network(kernel, wrap):
        def body(x, _):
            return wrap(lambda x: x + 0.1 * layer(x, mask, kernel))(x), None

        return jnp.sum(jnp.sin(jax.lax.scan(body, x, None, length=3)[0]))

    def unrolled(kernel):
        y = x
        for _ in range(3):
            y = y + 0.1 * layer(y, mask, kernel)
        return jnp.sum(jnp.sin(y))

    wanted = jax.jit(jax.grad(unrolled))(kernel)
    for wrap in (lambda f: f, jax.checkpoint):
        gradient = jax.jit(jax.grad(lambda kernel, wrap=wrap: network(kernel, wrap)))(kernel)
        np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-5)


def test_gradients_of_gradients():
    x, mask, kernel = inputs()

    def penalty(kernel):
        return jnp.sum(jax.grad(loss, 2)(x, mask, kernel) ** 2)

    direction = kernel[::-1] * 0.1
    with jax.enable_x64(True):
        x, kernel, direction = (jnp.asarray(a, jnp.float64) for a in (x, kernel, direction))
        slope = jnp.vdot(jax.jit(jax.grad(penalty))(kernel), direction)
        step = 1e-5
        jitted = jax.jit(penalty)
        differences = (jitted(kernel + step * direction) - jitted(kernel - step * direction)) / (
            2 * step
        )
        np.testing.assert_allclose(slope, differences, rtol=1e-5)


def test_forward_mode_is_a_clear_error():
    x, mask, kernel = inputs()
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: layer(x, mask, kernel), (x,), (x,))


def test_lists_go_through_jit_and_scan():
    _, mask, _ = inputs()
    blocks = jax.jit(lambda m: block.reduce_mask(m, G, capacity=9))(mask)
    assert blocks.geometry == G and blocks.validate(BATCH) is blocks
    _, several = jax.lax.scan(lambda c, m: (c, block.reduce_mask(m[None], G)), None, mask)
    assert several.indices.shape[0] == several.count.shape[0] == BATCH
    assert several.capacity == G.blocks and several.overflow.tolist() == [0, 0]


# ---- Programs that leave the process, platforms --------------------------------------------------------------------------


def test_export_and_back():
    x, mask, kernel = inputs()
    made = export.export(jax.jit(loss), disabled_checks=jaxsparse.export_checks())(x, mask, kernel)
    again = export.deserialize(made.serialize(vjp_order=1))
    np.testing.assert_allclose(again.call(x, mask, kernel), loss(x, mask, kernel), rtol=1e-5)
    gradient = jax.grad(again.call, 2)(x, mask, kernel)
    np.testing.assert_allclose(gradient, jax.grad(loss, 2)(x, mask, kernel), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("capacity", [9, None])
def test_export_of_a_symbolic_batch(capacity):
    _, _, kernel = inputs()
    (batch,) = export.symbolic_shape("batch")

    def run(x, mask):
        blocks = block.reduce_mask(mask, G, capacity=capacity)
        inside = block.inside(blocks, batch_size=x.shape[0])
        return block.conv(x, kernel, blocks=blocks), blocks.count, jnp.sum(inside)

    shapes = (
        jax.ShapeDtypeStruct((batch, *G.spatial_shape, 3), jnp.float32),
        jax.ShapeDtypeStruct((batch, *G.spatial_shape), jnp.bool_),
    )
    made = export.export(jax.jit(run), disabled_checks=jaxsparse.export_checks())(*shapes)
    again = export.deserialize(made.serialize())
    for size in (1, 3):
        x, mask, _ = inputs(size)
        for found, wanted in zip(again.call(x, mask), run(x, mask), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.fixture
def traced():
    x, mask, _ = inputs()

    def call():
        blocks = block.reduce_mask(mask, GRIDS["2d"], capacity=9)
        y = block.gather(x, blocks)
        return block.scatter(y, blocks, block.scatter_add(y, blocks, x))

    return jax.jit(call)


def test_a_platform_without_kernels_is_named_at_lowering(traced, monkeypatch):
    with pytest.raises(NotImplementedError, match="tpu"):
        traced.trace().lower(lowering_platforms=("tpu",))
    monkeypatch.setattr(xla_kernels, "has_cuda_kernel", lambda target: "gather" not in target)
    missing = "no CUDA kernel for jaxsparse_block_gather"
    with pytest.raises(NotImplementedError, match=missing):
        export.export(traced, platforms=("cuda",), disabled_checks=jaxsparse.export_checks())()


def test_one_program_for_both_platforms(traced):
    """Exported where there may be no GPU; the workspace is the larger one of the two."""
    platforms = ("cpu", "cuda")
    made = export.export(traced, platforms=platforms, disabled_checks=jaxsparse.export_checks())()
    again = export.deserialize(made.serialize())
    assert again.platforms == platforms
    np.testing.assert_array_equal(again.call(), traced())
    static = _kernels.Move(_kernels.Boxes(GRIDS["2d"].window, GRIDS["2d"].grid), False)
    size = _kernels.gather.workspace_bytes(static, None, None, platform="cuda")
    assert size > 0 and f"tensor<{size}xui8>" in made.mlir_module()
