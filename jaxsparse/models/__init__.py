"""Networks of the literature, built from :mod:`jaxsparse.nn`."""

from jaxsparse.models.block_detector import BlockDetector
from jaxsparse.models.octnet3 import OctNet3, octnet3_24
from jaxsparse.models.octnet3_table import DENSITIES as OCTNET3_DENSITIES
from jaxsparse.models.pspnet import PSPNet
from jaxsparse.models.s3dcnn import S3DCNN
from jaxsparse.models.s3dcnn_table import S3DCNN_DENSITIES
from jaxsparse.models.voxel_resnet import VOXEL_RESNET_SIZES, VoxelResNet
from jaxsparse.models.voxel_unet import VoxelUNet

__all__ = [
    "OCTNET3_DENSITIES",
    "S3DCNN",
    "S3DCNN_DENSITIES",
    "VOXEL_RESNET_SIZES",
    "BlockDetector",
    "OctNet3",
    "PSPNet",
    "VoxelResNet",
    "VoxelUNet",
    "octnet3_24",
]
