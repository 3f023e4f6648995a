"""Every row of the table of arguments, and the page that is written from it."""

import dataclasses
import inspect
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

import jaxsparse
import xla_kernels
from jaxsparse import block, direct, models, nn, optim, voxel
from jaxsparse.direct import SparseTensor
from tests.argument_rows import Refused, container
from tests.argument_table import TABLE, page

pytestmark = [pytest.mark.core, pytest.mark.asan]


# Where an error does not name the function itself.
SPEAKERS = {
    "block.tune": ("tune", "geometry", "reduce_mask", "conv", "gather"),
    "nn.compact": ("compact", "conv"),
    "nn.DirectConv.__call__": ("DirectConv", "conv"),
    "nn.BatchNorm.__call__": ("BatchNorm", "batch_norm", "batch_statistics"),
    "nn.Dropout.__call__": ("Dropout", "dropout"),
    "nn.BlockConv.__call__": ("BlockConv", "conv"),
    "nn.BlockConv.on_windows": ("BlockConv", "conv"),
    "nn.BlockBatchNorm.__call__": ("BlockBatchNorm",),
    "nn.BlockResidualUnit": ("BlockResidualUnit", "BlockConv"),
    "nn.BlockResidualUnit.__call__": ("BlockResidualUnit",),
    "models.BlockDetector": ("BlockDetector", "BlockConv", "BlockResidualUnit"),
    "models.BlockDetector.__call__": ("BlockDetector",),
    "models.BlockDetector.blocks": ("BlockDetector", "resize_mask"),
    "models.BlockDetector.densities": ("densities", "resize_mask", "BlockDetector"),
    "models.BlockDetector.geometries": ("BlockDetector",),
    "models.PSPNet.__call__": ("PSPNet",),
    "models.OctNet3.__call__": ("OctNet3",),
    "models.OctNet3.activations": ("OctNet3",),
    "models.OctNet3.head": ("OctNet3", "to_dense"),
    "models.octnet3_24": ("octnet3_24", "OctNet3"),
    "models.S3DCNN": ("S3DCNN", "VoxelConv"),
    "models.VoxelResNet": ("VoxelResNet", "VoxelSubmanifoldConv"),
    "models.VoxelUNet": ("VoxelUNet", "VoxelSubmanifoldConv"),
    "nn.VoxelConv.__call__": ("VoxelConv", "conv"),
    "nn.VoxelSubmanifoldConv.__call__": ("VoxelSubmanifoldConv", "submanifold_conv"),
    "nn.VoxelConvTranspose.__call__": ("VoxelConvTranspose", "conv_transpose"),
    "nn.VoxelInverseConv.__call__": ("VoxelInverseConv", "inverse_conv"),
    "nn.VoxelMaxPool.__call__": ("VoxelMaxPool", "max_pool"),
    "nn.LayerNorm.__call__": ("LayerNorm",),
    "nn.InstanceNorm.__call__": ("InstanceNorm",),
    "models.S3DCNN.__call__": ("S3DCNN",),
    "models.S3DCNN.embed": ("S3DCNN",),
    "models.S3DCNN.activations": ("S3DCNN",),
    "models.VoxelResNet.__call__": ("VoxelResNet",),
    "models.VoxelResNet.stages": ("VoxelResNet",),
    "models.VoxelUNet.__call__": ("VoxelUNet",),
    "optim.warning_shot_pruning.update": ("warning_shot_pruning",),
    "optim.adaptive_density_decay.update": ("adaptive_density_decay",),
}


def name_of(row):
    return f"{row.function}-{row.argument}-{row.given}".replace(" ", "_")


@pytest.mark.parametrize("row", TABLE, ids=name_of)
def test_row(row):
    if not isinstance(row.outcome, Refused):
        assert row.outcome.holds(row.call())
        return
    with pytest.raises(row.outcome.error) as caught:
        row.call()
    message = str(caught.value)
    assert row.outcome.says in message
    # who says it, of which argument; the sentence ends with what came
    speakers = SPEAKERS.get(row.function, (row.function.split(".")[-1],))
    assert message.startswith(tuple(f"{name}: " for name in speakers))
    assert ", got " in message or "do not fit" in message


def public_functions():
    """Name and parameters of everything in `direct` that takes arguments to check."""
    for name in direct.__all__:
        if inspect.isfunction(getattr(direct, name)):
            yield name, set(inspect.signature(getattr(direct, name)).parameters)
    for name, _ in inspect.getmembers(SparseTensor, callable):
        if not name.startswith("_") and name not in ("replace", "coords"):
            parameters = set(inspect.signature(getattr(SparseTensor, name)).parameters)
            if name == "validate":
                parameters = {"keys", "values", "nnz", "spatial_shape"}
            yield f"SparseTensor.{name}", parameters
    for name in block.__all__:
        if inspect.isfunction(getattr(block, name)):
            yield f"block.{name}", set(inspect.signature(getattr(block, name)).parameters)
    yield "block.Geometry", {"grid", "levels"}
    yield "block.Geometry.regular", set(inspect.signature(block.Geometry.regular).parameters)
    lists = block.BlockIndices
    yield "block.BlockIndices.from_indices", set(inspect.signature(lists.from_indices).parameters)
    yield "block.BlockIndices.validate", {"indices", "count", "geometry", "batch_size"}
    for name in voxel.__all__:
        if inspect.isfunction(getattr(voxel, name)):
            yield f"voxel.{name}", set(inspect.signature(getattr(voxel, name)).parameters)
    for name in ("from_coords", "from_dense", "to_dense"):
        made = getattr(voxel.VoxelTensor, name)
        yield f"voxel.VoxelTensor.{name}", set(inspect.signature(made).parameters)
    fields = {"coords", "features", "count", "batch_size", "spatial_shape", "background"}
    yield "voxel.VoxelTensor.validate", fields
    for module, prefix in ((nn, "nn."), (models, "models."), (optim, "optim.")):
        for name in module.__all__:
            public = getattr(module, name)
            if inspect.isfunction(public):
                yield prefix + name, set(inspect.signature(public).parameters)
                continue
            if not callable(public) or dataclasses.is_dataclass(public):  # data
                continue
            if issubclass(public, tuple):  # the state of a transformation
                continue
            if issubclass(public, nnx.Variable):  # flax's own but for its name
                assert "__init__" not in vars(public)
                yield prefix + name, {"value", "metadata"}
                continue
            if "__init__" in vars(public):  # else it is flax's own
                yield prefix + name, parameters_of(public, "__init__")
            for method, function in vars(public).items():
                if inspect.isfunction(function) and (method[0] != "_" or method == "__call__"):
                    yield f"{prefix}{name}.{method}", parameters_of(public, method)
    yield "xla_kernels.workspace_bytes", {"op", "sizes"}


def parameters_of(cls, method):
    return set(inspect.signature(getattr(cls, method)).parameters) - {"self"}


def test_what_else_is_public_takes_no_arguments():
    for name in set(xla_kernels.__all__) - {"Backend", "workspace_bytes"}:
        assert not inspect.signature(getattr(xla_kernels, name)).parameters
    assert set(inspect.signature(xla_kernels.workspace_bytes).parameters) == {"op", "sizes"}
    assert not inspect.signature(jaxsparse.export_checks).parameters


@pytest.mark.parametrize("function, parameters", list(public_functions()))
def test_every_argument_of_every_public_function_has_rows(function, parameters):
    assert parameters == {row.argument for row in TABLE if row.function == function}


def test_the_page_is_current():
    committed = Path(__file__).parents[2] / "docs" / "arguments.md"
    assert committed.read_text() == page(), "python -m tests.argument_table > docs/arguments.md"


def test_shapes_are_checked_at_trace_time():
    x = container()
    with pytest.raises(ValueError, match="kernel"):
        jax.eval_shape(lambda x: direct.conv(x, np.ones((3, 3, 9, 4), np.float32)), x)
    with pytest.raises(TypeError, match="dtype"):
        jax.eval_shape(lambda x: direct.conv(x, np.ones((3, 3, 2, 4), np.float16)), x)


def test_a_platform_without_kernels_is_named_at_lowering():
    with pytest.raises(NotImplementedError, match="tpu"):
        jax.jit(direct.relu).trace(container()).lower(lowering_platforms=("tpu",))
