"""Block-sparse convolution: a mask chooses tiles of a dense map, and only those are computed."""

from jaxsparse.block.conv import conv
from jaxsparse.block.gather import gather
from jaxsparse.block.geometry import Geometry, Tiling, geometry
from jaxsparse.block.indices import BlockIndices
from jaxsparse.block.inside import inside
from jaxsparse.block.reduce_mask import reduce_mask
from jaxsparse.block.scatter import scatter, scatter_add
from jaxsparse.block.split import split
from jaxsparse.block.tune import Tuned, tune

__all__ = [
    "BlockIndices",
    "Geometry",
    "Tiling",
    "Tuned",
    "conv",
    "gather",
    "geometry",
    "inside",
    "reduce_mask",
    "scatter",
    "scatter_add",
    "split",
    "tune",
]
