"""Every kernel as a layer calls it, on volumes of a size that is used: a hundred voxels a side on a GPU."""

import functools

import numpy as np
import pytest

from experiments.gpu_check.block_kernels import BlockCall, every_block_kernel
from experiments.gpu_check.kernel_calls import KernelCall, every_kernel
from experiments.gpu_check.voxel_kernels import every_voxel_kernel
from tests import emulation
from tests.cuda.common import all_of_both, assert_like_cpu, both
from tests.direct.common import assert_same_bits

SIZE = (100, 3, 8) if emulation.GPU else (14, 2, 3)


@functools.cache
def calls(points: str) -> dict[str, KernelCall]:
    return {call.name: call for call in every_kernel(*SIZE, points)}


def operations(room: str) -> list[str]:
    return sorted(name.removeprefix(room) for name in emulation.OPERATIONS if name.startswith(room))


@functools.cache
def block_calls() -> list[BlockCall]:
    return every_block_kernel(*((400, 704, 96, 1, 18) if emulation.GPU else (40, 70, 8, 1, 18)))


@pytest.mark.parametrize("points", ["uniform", "surface"])
@pytest.mark.parametrize("name", operations("direct_"))
def test_kernel(name, points):
    call = calls(points)[name]
    if name != "conv_kernel_grad":
        assert_like_cpu(call.kernel, call.static, *call.operands)
        return
    (got,), (expected,) = both(call.kernel, call.static, *call.operands)
    scale = np.abs(np.asarray(expected)).max()
    assert scale > 0
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5 * scale)


@pytest.mark.parametrize("name", operations("block_"))
def test_block_kernel(name):
    """In every mode and layout."""
    found = [call for call in block_calls() if call.name == name]
    assert found
    for call in found:
        if name != "reduce_mask":
            assert_like_cpu(call.kernel, call.static, *call.operands)
            continue
        got, expected = both(call.kernel, call.static, *call.operands)
        for ours, theirs in zip(got[:2], expected[:2], strict=True):  # the others are scratch
            np.testing.assert_array_equal(ours, theirs, strict=True)


def test_voxel_kernels():
    calls = every_voxel_kernel(*((100, 2, 64) if emulation.GPU else (10, 2, 12)))
    assert {call.name for call in calls} == set(operations("voxel_"))
    results = all_of_both([(call.kernel, call.static, call.operands) for call in calls])
    for call, (got, expected) in zip(calls, results, strict=True):
        for ours, theirs in zip(got, expected, strict=True):
            if call.name == "map_conv_kernel_grad":
                scale = np.abs(np.asarray(theirs)).max()
                np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5 * scale)
            elif ours.dtype == np.int32:
                np.testing.assert_array_equal(ours, theirs, strict=True)
            else:
                assert_same_bits(ours, theirs)
