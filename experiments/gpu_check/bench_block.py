"""Stage `bench-block`: the jobs of the benchmark of jaxsparse.block, in order of importance."""

from experiments.gpu_check import block_works
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
    """All jobs: first the sparsity of the paper's tables, then the kernels alone, then other sparsities."""
    copied = 2**20 if options.quick else 2**31
    machine = Job("machine", {"copied": copied}, 60, "machine", ("copy bandwidth",))
    if options.quick:
        return [machine, _layers("rehearsal"), *_kernels(options)]
    return [machine, _layers("tables"), *_kernels(options), _layers("sparsities")]


def _layers(part: str) -> Job:
    return Job("block", {"part": part}, 1e9, part, block_works.rows(part), stops=True)


def _kernels(options: Options) -> list[Job]:
    """Every kernel alone, and what it starts."""
    size = block_works.KERNEL_SIZES["rehearsal" if options.quick else "kernels"]
    name = block_works.kernel_row("erase", size)
    arguments = {"size": list(size), "bandwidth": None}
    # A profile shows the kernels of a command buffer as one.
    flags = "--xla_gpu_enable_command_buffer=" if options.platform == "cuda" else ""
    return [
        Job("block_kernels", arguments, 100, "block-kernels", (name,)),
        Job("block_launches", {"size": list(size)}, 60, "block-launches",
            (block_works.launches_row("erase", size),), flags, cached=False),
    ]  # fmt: skip
