"""Stage `bench-voxel`: the jobs of the benchmark of jaxsparse.voxel, in order of importance."""

from experiments.gpu_check import voxel_works
from experiments.gpu_check.bench import Bench, Job
from experiments.gpu_check.options import Options
from experiments.gpu_check.running import Stage, Verdict


def run(stage: Stage) -> Verdict:
    """Runs the jobs."""
    bench = Bench(stage)
    for job in plan(stage.options):
        bench.do(job)
    return bench.verdict()


def plan(options: Options) -> list[Job]:
    """All jobs: the machine, the encoders with published figures, each in a process of its own, the kernels alone."""
    copied = 2**20 if options.quick else 2**31
    size = voxel_works.KERNEL_SIZES["rehearsal" if options.quick else "kernels"]
    encoders = voxel_works.REHEARSAL if options.quick else voxel_works.ENCODERS
    last = voxel_works.kernel_row("segment_max", size)
    kernels = Job(
        "voxel_kernels", {"size": list(size), "bandwidth": None}, 120, "voxel-kernels", (last,)
    )
    measured = [
        Job(
            "voxel_encoder", {"number": number, "quick": options.quick}, 150,
            f"encoder-{encoder.model}-{encoder.batch}", (encoder.row(),),
        )
        for number, encoder in enumerate(encoders)
    ]  # fmt: skip
    return [
        Job("machine", {"copied": copied}, 60, "machine", ("copy bandwidth",)),
        Job("voxel_peers", {}, 60, "voxel-peers", ("voxel peers",)),
        *measured[:3],
        kernels,
        *measured[3:],
    ]
