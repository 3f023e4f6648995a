"""The convolution on the GPU: with selection, and at given keys."""

import numpy as np
import pytest

import xla_kernels
from jaxsparse._core.windows import convolution
from jaxsparse.direct import _kernels
from tests.cuda.common import assert_like_cpu, both, lists
from tests.direct.common import BF16, DTYPES, F16, F32, F64

SELECT = {"value": 0, "magnitude": 1, "relu": 2}

# Name: spatial shape, kernel shape, strides, padding, dilation. Volumes lie around a tile, 1024 keys or 4096.
WINDOWS = {
    "line": ((3000,), (5,), 1, "SAME", 1),
    "line, strided": ((5000,), (4,), 3, ((2, -1),), 2),
    "long line": ((70000,), (3,), 1, "SAME", 1),
    "plane": ((33, 40), (3, 3), 1, "SAME", 1),
    "plane, dilated": ((40, 37), (3, 4), (1, 2), ((3, 5), (-2, 4)), (2, 3)),
    "plane, wide": ((9, 300), (2, 40), 1, "VALID", 1),
    "large plane": ((260, 260), (3, 3), 1, "SAME", 1),
    "volume": ((13, 12, 11), (3, 3, 3), 1, "SAME", 1),
    "volume, strided": ((12, 14, 9), (3, 2, 4), 2, "SAME", 1),
    "volume, far strides": ((6, 7, 8), (3, 3, 3), (2**31 - 1, 1, 5), ((1, 2), (2, 2), (0, 9)), 1),
    "volume, far padding": ((6, 7, 8), (1, 3, 3), 1, ((0, 0), (0, 0), (2**31 - 1, 10 - 2**31)), 1),
    "volume, thin": ((60, 30, 3), (3, 3, 2), 1, "SAME", 1),
    "four axes": ((5, 6, 4, 9), (3, 1, 2, 3), (1, 1, 2, 1), "SAME", (2, 1, 1, 1)),
}
WEIGHTS = ("dense", "half", "none")


def operands(
    rng,
    window,
    *,
    batch=2,
    channels=(2, 3),
    slots=None,
    dtype=F32,
    kind="mixed",
    mask="dense",
    bias=True,
):
    """Static geometry; keys, values, kernel, bias and mask."""
    spatial, kernel_shape, *rest = WINDOWS[window]
    geometry = convolution("conv", spatial, kernel_shape, *rest)
    volume = geometry.volume
    slots = slots or max(1, volume // 12)
    keys, values = lists(rng, batch, channels[0], slots, volume, dtype, kind)
    shape = (*kernel_shape, *channels)
    kernel = rng.normal(size=shape).astype(dtype)
    kernel[rng.random(shape) < 0.02] = np.inf
    live = {"dense": None, "half": rng.random(shape) < 0.5, "none": np.zeros(shape, bool)}[mask]
    added = rng.normal(size=channels[1]).astype(dtype) if bias else None
    return geometry, keys, values, kernel, added, live


def check(rng, window, capacity, *, select="value", seed=1, dtype=F32, **more):
    """conv, then conv_at at the keys that it kept and at others, all like the CPU's."""
    geometry, keys, values, kernel, bias, mask = operands(rng, window, dtype=dtype, **more)
    static = _kernels.Convolve(geometry, capacity, SELECT[select])
    assert_like_cpu(_kernels.conv, static, keys, values, kernel, bias, mask, seed=seed, dtype=dtype)
    batch, channels = keys.shape[0], kernel.shape[-1]
    at, _ = lists(rng, batch, channels, capacity, geometry.out_volume, kind="corrupt")
    assert_like_cpu(
        _kernels.conv_at, geometry, keys, values, kernel, mask, at, seed=seed, dtype=dtype
    )


@pytest.mark.parametrize("window", WINDOWS)
def test_windows(rng, window):
    check(rng, window, 200)


@pytest.mark.parametrize("window", ["line", "plane, dilated", "volume"])
@pytest.mark.parametrize("capacity", [1, 2, 37, 500, 1000, 5000])
def test_capacities(rng, window, capacity):
    check(rng, window, capacity, seed=capacity)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("select", SELECT)
@pytest.mark.parametrize("capacity", [60, 3000])
def test_dtypes_and_rules(rng, dtype, select, capacity):
    check(rng, "volume", capacity, select=select, dtype=dtype, mask="half")


@pytest.mark.parametrize("mask", WEIGHTS)
@pytest.mark.parametrize("channels", [(1, 1), (3, 8), (9, 17)])
def test_channels_and_masks(rng, channels, mask):
    check(rng, "volume, strided", 90, channels=channels, mask=mask, bias=mask == "half")


@pytest.mark.parametrize("offset", range(3))
@pytest.mark.parametrize(("window", "taps"), [("line", 5), ("line, strided", 2)])
def test_capacities_that_no_input_exceeds_and_one_less(rng, window, taps, offset):
    """Entries that share no output, so there are as many responses as can be: no selection, or of all but one."""
    spatial, kernel_shape, *rest = WINDOWS[window]
    geometry = convolution("conv", spatial, kernel_shape, *rest)
    keys = np.arange(600 + offset, 600 + offset + 24 * 50, 24, dtype=np.int32).reshape(1, 1, -1)
    values = rng.normal(size=keys.shape).astype(F32)
    kernel = rng.normal(size=(*kernel_shape, 1, 2)).astype(F32)
    for capacity in (taps * 50, taps * 50 - 1):
        static = _kernels.Convolve(geometry, capacity, 0)
        assert_like_cpu(_kernels.conv, static, keys, values, kernel, None, None, seed=offset)


def test_more_rows_than_there_are_words_for(rng):
    """Of 36 tap rows of the input channels 23 have words (kReachWords in conv_cuda.h)."""
    check(rng, "volume, thin", 900, channels=(4, 9), mask="half")


@pytest.mark.parametrize("kind", ["full", "corrupt"])
@pytest.mark.parametrize("slots", [1, 900, 9000])
def test_lists(rng, slots, kind):
    """One entry, lists that the key buffer does not fill, lists in several chunks; keys that are wrong."""
    check(
        rng,
        "large plane" if slots == 9000 else "plane",
        8500,
        slots=slots,
        kind=kind,
        channels=(2, 1),
        batch=1,
    )


@pytest.mark.parametrize("dtype", [F32, F64, BF16, F16], ids=str)
@pytest.mark.parametrize("select", SELECT)
@pytest.mark.parametrize("capacity", [1, 300, 1023, 2100])
def test_ties(rng, select, capacity, dtype):
    """Few values, of both signs, in several tiles: what is cut is decided by the keys."""
    geometry, keys, *_ = operands(rng, "line", slots=1500, kind="full", channels=(1, 2))
    values = rng.choice([-1.0, 1.0, 2.0, -0.0], keys.shape).astype(dtype)
    kernel = rng.choice([-1.0, 1.0], (5, 1, 2)).astype(dtype)
    static = _kernels.Convolve(geometry, capacity, SELECT[select])
    assert_like_cpu(_kernels.conv, static, keys, values, kernel, None, None, dtype=dtype)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("digits", [1, 2, 3, 4, 6])
def test_every_digit_of_a_rank_can_decide(rng, digits, dtype):
    """Responses that agree in all but their last bits; a width of 11 bits a digit."""
    geometry, keys, *_ = operands(rng, "line", slots=2000, kind="full", channels=(1, 1))
    wide = np.uint64 if dtype == F64 else np.uint32
    bits = np.array(1.5, dtype).view(wide) + rng.integers(
        0, 2 ** min(11 * digits, 22), keys.shape
    ).astype(wide)
    kernel = np.zeros((5, 1, 1), dtype)
    kernel[2] = rng.choice([-1, 1])
    for capacity in (3, 700, 1999):
        static = _kernels.Convolve(geometry, capacity, digits % 3 % 2)
        assert_like_cpu(
            _kernels.conv, static, keys, bits.view(dtype), kernel, None, None, dtype=dtype
        )


@pytest.mark.parametrize("seed", range(2, 7))
def test_no_order_of_warps_and_blocks_changes_a_bit(rng, seed):
    check(rng, "plane", 150, seed=seed, channels=(3, 9), mask="half")


def test_a_batch_that_the_workspace_does_not_hold_is_worked_off_in_stretches(rng, monkeypatch):
    whole = xla_kernels.cuda_workspace_bytes
    for elements in (1, 2):
        monkeypatch.setattr(
            xla_kernels,
            "cuda_workspace_bytes",
            lambda op, batch, n=elements, **sizes: whole(op, n, **sizes),
        )
        check(rng, "volume", 100, batch=5, mask="half")
    monkeypatch.setattr(xla_kernels, "cuda_workspace_bytes", lambda op, batch, **sizes: 64)
    geometry, keys, values, kernel, bias, mask = operands(rng, "volume")
    with pytest.raises(Exception, match=r"direct\.conv: the workspace is too small"):
        both(_kernels.conv, _kernels.Convolve(geometry, 5, 0), keys, values, kernel, bias, mask)


def test_empty_batches_and_outputs(rng):
    for batch, channels in ((0, (2, 3)), (2, (2, 0))):
        check(rng, "volume", 9, batch=batch, channels=channels, mask="half")


def test_the_workspace_grows_with_a_face_of_the_volume():
    def size(r, batch=1):
        geometry = convolution("conv", (r,) * 3, (3, 3, 3), 1, "SAME", 1)._asdict()
        sizes = {k: v for k, v in geometry.items() if k != "padding"}
        return xla_kernels.cuda_workspace_bytes(
            "conv",
            batch,
            padding=[1] * 6,
            in_channels=8,
            out_channels=8,
            capacity=1000,
            out_capacity=1000,
            **sizes,
        )

    assert size(256) < 6 * size(128) < 6 * 6 * size(64)
    assert size(512) < 16e6
    assert size(64, 10**6) <= 256 * 2**20
