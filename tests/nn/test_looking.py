"""calibrate, report and set_masks: what a model needs, stores and obeys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsparse import direct, nn
from jaxsparse.nn.measure import measurer


class Net(nnx.Module):
    """Two layers, the second of them called twice."""

    def __init__(self, *, rngs, **options):
        self.first = nn.DirectConv(1, 4, (3, 3), **options, rngs=rngs)
        self.blocks = nnx.List([nn.DirectConv(4, 4, (3, 3), **options, rngs=rngs)])
        self.dropout = nnx.Dropout(0.5)

    def __call__(self, x):
        y = self.blocks[0](nn.max_pool(self.first(x), 2))
        return self.dropout(self.blocks[0](y).to_dense())


def batch(rng, size=3, shape=(12, 10)):
    x = rng.random((size, *shape, 1)).astype(np.float32)
    return direct.SparseTensor.from_dense(np.where(x < 0.1, x, 0), density=0.5)


def truth(net, x):
    """The same layers by hand: nnz of every call."""
    first = net.first(x)
    second = net.blocks[0](nn.max_pool(first, 2))
    return [np.asarray(y.nnz) for y in (first, second, net.blocks[0](second))]


NAMES = ["first", "blocks.0", "blocks.0 (call 2)"]
VOLUMES = [120, 30, 30]


def test_calibrate_reads_what_was_found(rng):
    net = Net(select="relu", rngs=nnx.Rngs(0))
    batches = [batch(rng), batch(rng)]
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(net)))
    densities = nn.calibrate(net, batches, headroom=1.1)
    jax.tree.map(np.testing.assert_array_equal, before, nnx.to_pure_dict(nnx.state(net)))
    assert list(densities) == NAMES
    for part, (name, volume) in enumerate(zip(NAMES, VOLUMES, strict=True)):
        most = max(truth(net, x)[part].max() for x in batches)
        assert densities[name] == pytest.approx(min(1, 1.1 * most / volume))

    # With these bounds nothing is cut on the same batches.
    bounded = Net(select="relu", rngs=nnx.Rngs(0))
    bounded.first.density_bound = densities["first"]
    bounded.blocks[0].density_bound = max(densities[name] for name in NAMES[1:])
    for x in batches:
        assert all(row.overflow == 0 for row in nn.report(bounded, x).rows)


def test_calibrate_compiles_once_for_equal_shapes(rng):
    traced = []

    class Counted(Net):
        def __call__(self, x):
            traced.append(1)
            return super().__call__(x)

    nn.calibrate(Counted(rngs=nnx.Rngs(0)), [batch(rng) for _ in range(3)])
    assert len(traced) == 1


def test_shapes_may_alternate(rng):
    layer = nn.DirectConv(1, 2, (3, 3), density=0.5, rngs=nnx.Rngs(0))
    measure = measurer(layer)
    for shape in ((12, 10), (6, 6), (12, 10)):
        found = measure(batch(rng, shape=shape))["DirectConv"]
        assert (found.volume, found.capacity) == (shape[0] * shape[1], shape[0] * shape[1] // 2)


def test_headroom_never_asks_for_more_than_the_volume_nor_for_nothing(rng):
    layer = nn.DirectConv(1, 2, (3, 3), rngs=nnx.Rngs(0))
    assert nn.calibrate(layer, [batch(rng)], headroom=100) == {"DirectConv": 1.0}
    empty = direct.SparseTensor.from_dense(np.zeros((1, 12, 10, 1), np.float32), density=0.5)
    assert nn.calibrate(layer, [empty])["DirectConv"] == pytest.approx(1.25 / 120)


@pytest.mark.parametrize("headroom", [0, -1.0, float("nan")])
def test_calibrate_refuses_headroom(rng, headroom):
    with pytest.raises(ValueError, match="headroom must be a positive"):
        nn.calibrate(Net(rngs=nnx.Rngs(0)), [batch(rng)], headroom=headroom)


def test_calibrate_without_anything_to_measure(rng):
    with pytest.raises(ValueError, match="batches must be at least one that runs a DirectConv"):
        nn.calibrate(Net(rngs=nnx.Rngs(0)), [])
    with pytest.raises(ValueError, match="batches must be at least one that runs a DirectConv"):
        nn.calibrate(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), [jnp.ones((1, 2))])


def test_several_arguments():
    class Two(nnx.Module):
        def __init__(self):
            self.conv = nn.DirectConv(1, 2, (3, 3), rngs=nnx.Rngs(0))

        def __call__(self, x, scale):
            return self.conv(x.replace(values=x.values * scale))

    x = direct.SparseTensor.from_dense(jnp.ones((1, 4, 4, 1)), density=1.0)
    assert nn.calibrate(Two(), [(x, jnp.float32(1)), (x, jnp.float32(0))]) == {"conv": 1.0}


def test_report_counts(rng):
    net = Net(density=0.2, select="relu", rngs=nnx.Rngs(0))
    mask = np.arange(9 * 4).reshape(3, 3, 1, 4) % 3 > 0
    net.first.mask[...] = jnp.asarray(mask)
    x = batch(rng)
    report = nn.report(net, x)
    for row, name, volume, found in zip(report.rows, NAMES, VOLUMES, truth(net, x), strict=True):
        capacity = -(-volume // 5)
        stored = np.minimum(found, capacity)
        assert (row.layer, row.capacity, row.density_bound) == (name, capacity, 0.2)
        assert row.entries == stored.sum() and row.overflow == (found - stored).sum()
        assert row.density == pytest.approx(found.mean() / volume)
        assert row.nbytes == 12 * (capacity * 8 + 4)
    assert [row.live_weights for row in report.rows] == [24, 144, 144]
    assert [row.weights for row in report.rows] == [36, 144, 144]
    assert report.rows[0].overflow > 0
    lines = str(report).splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert lines[1].startswith("first ") and lines[1].endswith(" 24/36")


def test_report_bytes_are_the_tensors(rng):
    layer = nn.DirectConv(1, 3, (3, 3), capacity=7, rngs=nnx.Rngs(0))
    x = batch(rng)
    assert nn.report(layer, x).rows[0].nbytes == layer(x).nbytes
    half = nn.DirectConv(1, 3, (3, 3), capacity=7, dtype=jnp.float16, rngs=nnx.Rngs(0))
    assert nn.report(half, x).rows[0].nbytes == half(x).nbytes < layer(x).nbytes


def test_report_without_an_input(rng):
    net = Net(density=0.2, rngs=nnx.Rngs(0))
    net.first(batch(rng))  # a training call
    rows = nn.report(net).rows
    assert sorted(row.layer for row in rows) == ["blocks.0", "first"]
    first = next(row for row in rows if row.layer == "first")
    assert first.density == pytest.approx(float(net.first.density[...].mean()))
    assert (first.capacity, first.entries, first.overflow, first.nbytes) == (None,) * 4
    assert "-" in str(nn.report(net))
    assert nn.report(nnx.Linear(2, 3, rngs=nnx.Rngs(0))).rows == ()


def test_observer_does_not_outlive_an_error():
    layer = nn.DirectConv(1, 2, (3, 3), rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"must be a direct\.SparseTensor"):
        measurer(layer)(jnp.ones((1, 4, 4, 1)))
    layer(direct.SparseTensor.from_dense(jnp.ones((1, 4, 4, 1)), density=1.0))


def masks_of(net, threshold=0.2):
    return jax.tree.map(lambda w: jnp.abs(w) > threshold, nnx.state(net, nnx.Param))


@pytest.mark.parametrize("plain", [False, True])
def test_set_masks(plain):
    net = Net(use_bias=False, rngs=nnx.Rngs(0))
    masks = masks_of(net)
    nn.set_masks(net, nnx.to_pure_dict(masks) if plain else masks)
    for layer in (net.first, net.blocks[0]):
        alive = np.abs(np.asarray(layer.kernel[...])) > 0.2
        assert 0 < alive.sum() < alive.size
        np.testing.assert_array_equal(layer.mask[...], alive)


def test_layers_without_a_mask_keep_theirs():
    net = Net(use_bias=False, rngs=nnx.Rngs(0))
    masks = nnx.to_pure_dict(masks_of(net))
    masks["first"]["kernel"] = None
    nn.set_masks(net, masks)
    assert net.first.mask[...].all() and not net.blocks[0].mask[...].all()
    del masks["blocks"]
    with pytest.raises(ValueError, match="masks must be a tree with a mask"):
        nn.set_masks(net, masks)


def test_set_masks_refuses():
    net = Net(use_bias=False, rngs=nnx.Rngs(0))
    floats = jax.tree.map(lambda w: w * 0, nnx.state(net, nnx.Param))
    with pytest.raises(TypeError, match=r"kernel must be of dtype bool, got float32"):
        nn.set_masks(net, floats)
    wrong = jax.tree.map(lambda w: jnp.ones((3, 3), bool), nnx.state(net, nnx.Param))
    with pytest.raises(ValueError, match=r"kernel must be of shape \(3, 3, .*, got"):
        nn.set_masks(net, wrong)
    assert net.first.mask[...].all()


@pytest.mark.parametrize("path", [("frist", "kernel"), ("blocks", "0", "kernel"), ("blocks", 7)])
def test_set_masks_refuses_a_path_that_the_model_has_not(path):
    """A typo, or an integer name that a file made a string, does not pass for a layer left out."""
    net = Net(use_bias=False, rngs=nnx.Rngs(0))
    masks = nnx.to_pure_dict(masks_of(net))
    stray = jnp.zeros((3, 3, 1, 2), bool)
    for key in reversed(path[1:]):
        stray = {key: stray}
    masks[path[0]] = stray
    with pytest.raises(ValueError, match=f"got one with {'.'.join(map(str, path))}, which"):
        nn.set_masks(net, masks)
    assert net.first.mask[...].all()


def test_set_masks_without_a_kernel_says_which_there_are():
    net = Net(use_bias=False, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"\(there: blocks\.0\.kernel, first\.kernel\)"):
        nn.set_masks(net, {"first": {"mask": net.first.mask[...]}})
    with pytest.raises(ValueError, match=r"\(there: .*\), got ndarray"):
        nn.set_masks(net, np.ones((3, 3, 1, 4), bool))
    with pytest.raises(ValueError, match="of the model, which has none, got dict"):
        nn.set_masks(nnx.Linear(1, 2, rngs=nnx.Rngs(0)), {})


def test_layers_that_share_a_kernel_share_its_mask():
    net = Net(use_bias=False, rngs=nnx.Rngs(0))
    net.blocks.append(nn.DirectConv(4, 4, (3, 3), use_bias=False, rngs=nnx.Rngs(1)))
    net.blocks[1].kernel = net.blocks[0].kernel
    masks = masks_of(net)
    assert 1 not in masks["blocks"]
    nn.set_masks(net, masks)
    np.testing.assert_array_equal(net.blocks[1].mask[...], net.blocks[0].mask[...])
    assert not net.blocks[1].mask[...].all()


def test_masks_share_no_buffer_with_the_optimiser():
    """The step hands its own mask on unchanged: both copies must be donatable."""
    net = Net(use_bias=False, rngs=nnx.Rngs(0))
    graph, state = nnx.split(net)

    def step(state, masks):
        model = nnx.merge(graph, state)
        nn.set_masks(model, masks)
        return nnx.state(model), masks

    masks = nnx.to_pure_dict(masks_of(net))
    jitted = jax.jit(step, donate_argnums=(0, 1))
    for _ in range(3):
        state, masks = jitted(state, masks)
    pointers = [
        leaf.unsafe_buffer_pointer()
        for leaf in jax.tree.leaves((state, masks))
        if leaf.dtype == bool
    ]
    assert len(set(pointers)) == len(pointers) == 4
