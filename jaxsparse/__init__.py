"""Sparse convolution networks for JAX: fixed capacities, so that a whole training step is one executable."""

import importlib
import importlib.metadata
from types import ModuleType
from typing import TYPE_CHECKING

from jaxsparse import block, direct, voxel
from jaxsparse._core.export import export_checks

if TYPE_CHECKING:
    from jaxsparse import data, models, nn, optim

__all__ = ["block", "data", "direct", "export_checks", "models", "nn", "optim", "voxel"]

try:
    __version__ = importlib.metadata.version("jaxsparse")
except importlib.metadata.PackageNotFoundError:  # run from a source tree
    __version__ = "unknown"


def __getattr__(name: str) -> ModuleType:
    if name in ("data", "models", "nn", "optim"):  # Flax and Optax take a second to import
        return importlib.import_module(f"jaxsparse.{name}")
    raise AttributeError(f"module 'jaxsparse' has no attribute {name!r}")
