"""A plugin of pytest: every kernel of the session is an emulated CUDA kernel. See tests/emulation.py."""

from tests import emulation

_session = emulation.emulated()
_session.__enter__()
