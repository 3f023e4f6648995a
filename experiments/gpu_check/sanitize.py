"""Stage `sanitize`: compute-sanitizer over one call of every kernel, and the same program with command buffers and without.

A tool that finds nothing may be one that looked at nothing. So each first has to find an error that is planted for it
(planted.cu); and it has to say that it found none. A tool that is missing, or refuses, leaves the stage incomplete, which is an
exit status of its own.
"""

import functools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from experiments.gpu_check import environment
from experiments.gpu_check.child import Command, Outcome
from experiments.gpu_check.options import Options
from experiments.gpu_check.results import ROOT, named
from experiments.gpu_check.running import Stage, Verdict

TOOLS = ("memcheck", "racecheck")
FOUND = 86
"""The exit status that compute-sanitizer is asked for when it finds something."""
DUMP = ROOT / "build/gpu-check-dump"
PLANTED = ROOT / "build/gpu-check-planted"
NAMESPACE = "jaxsparse"
_NO_TOOL = re.compile(
    r"Device not supported|Unable to find injection|No supported device|error 999"
)
_SUMMARY = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: .*")
FLAGS = {
    "without": "--xla_gpu_enable_command_buffer=",
    "with": (
        "--xla_gpu_enable_command_buffer=+CUSTOM_CALL --xla_gpu_graph_min_graph_size=1 "
        f"--xla_enable_command_buffers_during_profiling=true --xla_dump_to={DUMP} --xla_dump_hlo_as_text"
    ),
}


def run(stage: Stage) -> Verdict:
    """Both tools, then both recordings."""
    details: dict[str, Any] = {}
    bad, missing = [], []
    controls = planted(stage.options)
    reason = "" if not controls else _build_planted(stage)
    for tool, command in sanitizers(stage.options).items():
        if reason:
            details[tool] = f"NOT RUN: {reason}"
            missing.append(tool)
            continue
        if tool in controls:
            outcome = stage.run(controls[tool], min(60.0, stage.deadline.left()))
            if outcome.status != FOUND:
                details[tool] = (
                    f"NOT RUN: it did not find the error that was planted for it: {outcome.describe()}: "
                    f"{outcome.output[-600:]}"
                )
                stage.say(f"{tool}: {details[tool]}")
                missing.append(tool)
                continue
        outcome = stage.run(command, stage.deadline.left() / 2)
        ok, details[tool] = judge(outcome, rehearsal=stage.options.platform != "cuda")
        stage.say(f"{tool}: {details[tool]}")
        (bad if ok is False else missing if ok is None else []).append(tool)
    recorded = _recordings(stage)
    details["recording"] = recorded
    if recorded["same_bits"] is not True:
        bad.append("recording: " + str(recorded["why"]))
    elif recorded["recorded"] is False:
        bad.append("the handlers were not recorded into a command buffer")
    elif recorded["recorded"] is None and stage.options.platform == "cuda":
        missing.append("whether the handlers were recorded is not shown")
    why = "; ".join(f"{key}: {details[key]}" for key in TOOLS) + f"; {recorded['why']}"
    if bad:
        return stage.failed(f"{', '.join(bad)} ({why})", **details)
    if missing:
        return stage.incomplete(f"NOT DONE: {', '.join(missing)}; {why}", **details)
    return stage.passed(why, **details)


def sanitizers(options: Options) -> dict[str, Command]:
    """The command of each tool."""
    every = [environment.interpreter(), "-m", "experiments.gpu_check.every_kernel"]
    variables = {
        "JAX_PLATFORMS": options.platforms,
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        # With its own allocator, XLA's pool would hide what writes past an array.
        "XLA_PYTHON_CLIENT_ALLOCATOR": "platform",
        "XLA_FLAGS": FLAGS["without"],
    }
    if options.platform != "cuda":
        return {tool: Command(every, variables) for tool in TOOLS}
    return {tool: Command([*_under(tool), *every], variables) for tool in TOOLS}


def planted(options: Options) -> dict[str, Command]:
    """The same tools over the errors that they have to find; none in a rehearsal."""
    if options.platform != "cuda":
        return {}
    return {tool: Command([*_under(tool), str(PLANTED), tool]) for tool in TOOLS}


def build_planted() -> Command | None:
    """Compiles them; None without nvcc."""
    nvcc = environment.compiler() or environment.compiler_of_wheels()
    if nvcc is None:
        return None
    arch = environment.architecture().removesuffix("-real")
    # nvcc of the wheels looks for libraries in lib64, which they call lib.
    libraries = Path(nvcc).resolve().parents[1] / "lib"
    source = str(Path(__file__).with_name("planted.cu"))
    return Command([nvcc, f"-arch=sm_{arch}", f"-L{libraries}", "-o", str(PLANTED), source])


def _build_planted(stage: Stage) -> str:
    """Empty; or why the tools cannot be tried."""
    if shutil.which(_program()) is None:
        return "compute-sanitizer was not found"
    command = build_planted()
    if command is None:
        return "no nvcc was found to compile the planted errors with"
    PLANTED.parent.mkdir(exist_ok=True)
    outcome = stage.run(command, min(60.0, stage.deadline.left()))
    return "" if outcome.ok else f"nvcc {outcome.describe()}: {outcome.output[-600:]}"


def _program() -> str:
    name = "compute-sanitizer"
    return environment.tool(name, "bin", name) or name


def _under(tool: str) -> list[str]:
    """The program and its options (docs.nvidia.com/compute-sanitizer, "Command Line Options").

    Ours only: the name of every kernel of ours, mangled as it is compared, has the namespace in it.
    """
    options = ["--tool", tool, "--error-exitcode", str(FOUND), "--print-limit", "20"]
    options += [_filter_option(), f"kns={NAMESPACE}"]
    if tool == "memcheck":
        # What the CUDA runtime asks the driver in vain is none of our errors; what lies right behind an array is no
        # array of XLA's, but room that nobody may touch.
        options += ["--report-api-errors", "no", "--padding", "512"]
    return [_program(), *options]


@functools.cache
def _filter_option() -> str:
    """The option that names kernels, which older versions call otherwise."""
    if shutil.which(_program()) is None:
        return "--kernel-name"
    said = subprocess.run(
        [_program(), "--help"], capture_output=True, text=True, check=False
    ).stdout
    older = "--kernel-name" not in said and "--kernel-regex" in said
    return "--kernel-regex" if older else "--kernel-name"


def recordings(options: Options) -> dict[str, Command]:
    """The program with command buffers and without."""
    python = [environment.interpreter(), "-m", "experiments.gpu_check.recording"]
    variables = {"JAX_PLATFORMS": options.platforms, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    return {
        kind: Command(
            python,
            {**variables, "XLA_FLAGS": flags}
            | ({"JAX_GPU_CHECK_TRACE": str(DUMP)} if kind == "with" else {}),
        )
        for kind, flags in FLAGS.items()
    }


def judge(outcome: Outcome, rehearsal: bool = False) -> tuple[bool | None, str]:
    """Whether the tool found nothing; None: it does not work here, or was not given the time."""
    summary = _SUMMARY.findall(outcome.output)
    said = summary[-1] if summary else outcome.describe()
    if _NO_TOOL.search(outcome.output):
        return None, f"the tool does not work on this machine: {outcome.output[-600:]}"
    if outcome.timed_out:
        return None, outcome.describe()
    if outcome.ok and (summary or rehearsal):
        return True, said
    if not summary and outcome.status != FOUND:
        return None, f"the tool gave no summary: {said}: {outcome.output[-600:]}"
    return False, f"{said}: {outcome.output[-1500:]}"


def _recordings(stage: Stage) -> dict[str, Any]:
    shutil.rmtree(DUMP, ignore_errors=True)
    DUMP.mkdir(parents=True)
    digests = {}
    for kind, command in recordings(stage.options).items():
        outcome = stage.run(command)
        rows = named(stage.results.of("recording"), row="recording")
        stage.results.rows = [r for r in stage.results.rows if r["section"] != "recording"]
        if not outcome.ok or not rows:
            why = f"{kind} command buffers: {outcome.describe()}: {outcome.output[-800:]}"
            return {"same_bits": None, "recorded": None, "why": why}
        digests[kind] = rows[0]["digests"]
    stage.results.save()
    same = digests["with"] == digests["without"]
    found = evidence({path.name: path.read_text(errors="replace") for path in _texts(DUMP)})
    found["graph_launches"] = _graph_launches(DUMP)
    inside, outside = found["handlers_inside"], found["handlers_outside"]
    recorded = None
    if inside or outside:
        recorded = inside > 0 and outside == 0
    rounds = len(digests["with"])
    why = (
        f"{rounds} rounds with changing inputs: {'the same bits' if same else 'OTHER BITS'} with command "
        f"buffers and without; {inside} calls of our handlers in command buffers, {outside} outside, "
        f"{found['graph_launches']} graph launches in the profile"
    )
    return {"same_bits": same, "recorded": recorded, "why": why, **found}


def _texts(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.rglob("*.txt")) if p.stat().st_size < 20e6]


def _graph_launches(folder: Path) -> int | None:
    try:
        from experiments.gpu_check import profile

        data = profile.read(folder)
        return None if data is None else profile.host_events(data, "GraphLaunch")
    except Exception:  # a profile of another version says nothing, and is no failure of the kernels
        return None


def evidence(texts: dict[str, str]) -> dict[str, Any]:
    """Where XLA's dumps show calls of our handlers: in command buffers, or beside them.

    Two forms are known. HLO after the passes has a computation of its own for each command buffer. The list of thunks that
    newer versions write, one a line, has the thunks of a command buffer indented below it.
    """
    inside = outside = buffers = 0
    excerpt: list[str] = []
    thunks = [text for name, text in texts.items() if "thunk" in name and "kCommandBuffer" in text]
    if thunks:
        for line in max(thunks, key=len).splitlines():
            excerpt.append(line[:200])
            buffers += "kCommandBuffer" in line
            if "kCustomCall" in line:
                nested = line[:1].isspace()
                inside, outside = inside + nested, outside + (not nested)
    else:
        hlo = [t for n, t in texts.items() if "after_optimizations" in n or n == "compiled.txt"]
        for text in hlo[-1:]:
            computation = ""
            for line in text.splitlines():
                if line and not line[0].isspace():
                    computation = line
                    buffers += "command_buffer" in line.split("(")[0]
                if 'custom_call_target="jaxsparse_' in line:
                    nested = "command_buffer" in computation.split("(")[0]
                    inside, outside = inside + nested, outside + (not nested)
                    excerpt.append(f"{computation[:60]} ... {line.strip()[:120]}")
        # HLO without such computations shows nothing where the thunks are what is recorded.
        if not buffers:
            inside = outside = 0
    return {
        "command_buffers": buffers,
        "handlers_inside": inside,
        "handlers_outside": outside,
        "excerpt": excerpt[:40],
    }
