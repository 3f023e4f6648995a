"""Tests of jaxsparse; they mirror the library's folders.  `oracle.py` is the specification in NumPy."""
