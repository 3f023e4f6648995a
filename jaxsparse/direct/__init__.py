"""Direct sparse convolution: every (batch element, channel) keeps its own voxels, and the filters are sparse too."""

from jaxsparse.direct.conv import ConvWorkspace, conv, conv_workspace
from jaxsparse.direct.max_pool import max_pool
from jaxsparse.direct.relu import relu
from jaxsparse.direct.tensor import SparseTensor

__all__ = ["ConvWorkspace", "SparseTensor", "conv", "conv_workspace", "max_pool", "relu"]
