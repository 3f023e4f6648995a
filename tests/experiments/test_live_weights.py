"""Counting live multiply-adds, and the benchmark of fewer and fewer live weights in one executable."""

import itertools
import json
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.benchmark import live_weights, live_workloads
from experiments.benchmark.live_report import PAGE, falls, gain, gain_plot, write_report
from experiments.benchmark.store import Results
from experiments.benchmark.timing import Effort
from experiments.data import load_dataset
from experiments.errors import UserError
from experiments.models import build_model
from experiments.multiply_adds import meetings, multiply_adds
from experiments.train.layers import sparse_convs
from jaxsparse import direct
from tests.experiments.common import small_config


@pytest.mark.parametrize(
    "shape, kernel_size, options",
    [
        ((6, 7), (3, 3), {}),
        ((5, 4, 6), (3, 1, 2), {}),
        ((9, 8), (3, 2), {"strides": (2, 3), "padding": "VALID", "kernel_dilation": (1, 2)}),
        ((11,), (4,), {"strides": 2, "padding": [(3, 0)]}),
    ],
)
def test_multiply_adds_are_those_of_the_dense_definition(shape, kernel_size, options):
    rng = np.random.default_rng(0)
    filled = rng.random((3, *shape, 2)) < 0.4
    mask = rng.random((*kernel_size, 2, 5)) < 0.3
    x = direct.SparseTensor.from_dense(jnp.asarray(filled, jnp.float32))
    counts = jnp.array([True, False, True])
    letters = "DHW"[-len(shape) :]
    dilation = options.get("kernel_dilation", 1)
    strides = options.get("strides", 1)
    products = jax.lax.conv_general_dilated(
        jnp.asarray(filled[[0, 2]], jnp.float32),
        jnp.asarray(mask, jnp.float32),
        np.broadcast_to(strides, len(shape)).tolist(),
        options.get("padding", "SAME"),
        rhs_dilation=np.broadcast_to(dilation, len(shape)).tolist(),
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    )
    met = jax.jit(lambda x: meetings(x, kernel_size, **options, counts=counts))(x)
    assert multiply_adds(met, mask) == int(products.sum())
    assert multiply_adds(met, mask.sum(axis=-1)) == int(products.sum())


def test_what_capacity_cut_is_not_counted():
    x = direct.SparseTensor.from_dense(jnp.ones((1, 3, 3, 1)), capacity=4, select="magnitude")
    assert meetings(x, (1, 1)).tolist() == [[[4]]]


def test_masks_are_exact_and_each_a_part_of_the_one_before():
    rng = np.random.default_rng(0)
    scores = {"a": rng.random((3, 3, 2, 4)), "b": rng.random((3, 3, 4, 4))}
    masks = [live_workloads.strongest(scores, live) for live in live_workloads.LIVE]
    for live, mask in zip(live_workloads.LIVE, masks, strict=True):
        assert sum(int(m.sum()) for m in mask.values()) == round(live * 216)
    for more, fewer in itertools.pairwise(masks):
        assert all(not (fewer[name] & ~more[name]).any() for name in scores)


@pytest.fixture(scope="module")
def trained():
    """A network as it is initialised, in evaluation mode: a benchmark needs no better one."""
    config = small_config()
    dataset = load_dataset(config.data)
    model = build_model(config.model, dataset, seed=0)
    model.eval()
    images, _ = dataset.test.gather(np.arange(3))
    return live_workloads.Trained(model, images, {"name": "small"})


SHORT = Effort(seconds=0.001, repeats=(3, 3), sample=0.0)


def test_a_network_is_compiled_once_and_computes_under_the_masks(trained):
    workload = next(live_workloads.network_workloads(trained, (2,)))
    rows = live_weights.measure(workload, SHORT)
    assert [row["live"] for row in rows] == [1.0, 0.5, 0.3, 0.1, 0.05]
    assert {row["executables"] for row in rows} == {1} and rows[0]["weights"] == 6984
    assert [row["live_weights"] for row in rows] == [6984, 3492, 2095, 698, 349]
    macs = [row["live_macs"] for row in rows]
    assert macs == sorted(macs, reverse=True) and macs[-1] > 0
    assert all(0 < row["ms_best"] <= row["ms_median"] for row in rows)

    masks = workload.masks(0.3)
    for name, conv in sparse_convs(trained.model).items():
        conv.mask[...] = jnp.asarray(masks[name])
    expected = list(trained.model.activations(jnp.asarray(trained.images[:2])).values())[-1]
    found = workload.run(*workload.arguments, masks)
    np.testing.assert_array_equal(found.keys, expected.keys)
    np.testing.assert_array_equal(found.values, expected.values)
    for conv in sparse_convs(trained.model).values():
        conv.mask[...] = jnp.ones_like(conv.mask[...])


def test_a_layer_reads_what_its_network_feeds_it(trained):
    workloads = {w.name: w for w in live_workloads.network_layers(trained, 2)}
    assert len(workloads) == 6 * 2 * 2
    workload = workloads["MNIST conv4 8->16, batch 2, forward, magnitude masks"]
    x, kernel, _ = workload.arguments
    pool = trained.model.activations(jnp.asarray(trained.images[:2]))["pool1"]
    np.testing.assert_array_equal(x.keys, pool.keys)
    smallest_alive = np.abs(kernel)[workload.masks(0.1)["layer"]].min()
    assert (np.abs(kernel) > smallest_alive).sum() < 0.1 * kernel.size


def test_a_second_compilation_is_an_error(trained):
    workload = next(live_workloads.network_layers(trained, 1))
    workload.run(*workload.arguments, {"layer": workload.masks(1.0)["layer"].astype(np.int8) != 0})
    object.__setattr__(workload, "run", jax.jit(lambda *a: jnp.zeros(())))
    workload.run(1)
    with pytest.raises(UserError, match="2 executables, where one was to serve all"):
        live_weights.measure(workload, SHORT)


def make_rows(workload, times, group="2-D layer", passes="forward"):
    return [
        {
            "workload": workload, "group": group, "passes": passes, "masks": "random", "run": "1", "live": live,
            "ms_median": ms, "ms_best": ms, "live_macs": round(1000 * live), "spread": 0.01,
        }
        for live, ms in zip(live_workloads.LIVE, times, strict=True)
    ]  # fmt: skip


RUN = {
    "machine": {"processor": "some processor"}, "threads": 2, "clock": "wall", "load_average": 0.0, "versions": {"jax": "1"},
    "commit": None,
}  # fmt: skip


def test_report_is_repeatable_and_says_what_does_not_fall(tmp_path):
    results = Results(tmp_path / "results.json", live_weights.KEY)
    results.begin_run(RUN)
    for row in make_rows("good", [4, 3, 2.5, 2, 1.5]) + make_rows("bad", [4, 3, 2, 3, 2]):
        results.put(row)
    results.save()
    text = json.loads(results.path.read_text())
    assert set(text) == {"runs", "rows"} and len(text["rows"]) == 10
    again = Results(results.path, live_weights.KEY)
    written = write_report(again, tmp_path)
    before = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_report(again, tmp_path)] == before
    page = (tmp_path / PAGE).read_text()
    assert "| 2-D layer | 1 of 2 | 1.33 to 2.00 | 1 of 2 |" in page
    assert "| good | 1.33 | 1.60 | 2.00 | 2.67 | 10.0 % | 1 % |" in page
    assert "| bad | 1.33 | 2.00 | **1.33** |" in page
    assert ElementTree.fromstring(gain_plot(again.rows)).tag.endswith("svg")
    assert gain_plot([]) is None
    curve = make_rows("good", [4, 3, 2.5, 2, 1.5])
    assert falls(curve) and gain(curve, 0.1) == 2


def test_the_command_measures_single_layers_and_reports(tmp_path, monkeypatch, capsys):
    # This process has more tests to run.
    monkeypatch.setattr(live_weights, "pin_threads", lambda count: count)
    monkeypatch.setitem(live_weights.SIZES, "28", ((6, 6), (1,)))
    monkeypatch.setattr(live_workloads, "CHANNELS", ((2, 3),))
    output = tmp_path / "results.json"
    arguments = ["benchmark", "live-weights", "--output", str(output), "--sizes", "28"]
    arguments += ["--seconds", "0.001", "--repeats", "3"]
    assert main(arguments) == 0
    assert "6x6 2->3 uniform, batch 1, with selection, forward, random masks" in (
        " ".join(capsys.readouterr().out.split())
    )
    data = json.loads(output.read_text())
    assert len(data["rows"]) == 4 * 5 and data["runs"]["1"]["trained"] is None
    assert main([*arguments, "--report", "--root", str(tmp_path)]) == 0
    assert (tmp_path / PAGE).exists()
    assert main([*arguments, "--repeats", "1"]) == 2
