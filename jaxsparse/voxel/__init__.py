"""Spatially sparse convolution: sites that are active for all channels or not at all, and the ground state of the rest."""

from jaxsparse.voxel.kernel_map import KernelMap
from jaxsparse.voxel.plan import Layer, plan
from jaxsparse.voxel.split import split
from jaxsparse.voxel.tensor import VoxelTensor

__all__ = ["KernelMap", "Layer", "VoxelTensor", "plan", "split"]
