"""Flax NNX layers over the sparse containers.

Activations are :class:`jaxsparse.direct.SparseTensor` or :class:`jaxsparse.voxel.VoxelTensor`; the layers other than convolution
also take dense channels-last arrays, so that one model definition serves a sparse network and its dense twin. The ``Voxel``
layers take ``VoxelTensor`` only. The ``Block`` layers take dense maps and a
:class:`jaxsparse.block.BlockIndices`; without one they are their own dense twins.
"""

from jaxsparse.nn.batch_norm import BatchNorm
from jaxsparse.nn.block_batch_norm import BlockBatchNorm
from jaxsparse.nn.block_conv import BlockConv
from jaxsparse.nn.block_residual_unit import BlockResidualUnit
from jaxsparse.nn.bridges import to_sparse_tensor, to_voxel_tensor
from jaxsparse.nn.calibrate import calibrate
from jaxsparse.nn.compact import compact
from jaxsparse.nn.densities import densities
from jaxsparse.nn.direct_conv import DirectConv
from jaxsparse.nn.dropout import Dropout
from jaxsparse.nn.functions import relu, to_dense
from jaxsparse.nn.leaky_relu import leaky_relu
from jaxsparse.nn.masks import set_masks
from jaxsparse.nn.merging import add, concat
from jaxsparse.nn.pooling import avg_pool, global_avg_pool, global_max_pool, max_pool, unpool
from jaxsparse.nn.report import LayerReport, Report, report
from jaxsparse.nn.resize_mask import resize_mask
from jaxsparse.nn.straight_through import straight_through_mask
from jaxsparse.nn.variables import Density, PruningMask
from jaxsparse.nn.voxel_conv import VoxelConv, VoxelSubmanifoldConv
from jaxsparse.nn.voxel_conv_transpose import VoxelConvTranspose, VoxelInverseConv
from jaxsparse.nn.voxel_norms import InstanceNorm, LayerNorm
from jaxsparse.nn.voxel_plan import voxel_plan
from jaxsparse.nn.voxel_pool import VoxelMaxPool

__all__ = [
    "BatchNorm",
    "BlockBatchNorm",
    "BlockConv",
    "BlockResidualUnit",
    "Density",
    "DirectConv",
    "Dropout",
    "InstanceNorm",
    "LayerNorm",
    "LayerReport",
    "PruningMask",
    "Report",
    "VoxelConv",
    "VoxelConvTranspose",
    "VoxelInverseConv",
    "VoxelMaxPool",
    "VoxelSubmanifoldConv",
    "add",
    "avg_pool",
    "calibrate",
    "compact",
    "concat",
    "densities",
    "global_avg_pool",
    "global_max_pool",
    "leaky_relu",
    "max_pool",
    "relu",
    "report",
    "resize_mask",
    "set_masks",
    "straight_through_mask",
    "to_dense",
    "to_sparse_tensor",
    "to_voxel_tensor",
    "unpool",
    "voxel_plan",
]
