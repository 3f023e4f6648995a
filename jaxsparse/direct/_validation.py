"""Whether the arrays of a ``SparseTensor`` fit together."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse._core import checks, windows
from jaxsparse._core.checks import expected

if TYPE_CHECKING:
    from jaxsparse.direct.tensor import SparseTensor


def check(function: str, x: "SparseTensor") -> None:
    """Raises unless the argument ``x`` is sound: shapes and dtypes always, contents where they are known."""
    check_fields(function, "x", x)
    keys, nnz = checks.concrete(x.keys), checks.concrete(x.nnz)
    if keys is not None:
        _check_keys(function, keys, x.volume)
        if nnz is not None:
            _check_nnz(function, keys, nnz, x.volume)


def check_fields(function: str, argument: str, x: "SparseTensor", *, specs: bool = False) -> None:
    """Raises unless shapes and dtypes are sound. ``specs``: whether ``jax.ShapeDtypeStruct`` will do for arrays."""
    if not isinstance(x.spatial_shape, tuple):
        what = repr(x.spatial_shape)
        raise TypeError(expected(function, f"{argument}.spatial_shape", "a tuple", what))
    windows.spatial_shape(function, x.spatial_shape)
    for name, rank in (("keys", 3), ("values", 3), ("nnz", 2)):
        field = getattr(x, name)
        is_spec = isinstance(field, jax.ShapeDtypeStruct)
        if not hasattr(field, "dtype") or not hasattr(field, "shape") or (is_spec and not specs):
            what = type(field).__name__
            raise TypeError(expected(function, f"{argument}.{name}", "an array", what))
        if len(field.shape) != rank:
            axes = "[B, C, K]" if rank == 3 else "[B, C]"
            wording = f"of rank {rank}, {axes}"
            raise ValueError(
                expected(function, f"{argument}.{name}", wording, f"shape {tuple(field.shape)}")
            )
    for name in ("keys", "nnz"):
        if getattr(x, name).dtype != jnp.int32:
            what = getattr(x, name).dtype
            raise TypeError(expected(function, f"{argument}.{name}", "of dtype int32", what))
    if x.values.dtype.name not in checks.FLOATS:
        wording = f"of dtype {', '.join(checks.FLOATS)}"
        raise TypeError(expected(function, f"{argument}.values", wording, x.values.dtype))
    if x.values.dtype != jax.dtypes.canonicalize_dtype(x.values.dtype):  # NumPy's float64
        wording = "of at most float32 unless jax_enable_x64 is set"
        raise TypeError(expected(function, f"{argument}.values", wording, x.values.dtype))
    if 0 in x.keys.shape[1:]:
        wording = "of at least one channel and one slot"
        raise ValueError(expected(function, f"{argument}.keys", wording, f"shape {x.keys.shape}"))
    checks.shape(function, f"{argument}.values", x.values, x.keys.shape, "that of keys")
    checks.shape(function, f"{argument}.nnz", x.nnz, x.keys.shape[:2], "batch and channels of keys")


def _check_keys(function: str, keys: np.ndarray, volume: int) -> None:
    """Raises unless every list of keys ascends strictly within [0, volume) and is filled up with the volume."""
    before = np.concatenate([np.full_like(keys[..., :1], -1), keys[..., :-1]], axis=-1)
    out_of_range = (keys < 0) | (keys > volume)
    for bad, wording in (
        (out_of_range, f"in [0, {volume}), or {volume} in unused slots"),
        ((keys < volume) & (before == volume), "without entries behind unused slots"),
        ((keys < volume) & (before == keys), "free of duplicates"),
        ((keys < volume) & (before > keys), "strictly ascending"),
    ):
        if bad.any():
            where = np.argwhere(bad)[0]
            what = f"{keys[tuple(where)]} after {before[tuple(where)]} at {where.tolist()}"
            raise ValueError(expected(function, "keys", wording, what))


def _check_nnz(function: str, keys: np.ndarray, nnz: np.ndarray, volume: int) -> None:
    """Raises unless ``min(nnz, capacity)`` is the number of entries in every list."""
    stored = (keys < volume).sum(-1)
    bad = np.minimum(nnz, keys.shape[-1]) != stored
    if bad.any():
        where = tuple(np.argwhere(bad)[0])
        wording = f"{stored[where]}, the number of keys (or more where all slots are used)"
        what = f"{nnz[where]} at {[int(i) for i in where]}"
        raise ValueError(expected(function, "nnz", wording, what))
