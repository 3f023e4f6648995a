"""The package that loads the compiled modules and hands their handlers to JAX."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import xla_kernels

pytestmark = pytest.mark.core

CONV = {
    "spatial_shape": (8, 9),
    "out_shape": (8, 9),
    "kernel_shape": (3, 3),
    "strides": (1, 1),
    "padding": (1, 1, 1, 1),
    "dilation": (1, 1),
    "in_channels": 2,
    "out_channels": 3,
    "capacity": 10,
    "out_capacity": 20,
    "itemsize": 4,
}
POOL = {
    "spatial_shape": (8, 9),
    "out_shape": (4, 5),
    "window": (2, 2),
    "strides": (2, 2),
    "capacity": 10,
    "out_capacity": 10,
    "itemsize": 4,
}
SIZES = {
    "conv": CONV,
    "conv_at": CONV,
    "conv_input_grad": CONV,
    "conv_kernel_grad": CONV,
    "max_pool": POOL,
    "avg_pool": POOL,
    "window_sum": POOL,
    "window_spread": POOL,
    "add": {"x_capacity": 10, "y_capacity": 20, "out_capacity": 5, "itemsize": 4},
    "from_dense": {"spatial_shape": (8, 9), "channels": 2, "out_capacity": 10, "itemsize": 4},
    "put_add": {"capacity": 10, "itemsize": 4},
    "to_dense": {},
    "gather_dense": {},
    "channel_sum": {},
    "channel_dot": {},
    "channel_affine": {},
    "global_max_pool": {},
    "global_avg_pool": {},
    "global_avg_pool_grad": {},
    "masked_scale": {},
    "relu": {},
    "take": {},
}


def test_every_target_has_a_workspace_size():
    targets = [xla_kernels.PREFIX + "direct_" + op for op in sorted(SIZES)]
    block, voxel = (
        [name for name in xla_kernels.targets() if room in name] for room in ("_block_", "_voxel_")
    )
    assert sorted(targets + block + voxel) == xla_kernels.targets()
    # A new map is made by scatter onto a full one where there is no kernel of its own.
    cpu_only = [name for name in xla_kernels.targets() if not xla_kernels.has_cuda_kernel(name)]
    assert cpu_only == ["jaxsparse_block_scatter_new"]
    for op, sizes in SIZES.items():
        size = xla_kernels.workspace_bytes(op, **sizes)
        assert isinstance(size, int) and size >= 0


@pytest.mark.parametrize("op", [op for op, sizes in SIZES.items() if sizes])
def test_workspace_needs_every_size(op):
    for left_out in SIZES[op]:
        sizes = {name: size for name, size in SIZES[op].items() if name != left_out}
        with pytest.raises(TypeError):
            xla_kernels.workspace_bytes(op, **sizes)


LISTS = {"channels": 2, "capacity": 20000}
CUDA_SIZES = {
    "relu": LISTS,
    "masked_scale": LISTS,
    "channel_sum": LISTS,
    "channel_dot": LISTS,
    "channel_affine": LISTS,
    "to_dense": LISTS,
    "gather_dense": LISTS,
    "global_max_pool": LISTS,
    "global_avg_pool": LISTS,
    "global_avg_pool_grad": LISTS,
    "take": {},
    "put_add": {"channels": 2, "capacity": 10, "in_capacity": 20},
    "from_dense": SIZES["from_dense"],
    "add": SIZES["add"] | {"channels": 2, "volume": 72},
}


@pytest.mark.parametrize("op", CUDA_SIZES)
def test_workspace_on_the_gpu_grows_with_the_batch_up_to_a_bound(op):
    sizes = [
        xla_kernels.cuda_workspace_bytes(op, batch, **CUDA_SIZES[op])
        for batch in (0, 1, 10, 10**6, 10**9)
    ]
    assert sizes == sorted(sizes) and sizes[-1] <= 2**28
    assert xla_kernels.cuda_workspace_bytes(op, None, **CUDA_SIZES[op]) <= 2**25
    assert op == "take" or sizes[1] < sizes[2] < sizes[3]


@pytest.mark.parametrize(
    ("op", "changes", "error"),
    [
        ("relu", {"capacity": -1}, ValueError),
        ("relu", {"channels": 2**31}, ValueError),
        ("from_dense", {"spatial_shape": (0,)}, ValueError),
        ("from_dense", {"spatial_shape": (2**40, 2**40)}, ValueError),
        ("from_dense", {"itemsize": 3}, ValueError),
        ("convolve", {}, KeyError),
    ],
)
def test_workspace_on_the_gpu_of_sizes_that_nobody_means(op, changes, error):
    with pytest.raises(error):
        xla_kernels.cuda_workspace_bytes(op, 2, **(CUDA_SIZES.get(op, {}) | changes))


def test_workspace_of_nothing_known():
    with pytest.raises(ValueError, match="op must be one of"):
        xla_kernels.workspace_bytes("convolve")
    with pytest.raises(TypeError, match="takes no sizes"):
        xla_kernels.workspace_bytes("relu", capacity=3)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"capacity": 2.0}, TypeError, "workspace_bytes: capacity must be an integer, got 2.0"),
        ({"capacity": True}, TypeError, "capacity must be an integer, got True"),
        ({"window": 2}, TypeError, "window must be a list of integers, got 2"),
        ({"window": (2, 2.5)}, TypeError, "window must be a list of integers"),
        ({"capacity": 2**63}, ValueError, "capacity must be within int64"),
        ({"capacity": 0}, ValueError, "the sizes of max_pool do not fit: .* got {"),
        ({"window": (2,)}, ValueError, "window does not fit the spatial dimensions"),
        ({"itemsize": 3}, ValueError, "itemsize must be 2, 4 or 8"),
    ],
)
def test_workspace_sizes_are_named_in_errors(changes, error, says):
    with pytest.raises(error, match=says):
        xla_kernels.workspace_bytes("max_pool", **(POOL | changes))


def test_an_unknown_instruction_set_is_an_error_at_import():
    source = Path(xla_kernels.__file__).parents[1]
    code = f"import sys; sys.path.insert(0, {str(source)!r}); import xla_kernels"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"JAXSPARSE_ISA": "sse9"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert (
        "JAXSPARSE_ISA must be one of ['portable', 'avx2', 'avx512'] or unset, got 'sse9'"
        in result.stderr
    )


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("xla_kernels._cuda", "^not built"),
        ("nvidia.something", "^built, but it cannot be loaded: no nvidia.something"),
    ],
)
def test_a_missing_module_is_told_from_one_that_it_needs(missing, says, monkeypatch):
    def import_module(name):
        raise ModuleNotFoundError(f"no {missing}", name=missing)

    monkeypatch.setattr(xla_kernels.importlib, "import_module", import_module)
    module, detail = xla_kernels._load_cuda()
    assert module is None and re.search(says, detail)


def test_what_is_available():
    backends = xla_kernels.available()
    assert set(backends) == {"cpu", "cuda"}
    assert backends["cpu"].usable and backends["cpu"].detail == xla_kernels.isa()
    assert backends["cuda"].detail


@pytest.mark.parametrize(
    ("count", "detail"),
    [(2, "built for 90-real"), (0, "built for 90-real, but there is no GPU to use: no driver")],
)
def test_a_cuda_module_is_usable_where_there_is_a_gpu(count, detail, monkeypatch):
    module = SimpleNamespace(devices=lambda: (count, "no driver"), architectures=lambda: "90-real")
    monkeypatch.setattr(xla_kernels, "_cuda", module)
    assert xla_kernels._cuda_backend.__wrapped__() == xla_kernels.Backend(count > 0, detail)


def test_a_module_for_a_newer_jax_is_turned_away():
    module = ModuleType("xla_kernels._future")
    module.ffi_api_version = lambda: (0, 99)
    with pytest.raises(ImportError, match=r"built with version 0\.99 of XLA's FFI.*Build it again"):
        xla_kernels._check_ffi_version(module)


def test_without_the_compiled_module_the_error_says_how_to_build(monkeypatch):
    monkeypatch.setitem(sys.modules, "xla_kernels._cpu", None)
    source = Path(xla_kernels.__file__)
    spec = importlib.util.spec_from_file_location(
        "copy", source, submodule_search_locations=[str(source.parent)]
    )
    with pytest.raises(ImportError, match=r"xla_kernels\._cpu cannot .*pip install --editable \."):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
