"""Flax NNX layers over the sparse containers.

Activations are :class:`jaxsparse.direct.SparseTensor`; the layers without parameters also take dense channels-last
arrays, so that one model definition serves a sparse network and its dense twin.
"""

from jaxsparse.nn.calibrate import calibrate
from jaxsparse.nn.direct_conv import DirectConv
from jaxsparse.nn.functions import max_pool, relu, to_dense
from jaxsparse.nn.masks import set_masks
from jaxsparse.nn.report import LayerReport, Report, report
from jaxsparse.nn.variables import Density, PruningMask

__all__ = [
    "Density",
    "DirectConv",
    "LayerReport",
    "PruningMask",
    "Report",
    "calibrate",
    "max_pool",
    "relu",
    "report",
    "set_masks",
    "to_dense",
]
