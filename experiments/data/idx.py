"""The idx format of the MNIST files, plain or gzipped."""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from experiments.errors import DataError

_TYPES = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


def read_idx(path: str | Path, md5: str | None = None) -> np.ndarray:
    """Reads an idx file.

    Args:
      path: the file; one that ends in ``.gz`` is decompressed.
      md5: hexadecimal digest that the *uncompressed* bytes must have (recompressing leaves it alone).

    Returns:
      The array, in the machine's byte order.

    Raises:
      DataError: the file is absent, truncated, corrupt, longer than its header says, or not the one ``md5`` names.

    Source: the format is described with the MNIST files (LeCun & Cortes).
    """
    content = _read(Path(path))
    array = _parse(Path(path), content)
    # After parsing: "truncated" says more than "wrong checksum".
    if md5 is not None:
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != md5:
            raise DataError(
                f"{path} is corrupt: MD5 of its uncompressed bytes is {found}, not {md5}"
            )
    return array


def _read(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except EOFError as error:
        raise DataError(f"{path} is truncated: its gzip stream ends early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is corrupt: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _parse(path: Path, content: bytes) -> np.ndarray:
    if len(content) < 4:
        raise DataError(f"{path} is truncated: {len(content)} bytes are no idx header")
    zero, kind, dims = struct.unpack(">HBB", content[:4])
    if zero != 0 or kind not in _TYPES or not 1 <= dims <= 8:
        raise DataError(f"{path} is no idx file: it starts with {content[:4].hex(' ')}")
    start = 4 + 4 * dims
    if len(content) < start:
        raise DataError(f"{path} is truncated: {len(content)} bytes are no idx header")
    shape = struct.unpack(f">{dims}I", content[4:start])
    dtype = _TYPES[kind]
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) < expected:
        raise DataError(
            f"{path} is truncated: {len(content)} bytes, its header asks for {expected}"
        )
    if len(content) > expected:
        raise DataError(f"{path} is corrupt: {len(content)} bytes, its header asks for {expected}")
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))
