"""These tests run where the emulated kernels are: `make cuda-emulation`."""

from tests import emulation

collect_ignore_glob = [] if emulation.PATH else ["test_*.py"]
