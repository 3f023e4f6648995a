"""The runner: trains the library's networks from typed configurations and measures the library against its peers.

``python -m experiments --help``. Nothing here is imported by the library.
"""
