"""The interpreter that the check builds into, and the GPU that it builds for."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from experiments.gpu_check.results import ROOT

VENV = ROOT / "build/gpu-check-venv"
DEFAULT_ARCHITECTURE = "90-real"


def interpreter() -> str:
    """The Python of all stages: of the environment that `build` had to make, or the running one."""
    made = VENV / "bin/python"
    return str(made) if made.exists() else sys.executable


def needs_environment() -> str | None:
    """Why the running Python cannot be installed into; None: it can."""
    purelib = Path(sysconfig.get_path("purelib"))
    if not os.access(purelib, os.W_OK):
        return f"{purelib} is not writable"
    marker = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    if sys.prefix == sys.base_prefix and marker.exists():
        return f"{marker} asks for an environment"
    return None


def borrowed_paths() -> list[str]:
    """Folders of installed packages that an environment of its own borrows from the running Python."""
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


def architecture() -> str:
    """What to compile for: the first GPU's, as CMake names it; where no driver answers, an H200's."""
    says = _smi("compute_cap")
    found = re.match(r"(\d+)\.(\d+)", says or "")
    return f"{found[1]}{found[2]}-real" if found else DEFAULT_ARCHITECTURE


def driver() -> dict[str, str | None]:
    """What nvidia-smi says of the first GPU, None where it says nothing."""
    return {field: _smi(field) for field in ("name", "driver_version", "memory.total")}


def compiler() -> str | None:
    """nvcc: where PATH or CUDA_HOME name it, or where it is usually installed."""
    return tool("nvcc", "bin")


def compiler_of_wheels() -> str | None:
    """nvcc of pip's wheels, as xla_kernels/cmake/cuda_wheels.cmake looks for it, in the packages of this Python."""
    spec = importlib.util.find_spec("nvidia")
    places = spec.submodule_search_locations if spec else None
    paths = (Path(place, "cu13/bin/nvcc") for place in places or ())
    return next((str(path) for path in paths if path.exists()), None)


def tool(name: str, *folders: str) -> str | None:
    """A program of the CUDA toolkit: on PATH, or in one of these folders of an installed toolkit."""
    if found := shutil.which(name):
        return found
    homes = [Path(os.environ[key]) for key in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(key)]
    homes += sorted(Path("/usr/local").glob("cuda*"), reverse=True)
    paths = (home / folder / name for home in homes for folder in folders)
    return next((str(path) for path in paths if os.access(path, os.X_OK)), None)


def _smi(field: str) -> str | None:
    try:
        result = subprocess.run(
            ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = result.stdout.strip().splitlines()
    return lines[0].strip() if lines else None
