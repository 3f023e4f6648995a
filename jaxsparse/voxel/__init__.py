"""Spatially sparse convolution: sites that are active for all channels or not at all, and the ground state of the rest."""

from jaxsparse.voxel.activations import apply, leaky_relu, relu
from jaxsparse.voxel.avg_pool import avg_pool, sum_pool
from jaxsparse.voxel.batch_norm import BatchStatistics, batch_norm, batch_statistics
from jaxsparse.voxel.conv import conv
from jaxsparse.voxel.conv_transpose import conv_transpose
from jaxsparse.voxel.devoxelize import devoxelize
from jaxsparse.voxel.dropout import dropout
from jaxsparse.voxel.global_pool import global_avg_pool, global_max_pool
from jaxsparse.voxel.interop import kernel_from_spconv, kernel_to_spconv
from jaxsparse.voxel.inverse_conv import inverse_conv
from jaxsparse.voxel.kernel_map import KernelMap
from jaxsparse.voxel.layer_norm import instance_norm, layer_norm
from jaxsparse.voxel.max_pool import max_pool
from jaxsparse.voxel.merging import add, concat
from jaxsparse.voxel.plan import Layer, plan
from jaxsparse.voxel.split import split
from jaxsparse.voxel.submanifold_conv import submanifold_conv
from jaxsparse.voxel.tensor import VoxelTensor
from jaxsparse.voxel.unpool import unpool
from jaxsparse.voxel.voxelize import Voxelized, voxelize

__all__ = [
    "BatchStatistics",
    "KernelMap",
    "Layer",
    "VoxelTensor",
    "Voxelized",
    "add",
    "apply",
    "avg_pool",
    "batch_norm",
    "batch_statistics",
    "concat",
    "conv",
    "conv_transpose",
    "devoxelize",
    "dropout",
    "global_avg_pool",
    "global_max_pool",
    "instance_norm",
    "inverse_conv",
    "kernel_from_spconv",
    "kernel_to_spconv",
    "layer_norm",
    "leaky_relu",
    "max_pool",
    "plan",
    "relu",
    "split",
    "submanifold_conv",
    "sum_pool",
    "unpool",
    "voxelize",
]
