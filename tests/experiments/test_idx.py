"""The idx reader: what it reads, and what it refuses."""

import gzip
import hashlib
import http.server
import struct
import threading

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
    with pytest.raises(DataError, match=r"data\.root is no folder"):
        mnist.load_mnist(MnistConfig(kind="mnist", root=tmp_path / "nothing"))


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
        packed = gzip.compress(content, mtime=0)
        monkeypatch.setitem(mnist.ARCHIVES, name, hashlib.md5(packed).hexdigest())
        if name.startswith("train-images"):
            (tmp_path / f"{name}.gz").write_bytes(packed)
        else:
            (tmp_path / name).write_bytes(content)
    return tmp_path


def test_mnist_is_thresholded_and_cropped(tiny_mnist):
    whole = mnist.load_mnist(MnistConfig(kind="mnist", root=tiny_mnist, threshold=50))
    assert whole.train.images.shape == (6, 28, 28, 1)
    values = whole.train.images[whole.train.images > 0]
    assert values.min() == 50 and values.max() == 255
    pixels, labels = whole.train.gather(np.array([5, 0]))
    assert pixels.dtype == np.float32 and pixels.max() <= 1
    np.testing.assert_array_equal(pixels[1] * np.float32(255), whole.train.images[0])
    np.testing.assert_array_equal(labels, whole.train.labels[[5, 0]])
    raw = mnist.load_mnist(MnistConfig(kind="mnist", root=tiny_mnist, scale=1))
    np.testing.assert_array_equal(raw.train.gather(np.array([0]))[0][0], whole.train.images[0])
    crop = mnist.load_mnist(MnistConfig(kind="mnist", root=tiny_mnist, image_size=24))
    np.testing.assert_array_equal(crop.test.images, whole.test.images[:, 2:26, 2:26])


def test_another_file_of_the_right_shape_is_refused(tiny_mnist):
    path = tiny_mnist / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx_bytes(np.zeros(6, np.uint8)))
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte is corrupt: MD5"):
        mnist.load_mnist(MnistConfig(kind="mnist", root=tiny_mnist))


@pytest.fixture
def mirror(tiny_mnist, monkeypatch):
    """A server on this machine with the four archives; ``mirror / name`` is what it sends."""
    folder = tiny_mnist / "mirror"
    folder.mkdir()
    for name in mnist.FILES:
        plain, packed = tiny_mnist / name, tiny_mnist / f"{name}.gz"
        content = (
            packed.read_bytes() if packed.exists() else gzip.compress(plain.read_bytes(), mtime=0)
        )
        (folder / f"{name}.gz").write_bytes(content)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setattr(mnist, "MIRROR", f"http://127.0.0.1:{server.server_port}/")
        yield folder
        server.shutdown()
        thread.join()


def test_absent_files_are_downloaded_once(mirror, tiny_mnist, tmp_path, monkeypatch):
    expected = mnist.load_mnist(MnistConfig(kind="mnist", root=tiny_mnist)).train.images
    monkeypatch.setenv("JAXSPARSE_CACHE", str(tmp_path / "cache"))
    found = mnist.load_mnist(MnistConfig(kind="mnist")).train.images
    np.testing.assert_array_equal(found, expected)

    for archive in mirror.iterdir():
        archive.unlink()
    mnist.load_mnist(MnistConfig(kind="mnist"))  # from the cache
    (tiny_mnist / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(
        DataError, match=r"has no t10k-labels-idx1-ubyte\.gz, and .* failed \(HTTPError"
    ):
        mnist.load_mnist(MnistConfig(kind="mnist", root=tiny_mnist))


def test_a_file_missing_in_root_is_downloaded_there(mirror, tiny_mnist):
    (tiny_mnist / "t10k-labels-idx1-ubyte").unlink()
    mnist.load_mnist(MnistConfig(kind="mnist", root=tiny_mnist))
    assert (tiny_mnist / "t10k-labels-idx1-ubyte.gz").exists()


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:30] + b"x" + b[31:]])
def test_damaged_downloads_are_refused_and_not_kept(mirror, tmp_path, monkeypatch, damage):
    monkeypatch.setenv("JAXSPARSE_CACHE", str(tmp_path / "cache"))
    archive = mirror / "train-labels-idx1-ubyte.gz"
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz, and .* does not match"):
        mnist.load_mnist(MnistConfig(kind="mnist"))
    names = {path.name for path in (tmp_path / "cache" / "mnist").iterdir()}
    assert names == {"train-images-idx3-ubyte.gz"}


def test_without_a_network_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "MIRROR", "http://127.0.0.1:9/")
    with pytest.raises(DataError, match=r"ConnectionError.*Offline\? Then put .* data\.root=DIR"):
        mnist.load_mnist(MnistConfig(kind="mnist", root=tmp_path))


def test_published_checksums():
    """The archives that LeCun & Cortes published and the plain files in them are two lists of four."""
    assert set(mnist.FILES) == set(mnist.ARCHIVES)
    digests = [*mnist.FILES.values(), *mnist.ARCHIVES.values()]
    assert len(set(digests)) == 8 and all(len(digest) == 32 for digest in digests)
