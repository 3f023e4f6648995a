"""The benchmark of block-sparse layers: masks, contestants, all of it once on small maps, and the page."""

import json
from xml.etree import ElementTree

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.benchmark import block as command
from experiments.benchmark import block_cases as cases
from experiments.benchmark import block_sides as sides
from experiments.benchmark.block_network import Network, measure_network
from experiments.benchmark.block_plot import frame_plot, speed_up_plot
from experiments.benchmark.block_report import BEGIN, END, PAGE, judge, write_report
from experiments.benchmark.store import Results
from experiments.benchmark.timing import Effort
from jaxsparse import block, data
from tests.shared_data import shared_data

SHORT = Effort(seconds=0.001, repeats=(3, 3), sample=0.0)
CONV, UNIT = cases.Group("conv", 12, 16, 4), cases.Group("unit", 12, 16, 8)


@pytest.mark.parametrize("sparsity", cases.SPARSITIES)
def test_synthetic_masks_have_their_sparsity(sparsity):
    mask = cases.top_left(400, 704, sparsity)
    assert abs(cases.sparsity_of(mask) - sparsity) < 2e-3
    rows, columns = mask.any(1), mask.any(0)
    assert mask.sum() == rows.sum() * columns.sum() and rows[0] and columns[0]
    assert (
        not (np.diff(rows.astype(int)) > 0).any() and not (np.diff(columns.astype(int)) > 0).any()
    )


def test_a_coarser_mask_covers_the_finer(rng):
    pixels = rng.random((8, 12)) < 0.1
    coarse = cases.Mask("road", "1", 0.9, pixels).at(4, 4)
    assert (coarse.repeat(2, 0).repeat(3, 1) >= pixels).all() and coarse.sum() <= pixels.sum()


def test_active_blocks_are_those_of_the_reduction(rng):
    layer = sides.layers_of(CONV)[0]
    mask = rng.random((12, 16)) < 0.05
    for size in ((4, 5), (7, 6), (12, 14)):
        geometry = layer.geometry(mask.shape, size)
        counted = block.reduce_mask(mask[None], geometry, capacity=1).count
        assert sides.active_blocks(mask, geometry) == int(counted)


def test_candidates_fit_the_mask():
    layer = sides.layers_of(CONV)[0]
    mask = cases.top_left(50, 88, 0.9)  # 16 x 28
    (best, *others) = sides.candidates(layer, mask, 3)
    assert (
        best == (19, 31) and len(others) == 2
    )  # one tile of 17 x 29, which the next window does not reach


@pytest.mark.parametrize("group", [CONV, UNIT], ids=str)
def test_contestants_compute_the_same(group, monkeypatch):
    monkeypatch.setattr(sides, "UNITS", 2)
    layers, x = sides.layers_of(group), sides.image(group)
    wanted = np.asarray(sides.xla_dense(layers)(jnp.asarray(x)))
    if group.layer == "unit":
        found = sides.xla_products(layers)(jnp.asarray(x))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    mask = np.ones((12, 16), bool)
    geometry = layers[0].geometry((12, 16), 8)
    run = sides.Sparse(layers, geometry, geometry.blocks, mask, jnp.asarray(x))
    found, cut = run.result()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert cut == 0
    torch = pytest.importorskip("torch")
    for memory_format in (torch.contiguous_format, torch.channels_last):
        given = torch.from_numpy(np.moveaxis(x, -1, 1)).contiguous(memory_format=memory_format)
        found = np.moveaxis(sides.torch_dense(layers, memory_format)(given).numpy(), 1, -1)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_network_on_a_small_map():
    grid = data.BirdsEyeGrid(x_range=(0.0, 2.4), y_range=(-1.0, 1.0), cell=0.1, height=3.1)
    options = {
        "stem_features": (4,), "features": (8, 8), "units": (1, 1), "neck_features": 4, "upsample_features": (4,),
        "block_sizes": (7, 7, 5),
    }  # fmt: skip
    small = {
        "features": (4,),
        "units": (1,),
        "strides": (1,),
        "kernel_dilations": (1,),
        "bins": (1,),
    }
    network = Network(grid.shape, options, small)
    mask = cases.top_left(*grid.shape[:2], 0.9)
    densities, counts = network.densities(mask)
    assert all(0 < share <= 1 for _, share in densities) and min(counts.values()) >= 1
    assert len({share for _, share in densities}) > 1
    points = {"000001": np.array([[1.0, 0.1, 0.0], [0.3, -0.8, 0.5]])}
    masks = [cases.Mask("top-left", "", 0.9, mask)]
    (row,) = measure_network(network, masks, points, grid, SHORT, part="network")
    assert (
        row["ratios"]["xla"] > 0
        and row["reduction"]["median"] > 0
        and row["densities"] == dict(densities)
    )
    outputs, cut = network.program(densities)(jnp.ones((1, *grid.shape)), jnp.asarray(mask)[None])
    assert int(cut) == 0
    dense = network.dense(jnp.ones((1, *grid.shape)))
    assert {k: v.shape for k, v in outputs.items()} == {k: v.shape for k, v in dense.items()}


def test_masks_of_real_sweeps():
    kitti = shared_data("kitti")
    road = cases.nearest(cases.box_masks(kitti, cases.GRID), cases.BOXES)
    assert road.pixels.shape == (400, 704) and abs(road.asked - cases.BOXES) < 0.05


def make_row(layer, size, ratio, mask="top-left", part="layer", sparsity=0.9):
    timing = {"median": 1.0, "best": 1.0, "spread": 0.0, "repeats": 3, "cold": 9.0}
    return {
        "part": part, "layer": layer, "size": size, "mask": mask, "frame": "", "asked_sparsity": sparsity, "run": "1",
        "sparsity": sparsity, "theoretical": 1 / (1 - sparsity), "block_size": [8, 9], "capacity": 4, "tile_share": 0.1,
        "window_share": 0.2, "densities": {"stem": 0.2, "heads": 0.3}, "jaxsparse": timing, "reduction": timing, "mask_network": timing,
        "dense": {"xla": {**timing, "median": ratio, "peer": "xla"}, "torch a": {**timing, "peer": "torch"}},
        "ratios": {"xla": ratio, "torch a": 1.0},
    }  # fmt: skip


RUN = {
    "machine": {"processor": "some processor"}, "threads": 2, "load_average": 0.0, "versions": {"jax": "1"}, "commit": None,
}  # fmt: skip


def test_the_page_is_repeatable_and_shows_what_loses(tmp_path):
    results = Results(tmp_path / "results.json", command.KEY)
    results.begin_run(RUN)
    sizes = [group.size for group in cases.groups(("conv",))]
    for size, ratio in zip(sizes, (2.6, 3.9, 0.5, 7), strict=True):
        results.put(make_row("conv", size, ratio))
    results.put(make_row("network", "8x8x3", 4.5, part="network"))
    results.put(make_row("network", "8x8x3", 4.5, part="frame", mask="road", sparsity=0.7))
    results.save()
    (tmp_path / "README.md").write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    results = Results(results.path, command.KEY)
    written = write_report(results, tmp_path)
    before = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_report(results, tmp_path)] == before
    assert [v.ok for v in judge(results)] == [None] * 4 + [True, False, False, True, True]
    page, readme = (tmp_path / PAGE).read_text(), (tmp_path / "README.md").read_text()
    assert "| times XLA | 2.6 | 3.9 | **0.50** | 7.0 |" in page
    assert "2.6 / 1.0 | 3.9 / 1.0 | **0.50** / 1.0 | 7.0 / 1.0 |" in readme
    assert readme.startswith("before\n") and readme.endswith("after\n")
    for svg in (speed_up_plot(results.rows), frame_plot(results.rows)):
        assert svg is not None and ElementTree.fromstring(svg).tag.endswith("svg")
    assert speed_up_plot([]) is None and frame_plot([]) is None


def test_the_command_measures_what_is_missing(tmp_path, monkeypatch, capsys):
    # This process has more tests to run.
    monkeypatch.setattr(command, "pin_threads", lambda count: count, raising=False)
    monkeypatch.setattr(cases, "groups", lambda layers: [CONV])
    monkeypatch.setenv("JAXSPARSE_CACHE", str(tmp_path / "cache"))
    output = tmp_path / "results.json"
    arguments = ["benchmark", "block", "--output", str(output), "--heights", "12", "--peers", "xla"]
    arguments += ["--seconds", "0.001", "--repeats", "3", "--block-sizes", "1"]
    assert main([*arguments, "--sparsities", "0.9"]) == 0
    assert "conv 12x16x4" in capsys.readouterr().out
    (row,) = json.loads(output.read_text())["rows"]
    assert row["ratios"]["xla"] > 0 and row["theoretical"] == pytest.approx(
        1 / (1 - row["sparsity"]), 1e-3
    )
    assert main([*arguments, "--sparsities", "0.9", "--missing"]) == 0
    assert "conv" not in capsys.readouterr().out
    assert main([*arguments, "--report", "--root", str(tmp_path)]) == 0
    assert (tmp_path / PAGE).exists()
    assert main([*arguments, "--repeats", "1"]) == 2
