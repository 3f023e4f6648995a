"""The search for a block size: what is timed, what is chosen, what is remembered."""

import importlib
import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import block
from jaxsparse._core import disk_cache

tuning = importlib.import_module("jaxsparse.block.tune")  # the package's name is the function

SHAPE = (20, 24)
MASK = np.zeros((1, *SHAPE), np.float32)
MASK[0, 4:9, 3:12] = 1
IMAGE, KERNEL = jnp.ones((1, *SHAPE, 2)), jnp.ones((3, 3, 2, 2))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSPARSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tune"


def layer(blocks, image, kernel):
    return block.conv(image, kernel, blocks=blocks)


def search(mask=MASK, run=layer, **arguments):
    arguments = {"kernel_sizes": 3, "block_sizes": (5, (8, 10), 12)} | arguments
    return block.tune(run, mask, IMAGE, KERNEL, **arguments)


@pytest.fixture
def timed(monkeypatch):
    """Times that are made up; what was timed."""
    programs = []

    def measure(lowered, arguments, donated, repeats):
        programs.append([program.as_text() for program in lowered])
        return [3.0, 1.0, 2.0, *[9.0] * 20][: len(lowered)]

    monkeypatch.setattr(tuning, "_measure", measure)
    return programs


def test_it_measures(cache):
    found = search(repeats=2)
    assert list(found.seconds) == [(5, 5), (8, 10), (12, 12)] and not found.remembered
    assert all(0 < t < 60 for t in found.seconds.values())
    assert found.seconds[found.geometry.block_size] == min(found.seconds.values())
    assert search(repeats=2).seconds == found.seconds


def test_a_donated_operand_is_written_in_place_and_stays_whole(cache):
    base = jnp.zeros((1, *SHAPE, 2))

    def onto(blocks, image, kernel, base):
        return block.conv(image, kernel, blocks=blocks, base=base)

    arguments = {"kernel_sizes": 3, "block_sizes": (5, 8), "repeats": 2}
    found = block.tune(onto, MASK, IMAGE, KERNEL, base, donate_argnums=(2,), **arguments)
    assert not found.remembered and len(found.seconds) == 2
    np.testing.assert_array_equal(base, 0)
    # Another program: without donation the base is copied.
    assert not block.tune(onto, MASK, IMAGE, KERNEL, base, **arguments).remembered


def test_the_fastest_is_chosen_with_room_for_its_blocks(cache, timed):
    found = search()
    assert found.geometry == block.geometry(SHAPE, (8, 10), kernel_sizes=3)
    blocks = block.reduce_mask(MASK, found.geometry, capacity=found.capacity)
    assert 0 < int(blocks.count) <= found.capacity <= int(blocks.count) * 9 / 8 + 1


def test_mask_reduction_is_part_of_what_is_timed(cache, timed):
    search()
    for text in timed[0]:
        assert "jaxsparse_block_reduce_mask" in text and "jaxsparse_block_scatter" in text


def test_times_are_remembered_for_the_same_program_alone(cache, timed):
    first = search()
    again = search()
    assert len(timed) == 1 and again.remembered and not first.remembered
    assert again.seconds == first.seconds and again.geometry == first.geometry
    search(run=lambda blocks, image, kernel: layer(blocks, image, 2 * kernel))
    search(block_sizes=(5, 12))
    search(mask=MASK > 0)
    search(mask=np.ones_like(MASK))  # more blocks, other capacities
    assert len(timed) == 5
    assert len(list(cache.iterdir())) == 5


@pytest.mark.parametrize("text", ["", "[1.0]", '{"a": 1}', "[0.0, 1.0, 2.0]", '["a", "b", "c"]'])
def test_a_file_that_makes_no_sense_is_written_again(cache, timed, text):
    search()
    (file,) = cache.iterdir()
    file.write_text(text)
    assert not search().remembered
    assert json.loads(file.read_text()) == [3.0, 1.0, 2.0]


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch, timed):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JAXSPARSE_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="set JAXSPARSE_CACHE"):
        assert search().geometry.block_size == (8, 10)


def test_sizes_that_nobody_named_fit_the_image(cache, timed):
    found = search(block_sizes=None)
    assert [size[0] for size in found.seconds] == [5, 7, 9, 11, 13, 17, 21, 25]
    strided = search(
        block_sizes=None, strides=2,
        run=lambda blocks, image, kernel: block.conv(image, kernel, blocks=blocks, strides=2),
    )  # fmt: skip
    assert [size[0] for size in strided.seconds] == [7, 11, 15, 19, 23]


def test_a_mask_without_blocks(cache, timed):
    assert search(mask=np.zeros_like(MASK)).capacity == 1


def test_capacities_have_four_significant_bits():
    for count in (*range(200), 12345):
        room = tuning._roomy(count)
        assert max(count, 1) <= room <= max(count * 9 / 8, 1)
        assert room >> max(room.bit_length() - 4, 0) << max(room.bit_length() - 4, 0) == room


def test_the_folder_is_the_users_cache_folder(monkeypatch):
    monkeypatch.delenv("JAXSPARSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setattr("sys.platform", "linux")
    assert str(disk_cache.folder()) == "/somewhere/jaxsparse"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert str(disk_cache.folder()).endswith(".cache/jaxsparse")
