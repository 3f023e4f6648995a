"""These tests run where CUDA kernels are, emulated (`make cuda-emulation`) or on a GPU (`make gpu-check`)."""

from tests import emulation

collect_ignore_glob = [] if emulation.PATH or emulation.GPU else ["test_*.py"]
