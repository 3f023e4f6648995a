"""The benchmark of the check on a GPU: what is timed, what jobs measure, what the page says. On the CPU, with tiny sizes."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xla_kernels
from experiments.benchmark.timing import Effort
from experiments.gpu_check import (
    bench_direct,
    clock,
    job,
    kernels,
    profile,
    report,
    works,
)
from experiments.gpu_check.__main__ import main
from experiments.gpu_check.bench import Bench, Job
from experiments.gpu_check.block_kernels import every_block_kernel
from experiments.gpu_check.child import Outcome
from experiments.gpu_check.criteria import NOT_MEASURED, judge
from experiments.gpu_check.inputs import batch_keys
from experiments.gpu_check.job import NO_MEMORY
from experiments.gpu_check.kernel_calls import every_kernel
from experiments.gpu_check.options import Options
from experiments.gpu_check.results import Results
from experiments.gpu_check.voxel_kernels import every_voxel_kernel

REHEARSAL = Options(platform="cpu", quick=True)


def test_every_kernel_is_called_and_moves_what_it_reads_and_writes():
    calls = every_kernel(4, 2, 3)
    every = [("direct", call) for call in calls]
    every += [("block", call) for call in every_block_kernel(9, 8, 2, 1, 5)]
    every += [("voxel", call) for call in every_voxel_kernel(6, 2, 3)]
    names = {f"{xla_kernels.PREFIX}{room}_{call.name}" for room, call in every}
    assert names == set(filter(xla_kernels.has_cuda_kernel, xla_kernels.targets()))
    moved = {call.name: call.bytes_moved() for call in calls}
    entries = 2 * 3 * 16
    assert moved["relu"] == entries * (4 + 4) + entries * (4 + 4 + 4) + 4 * 2 * 3
    assert moved["gather_dense"] == 3 * 4 * entries  # not the whole volume
    assert moved["to_dense"] == 8 * entries + 4 * 2 * 3 * 64


def test_kernels_with_dense_arrays_have_a_batch_of_their_own():
    calls = {call.name: call for call in every_kernel(4, 3, 2, dense_batch=1)}
    batches = {name: call.batch for name, call in calls.items()}
    assert {name for name, batch in batches.items() if batch == 1} == {
        "to_dense",
        "gather_dense",
        "from_dense",
    }
    assert set(batches.values()) == {1, 3}
    assert calls["from_dense"].operands[0].shape == (1, 4, 4, 4, 2)
    assert kernels.in_cache(1e8) and not kernels.in_cache(2e8)


def test_batch_elements_are_mirror_images():
    keys = batch_keys("surface", 8, 2, 9)
    assert keys.shape == (9, 2, 64) and (np.diff(keys) > 0).all()
    assert len({keys[b].tobytes() for b in range(8)}) == 8
    np.testing.assert_array_equal(keys[8], keys[0])
    z, y, x = np.unravel_index(keys[0, 0], (8,) * 3)
    mirrored = np.ravel_multi_index((7 - z, y, x), (8,) * 3)
    np.testing.assert_array_equal(np.sort(mirrored), keys[1, 0])


def test_a_loop_repeats_its_function_and_gives_its_arguments_back():
    def function(x, y):
        return {"sum": x + y}

    arguments = clock.Arguments(jnp.arange(3.0), jnp.ones(3))
    loop = clock.Loop(function, arguments, 5)
    for _ in range(2):
        np.testing.assert_array_equal(loop()["sum"], [1, 2, 3])
    np.testing.assert_array_equal(arguments.values[0], [0, 1, 2])


PROFILE = """
planes {
  name: "/device:GPU:0"
  event_metadata { key: 1 value { id: 1 name: "count" } }
  event_metadata { key: 2 value { id: 2 name: "emit" } }
  lines {
    name: "Stream #13(Compute)"
    events { metadata_id: 1 offset_ps: 0 duration_ps: 2000000 }
    events { metadata_id: 2 offset_ps: 1000000 duration_ps: 3000000 }
    events { metadata_id: 1 offset_ps: 9000000 duration_ps: 1000000 }
  }
  lines { name: "XLA Ops" events { metadata_id: 1 offset_ps: 0 duration_ps: 90000000 } }
}
planes {
  name: "/host:CPU"
  event_metadata { key: 1 value { id: 1 name: "cuGraphLaunch" } }
  lines { name: "Stream" events { metadata_id: 1 offset_ps: 0 duration_ps: 5 } }
}
"""


def profile_of(text):
    data = jax.profiler.ProfileData
    return data.from_serialized_xspace(data.text_proto_to_serialized_xspace(text))


def test_a_profile_tells_what_ran_on_the_device_and_how_long():
    data = profile_of(PROFILE)
    calls = {name: calls for name, (calls, _) in profile.device_events(data).items()}
    assert calls == {"count": 2, "emit": 1}
    found = profile.device_time(data)
    assert (found.busy, found.span) == pytest.approx((5e-6, 10e-6)) and found.events == 3
    assert profile.host_events(data, "GraphLaunch") == 1


@pytest.mark.parametrize("text", ['planes { name: "/device:GPU:0" }', PROFILE.replace("GPU", "X")])
def test_a_profile_without_kernels_tells_nothing(text):
    assert profile.device_time(profile_of(text)) is None
    assert profile.device_events(profile_of(text)) is None
    assert profile.device_time(None) is None


def test_launches_that_no_profile_shows_are_unknown(monkeypatch):
    relu = next(call for call in every_kernel(4, 1, 2) if call.name == "relu")
    monkeypatch.setattr(profile, "profiled", lambda call, repeats: call() and None)
    row = kernels.launches(relu, "tiny")
    assert row["calls"] is None and "nothing" in row["why"]
    monkeypatch.setattr(profile, "profiled", lambda call, repeats: profile_of(PROFILE))
    row = kernels.launches(relu, "tiny")
    assert row["calls"] == 0.3 and row["parts"]["emit"]["calls"] == 0.1


def test_work_outside_of_the_loop_is_noticed():
    call = '  %c = f32[2] custom-call(%x), custom_call_target="jaxsparse_direct_relu"\n'
    inside = f"%body (p: f32[2]) -> f32[2] {{\n{call}}}\n"
    entry = "ENTRY %main (x: f32[2]) -> f32[2] {{\n{0}  %w = f32[2] while(%x), body=%body\n}}\n"
    assert not clock.moved_out(inside + entry.format(""))
    assert clock.moved_out(entry.format(call))


def test_a_loop_stays_a_loop():
    """Of a kernel of ours: once for the whole program would be no measurement."""
    relu = next(call for call in every_kernel(4, 1, 2) if call.name == "relu")
    run_many = clock.repeated(lambda *x: relu.run(*x), 100)
    operands = tuple(map(jnp.asarray, relu.operands))
    empty = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(relu.run, *operands))
    text = jax.jit(run_many, donate_argnums=(0, 1)).lower(operands, empty).compile().as_text()
    assert " while(" in text and not clock.moved_out(text)


@pytest.mark.parametrize(
    ("name", "arguments", "rows"),
    [
        ("conv", {"part": "rehearsal"}, 2),
        ("memory", {"resolution": 8, "batch": 2, "channels": 2}, 1),
        ("step", {"resolution": 16, "batch": 2, "sparse": True, "quick": True}, 1),
        ("step", {"resolution": 16, "batch": 2, "sparse": False, "quick": True}, 1),
    ],
)
def test_jobs(name, arguments, rows, monkeypatch):
    effort = Effort(seconds=1e-3, repeats=(3, 3), sample=1e-4)
    monkeypatch.setattr(clock, "rounds", lambda moved: 2)
    work = dataclasses.replace(list(works.rehearsal())[1], effort=effort)
    monkeypatch.setitem(works.PARTS, "rehearsal", lambda: iter([work]))
    found = list(job.rows(name, **arguments))
    assert len({row["row"] for row in found}) == len(found) == rows
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(found))
    for row in found:
        if name == "conv":
            assert row["ratio"] == pytest.approx(
                row["dense"][row["fastest_dense"]]["median"] / row["jaxsparse"]["median"]
            )
            assert not row["failed"] and len(row["dense"]) == 4
            # The CPU's profile has no GPU in it.
            assert row["device"] == {"jaxsparse": None, "dense": None}
        elif name == "step":
            assert row["seconds_per_sample"] == row["seconds"] / 2 > 0


def test_the_benchmark_in_processes(tmp_path, monkeypatch, capsys):
    """The machine, and kernels: what they emit is saved as it comes; the page has no figure of a CPU."""
    monkeypatch.setenv("OUT", str(tmp_path))
    only = ("--only", "machine")
    assert main(["bench-direct", "--platform", "cpu", "--quick", *only]) == 0
    results = Results(tmp_path / "check.json")
    assert {row["row"] for row in results.rows} == {"machine", "copy bandwidth"}
    assert results.stages["bench-direct, only machine on cpu"]["verdict"] == "passed"
    assert report.NOT_RUN in (tmp_path / "gpu.md").read_text()
    assert "job machine" in (tmp_path / "bench-direct.log").read_text()
    assert "[bench-direct] passed" in capsys.readouterr().out


def measuring(stage, monkeypatch, status=0, **rows):
    """Replaces processes: each job emits the rows that stand under its name, and is noted."""
    done = []

    def run_it(command, seconds=None):
        name, arguments = command.arguments[-2], json.loads(command.arguments[-1])
        done.append((name, arguments))
        for row in rows.get(name, ()):
            stage.keep({"row": row, "section": "x"})
        return Outcome(status(arguments) if callable(status) else status, False, 1.0, "")

    monkeypatch.setattr(stage, "run", run_it)
    return done


def test_what_is_known_is_not_measured_again(stage, monkeypatch):
    jobs = [Job("conv", {}, 9, "conv", ("a", "b"), stops=True), Job("memory", {}, 9, "m", ("c",))]
    done = measuring(stage, monkeypatch, conv=["a"], memory=["c"])
    first = Bench(stage)
    assert [first.do(job) for job in jobs] == ["left", "done"]
    assert first.verdict().word == "incomplete" and first.left == {"conv": "1 of 2 rows"}
    known = done[0][1]["known_in"]
    assert Results(Path(known.pop("path"))).known(**known) == {"a", "c"}
    assert done[0][1]["until"] < stage.deadline.at
    done = measuring(stage, monkeypatch, conv=["b"])
    again = Bench(stage)
    assert [again.do(job) for job in jobs] == ["done", "done"]
    assert [name for name, _ in done] == ["conv"] and again.verdict().word == "passed"
    # Of other code, or on another platform, it is not known.
    stage.source = "other"
    assert not stage.known()


def test_rows_of_a_rehearsal_replace_none_of_a_gpu(tmp_path):
    results = Results(tmp_path / "check.json")
    for platform in ("cuda", "cpu"):
        results.put({"row": "a", "platform": platform, "source": "s", "date": "2"})
    assert results.known("cuda", "s") == results.known("cpu", "s") == {"a"}
    assert not results.known("cuda", "s", since="3")


def test_a_dense_step_takes_the_first_batch_that_fits(stage, monkeypatch):
    batches = []

    def status(arguments):
        batches.append((arguments["batch"], arguments["sparse"]))
        return 0 if arguments["sparse"] or arguments["batch"] < 2 else NO_MEMORY

    measuring(stage, monkeypatch, status)
    stage.options = Options(platform="cpu")
    steps = Bench(stage)
    bench_direct._do_steps(steps, (128,))
    assert [batch for batch, sparse in batches if not sparse] == [4, 2, 1, 1]
    assert not steps.failed
    measuring(stage, monkeypatch, lambda arguments: 0 if arguments["sparse"] else NO_MEMORY)
    bench_direct._do_steps(steps, (128,))
    assert steps.failed == {"step-128-dense": "no batch fits the GPU's memory"}


def test_without_a_bandwidth_there_is_no_floor(stage, monkeypatch):
    done = measuring(stage, monkeypatch)
    kernel_job = next(one for one in bench_direct.plan(REHEARSAL) if one.name == "kernels")
    first = Bench(stage)
    bench_direct._do(first, [kernel_job])
    assert not done and "bandwidth" in first.left[kernel_job.label]
    stage.keep({"row": "copy bandwidth", "section": "machine", "bytes_per_s": 4e12})
    bench_direct._do(Bench(stage), [kernel_job])
    assert done[0][1]["bandwidth"] == 4e12


def test_only_jobs_that_are_named_are_run(stage, monkeypatch):
    done = measuring(stage, monkeypatch)
    stage.options = Options(platform="cpu", only=("step-128-dense-2",))
    bench_direct._do_steps(Bench(stage), (64, 128))
    assert [(name, arguments["batch"]) for name, arguments in done] == [("step", 2)] * 2


def test_a_job_that_may_stop_measures_what_it_can():
    assert not list(job.rows("conv", part="rehearsal", until=0.0))


def conv_row(**values):
    timing = {"median": 1e-3}
    row = {
        "section": "convolution", "platform": "cuda", "date": "2026", "passes": "forward",
        "in_channels": 1, "out_channels": 8, "resolution": 256, "batch": 1, "points": "uniform",
        "filter_density": 0.1, "selection": "without", "jaxsparse": timing,
        "dense": {"NDHWC TF32": {"median": 0.02}}, "fastest_dense": "NDHWC TF32", "ratio": 20.0,
        "ratio_to_float32": 30.0, "ratio_on_device": None, "bytes_held": 1, "dense_bytes": 100, "workspace_bytes": 5,
    } | values  # fmt: skip
    return {"row": f"conv {sorted(values.items())}", **row}


def test_judgement(tmp_path):
    results = Results(tmp_path / "check.json")
    assert [verdict.ok for verdict in judge(results)] == [None] * 18
    step = {"section": "training step", "platform": "cuda", "date": "", "resolution": 256}
    rows = [
        conv_row(),
        conv_row(selection="with", ratio=6.9),
        conv_row(in_channels=8, points="surface", resolution=64, ratio=1.1),
        conv_row(in_channels=8, points="surface", resolution=128, ratio=0.9),
        {**step, "row": "s", "sparse": True, "batch": 32, "seconds": 0.032,
         "seconds_per_sample": 1e-3, "peak": 32e6, "peak_per_sample": 1e6},
        {**step, "row": "d", "sparse": False, "batch": 20, "seconds": 0.4,
         "seconds_per_sample": 2e-2, "peak": 380e6, "peak_per_sample": 19e6},
    ]  # fmt: skip
    for row in rows:
        results.put(row)
    verdicts = judge(results)
    assert [v.ok for v in verdicts] == [True, False, False, None, True, False, *[None] * 12]
    assert verdicts[4].measured.startswith("20.0 ") and "1/19.0" in verdicts[5].measured
    parts = {"count": {"calls": 1.0, "seconds": 2e-6}, "emit": {"calls": 3.0, "seconds": 9e-6}}
    results.put({"row": "l", "section": "launches", "platform": "cuda", "date": "", "kernel": "conv",
                 "resolution": 256, "batch": 1, "calls": 4.0, "why": "", "parts": parts})  # fmt: skip
    timing = {"median": 9e-5, "best": 8e-5}
    kernel = {"section": "kernels", "platform": "cuda", "date": "", "kernel": "relu", "resolution": 256,
              "batch": 32, "points": "uniform", "timing": timing, "floor_s": 2e-5,
              "times_the_floor": 4.5}  # fmt: skip
    results.put({**kernel, "row": "k", "cached": True})
    assert judge(results)[6].ok is None  # what the cache holds says nothing
    results.put({**kernel, "row": "k", "cached": False})
    assert judge(results)[6].ok is False
    results.put({**kernel, "row": "old", "source": "other", "kernel": "take", "cached": False})
    page = report.page(results)
    assert "| relu | 256^3 x 32 | uniform | 90.0 | 80.0 | 20.0 | 4.50 | 22 % |" in page
    assert "take" not in page  # of other code than the newest row
    assert "| conv | 1 | emit | 3 | 9.0 |\n| conv | 1 | count | 1 | 2.0 |" in page
    assert "| 6.9" in page and NOT_MEASURED in page and report.NOT_RUN not in page


def test_results_are_merged_by_date(tmp_path):
    old, new = Results(tmp_path / "a.json"), Results(tmp_path / "b.json")
    for results, date in ((old, "2026-01-01"), (new, "2026-01-02")):
        results.put({"row": "x", "section": "machine", "date": date})
        results.stages["build"] = {"date": date}
        results.save()
    merged = Results(tmp_path / "b.json")
    merged.merge(Results(tmp_path / "a.json"))
    assert merged.rows[0]["date"] == merged.stages["build"]["date"] == "2026-01-02"
    old.merge(new)
    assert old.rows == new.rows and old.stages == new.stages


def test_the_largest_dense_batch_is_what_the_memory_holds():
    row = {"limit": 130e9, "compiled_bytes": 20e9, "batch": 4}
    assert bench_direct.largest_batch([row]) == 24
    assert bench_direct.largest_batch([{**row, "compiled_bytes": 1e9}]) == bench_direct.SPARSE_BATCH
    assert bench_direct.largest_batch([]) == 0
