"""Fused multiply-add with one rounding, for arrays: what `std::fma` gives, whatever the processor."""

import ctypes
import ctypes.util

import numpy as np

_libm = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")
_libm.fma.restype = ctypes.c_double
_libm.fma.argtypes = [ctypes.c_double] * 3
_libm.fmaf.restype = ctypes.c_float
_libm.fmaf.argtypes = [ctypes.c_float] * 3

_each_f64 = np.frompyfunc(_libm.fma, 3, 1)
_each_f32 = np.frompyfunc(_libm.fmaf, 3, 1)


def fma64(a, b, c):
    """Round(a * b + c) to float64, by the C library one element at a time."""
    with np.errstate(all="ignore"):
        return np.asarray(_each_f64(np.float64(a), np.float64(b), np.float64(c)), np.float64)


def fma32_by_libm(a, b, c):
    """Round(a * b + c) to float32, by the C library one element at a time; the check of `fma32`."""
    with np.errstate(all="ignore"):
        return np.asarray(_each_f32(np.float32(a), np.float32(b), np.float32(c)), np.float32)


def fma32(a, b, c):
    """Round(a * b + c) to float32, vectorised.

    The product of two float32 numbers is exact in float64 (24 + 24 <= 53 bits, and no exponent leaves the range).
    The sum is then rounded *to odd*: of the two float64 neighbours of an inexact sum the one whose last bit is 1
    is taken.  Rounding that number to float32 cannot round twice, because float64 keeps more than two bits beyond
    float32, normal or subnormal.
    """
    with np.errstate(all="ignore"):
        product = np.float32(a).astype(np.float64) * np.float32(b).astype(np.float64)
        addend = np.float32(c).astype(np.float64)
        total = product + addend
        part = total - product
        lost = (product - (total - part)) + (addend - part)  # exact: Knuth's two-sum
        even = np.asarray(total).view(np.int64) % 2 == 0
        neighbour = np.nextafter(total, np.where(lost > 0, np.inf, -np.inf))
        odd = np.where(np.isfinite(total) & (lost != 0) & even, neighbour, total)
        return odd.astype(np.float32)
