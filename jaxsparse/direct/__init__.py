"""Direct sparse convolution: every (batch element, channel) keeps its own voxels, and the filters are sparse too."""

from jaxsparse.direct.add import add
from jaxsparse.direct.avg_pool import avg_pool
from jaxsparse.direct.batch_norm import BatchStatistics, batch_norm, batch_statistics
from jaxsparse.direct.concat import concat
from jaxsparse.direct.conv import ConvWorkspace, conv, conv_workspace
from jaxsparse.direct.dropout import dropout
from jaxsparse.direct.global_pool import global_avg_pool, global_max_pool
from jaxsparse.direct.leaky_relu import leaky_relu
from jaxsparse.direct.max_pool import max_pool
from jaxsparse.direct.relu import relu
from jaxsparse.direct.tensor import SparseTensor
from jaxsparse.direct.unpool import unpool

__all__ = [
    "BatchStatistics",
    "ConvWorkspace",
    "SparseTensor",
    "add",
    "avg_pool",
    "batch_norm",
    "batch_statistics",
    "concat",
    "conv",
    "conv_workspace",
    "dropout",
    "global_avg_pool",
    "global_max_pool",
    "leaky_relu",
    "max_pool",
    "relu",
    "unpool",
]
