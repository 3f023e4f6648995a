"""The idx reader: what it reads, and what it refuses."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from experiments.config import MnistConfig
from experiments.data import mnist
from experiments.data.idx import read_idx
from experiments.errors import DataError


def idx_bytes(array):
    codes = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    header = struct.pack(f">HBB{array.ndim}I", 0, codes[array.dtype.name], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(7,), (2, 3, 4), (0, 5)])
def test_round_trip(tmp_path, dtype, shape):
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    content = idx_bytes(array)
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(content))
    for name in ("plain", "packed.gz"):
        found = read_idx(tmp_path / name, hashlib.md5(content).hexdigest())
        np.testing.assert_array_equal(found, array)
        assert found.dtype == dtype


CONTENT = idx_bytes(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated: 0 bytes"),
        (CONTENT[:3], "truncated: 3 bytes"),
        (CONTENT[:10], "truncated: 10 bytes"),
        (CONTENT[:-1], "truncated: 75 bytes, its header asks for 76"),
        (CONTENT + b"x", "corrupt: 77 bytes, its header asks for 76"),
        (b"\x89PNG" + CONTENT, "no idx file: it starts with 89 50 4e 47"),
        (b"\x00\x00\x07\x01" + CONTENT, "no idx file"),
        (b"\x00\x00\x08\x00" + CONTENT, "no idx file"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, "truncated"),
        (CONTENT[:-1] + b"x", "corrupt: MD5"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    digest = hashlib.md5(CONTENT).hexdigest()
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(content))
    for name in ("plain", "packed.gz"):
        with pytest.raises(DataError, match=message) as error:
            read_idx(tmp_path / name, digest)
        assert name in str(error.value)


def test_damaged_gzip_streams_are_refused(tmp_path):
    packed = gzip.compress(CONTENT, mtime=0)
    path = tmp_path / "x.gz"
    for end in range(len(packed)):
        path.write_bytes(packed[:end])
        with pytest.raises(DataError, match=r"truncated|corrupt"):
            read_idx(path, hashlib.md5(CONTENT).hexdigest())
    for position in range(len(packed)):
        flipped = bytearray(packed)
        flipped[position] ^= 0x40
        path.write_bytes(flipped)
        try:
            found = read_idx(path, hashlib.md5(CONTENT).hexdigest())
        except DataError:
            continue
        assert found.tobytes() == CONTENT[16:]  # a bit of the gzip header that means nothing


def test_absent_files(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        read_idx(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"data\.root is not set"):
        mnist.load_mnist(MnistConfig(kind="mnist"))
    with pytest.raises(DataError, match=r"data\.root is no folder"):
        mnist.load_mnist(MnistConfig(kind="mnist", root=tmp_path / "nothing"))
    with pytest.raises(DataError, match="holds neither train-images-idx3-ubyte nor"):
        mnist.load_mnist(MnistConfig(kind="mnist", root=tmp_path))


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch):
    """Four little files in MNIST's layout, one of them gzipped, and their checksums in place of the real ones."""
    rng = np.random.default_rng(0)
    for name in mnist.FILES:
        shape = (6, 28, 28) if "images" in name else (6,)
        content = idx_bytes(
            rng.integers(0, 256 if "images" in name else 10, shape).astype(np.uint8)
        )
        monkeypatch.setitem(mnist.FILES, name, hashlib.md5(content).hexdigest())
        if name.startswith("train-images"):
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (tmp_path / name).write_bytes(content)
    return tmp_path


def test_mnist_is_thresholded_and_cropped(tiny_mnist):
    whole = mnist.load_mnist(MnistConfig(kind="mnist", root=tiny_mnist, threshold=50))
    assert whole.train.images.shape == (6, 28, 28, 1)
    values = whole.train.images[whole.train.images > 0]
    assert values.min() == 50 and values.max() == 255
    crop = mnist.load_mnist(MnistConfig(kind="mnist", root=tiny_mnist, image_size=24))
    np.testing.assert_array_equal(crop.test.images, whole.test.images[:, 2:26, 2:26])


def test_another_file_of_the_right_shape_is_refused(tiny_mnist):
    path = tiny_mnist / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx_bytes(np.zeros(6, np.uint8)))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte is corrupt: MD5"):
        mnist.load_mnist(MnistConfig(kind="mnist", root=tiny_mnist))
