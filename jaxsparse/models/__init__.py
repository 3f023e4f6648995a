"""Networks of the literature, built from :mod:`jaxsparse.nn`."""

from jaxsparse.models.block_detector import BlockDetector
from jaxsparse.models.octnet3 import OctNet3, octnet3_24
from jaxsparse.models.octnet3_table import DENSITIES as OCTNET3_DENSITIES
from jaxsparse.models.pspnet import PSPNet

__all__ = ["OCTNET3_DENSITIES", "BlockDetector", "OctNet3", "PSPNet", "octnet3_24"]
