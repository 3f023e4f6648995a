"""Networks of the literature, built from :mod:`jaxsparse.nn`."""

from jaxsparse.models.octnet3 import OctNet3, octnet3_24
from jaxsparse.models.octnet3_table import DENSITIES as OCTNET3_DENSITIES

__all__ = ["OCTNET3_DENSITIES", "OctNet3", "octnet3_24"]
