"""The command line: ``python -m experiments.gpu_check build|test|sanitize|bench-direct|bench-block|bench-voxel|all``."""

import argparse
import dataclasses
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from experiments.gpu_check import (
    bench,
    bench_block,
    bench_direct,
    bench_voxel,
    build,
    report,
    sanitize,
    suite,
)
from experiments.gpu_check.child import Command
from experiments.gpu_check.options import Options
from experiments.gpu_check.results import FOLDER, NAME, ROOT, Results, folder, stage_key
from experiments.gpu_check.running import Stage, Verdict, now


@dataclasses.dataclass(frozen=True)
class Kind:
    """A stage as the command line knows it.

    Attributes:
      what: for the help.
      run: does it.
      commands: what it would run, as far as that is known beforehand.
      partial: whether it may stop before all is done, and be well.
      seconds: bound on its time; all of them leave a machine that is lent for half an hour some minutes.
    """

    what: str
    run: Callable[[Stage], Verdict]
    commands: Callable[[Options], Iterator[Command]]
    partial: bool = False
    seconds: float = 400.0


def _build(options: Options) -> Iterator[Command]:
    yield from build.commands(options)


def _test(options: Options) -> Iterator[Command]:
    yield from suite.commands(options, time.time() + options.seconds - suite.MARGIN)


def _sanitize(options: Options) -> Iterator[Command]:
    if compile_planted := options.platform == "cuda" and sanitize.build_planted():
        yield compile_planted
    yield from sanitize.planted(options).values()
    yield from sanitize.sanitizers(options).values()
    yield from sanitize.recordings(options).values()


def _bench(
    name: str, plan: Callable[[Options], list[bench.Job]]
) -> Callable[[Options], Iterator[Command]]:
    def commands(options: Options) -> Iterator[Command]:
        stage = Stage(name, options, Results(), folder() / f"{name}.log")
        yield from (bench.command(job, stage) for job in plan(options))

    return commands


STAGES = {
    "build": Kind(
        "the CUDA module for this machine's GPU, without network", build.run, _build, seconds=240
    ),
    "test": Kind("the test suite, and CPU against GPU", suite.run, _test),
    "sanitize": Kind("compute-sanitizer, command buffers", sanitize.run, _sanitize, seconds=200),
    "bench-direct": Kind(
        "the benchmarks of jaxsparse.direct",
        bench_direct.run,
        _bench("bench-direct", bench_direct.plan),
        partial=True,
        seconds=450,
    ),
    "bench-block": Kind(
        "the benchmarks of jaxsparse.block",
        bench_block.run,
        _bench("bench-block", bench_block.plan),
        partial=True,
        seconds=450,
    ),
    "bench-voxel": Kind(
        "the benchmarks of jaxsparse.voxel",
        bench_voxel.run,
        _bench("bench-voxel", bench_voxel.plan),
        partial=True,
        seconds=450,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs stages; returns the exit status: 1 if one failed or was not completed, where it should have been."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.list:
        for name, kind in STAGES.items():
            print(f"{name:14} {kind.what}")
        return 0
    if given.stage is None:
        parser.error("name a stage: " + ", ".join([*STAGES, "all", "report", "merge"]))
    if given.stage in ("report", "merge"):
        return _report(given)
    options = Options(
        platform=given.platform,
        quick=given.quick,
        seconds=given.seconds or 0.0,
        again=given.again,
        only=tuple(given.only),
    )
    names = list(STAGES) if given.stage == "all" else [given.stage]
    if given.dry_run:
        for name in names:
            timed = _timed(name, options)
            print(f"# {name}: {STAGES[name].what}; at most {timed.seconds:.0f} s")
            for command in STAGES[name].commands(timed):
                print(command)
        return 0
    return max([_run(name, _timed(name, options)) for name in names])


def _timed(name: str, options: Options) -> Options:
    return dataclasses.replace(options, seconds=options.seconds or STAGES[name].seconds)


def _run(name: str, options: Options) -> int:
    results = Results()
    log = folder() / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    stage = Stage(name, options, results, log)
    begin = time.time()
    try:
        # A machine that was given back between two stages has lost what was built.
        built = name == "build" or build.is_built(stage)
        verdict = None if built else build.run(stage)
        if verdict is None or verdict.word == "passed":
            verdict = STAGES[name].run(stage)
    except KeyboardInterrupt:
        raise
    except Exception as error:  # the other stages still have their turn
        verdict = stage.failed(f"{type(error).__name__}: {error}")
    results.stages[stage_key(name, options.platform, options.only)] = {
        "verdict": verdict.word,
        "why": verdict.why,
        "seconds": time.time() - begin,
        "date": now(),
        "platform": options.platform,
        "quick": options.quick,
        **verdict.details,
    }
    results.save()
    (folder() / "gpu.md").write_text(report.page(results))
    stage.say(f"{verdict.word}: {verdict.why}")
    fine = verdict.word == "passed" or (verdict.word == "incomplete" and STAGES[name].partial)
    return 0 if fine else 1


def _report(given: argparse.Namespace) -> int:
    results = Results(FOLDER / NAME)
    if given.stage == "merge":
        for path in given.files:
            results.merge(Results(path))
        results.save()
    print(report.write(results, ROOT))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.gpu_check",
        description="Build, test, sanitise and benchmark the CUDA kernels on a GPU. Results go to check.json in the folder "
        "that the environment variable OUT names, or to experiments/results/gpu/.",
        epilog="`report` writes docs/benchmarks/gpu.md from experiments/results/gpu/check.json; `merge FILE...` takes the "
        "results of other files into it before. A rehearsal: python -m experiments.gpu_check all --platform cpu --quick",
    )
    parser.add_argument(
        "stage", nargs="?", choices=[*STAGES, "all", "report", "merge"], metavar="STAGE",
        help=f"{', '.join(STAGES)}, all (one after the other), report or merge",
    )  # fmt: skip
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="for merge")
    parser.add_argument("--list", action="store_true", help="name the stages")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run nothing")
    parser.add_argument("--platform", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: a rehearsal")
    parser.add_argument(
        "--seconds", type=float, help="bound on the time of one stage (default: each its own)"
    )
    parser.add_argument(
        "--again", action="store_true", help="do again what the result files have, too"
    )
    parser.add_argument(
        "--only", nargs="+", default=(), metavar="NAME",
        help="benchmarks: jobs whose name begins so, as headline step-256 unit-400; test: paths",
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    # As an exception, so that children are stopped, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
