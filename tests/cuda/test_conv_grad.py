"""The gradients of the convolution on the GPU."""

import numpy as np
import pytest

import xla_kernels
from jaxsparse._core.windows import Convolution
from jaxsparse.direct import _kernels
from tests.cuda.common import assert_like_cpu, both, lists
from tests.direct.common import BF16, DTYPES, F16, F32, F64, assert_same_bits

# Shape, kernel, strides, padding, dilation.
GEOMETRIES = {
    "1d": ((400,), (5,), (1,), ((2, 2),), (1,)),
    "1d strided and dilated": ((400,), (5,), (3,), ((4, 4),), (2,)),
    "2d": ((20, 23), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "2d valid": ((20, 23), (4, 2), (1, 2), ((0, 0), (0, 0)), (1, 1)),
    "2d cropped": ((20, 23), (3, 3), (2, 1), ((-1, 0), (3, -2)), (1, 2)),
    "3d": ((7, 8, 9), (3, 3, 3), (1, 1, 1), ((1, 1),) * 3, (1, 1, 1)),
    "3d strided": ((7, 8, 9), (3, 2, 3), (2, 2, 1), ((1, 1), (0, 0), (2, 2)), (1, 1, 2)),
    "4d": ((4, 5, 4, 6), (3, 1, 2, 3), (1, 2, 1, 2), ((1, 1), (0, 0), (0, 1), (1, 1)), (1,) * 4),
}
TOLERANCE = {F32: 2e-5, F64: 1e-13, BF16: 1e-2, F16: 2e-3}


def geometry(name: str) -> Convolution:
    shape, kernel, strides, padding, dilation = GEOMETRIES[name]
    axes = zip(shape, kernel, strides, padding, dilation, strict=True)
    out = tuple((n + sum(p) - (k - 1) * d - 1) // s + 1 for n, k, s, p, d in axes)
    return Convolution(
        spatial_shape=shape,
        out_shape=out,
        kernel_shape=kernel,
        strides=strides,
        padding=padding,
        dilation=dilation,
    )


class Case:
    """Operands: input lists, output lists, kernel, mask."""

    def __init__(
        self, rng, name, *, batch=2, channels=(3, 2), slots=(120, 100), dtype=F32, kind="mixed"
    ):
        g = self.geometry = geometry(name)
        volumes = np.prod(g.spatial_shape), np.prod(g.out_shape)
        self.x, self.y = (
            lists(rng, batch, c, k, int(volume), dtype, kind)
            for c, k, volume in zip(channels, slots, volumes, strict=True)
        )
        shape = (*g.kernel_shape, *channels)
        self.kernel = rng.normal(size=shape).astype(dtype)
        self.mask = rng.random(shape) < 0.5
        self.dtype = dtype

    def finite(self):
        """No inf and no NaN: for results that are compared within a tolerance."""
        for lists_ in (self.x, self.y):
            lists_[1][~np.isfinite(lists_[1])] = 1
        return self

    def assert_input_grad(self, seed=1):
        for mask in (None, self.mask):
            operands = self.x[0], self.kernel, mask, *self.y
            kernel = _kernels.conv_input_grad
            assert_like_cpu(kernel, self.geometry, *operands, dtype=self.dtype, seed=seed)

    def kernel_grads(self, mask, seed=1):
        operands = *self.x, mask, *self.y
        got, expected = both(
            _kernels.conv_kernel_grad, self.geometry, *operands, dtype=self.dtype, seed=seed
        )
        return np.asarray(got[0]), np.asarray(expected[0])

    def assert_kernel_grad(self):
        for mask in (None, self.mask):
            got, expected = (a.astype(np.float64) for a in self.kernel_grads(mask))
            assert np.abs(expected).max() > 0
            scale = TOLERANCE[self.dtype] * np.abs(expected[np.isfinite(expected)]).max()
            np.testing.assert_allclose(got, expected, rtol=TOLERANCE[self.dtype], atol=scale)
            if mask is not None:
                assert not got[~mask].any()


@pytest.mark.parametrize("kind", ["mixed", "corrupt"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_input_grad(rng, name, kind):
    Case(rng, name, kind=kind).assert_input_grad()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_input_grad_of_every_dtype(rng, dtype):
    Case(rng, "3d strided", dtype=dtype).assert_input_grad()


@pytest.mark.parametrize("channels", [(1, 1), (2, 20)])
def test_input_grad_of_one_channel_and_of_many(rng, channels):
    Case(rng, "2d", channels=channels, slots=(300, 280)).assert_input_grad(seed=3)


@pytest.mark.parametrize("kind", ["mixed", "corrupt"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_kernel_grad(rng, name, kind):
    Case(rng, name, kind=kind).finite().assert_kernel_grad()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_kernel_grad_of_every_dtype(rng, dtype):
    Case(rng, "3d", dtype=dtype).finite().assert_kernel_grad()


def test_kernel_grad_has_nan_and_inf_in_their_places(rng):
    got, expected = Case(rng, "2d", slots=(300, 300)).kernel_grads(None)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_equal(np.isposinf(got), np.isposinf(expected))


@pytest.mark.parametrize("slots", [(256, 40), (257, 1500), (9000, 3000)])
def test_kernel_grad_of_several_chunks_has_the_same_bits_in_any_order(rng, slots):
    """Of warps and blocks; more weights than a block has threads."""
    case = Case(rng, "2d", channels=(1, 30), slots=slots).finite()
    case.assert_kernel_grad()
    first, _ = case.kernel_grads(case.mask, seed=2)
    for seed in (3, 4):
        assert_same_bits(case.kernel_grads(case.mask, seed=seed)[0], first)


def test_an_empty_batch(rng):
    g = geometry("2d")
    keys, values = np.zeros((0, 2, 5), np.int32), np.zeros((0, 2, 5), F32)
    kernel = np.ones((3, 3, 2, 2), F32)
    assert_like_cpu(_kernels.conv_input_grad, g, keys, kernel, None, keys, values)
    assert_like_cpu(_kernels.conv_kernel_grad, g, keys, values, None, keys, values)


@pytest.mark.parametrize("elements", [1, 2, 3])
def test_a_batch_that_the_workspace_does_not_hold_is_worked_off_in_stretches(
    rng, monkeypatch, elements
):
    """The last one is shorter; sums over the batch are the same bits."""
    case = Case(rng, "2d", batch=5, channels=(20, 2)).finite()
    whole, _ = case.kernel_grads(None)
    size = xla_kernels.cuda_workspace_bytes
    monkeypatch.setattr(
        xla_kernels, "cuda_workspace_bytes", lambda op, batch, **sizes: size(op, elements, **sizes)
    )
    case.assert_input_grad()
    assert_same_bits(case.kernel_grads(None)[0], whole)
