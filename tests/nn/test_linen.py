"""The layers through flax.nnx.bridge: as Linen modules, and Linen modules among them (docs/linen.md)."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx, serialization
from flax.nnx import bridge

from jaxsparse import direct, models, nn

pytestmark = pytest.mark.core


class LinenNet(linen.Module):
    """One of each layer; the same parameters by the same names as ``NnxNet``."""

    @linen.compact
    def __call__(self, x, train=True, key=None):
        x = bridge.to_linen(nn.DirectConv, 1, 4, (3, 3), density=0.4, name="conv1")(x)
        x = bridge.to_linen(nn.BatchNorm, 4, name="norm")(x, use_running_average=not train)
        x = nn.max_pool(nn.leaky_relu(x), 2)
        x = bridge.to_linen(nn.DirectConv, 4, 6, (3, 3), density=0.5, select="relu", name="conv2")(
            x
        )
        drop = bridge.to_linen(nn.Dropout, 0.4, name="dropout")
        x = nn.to_dense(drop(x, deterministic=not train, rngs=key))
        return linen.Dense(3, name="head")(x.reshape(len(x), -1))


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nn.DirectConv(1, 4, (3, 3), density=0.4, rngs=rngs)
        self.norm = nn.BatchNorm(4, rngs=rngs)
        self.conv2 = nn.DirectConv(4, 6, (3, 3), density=0.5, select="relu", rngs=rngs)
        self.dropout = nn.Dropout(0.4)
        self.head = nnx.Linear(4 * 4 * 6, 3, rngs=rngs)

    def __call__(self, x, key=None):
        x = nn.max_pool(nn.leaky_relu(self.norm(self.conv1(x))), 2)
        x = nn.to_dense(self.dropout(self.conv2(x), rngs=key))
        return self.head(x.reshape(len(x), -1))


COLLECTIONS = {
    "params": nnx.Param,
    "batch_stats": nnx.BatchStat,
    "Density": nn.Density,
    "PruningMask": nn.PruningMask,
}
WRITTEN = ["batch_stats", "Density"]
LABELS = jnp.arange(4) % 3
OCTNET3 = {"stages": ((4, 4), (8,)), "densities": (0.3, 0.5), "hidden": 16, "input_density": 0.3}


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(4, 8, 8, 1)).astype(np.float32)
    dense = np.where(rng.random(dense.shape) < 0.2, dense, 0)
    return direct.SparseTensor.from_dense(jnp.asarray(dense), density=0.5)


@pytest.fixture(scope="module")
def variables(x):
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return jax.jit(lambda: LinenNet().init(keys, x))()


@pytest.fixture(scope="module")
def octnet3():
    return bridge.to_linen(models.OctNet3, (8, 8), 5, **OCTNET3)


@pytest.fixture(scope="module")
def octnet3_variables(octnet3, x):
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return jax.jit(lambda: octnet3.init(keys, x))()


def collections_of(model):
    """An NNX model's state, as Linen would hold it."""
    states = {name: nnx.state(model, kind) for name, kind in COLLECTIONS.items()}
    return {name: nnx.to_pure_dict(state) for name, state in states.items() if state}


def nnx_twin(variables):
    """``NnxNet`` with these variables."""
    model = NnxNet(nnx.Rngs(9))
    for collection in variables.values():
        nnx.update(model, collection)
    return model


def assert_same(a, b):
    """The same tree, the same types, the same bits."""
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), a, b)


def evaluated(model, *arguments):
    model.eval()
    return model(*arguments)


class Keys(linen.Module):
    """The keys that a Linen module on top of all draws first, which is what the bridge hands on."""

    def __call__(self):
        return {name: self.make_rng(name) for name in self.scope.rngs}


@pytest.mark.parametrize(
    ("layer", "arguments"), [(nn.DirectConv, (1, 4, (3, 3))), (nn.BatchNorm, (1,))]
)
def test_collections_are_the_kinds_of_state(layer, arguments, x):
    """Which collection a variable lands in; its first value is that of the class with the stream that Linen makes."""
    keys = {"params": jax.random.key(0)}
    found = bridge.to_linen(layer, *arguments).init(keys, x)
    streams = Keys().apply({}, rngs=keys)
    assert_same(found, collections_of(layer(*arguments, rngs=nnx.Rngs(**streams))))


def test_sparse_tensors_go_in_and_out(x):
    layer = bridge.to_linen(nn.DirectConv, 1, 4, (3, 3), capacity=5, select="magnitude")
    y, variables = layer.init_with_output(jax.random.key(0), x)
    assert isinstance(y, direct.SparseTensor) and y.keys.shape == (4, 4, 5)
    again, written = jax.jit(lambda v, x: layer.apply(v, x, mutable=["Density"]))(variables, x)
    assert_same(again, y)
    np.testing.assert_allclose(written["Density"]["density"], y.nnz.mean(axis=0) / 64, rtol=1e-6)
    assert int(y.overflow.sum()) > 0
    assert not np.asarray(variables["Density"]["density"]).any(), "init records no call"


def test_values_gradients_and_what_is_written_equal_nnx(x, variables):
    key = jax.random.key(5)

    @jax.jit
    def through_linen(variables, x):
        def loss(params):
            everything = {**variables, "params": params}
            logits, written = LinenNet().apply(
                everything, x, key=key, mutable=WRITTEN, rngs={"dropout": jax.random.key(0)}
            )
            return (logits**2).sum(), (logits, written)

        return jax.grad(loss, has_aux=True)(variables["params"])

    @nnx.jit
    def through_nnx(model, x):
        def loss(model):
            logits = model(x, key)
            return (logits**2).sum(), logits

        return nnx.grad(loss, has_aux=True)(model)

    model = nnx_twin(variables)
    gradients, (logits, written) = through_linen(variables, x)
    wanted_gradients, wanted = through_nnx(model, x)
    assert_same(logits, wanted)
    assert_same(gradients, nnx.to_pure_dict(wanted_gradients))
    assert all(np.asarray(g).any() for g in jax.tree.leaves(gradients))
    assert_same(written, {name: collections_of(model)[name] for name in WRITTEN})
    assert (np.asarray(written["batch_stats"]["norm"]["mean"]) != 0).all()
    assert (np.asarray(written["Density"]["conv2"]["density"]) > 0).any()
    model.eval()
    everything = {**variables, **written}
    assert_same(LinenNet().apply(everything, x, train=False), nnx.jit(lambda m: m(x))(model))


def test_dropout_draws_from_the_stream_of_apply(x):
    layer = bridge.to_linen(nn.Dropout, 0.5)
    keys = [{"dropout": jax.random.key(seed)} for seed in (1, 1, 2)]
    first, again, other = (layer.apply({}, x, rngs=key) for key in keys)
    assert_same(first, again)
    assert_same(first, nn.Dropout(0.5, rngs=nnx.Rngs(**Keys().apply({}, rngs=keys[0])))(x))
    assert (np.asarray(first.values) != np.asarray(other.values)).any()
    assert_same(first.keys, x.keys)
    assert_same(layer.apply({}, x, deterministic=True), x)


def test_octnet3_equals_nnx(octnet3, octnet3_variables, x):
    """In training, its dropout fed by ``rngs`` of ``apply``, and in evaluation by ``nnx_method``."""
    variables, keys = octnet3_variables, {"dropout": jax.random.key(7)}
    streams = Keys().apply({}, rngs={"params": jax.random.key(0), **keys})
    model = models.OctNet3((8, 8), 5, **OCTNET3, rngs=nnx.Rngs(**streams))
    # The first values are drawn in another program, which may round differently.
    close = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7)
    jax.tree.map(close, variables, collections_of(model))
    for collection in variables.values():
        nnx.update(model, collection)

    def loss(params, x):
        everything = {**variables, "params": params}
        logits, written = octnet3.apply(everything, x, rngs=keys, mutable=["Density"])
        return (logits**2).sum(), written

    @nnx.jit
    def wanted(model, x):
        return nnx.value_and_grad(lambda model: (model(x) ** 2).sum())(model)

    (value, written), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(
        variables["params"], x
    )
    wanted_value, wanted_gradients = wanted(model, x)
    assert_same(value, wanted_value)
    assert_same(gradients, nnx.to_pure_dict(wanted_gradients))
    assert_same(written, {"Density": collections_of(model)["Density"]})
    evaluate = jax.jit(lambda v, x: octnet3.apply(v, x, nnx_method=evaluated))
    model.eval()
    assert_same(evaluate(variables, x), nnx.jit(lambda model, x: model(x))(model, x))
    with pytest.raises(ValueError, match=r"rngs must be nnx\.Rngs with a dropout stream"):
        octnet3.apply(variables, x)


def test_masks_reports_and_calibration_through_nnx_method(octnet3, octnet3_variables, x):
    variables = octnet3_variables
    streams = Keys().apply({}, rngs={"params": jax.random.key(0)})
    model = models.OctNet3((8, 8), 5, **OCTNET3, rngs=nnx.Rngs(**streams))
    alive = jax.tree.map(lambda w: jnp.abs(w) > 0.1, variables["params"])
    set_masks = jax.jit(
        lambda v, alive: octnet3.apply(v, alive, nnx_method=nn.set_masks, mutable=["PruningMask"])[
            1
        ]
    )
    variables = {**variables, **set_masks(variables, alive)}
    nn.set_masks(model, alive)
    assert_same(variables["PruningMask"], collections_of(model)["PruningMask"])

    report = octnet3.apply(variables, x, nnx_method=nn.report)
    assert report == nn.report(model, x)
    assert all(0 < row.live_weights < row.weights for row in report.rows)
    assert sum(row.overflow for row in report.rows) > 0
    densities = octnet3.apply(variables, [x], nnx_method=nn.calibrate)
    assert densities == nn.calibrate(model, [x])
    shapes = octnet3.apply(variables, x, nnx_method="activations")
    assert list(shapes) == list(model.activations(x))


def test_a_masked_weight_has_no_gradient(x):
    layer = bridge.to_linen(nn.DirectConv, 1, 2, (3, 3), use_bias=False)
    variables = layer.init(jax.random.key(0), x)
    mask = jnp.zeros((3, 3, 1, 2), bool).at[1, :, 0, 0].set(True)
    variables = {**variables, "PruningMask": {"mask": mask}}

    def loss(params):
        return layer.apply({**variables, **params}, x).values.sum()

    gradient = jax.grad(loss)({"params": variables["params"]})["params"]["kernel"]
    np.testing.assert_array_equal(np.asarray(gradient) != 0, mask)


def test_trains_with_optax_compiles_once_and_restores(x, variables):
    """The same weights, to the bit, as nnx.Optimizer; stopped, saved and resumed in the middle."""
    optimizer = optax.sgd(0.05, momentum=0.9)
    traces = []

    def cross_entropy(logits):
        return optax.softmax_cross_entropy_with_integer_labels(logits, LABELS).mean()

    @jax.jit
    def step(variables, opt_state, key):
        traces.append("linen")

        def loss(params):
            everything = {**variables, "params": params}
            rngs = {"dropout": key}
            logits, written = LinenNet().apply(everything, x, key=key, mutable=WRITTEN, rngs=rngs)
            return cross_entropy(logits), written

        params = variables["params"]
        (value, written), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        params = optax.apply_updates(params, updates)
        return {**variables, **written, "params": params}, opt_state, value

    @nnx.jit
    def nnx_step(model, optimizer, key):
        gradients = nnx.grad(lambda model: cross_entropy(model(x, key)))(model)
        optimizer.update(model, gradients)

    model = nnx_twin(variables)
    nnx_optimizer = nnx.Optimizer(model, optimizer, wrt=nnx.Param)
    start = now = (variables, optimizer.init(variables["params"]))
    losses = []
    for number in range(4):
        key = jax.random.fold_in(jax.random.key(3), number)
        *now, value = step(*now, key)
        nnx_step(model, nnx_optimizer, key)
        losses.append(float(value))
        if number == 1:
            # Fresh arrays as the target: nothing of the state may come from it.
            target = jax.tree.map(jnp.zeros_like, tuple(start))
            restored = serialization.from_bytes(target, serialization.to_bytes(tuple(now)))
            assert_same(restored, tuple(now))
            now = jax.tree.map(jnp.asarray, restored)
    assert traces == ["linen"]
    assert losses[-1] < losses[0]
    assert_same(now[0], collections_of(model))


def test_integer_names_survive_a_checkpoint(octnet3, octnet3_variables, x):
    """``OctNet3.convs`` is a list: its variables have integers as names."""
    variables = octnet3_variables
    assert set(variables["params"]["convs"]) == {0, 1, 2}
    target = jax.tree.map(jnp.zeros_like, variables)
    restored = serialization.from_bytes(target, serialization.to_bytes(variables))
    assert_same(restored, variables)
    assert restored["PruningMask"]["convs"][0]["mask"].dtype == bool


def test_initialisers_are_gone_from_a_compiled_call(x, variables):
    """The bridge builds the NNX module in every call; the compiled program has nothing of it."""
    compiled = jax.jit(lambda v: LinenNet().apply(v, x, train=False)).lower(variables).compile()
    text = compiled.as_text()
    assert "custom-call" in text
    # Whole words: names of Python functions on the way here stand in the text, too ("perform").
    assert not re.search(r"threefry|\brng|\berf(_inv)?\b", text)


def test_linen_transforms(x):
    layer = {"nnx_class": nn.DirectConv, "args": (1, 4, (3, 3)), "kwargs": {"density": 0.3}}
    plain = bridge.ToLinen(**layer)
    variables = plain.init(jax.random.key(0), x)

    def gradient(module):
        def loss(params):
            return (module.apply({**variables, **params}, x).values ** 2).sum()

        return jax.jit(jax.grad(loss))({"params": variables["params"]})

    assert_same(gradient(linen.remat(bridge.ToLinen)(**layer)), gradient(plain))

    axes = dict.fromkeys(("params", "Density", "PruningMask"), 0)
    ensemble = linen.vmap(
        bridge.ToLinen, in_axes=None, axis_size=3, variable_axes=axes, split_rngs={"params": True}
    )(**layer)
    members = ensemble.init(jax.random.key(0), x)
    y = jax.jit(ensemble.apply)(members, x)
    assert y.values.shape[0] == 3
    for i in range(3):
        member = jax.tree.map(lambda leaf, i=i: leaf[i], members)
        assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], y), plain.apply(member, x))


class LinenConv(linen.Module):
    """A Linen module by a user, over containers."""

    @linen.compact
    def __call__(self, x):
        kernel = self.param("kernel", linen.initializers.lecun_normal(), (3, 3, x.channels, 4))
        return direct.conv(x, kernel, density=0.3, select="relu")


class Host(nnx.Module):
    """An NNX model with Linen modules at both ends of a sparse layer."""

    def __init__(self, rngs):
        self.first = bridge.ToNNX(LinenConv(), rngs=rngs)
        self.conv = nn.DirectConv(4, 4, (3, 3), density=0.3, rngs=rngs)
        self.head = bridge.ToNNX(linen.Dense(3), rngs=rngs)

    def __call__(self, x):
        y = nn.to_dense(nn.relu(self.conv(self.first(x))))
        return self.head(y.reshape(len(y), -1))


def test_linen_modules_in_an_nnx_model(x):
    model = bridge.lazy_init(Host(nnx.Rngs(0)), x)
    assert [row.layer for row in nn.report(model, x).rows] == ["conv"]
    first, conv = model.first.kernel[...], model.conv
    y = nn.relu(conv(direct.conv(x, first, density=0.3, select="relu"))).to_dense().reshape(4, -1)
    wanted = y @ model.head.kernel[...] + model.head.bias[...][None]
    np.testing.assert_allclose(model(x), wanted, rtol=1e-5, atol=1e-6)

    @nnx.jit
    def step(model, optimizer):
        def loss(model):
            return optax.softmax_cross_entropy_with_integer_labels(model(x), LABELS).mean()

        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return value

    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    optimizer = nnx.Optimizer(model, optax.sgd(0.05, momentum=0.9), wrt=nnx.Param)
    losses = [float(step(model, optimizer)) for _ in range(3)]
    assert losses[-1] < losses[0]
    after = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    changed = jax.tree.map(lambda a, b: bool((a != np.asarray(b)).any()), before, after)
    assert all(jax.tree.leaves(changed)), changed
