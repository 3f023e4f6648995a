"""Stage `build`: the CUDA module for this machine's GPU, with what is installed here and no network.

The package is installed editable into the running Python. Where that cannot be (no right to write, or its system asks for an
environment), an environment is made in build/gpu-check-venv that borrows the packages of the running Python by a path file
(`--system-site-packages` would borrow those of the Python that a virtual environment was made from). Without
scikit-build-core, CMake builds the modules and puts them into the checkout. nvcc is the toolkit's, or that of pip's wheels.
"""

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

from experiments.gpu_check import environment
from experiments.gpu_check.child import Command
from experiments.gpu_check.options import Options
from experiments.gpu_check.results import ROOT, source
from experiments.gpu_check.running import Stage, Verdict

CHECK = """
import xla_kernels
found = xla_kernels.available()
print(found)
assert found["cpu"].usable, found
assert not {cuda} or found["cuda"].usable, found
"""
FOLDER = "build/gpu-check"
BUILT = ROOT / "build/gpu-check-built"
"""Of which code the modules are: a machine may keep what was built of former code."""


def run(stage: Stage) -> Verdict:
    """Runs all commands; the first that fails ends it."""
    said = ""
    BUILT.unlink(missing_ok=True)
    for command in commands(stage.options):
        outcome = stage.run(command)
        if not outcome.ok:
            return stage.failed(f"{command.arguments[:4]} {outcome.describe()}", outcome.output)
        said = outcome.output.strip()
    BUILT.parent.mkdir(exist_ok=True)
    BUILT.write_text(source())
    return stage.passed(said.splitlines()[-1])


def is_built(stage: Stage) -> bool:
    """Whether the modules that the stage needs can be used, and on a GPU: whether they are of this code."""
    cuda = stage.options.platform == "cuda"
    if cuda and not (BUILT.exists() and BUILT.read_text() == stage.source):
        return False
    check = CHECK.format(cuda=cuda)
    return stage.run(Command([environment.interpreter(), "-c", check],
                             {"JAX_PLATFORMS": stage.options.platforms})).ok  # fmt: skip


def commands(options: Options) -> list[Command]:
    """What the stage runs, in order."""
    made = environment.needs_environment() or not importlib.util.find_spec("pip")
    python = str(environment.VENV / "bin/python") if made else sys.executable
    result = _make_environment() if made else []
    cuda = options.platform == "cuda"
    compiler = environment.compiler()
    # Without a toolkit: nvcc of wheels, where they are installed; CMake says what is missing where they are not.
    wheels = cuda and compiler is None and environment.compiler_of_wheels() is not None
    variables = {
        "JAXSPARSE_CUDA": ("wheels" if wheels else "ON") if cuda else "OFF",
        "CMAKE_BUILD_PARALLEL_LEVEL": str(len(os.sched_getaffinity(0))),
    }
    if cuda and compiler:
        variables["CUDACXX"] = compiler
    archs = f"JAXSPARSE_CUDA_ARCHS={environment.architecture()}"
    if importlib.util.find_spec("scikit_build_core"):
        install = [
            python, "-m", "pip", "install", "--editable", ".", "--no-build-isolation", "--no-deps",
            "--no-index", "-v", "-C", f"cmake.define.{archs}",
        ]  # fmt: skip
        result.append(Command(install, variables))
    else:
        result += _in_place(python, variables, archs)
    check = CHECK.format(cuda=cuda)
    result.append(Command([python, "-c", check], {"JAX_PLATFORMS": options.platforms}))
    return result


def _make_environment() -> list[Command]:
    paths = "\n".join(environment.borrowed_paths())
    version = f"python{sysconfig.get_python_version()}"
    borrowed = environment.VENV / "lib" / version / "site-packages/borrowed.pth"
    write = f"import pathlib; pathlib.Path({str(borrowed)!r}).write_text({paths!r})"
    return [
        Command([sys.executable, "-m", "venv", str(environment.VENV)]),
        Command([sys.executable, "-c", write]),
    ]


def _in_place(python: str, variables: dict[str, str], archs: str) -> list[Command]:
    """Straight by CMake, the modules beside the sources of xla_kernels."""
    nanobind = importlib.util.find_spec("nanobind")
    cmake_dir = Path(nanobind.origin).parent / "cmake" if nanobind and nanobind.origin else ""
    configure = [
        "cmake", "-S", "xla_kernels", "-B", FOLDER, f"-DPython_EXECUTABLE={python}", f"-D{archs}",
        f"-DJAXSPARSE_CUDA={variables['JAXSPARSE_CUDA']}", f"-Dnanobind_DIR={cmake_dir}",
        "-DCMAKE_BUILD_TYPE=Release",
    ]  # fmt: skip
    return [
        Command(configure, variables),
        Command(["cmake", "--build", FOLDER], variables),
        Command(["cmake", "--install", FOLDER, "--prefix", str(ROOT)]),
    ]
