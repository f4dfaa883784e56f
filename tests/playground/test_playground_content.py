"""Contents: the same bytes at the same place, always, at any size."""

import hashlib
import tracemalloc

import pytest

from playground.content import BLOCK, Bytes, File, Resized, Synthetic, chunks, sha256, text

GIB = 1 << 30


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 1), (0, 3 * BLOCK), (BLOCK - 1, 2), (BLOCK, BLOCK), (5, 200_000), (2 * BLOCK + 17, 10**9)],
)
def test_any_slice_of_a_computed_object_equals_the_same_slice_of_the_whole(offset, length):
    content = Synthetic("seed", 3 * BLOCK + 123)
    whole = content.read(0, content.size)
    assert content.read(offset, length) == whole[offset : offset + length]


def test_reading_past_the_end_gives_nothing():
    assert Synthetic("seed", 100).read(100, 5) == b""


def test_no_two_blocks_of_an_object_are_equal_so_a_shifted_resume_is_seen():
    content = Synthetic("seed", 64 * BLOCK)
    blocks = {content.read(number * BLOCK, BLOCK) for number in range(64)}
    assert len(blocks) == 64


def test_objects_of_different_seeds_differ_in_the_middle_of_a_block_so_a_mixed_file_is_seen():
    first, second = Synthetic("one", BLOCK).read(100, 1000), Synthetic("two", BLOCK).read(100, 1000)
    equal = sum(a == b for a, b in zip(first, second, strict=True))
    assert equal < 30  # of 1000 random bytes about four are equal by chance


def test_a_smaller_object_of_a_seed_is_the_beginning_of_the_larger_one():
    assert Synthetic("s", 5 * BLOCK).read(0, 1000) == Synthetic("s", 1000).read(0, 1000)


def test_the_end_of_a_gibibyte_costs_no_gibibyte():
    tracemalloc.start()
    tail = Synthetic("large", GIB).read(GIB - 10, 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(tail) == 10
    assert peak < 4 * 1024 * 1024


def test_the_digest_is_that_of_the_bytes():
    content = Synthetic("digest", 2 * BLOCK + 1)
    assert sha256(content) == hashlib.sha256(b"".join(chunks(content))).hexdigest()


def test_the_version_changes_with_the_bytes_and_only_then(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    before = File(path).version
    assert File(path).version == before
    path.write_bytes(b"three")
    assert File(path).version != before
    assert text("a").version == Bytes(b"a").version != text("b").version
    assert (
        len({Synthetic("a", 1).version, Synthetic("b", 1).version, Synthetic("a", 2).version}) == 3
    )


def test_a_file_is_read_from_any_offset(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert File(path).read(3, 4) == b"3456"


def test_a_resized_content_is_cut_or_continued_with_zeros():
    assert Resized(Bytes(b"abc"), 2).read(0, 10) == b"ab"
    assert Resized(Bytes(b"abc"), 5).read(2, 10) == b"c\0\0"
