"""The CUDA kernels on the CPU, in place of the CPU's own: the library that `make cuda-emulation` builds.

Its path is in the environment variable JAXSPARSE_EMULATION. As a plugin (`pytest -p tests.emulated_session`) it serves any
test. Tests that compare the two kinds use `on_cuda`: with JAXSPARSE_GPU=1 (`make gpu-check`) that is a real GPU.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator

import jax
import pytest

import xla_kernels
from jaxsparse._core.kernel import Kernel

PREFIX = "jaxsparse_emulated_"
PATH = os.environ.get("JAXSPARSE_EMULATION", "")
GPU = os.environ.get("JAXSPARSE_GPU", "") == "1"


class _Target(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("handler", ctypes.c_void_p))


def _load(path: str) -> tuple[ctypes.CDLL, list[str]]:
    """The library, and the operations that it has, with their room: ``"direct_conv"``."""
    library = ctypes.CDLL(path)
    targets = (_Target * 1).in_dll(library, "jaxsparse_targets")
    at = ctypes.cast(targets, ctypes.POINTER(_Target))
    names = []
    while at[len(names)].name:
        name = at[len(names)].name.decode().removeprefix(xla_kernels.PREFIX)
        capsule = jax.ffi.pycapsule(at[len(names)].handler)
        jax.ffi.register_ffi_target(PREFIX + name, capsule, platform="cpu")
        names.append(name)
    return library, names


if GPU:
    if xla_kernels._cuda is None:
        raise RuntimeError(f"JAXSPARSE_GPU=1, but CUDA is {xla_kernels.available()['cuda'].detail}")
    OPERATIONS = [name.removeprefix(xla_kernels.PREFIX) for name in xla_kernels._cuda.targets()]
elif PATH:
    LIBRARY, OPERATIONS = _load(PATH)


def on_cpu() -> contextlib.AbstractContextManager:
    """In it, arrays are made and kernels run on the CPU."""
    return jax.default_device(jax.devices("cpu")[0])


def on_cuda(seed: int = 1) -> contextlib.AbstractContextManager:
    """The same on the GPU, or emulated."""
    return jax.default_device(jax.devices("cuda")[0]) if GPU else emulated(seed)


@contextlib.contextmanager
def emulated(seed: int = 1) -> Iterator[None]:
    """In it, kernels that are called or traced are the emulated ones, with the workspace of the GPU's.

    The seed decides the order of warps and blocks.
    """
    LIBRARY.jaxsparse_set_seed(ctypes.c_uint64(seed))
    size = Kernel.workspace_bytes

    def on_cuda(self, static, *operands, platform=None):
        return size(self, static, *operands, platform="cuda")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xla_kernels, "PREFIX", PREFIX)
        patch.setattr(Kernel, "workspace_bytes", on_cuda)
        yield
