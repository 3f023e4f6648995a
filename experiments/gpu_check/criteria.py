"""The speeds to reach on the GPU, and whether they were."""

import math
from typing import Any

from experiments.benchmark.criteria import Verdict
from experiments.gpu_check import block_works
from experiments.gpu_check.results import Results, Row, named

NOT_MEASURED = "not measured"
CHUNK_LAUNCHES = 8


def judge(results: Results) -> list[Verdict]:
    """Every criterion, in order.

    Ratios of jaxsparse.direct are to the fastest dense convolution of both layouts, with TF32 and without; those of
    jaxsparse.block to the dense layer of the same precision, with TF32 and without, and the lower one counts.
    """
    rows = [row for row in results.of("convolution") if row["ratio"] is not None]
    head = named(
        rows, resolution=256, in_channels=1, out_channels=8, batch=1, passes="forward",
        points="uniform", filter_density=0.1,
    )  # fmt: skip
    eight = named(rows, in_channels=8, out_channels=8)
    surface = named(eight, points="surface", passes="forward")
    both = named(eight, resolution=256, batch=8, passes="forward+backward")
    return [
        _at_least("r=256, 1 -> 8, density 1/r, filter density .1, forward, without selection", 14,
                  named(head, selection="without")),
        _at_least("the same with selection", 7, named(head, selection="with")),
        _at_least("8 -> 8 channels on surface voxels, forward, from 64^3 up", 1,
                  [row for row in surface if row["resolution"] >= 64]),
        _at_least("forward+backward at 256^3, batch 8, 8 -> 8", 10, both),
        *_steps(results.of("training step")),
        _floors(results.of("kernels")),
        _launches(results.of("launches")),
        _one_chunk(results.of("launches")),
        _memory(results.of("table 1")),
        *_block(results.of("block")),
    ]  # fmt: skip


def _at_least(text: str, ratio: float, rows: list[Row]) -> Verdict:
    text = f"{text}: at least {ratio} times faster than dense" if ratio > 1 else f"{text}: faster"
    if not rows:
        return Verdict(text, NOT_MEASURED, None)
    worst = min(rows, key=lambda row: row["ratio"])
    float32 = worst["ratio_to_float32"]
    exact = f", {float32:.1f} of the fastest in float32" if float32 else ""
    which = f" (worst of {len(rows)} rows: {worst['row'].removeprefix('conv ')})"
    measured = f"{worst['ratio']:.1f}{exact}{which}"
    ok = worst["ratio"] >= ratio if ratio > 1 else worst["ratio"] > 1
    return Verdict(text, measured, ok)


def _steps(rows: list[Row]) -> list[Verdict]:
    texts = (
        "training step of OctNet3-256^3, batch 32: at least 10 times faster a sample than dense at its largest batch",
        "its peak memory a sample: below a twentieth of the dense one's",
    )
    sparse = named(rows, resolution=256, sparse=True, batch=32)
    dense = named(rows, resolution=256, sparse=False)
    if not sparse or not dense:
        return [Verdict(text, NOT_MEASURED, None) for text in texts]
    ours, theirs = sparse[0], max(dense, key=lambda row: row["batch"])
    ratio = theirs["seconds_per_sample"] / ours["seconds_per_sample"]
    batches = f"(batch {ours['batch']} to dense batch {theirs['batch']})"
    speed = Verdict(texts[0], f"{ratio:.1f} {batches}", ratio >= 10)
    if not ours["peak"] or not theirs["peak"]:
        return [speed, Verdict(texts[1], NOT_MEASURED, None)]
    share = ours["peak_per_sample"] / theirs["peak_per_sample"]
    return [speed, Verdict(texts[1], f"1/{1 / share:.1f} {batches}", share < 1 / 20)]


def _floors(rows: list[Row]) -> Verdict:
    text = "each kernel within 3 times of its bandwidth floor at 256^3 and above"
    # What the cache holds is no floor.
    rows = [row for row in rows if row["resolution"] >= 256 and not row["cached"]]
    if not rows:
        return Verdict(text, NOT_MEASURED, None)
    slow = sorted(
        (row for row in rows if row["times_the_floor"] > 3), key=lambda r: -r["times_the_floor"]
    )
    names = ", ".join(
        f"{r['kernel']} {r['resolution']}^3 {r['points']} {r['times_the_floor']:.1f}" for r in slow
    )
    measured = f"{len(rows) - len(slow)} of {len(rows)} rows" + (f"; not: {names}" if names else "")
    return Verdict(text, measured, not slow)


def _launches(rows: list[Row]) -> Verdict:
    text = f"launches of one conv forward: at most {CHUNK_LAUNCHES} a chunk of the batch"
    found = [row for row in named(rows, kernel="conv", batch=1) if row["calls"]]
    if not found:
        return Verdict(text, NOT_MEASURED, None)
    most = max(row["calls"] for row in found)
    return Verdict(text, f"{most:g} (batch 1, which is one chunk)", most <= CHUNK_LAUNCHES)


def _one_chunk(rows: list[Row]) -> Verdict:
    text = "one chunk at 256^3, 8 -> 8, batch 8 (the workspace bound allowing)"
    found: dict[int, Any] = {
        row["batch"]: row["calls"]
        for row in named(rows, kernel="conv", resolution=256)
        if row["calls"]
    }
    if not {1, 8} <= set(found):
        return Verdict(text, NOT_MEASURED, None)
    chunks = math.ceil(found[8] / found[1])
    return Verdict(text, f"{found[8]:g} launches, {chunks} chunks", chunks == 1)


def _memory(rows: list[Row]) -> Verdict:
    text = "512^3, batch 32, 8 channels: conv forward+backward runs, peak memory within 1.1 times of what was promised"
    found = [row for row in named(rows, resolution=512, batch=32, channels=8) if row["peak"]]
    if not found:
        return Verdict(text, NOT_MEASURED, None)
    share = found[0]["of_promised"]
    peak = f"{found[0]['peak'] / 2**30:.2f} GiB"
    return Verdict(text, f"{share:.3f} times, {peak}", share <= 1.1)


def _block(rows: list[Row]) -> list[Verdict]:
    """SBNet's Tables 1 and 2: as fast as the paper, beside today's dense convolutions."""
    verdicts = []
    for layer in block_works.tables():
        what = "residual units" if layer.kind == "unit" else "3 x 3 convolution"
        text = (
            f"block-sparse {what}, {layer.shape[0]}x{layer.shape[1]}x{layer.channels}, sparsity .9, mask reduction "
            f"included: at least {layer.paper:g} times faster than dense (the paper's number)"
        )
        names = {layer.row(0.9, precision) for precision in block_works.PRECISIONS}
        found = {row["precision"]: row["ratio"] for row in rows if row["row"] in names}
        if len(found) < len(names):
            verdicts.append(Verdict(text, NOT_MEASURED, None))
            continue
        measured = ", ".join(f"{found[p]:.2f} in {p}" for p in block_works.PRECISIONS)
        verdicts.append(Verdict(text, measured, min(found.values()) >= (layer.paper or 0)))
    return verdicts
