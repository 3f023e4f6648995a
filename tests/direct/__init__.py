"""Tests of `jaxsparse.direct`."""
