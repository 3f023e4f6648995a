"""Networks of the literature, built from :mod:`jaxsparse.nn`."""

from jaxsparse.models.octnet3 import OctNet3, octnet3_24

__all__ = ["OctNet3", "octnet3_24"]
