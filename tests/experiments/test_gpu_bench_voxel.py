"""Stage `bench-voxel` of the check on a GPU. On the CPU, with tiny sizes."""

import numpy as np

from experiments.benchmark.timing import Effort
from experiments.gpu_check import (
    bench_voxel,
    clock,
    job,
    kernels,
    report,
    voxel_encoders,
    voxel_kernels,
    voxel_works,
)
from experiments.gpu_check.__main__ import main
from experiments.gpu_check.options import Options
from experiments.gpu_check.results import Results
from jaxsparse import voxel


def test_what_was_published_comes_first():
    labels = [one.label for one in bench_voxel.plan(Options())]
    assert labels[2:5] == ["encoder-small-1", "encoder-medium-16", "encoder-large-16"]
    small, medium, large = voxel_works.ENCODERS[:3]
    assert (min(small.both), min(medium.both), min(large.both)) == (2.72, 16.17, 34.94)
    assert min(large.peak) == 1105
    assert len({encoder.row() for encoder in voxel_works.ENCODERS}) == len(voxel_works.ENCODERS)


def test_an_encoder_gets_its_voxels_and_room_for_every_level():
    encoder = voxel_works.REHEARSAL[0]
    x = voxel_encoders.problem(encoder)
    assert int(x.count) == encoder.voxels == x.capacity
    counts, y = [], x
    for _ in range(4):
        counts.append(int(y.count))
        y = voxel.conv(y, np.ones((3, 3, 3, y.channels, 1), np.float32), strides=2)
    assert counts == list(voxel_encoders.levels(np.asarray(x.coords), encoder.resolution))


def test_the_map_of_the_calls_is_the_library_s():
    sites = voxel_kernels.shell(6, 2)
    x = voxel.VoxelTensor.from_coords(
        sites, np.ones((len(sites), 1), np.float32), batch_size=2, spatial_shape=(6,) * 3
    )
    (plan,) = voxel.plan(x, (voxel.Layer("submanifold_conv", 3),))
    np.testing.assert_array_equal(plan.inputs, voxel_kernels.kernel_map(sites, sites, (6,) * 3, 2))


def test_rows_and_page(tmp_path, monkeypatch):
    effort = Effort(seconds=1e-3, repeats=(3, 3), sample=1e-4)
    monkeypatch.setattr(kernels, "EFFORT", effort)
    monkeypatch.setattr(clock, "rounds", lambda moved: 2)
    calls = voxel_kernels.every_voxel_kernel
    wanted = ("map_conv", "segment_max")
    monkeypatch.setattr(
        voxel_kernels,
        "every_voxel_kernel",
        lambda *size: [c for c in calls(*size) if c.name in wanted],
    )
    size = voxel_works.KERNEL_SIZES["rehearsal"]
    rows = list(job.rows("voxel_kernels", size=size, bandwidth=1e9))
    assert rows[-1]["row"] == voxel_works.kernel_row("segment_max", size)
    assert [row["kernel"] for row in rows] == ["map_conv", "map_conv transposed", "segment_max"]
    large = voxel_works.ENCODERS[2]
    rows.append(
        {"row": large.row(), "section": "voxel encoders", "peak": 2e9, "forward": {"seconds": 0.01}, "both": {"seconds": 0.03}}
    )  # fmt: skip
    results = Results(tmp_path / "check.json")
    for row in rows:
        results.put(row | {"platform": "cuda", "date": "2026"})
    page = report.page(results)
    assert "| large | 16 | 56700 | 10.00 | 30.00 | 87.32 | 237.10 | 34.94 | 72.06 |" in page
    assert "| map_conv transposed |" in page


def test_the_commands_are_known_beforehand(capsys):
    assert main(["bench-voxel", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("voxel_encoder", "voxel_kernels", "voxel_peers"))
