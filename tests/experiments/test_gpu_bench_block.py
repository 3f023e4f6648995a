"""Stage `bench-block` of the check on a GPU. On the CPU, with tiny sizes."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmark.timing import Effort
from experiments.gpu_check import (
    bench_block,
    block_kernels,
    block_layers,
    block_works,
    clock,
    job,
    report,
)
from experiments.gpu_check.__main__ import main
from experiments.gpu_check.criteria import judge
from experiments.gpu_check.options import Options
from experiments.gpu_check.results import Results
from jaxsparse import block

LAYERS = list(block_works.rehearsal())


@pytest.fixture
def brief(monkeypatch):
    effort = Effort(seconds=1e-3, repeats=(3, 3), sample=1e-4)
    monkeypatch.setattr(block_layers, "EFFORT", effort)
    monkeypatch.setattr(block_kernels.kernels, "EFFORT", effort)
    monkeypatch.setattr(clock, "rounds", lambda moved: 2)


@pytest.mark.parametrize("shape", block_works.SHAPES)
def test_masks_have_their_sparsity(shape):
    for sparsity in block_works.SPARSITIES:
        height, width = block_works.top_left(shape, sparsity)
        assert 0 < height * width / (shape[0] * shape[1]) == pytest.approx(1 - sparsity, rel=0.15)


def test_what_the_tables_ask_comes_first():
    labels = [one.label for one in bench_block.plan(Options())]
    assert labels == ["machine", "tables", "block-kernels", "block-launches", "sparsities"]
    assert len(block_works.rows("tables")) == 16 and len(block_works.rows("sparsities")) == 64
    assert {layer.paper for layer in block_works.tables()} == {
        8.22, 6.27, 3.73, 1.64, 3.39, 2.47, 1.34, 0.88,
    }  # fmt: skip


def test_a_chained_loop_hands_its_result_on_in_place():
    loop = clock.Loop(
        clock.Chained(lambda step, former: former + step),
        clock.Arguments(jnp.ones(3), former=jnp.zeros(3)),
        5,
    )
    np.testing.assert_array_equal(loop(), [5, 5, 5])
    np.testing.assert_array_equal(loop(), [10, 10, 10])


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_layers(layer, brief):
    rows = list(block_layers.measure(layer, "float32"))
    assert [row["row"] for row in rows] == [layer.row(s, "float32") for s in layer.sparsities]
    for row in rows:
        assert json.loads(json.dumps(row)) == row
        assert row["tile"] in layer.tiles and set(row["by_tile"]) <= set(map(str, layer.tiles))
        assert row["ratio"] == row["dense"]["median"] / row["jaxsparse"]["median"]
        assert 0 < row["blocks"] <= row["of_blocks"]
        assert row["copies"] == 0  # in place, round after round
    # The tile that was chosen for the first sparsity.
    assert {len(row["by_tile"]) for row in rows[1:]} <= {1}


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_wrong_result_is_not_timed(layer, brief, monkeypatch):
    found = block.reduce_mask
    monkeypatch.setattr(
        block, "reduce_mask", lambda mask, *geometry, **how: found(0 * mask, *geometry, **how)
    )
    with pytest.raises(ValueError, match="nothing was timed"):
        list(block_layers.measure(layer, "float32"))


def test_copies_are_counted():
    text = """
  %copy.1 = f32[1,4,5,2]{3,2,1,0} copy(%p)
  %copy.2 = f32[1,4,5,3]{3,2,1,0} copy(%p)
  ROOT %c = (f32[1,4,5,2]{3,2,1,0}) tuple(%copy.1)"""
    assert block_layers.copies_of_the_map(text, (1, 4, 5, 2)) == 1


def test_what_is_known_is_left_out(tmp_path, brief, monkeypatch):
    """And the tile that was chosen is used again."""
    (layer,) = [one for one in LAYERS if one.kind == "conv"]
    layer = dataclasses.replace(layer, sparsities=(0.9, 0.5))
    monkeypatch.setitem(block_works.PARTS, "rehearsal", lambda: iter([layer]))
    monkeypatch.setattr(block_works, "PRECISIONS", ("float32",))
    (row, _) = job.rows("block", part="rehearsal")
    results = Results(tmp_path / "check.json")
    where = {"platform": "cpu", "source": "s"}
    results.put({**row, **where, "date": "2026"})
    results.save()
    known_in = {"path": str(results.path), "since": "", **where}
    (other,) = job.rows("block", part="rehearsal", known_in=known_in)
    assert other["sparsity"] == 0.5 and list(other["by_tile"]) == [str(row["tile"])]
    assert not list(job.rows("block", part="rehearsal", until=0.0))


def test_one_layer_that_fails_does_not_stop_the_others(brief, monkeypatch):
    measured = []

    def measure(layer, precision, tile):
        measured.append(precision)
        if precision == "TF32":
            raise ValueError("no algorithm")
        yield {"row": str(layer)}

    monkeypatch.setattr(block_layers, "measure", measure)
    found = job.rows("block", part="rehearsal")
    assert [next(found)["row"], next(found)["row"]] == [str(layer) for layer in LAYERS]
    with pytest.raises(RuntimeError, match="no algorithm"):
        next(found)


def test_kernels_and_their_launches(brief):
    size = block_works.KERNEL_SIZES["rehearsal"]
    rows = list(job.rows("block_kernels", size=size, bandwidth=1e9))
    launches = list(job.rows("block_launches", size=size))
    assert [row["kernel"] for row in rows] == [row["kernel"] for row in launches]
    assert rows[-1]["row"] == block_works.kernel_row("erase", size)
    assert launches[-1]["row"] == block_works.launches_row("erase", size)
    moved = {row["kernel"]: row["bytes_moved"] for row in rows}
    (gather,) = [c for c in block_kernels.every_block_kernel(*size) if c.label == "gather"]
    assert moved["gather"] == 2 * 4 * 8 * 8**2 * len(gather.operands[1])


def row_of(layer, precision, ratio):
    timing = {"median": 1e-4}
    return {
        "row": layer.row(0.9, precision), "section": "block", "platform": "cuda", "date": "2026", "kind": layer.kind,
        "shape": list(layer.shape), "channels": layer.channels, "units": layer.units, "sparsity": 0.9, "precision": precision, "tile": 16,
        "ratio": ratio, "ratio_on_device": None, "paper": layer.paper, "ideal": 10.0, "jaxsparse": timing, "dense": timing,
        "blocks": 3, "of_blocks": 30, "computed_share": 0.11, "copies": 0,
    }  # fmt: skip


def test_judgement_and_page(tmp_path):
    """The paper's number in both precisions."""
    results = Results(tmp_path / "check.json")
    units = [layer for layer in block_works.tables() if layer.kind == "unit"]
    for layer, ratios in zip(units, ((9.0, 8.3), (7.0, 6.2), (4.0,)), strict=False):
        for precision, ratio in zip(block_works.PRECISIONS, ratios, strict=False):
            results.put(row_of(layer, precision, ratio))
    verdicts = {v.text: v for v in judge(results) if "block-sparse" in v.text}
    assert [v.ok for v in verdicts.values()] == [True, False, None, None, *[None] * 4]
    assert next(iter(verdicts.values())).measured == "9.00 in TF32, 8.30 in float32"
    page = report.page(results)
    assert "| 400x704x96 | 0.9 | TF32 | 9.00 | - | 8.22 | 10 |" in page


def test_the_commands_are_known_beforehand(capsys):
    assert main(["bench-block", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ('"part": "tables"', "block_kernels", "block_launches"))
