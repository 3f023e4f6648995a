"""From sites and geometry to kernel maps. Every operation calls one of these, with ``plan=`` or without.

``x`` is a ``VoxelTensor`` or a ``Sites``. With ``plan`` the geometry is only compared. ``argument`` is the caller's name
of the kernel (or window).
"""

from typing import Any

import jax.numpy as jnp

from jaxsparse._core.checks import expected
from jaxsparse.voxel import _kernels, _relation, _sites
from jaxsparse.voxel._relation import Relation
from jaxsparse.voxel._sites import Sites
from jaxsparse.voxel.kernel_map import KernelMap, check_plan


def submanifold_map(
    function: str, x: Any, kernel_size: Any, kernel_dilation: Any = 1, *, plan: Any = None,
    argument: str = "kernel",
) -> KernelMap:  # fmt: skip
    """Output sites = input sites; the window lies as ``"SAME"`` lays it."""
    relation = _relation.convolution(
        function, x.spatial_shape, kernel_size, 1, "SAME", kernel_dilation, argument=argument
    )
    return _planned(function, plan, x, relation) or between(x, x, relation)


def conv_map(
    function: str, x: Any, kernel_size: Any, strides: Any = 1, padding: Any = "SAME",
    kernel_dilation: Any = 1, capacity: Any = None, *, onto: Any = None, plan: Any = None,
    argument: str = "kernel",
) -> KernelMap:  # fmt: skip
    """Every site that a site of ``x`` reaches, or those of ``onto``. Poolings are convolutions in this."""
    relation = _relation.convolution(
        function, x.spatial_shape, kernel_size, strides, padding, kernel_dilation, argument=argument
    )
    return _built(function, x, relation, capacity, onto, plan)


def pool_map(
    function: str, x: Any, window: Any, strides: Any = None, padding: Any = "VALID",
    capacity: Any = None, *, plan: Any = None,
) -> KernelMap:  # fmt: skip
    """As a convolution with a window in place of the kernel; ``strides`` None: the window."""
    strides = window if strides is None else strides
    return conv_map(
        function, x, window, strides, padding, 1, capacity, plan=plan, argument="window"
    )


def transposed_map(
    function: str, x: Any, kernel_size: Any, strides: Any, padding: Any = "SAME",
    kernel_dilation: Any = 1, capacity: Any = None, *, onto: Any = None, plan: Any = None,
    argument: str = "kernel",
) -> KernelMap:  # fmt: skip
    """The geometry of ``lax.conv_transpose``: every site that a site of ``x`` reaches, or those of ``onto``."""
    relation = _relation.transposed(
        function, x.spatial_shape, kernel_size, strides, padding, kernel_dilation, argument=argument
    )
    return _built(function, x, relation, capacity, onto, plan)


def onto_map(
    function: str, x: Any, onto: Any, kernel_size: Any, strides: Any, padding: Any = "SAME",
    kernel_dilation: Any = 1, *, plan: Any = None, argument: str = "kernel",
) -> KernelMap:  # fmt: skip
    """Back onto the sites of a level that a convolution of this geometry would lead from, to ``x``: the adjoint placement."""
    forward = _relation.convolution(
        function, onto.spatial_shape, kernel_size, strides, padding, kernel_dilation,
        argument=argument,
    )  # fmt: skip
    if forward.out_shape != x.spatial_shape:
        wording = (
            f"of the spatial shape that onto, {onto.spatial_shape}, leads to, {forward.out_shape}"
        )
        raise ValueError(expected(function, "x", wording, x.spatial_shape))
    _check_batch(function, x, onto)
    relation = forward.reversed()
    return _planned(function, plan, x, relation, onto) or between(x, onto, relation)


def between(x: Any, onto: Any, relation: Relation) -> KernelMap:
    """The map from the sites of ``x`` to those of ``onto``."""
    static = _kernels.Map(relation, x.batch_size)
    coords, sites = _kernels.kernel_map.align(x.coords, onto.coords)
    (inputs,) = _kernels.kernel_map(static, coords, sites)
    if relation.symmetric and onto.coords is x.coords:
        outputs = jnp.flip(inputs, axis=0)
    else:  # its own call, so that nothing is built where nobody looks at it
        (outputs,) = _kernels.kernel_map(
            static._replace(relation=relation.reversed()), sites, coords
        )
    return KernelMap(inputs, outputs, coords, x.count, sites, onto.count, relation, x.batch_size)


def _built(function, x, relation, capacity, onto, plan) -> KernelMap:
    if onto is not None:
        if capacity is not None:
            raise ValueError(expected(function, "capacity", "left out with onto", capacity))
        if onto.spatial_shape != relation.out_shape:
            wording = f"of the output's spatial shape, {relation.out_shape}"
            raise ValueError(expected(function, "onto", wording, onto.spatial_shape))
        _check_batch(function, x, onto)
    planned = _planned(function, plan, x, relation, onto)
    if planned is not None:
        if capacity is not None and capacity != planned.capacity:
            wording = f"left out with plan, or its own, {planned.capacity}"
            raise ValueError(expected(function, "capacity", wording, capacity))
        return planned
    if onto is None:
        onto = _sites.reached(function, x, relation, capacity)
    return between(x, onto, relation)


def _planned(function, plan, x, relation, onto=None) -> KernelMap | None:
    if plan is None:
        return None
    check_plan(function, plan, x, relation)
    if onto is not None and plan.coords.shape != onto.coords.shape:
        wording = f"onto {onto.coords.shape[0]} rows, those of onto"
        raise ValueError(expected(function, "plan", wording, f"{plan.coords.shape[0]} rows"))
    return plan


def _check_batch(function: str, x: Any, onto: Any) -> None:
    if onto.batch_size != x.batch_size:
        wording = f"of batch_size {x.batch_size}, as x"
        raise ValueError(expected(function, "onto", wording, onto.batch_size))


__all__ = [
    "Sites",
    "between",
    "conv_map",
    "onto_map",
    "pool_map",
    "submanifold_map",
    "transposed_map",
]
