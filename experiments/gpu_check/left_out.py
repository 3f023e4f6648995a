"""Tests that the GPU run leaves out, by name, with the reason."""

import fnmatch
import importlib.util

IGNORED = {
    "tests/experiments": "the runner and its data: they need pydantic, Grain, Orbax, pooch",
    "tests/test_makefile.py": "makes environments with make, on the CPU",
}
"""Paths that are not even collected."""

_DEVICES = "needs several devices (the suite has eight virtual ones, of the CPU)"
_THREADS = "compares threads and instruction sets of the CPU"
_CPU_SIZES = "about the sizes of the CPU's workspaces"

PATTERNS = {
    "tests/block/test_sharding.py::*": _DEVICES,
    "tests/nn/test_block_batch_norm.py::test_statistics_of_all_devices*": _DEVICES,
    "tests/voxel/test_jax_rules.py::test_one_list_a_device*": _DEVICES,
    "tests/voxel/test_layers.py::test_statistics_over_devices*": _DEVICES,
    "tests/direct/test_sharding.py::*": _DEVICES,
    "tests/direct/test_batch_norm.py::test_a_batch_over_devices_*": _DEVICES,
    "tests/direct/test_batch_norm.py::test_axis_name_inside_shard_map*": _DEVICES,
    "tests/direct/test_batch_norm.py::test_without_an_axis_name_*": _DEVICES,
    "tests/direct/test_entry_values.py::test_dropout_of_a_sharded_batch_*": _DEVICES,
    "tests/direct/test_jax_rules_export.py::test_several_devices_*": _DEVICES,
    "tests/direct/test_jax_rules_kit.py::test_automatic_partitioning*": _DEVICES,
    "tests/direct/test_jax_rules_kit.py::test_explicit_mesh*": _DEVICES,
    "tests/direct/test_jax_rules_kit.py::test_shard_map*": _DEVICES,
    "tests/direct/test_order.py::test_shard_map*": _DEVICES,
    "tests/direct/test_order.py::test_automatically_sharded_jit*": _DEVICES,
    "tests/direct/test_order.py::test_pool_and_relu_under_vmap_and_shard_map*": _DEVICES,
    "tests/direct/test_regressions.py::test_largest_duplicate_where_only_the_values_*": _DEVICES,
    "tests/direct/test_order.py::test_any_number_of_threads*": _THREADS,
    "tests/direct/test_order.py::test_every_instruction_set*": _THREADS,
    "tests/direct/test_memory.py::test_narrow_types_*": _CPU_SIZES,
    "tests/direct/test_memory.py::test_the_workspace_grows_with_a_slice_*": _CPU_SIZES,
    "tests/direct/test_jax_rules_transforms.py::test_workspace_does_not_depend_on_the_batch*": _CPU_SIZES,
}
"""Patterns of test ids."""


def ignored() -> dict[str, str]:
    """Paths that are not collected, and why; what needs a package that is not here among them."""
    missing = {
        "hypothesis": "tests/direct/test_fuzz.py",
        "flatbuffers": "tests/direct/test_jax_rules_export.py",
    }
    return IGNORED | {
        path: f"needs {package}, which is not installed"
        for package, path in missing.items()
        if importlib.util.find_spec(package) is None
    }


def reason(test: str) -> str | None:
    """Why a test is left out; None: it is not."""
    return next((why for name, why in PATTERNS.items() if fnmatch.fnmatchcase(test, name)), None)
