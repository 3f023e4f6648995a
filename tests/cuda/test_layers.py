"""Every kernel as a layer calls it, on volumes of a size that is used: a hundred voxels a side on a GPU."""

import functools

import numpy as np
import pytest

from experiments.gpu_check.kernel_calls import KernelCall, every_kernel
from tests import emulation
from tests.cuda.common import assert_like_cpu, both

SIZE = (100, 3, 8) if emulation.GPU else (14, 2, 3)


@functools.cache
def calls(points: str) -> dict[str, KernelCall]:
    return {call.name: call for call in every_kernel(*SIZE, points)}


@pytest.mark.parametrize("points", ["uniform", "surface"])
@pytest.mark.parametrize("name", sorted(emulation.OPERATIONS))
def test_kernel(name, points):
    call = calls(points)[name]
    if name != "conv_kernel_grad":
        assert_like_cpu(call.kernel, call.static, *call.operands)
        return
    (got,), (expected,) = both(call.kernel, call.static, *call.operands)
    scale = np.abs(np.asarray(expected)).max()
    assert scale > 0
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5 * scale)
