"""Pruning and density regularisation by configuration: what they do to a run, and that a run with them can be resumed."""

import io
import itertools
import json
import signal
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console

from experiments.data import load_dataset
from experiments.errors import ConfigError
from experiments.models import build_model
from experiments.optimizers import build_optimizer
from experiments.train import Interrupted, evaluate, train
from experiments.train.checkpoint import Checkpoints
from experiments.train.metrics import read_metrics
from jaxsparse import nn
from tests.experiments.common import final_state, small_config, steps_for
from tests.experiments.test_train import stop_after

SPARSIFYING = {
    "model": {"dropout": 0.0},
    "optimizer": {"learning_rate": 0.02},
    "pruning": {"threshold": 0.1},
    "regularizer": {"scale": 0.05, "momentum": 0.5},
    "train": {"epochs": 3, "log_every": 1, "keep_checkpoints": 3},
}
LAYERS = [f"conv{number}" for number in range(1, 7)]


def masks_of(state):
    """The layers' masks and kernels, and the optimiser's masks, by layer."""
    model, optimizer = state[0], state[1]
    layers = model["convs"]
    masks = jax.tree.leaves(
        {
            str(jax.tree_util.keystr(path)): leaf
            for path, leaf in jax.tree_util.tree_flatten_with_path(optimizer)[0]
            if "'mask'" in jax.tree_util.keystr(path)
        }
    )
    return [(layers[i]["mask"], layers[i]["kernel"]) for i in range(6)], masks


def test_a_pruned_run_is_resumed_to_the_same_bits(tmp_path, monkeypatch):
    config = small_config(**SPARSIFYING)
    console = Console(file=io.StringIO(), width=140)
    result = train(config, tmp_path / "whole", console=console)
    with monkeypatch.context() as patch:
        stop_after(patch, signal.SIGINT, at=7)  # behind the first removals
        with pytest.raises(Interrupted):
            train(config, tmp_path / "parts", console=console)
    train(config, tmp_path / "parts", resume=True, console=console)
    states = [final_state(tmp_path / name, config)[1] for name in ("whole", "parts")]
    jax.tree.map(np.testing.assert_array_equal, *states)

    # What was removed is 0, and the layers obey the masks that the optimiser has.
    layers, masks = masks_of(states[0])
    assert len(masks) == 6
    removed = 0
    for (mask, kernel), of_optimiser in zip(layers, masks, strict=True):
        np.testing.assert_array_equal(mask, of_optimiser)
        assert (np.asarray(kernel)[~np.asarray(mask)] == 0).all()
        removed += int((~np.asarray(mask)).sum())
    assert removed > 100

    # Screenings are at the ends of the epochs, removals from the second on; live weights never rise.
    weights = [72, 576, 576, 1152, 2304, 2304]
    lines = read_metrics(tmp_path / "whole" / "metrics.jsonl")
    live = [list(line["live"].values()) for line in lines]
    assert all(list(line["live"]) == LAYERS for line in lines)
    by_step = {line["step"]: list(line["live"].values()) for line in lines}
    assert all(by_step[step] == weights for step in range(1, 6))
    assert sum(by_step[6]) < sum(weights) and by_step[7] == by_step[8] == by_step[6]
    assert (np.diff(live, axis=0) <= 0).all()
    assert sum(weights) - sum(live[-1]) == removed

    masks_only_shrink(tmp_path / "whole", config)
    counted_work_falls(lines, config, layers[0][0])

    rows = {row["layer"]: row for row in result["layers"]}
    assert [rows[name]["live_weights"] for name in LAYERS] == live[-1]
    assert [rows[name]["weights"] for name in LAYERS] == weights
    assert "weights" not in rows["input"] and "weights" not in rows["pool1"]
    text = console.file.getvalue()
    assert f"{100 * live[-1][5] / 2304:.1f}%" in text and "live weights 100.0 %" in text

    again = evaluate(tmp_path / "whole", console=console)
    assert again["accuracy"] == result["test"]["accuracy"]
    assert [row.get("live_weights") for row in again["layers"]] == [
        row.get("live_weights") for row in result["layers"]
    ]
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["pruning"]["every"] is None


def masks_only_shrink(run_dir, config):
    """No removed weight returns, from checkpoint to checkpoint."""
    with closing(Checkpoints(run_dir / "checkpoints", read_only=True)) as checkpoints:
        assert checkpoints.steps() == [3, 6, 9]
        masks = [
            [mask for mask, _ in masks_of(nnx.to_pure_dict(state))[0]]
            for state in (
                checkpoints.restore_state(step, steps_for(config).state)
                for step in checkpoints.steps()
            )
        ]
    for before, after in itertools.pairwise(masks):
        for old, new in zip(before, after, strict=True):
            assert not (np.asarray(new) & ~np.asarray(old)).any()


def counted_work_falls(lines, config, first_mask):
    """Live multiply-adds, over the test set: never more than before, and those of the first layer counted densely."""
    work = [line["live_macs"] for line in lines if line["kind"] == "test"]
    assert len(work) == 3 and all(list(line) == LAYERS for line in work)
    totals = [sum(line.values()) for line in work]
    assert totals == sorted(totals, reverse=True) and totals[-1] < totals[0]
    test = load_dataset(config.data).test
    images = test.gather(np.arange(len(test)))[0] != 0
    products = jax.lax.conv_general_dilated(
        images.astype(np.float32), np.asarray(first_mask, np.float32), (1, 1), "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    assert work[-1]["conv1"] == int(np.asarray(products, np.float64).sum())


def update(config, model, gradient=0.0):
    """One update with the gradients all alike; the densities are set by hand."""
    how = build_optimizer(config, model, total_steps=10, steps_per_epoch=5)
    optimizer = nnx.Optimizer(model, how.transform, wrt=nnx.Param)
    gradients = jax.tree.map(lambda w: jnp.full_like(w, gradient), nnx.state(model, nnx.Param))
    optimizer.update(model, gradients, density=nn.densities(model, per=how.density))


@pytest.mark.parametrize("bound, per", [(None, "layer"), (0.4, "channel")])
def test_the_regulariser_is_eq_4_for_each_layer(bound, per):
    """With plain gradient descent of rate 1: w - scale * (w + b), b from the layer's density and bound."""
    regularizer = {"scale": 0.5, "bound": bound, "offset": 0.2, "gain_over": 2.0, "gain_under": 3.0}
    config = small_config(
        regularizer={**regularizer, "per": per},
        optimizer={"kind": "sgd", "learning_rate": 1.0, "momentum": 0.0},
    )
    model = build_model(config.model, load_dataset(config.data), seed=0)
    before = [np.asarray(conv.kernel[...]) for conv in model.convs]
    hidden = np.asarray(model.hidden.kernel[...])
    for conv in model.convs:
        conv.density[...] = jnp.linspace(0.0, 0.61, conv.out_features)
    update(config, model)
    for number, conv in enumerate(model.convs):
        limit = bound if bound is not None else (0.1 if number < 3 else 0.2)
        rho = np.linspace(0.0, 0.61, conv.out_features)
        rho = rho if per == "channel" else np.full_like(rho, rho.mean())
        b = np.where(rho > limit, 0.2 + 2 * (rho - limit), -3 * (limit - rho))
        expected = before[number] - 0.5 * (before[number] + b)
        np.testing.assert_allclose(conv.kernel[...], expected, atol=1e-6)
    np.testing.assert_array_equal(model.hidden.kernel[...], hidden)


@pytest.mark.parametrize(
    "section", [{"pruning": {"threshold": 0.1}}, {"regularizer": {"scale": 1}}]
)
def test_a_dense_network_has_nothing_to_sparsify(tmp_path, section):
    config = small_config(model={"sparse": False}, **section)
    with pytest.raises(
        ConfigError, match=r"is for networks with sparse convolutions \(model.sparse"
    ):
        train(config, tmp_path)


def test_mixed_precision_keeps_float32_parameters(tmp_path):
    config = small_config(model={"dtype": "bfloat16"}, pruning={"threshold": 0.02, "every": 1})
    train(config, tmp_path, console=Console(file=io.StringIO()))
    _, (model, optimizer) = (
        final_state(tmp_path, config)[0],
        final_state(tmp_path, config)[1].values(),
    )
    floats = [
        x.dtype
        for x in jax.tree.leaves((model, optimizer))
        if jnp.issubdtype(x.dtype, jnp.floating)
    ]
    assert set(floats) == {np.dtype(np.float32)}
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert all(np.isfinite(line["loss"]) for line in lines)
    network = build_model(config.model, load_dataset(config.data), seed=0)
    network.eval()
    activations = network.activations(jnp.ones((1, 28, 28, 1)))
    assert all(activations[name].dtype == jnp.bfloat16 for name in LAYERS)
