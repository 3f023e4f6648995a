"""One call of an FFI target: the primitive that all kernels lower to.

It is ``jax.ffi.ffi_call``, but for two things that are settled at lowering, where the platform is known. The workspace, which
is the target's last result, has the size that this platform's kernel needs; the traced program does not show it. And a
platform without kernels is an error that names it, where XLA would only miss a custom call target, once it compiles.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.api_util import shaped_abstractify
from jax.extend.core import Primitive
from jax.interpreters import mlir
from jax.sharding import NamedSharding, PartitionSpec

from jaxsparse._core.platforms import current, require_kernels

_call_p = Primitive("jaxsparse_call")
_call_p.multiple_results = True


def native_call(
    target: str,
    results: Sequence[jax.ShapeDtypeStruct],
    workspace: Mapping[str, int],
    attributes: Mapping[str, Any],
    *operands: jax.Array,
    in_place: Mapping[int, int] | None = None,
) -> tuple[jax.Array, ...]:
    """Calls a target; ``workspace`` has its bytes for each platform. Attributes are integers or lists of them.

    ``in_place``: operands, by number, whose memory a result takes over.
    """
    return tuple(
        _call_p.bind(
            *operands,
            target=target,
            results=tuple(map(_type, results)),
            workspace=tuple(workspace.items()),
            attributes=tuple(
                (name, x if isinstance(x, int) else tuple(x)) for name, x in attributes.items()
            ),
            in_place=tuple((in_place or {}).items()),
        )
    )


def _type(result: jax.ShapeDtypeStruct) -> Any:
    """The abstract value of a result: on the mesh of the context, as ``ffi_call`` makes it."""
    aval = shaped_abstractify(result).update(dtype=result.dtype)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or not aval.sharding.mesh.empty:
        return aval
    return aval.update(sharding=NamedSharding(mesh, PartitionSpec(*(None,) * aval.ndim)))


def _bound(attributes: Sequence[tuple[str, int | tuple[int, ...]]]) -> dict[str, Any]:
    """Attributes as the handlers bind them: int64, scalar or vector."""
    return {name: np.asarray(x, np.int64)[()] for name, x in attributes}


@_call_p.def_abstract_eval
def _abstract_eval(*operands, results, **_):
    return results


@_call_p.def_impl
def _impl(*operands, target, results, workspace, attributes, in_place):
    """Of arrays outside of any program, as under ``jax.disable_jit``."""
    types = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in results]
    types.append(jax.ShapeDtypeStruct((dict(workspace).get(current(), 0),), np.uint8))
    call = jax.ffi.ffi_call(target, types, input_output_aliases=dict(in_place))
    return call(*operands, **_bound(attributes))[:-1]


def _lower(context, *operands, target, results, workspace, attributes, in_place):
    platforms = context.platforms or context.module_context.platforms
    require_kernels(target, platforms, context.module_context.lowering_parameters.for_export)
    # A program for several platforms does not branch: it has the largest one.
    size = max(dict(workspace)[platform] for platform in platforms)
    scratch = shaped_abstractify(jax.ShapeDtypeStruct((size,), np.uint8))
    with_workspace = context.replace(avals_out=[*context.avals_out, scratch])
    lowering = jax.ffi.ffi_lowering(target, operand_output_aliases=dict(in_place))
    outputs = lowering(with_workspace, *operands, **_bound(attributes))
    return outputs[:-1]


mlir.register_lowering(_call_p, _lower)
