"""Where a result comes from: machine, versions, commit, date. Part of every result file."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = ("jaxsparse", "jax", "jaxlib", "flax", "optax", "numpy")


def provenance(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """A JSON-like description of the circumstances of a measurement."""
    import jax

    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {
            "processor": _processor(),
            "architecture": platform.machine(),
            "cpus": len(os.sched_getaffinity(0)),
            "memory_gib": round(_memory() / 2**30, 1),
            "devices": [device.device_kind for device in jax.devices()],
        },
        "versions": {"python": platform.python_version(), **_versions(packages)},
    }


def _versions(packages: Sequence[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def _commit() -> dict[str, Any] | None:
    def git(*command: str) -> str:
        root = Path(__file__).resolve().parent
        return subprocess.run(
            ["git", "-C", str(root), *command], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {
            "id": git("rev-parse", "HEAD"),
            # Untracked files do not count: results themselves are some.
            "modified": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        # A copy without its history may be told.
        told = os.environ.get("JAXSPARSE_COMMIT")
        return {"id": told, "modified": False} if told else None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
