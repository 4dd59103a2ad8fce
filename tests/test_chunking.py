"""Bytes are cut where they say so: quickly, at the same places wherever they have moved to, and never too far apart."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkeep.chunking import LONGEST, _apart, content_pieces, cut, half_window, local_maxima

NOISE = np.random.default_rng(11).bytes(1 << 20)
H = 64


def filler(run: bytes) -> Callable[[int, memoryview], None]:
    def fill(start: int, target: memoryview) -> None:
        target[:] = run[start : start + len(target)]

    return fill


def pieces_of(run: bytes, h: int = H, batch: int = 1 << 23) -> list[bytes]:
    return [bytes(piece) for pieces in content_pieces(filler(run), len(run), h, batch=batch) for piece in pieces]


def cuts_of(run: bytes, h: int = H) -> list[int]:
    return list(accumulate(map(len, pieces_of(run, h))))


def noisy(lengths: st.SearchStrategy[int], letters: int) -> st.SearchStrategy[bytes]:
    """Runs of so many different letters."""
    seeds = st.integers(0, 2**32 - 1)
    return st.builds(
        lambda length, seed: np.random.default_rng(seed).integers(0, letters, length, np.uint8).tobytes(),
        lengths,
        seeds,
    )


RUNS = st.sampled_from([1, 2, 3, 16, 256]).flatmap(lambda letters: noisy(st.integers(0, 3000), letters))
PERIODIC = st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=40), st.integers(1, 200))

# -- local maxima --------------------------------------------------------------------------------------------------


def mixed(run: bytes) -> list[int]:
    return [int.from_bytes(run[at : at + 4], "little") * 0x9E3779B1 % 2**32 for at in range(len(run) - 3)]


def by_definition(run: bytes, h: int) -> list[int]:
    words = mixed(run)
    return [
        place
        for place in range(h, len(words) - h)
        if words[place] > max(words[place - h : place]) and words[place] >= max(words[place + 1 : place + h + 1])
    ]


@given(RUNS | PERIODIC, st.integers(3, 90))
@settings(deadline=None, max_examples=400)
def test_local_maxima_are_what_their_definition_says(run: bytes, h: int) -> None:
    assert local_maxima(run, h) == by_definition(run, h)


@pytest.mark.parametrize("h", [700, 4096, 32 * 1024])
def test_local_maxima_of_long_runs_are_what_their_definition_says(h: int) -> None:
    run = NOISE[:300_001]
    words = np.array(mixed(run), "u8")
    found = local_maxima(run, h)
    assert found
    for place in found:
        window = words[place - h : place + h + 1]
        assert window.size == 2 * h + 1
        assert window.argmax() == h
    free = set(range(h, len(words) - h)) - {near for place in found for near in range(place - h, place + h + 1)}
    assert [at for at in free if words[at - h : at + h + 1].argmax() == h] == []


def test_of_equal_words_the_leftmost_is_the_maximum() -> None:
    top = max(range(256), key=lambda byte: byte * 0x01010101 * 0x9E3779B1 % 2**32)
    run = bytes(40) + bytes([top]) * 8 + bytes(40)
    (place,) = local_maxima(run, 20)
    words = mixed(run)
    assert words.count(max(words)) > 1 or words[place] == max(words)
    assert place == words.index(max(words))


def test_zeros_have_no_maximum() -> None:
    assert local_maxima(bytes(100_000), 100) == []


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda run: np.frombuffer(run, np.uint8)])
def test_maxima_are_found_in_any_kind_of_buffer(kind: Callable[[bytes], bytes]) -> None:
    assert local_maxima(kind(NOISE[:5000]), H) == by_definition(NOISE[:5000], H)


@pytest.mark.parametrize("shift", [0, 1, 1000, 4080, 4095])
def test_words_are_mixed_half_a_page_off_the_bytes_they_come_from(shift: int) -> None:
    run = np.zeros(9000, np.uint8)[shift:]
    memory = _apart(run, 5000)
    assert memory.nbytes == 5000
    assert memory.ctypes.data % 4 == 0
    assert 2048 - 16 < (memory.ctypes.data - run.ctypes.data) % 4096 <= 2048


def test_the_search_takes_little_memory() -> None:
    run = NOISE * 16
    tracemalloc.start()
    local_maxima(run, 32 * 1024)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20


# -- pieces --------------------------------------------------------------------------------------------------------


@given(RUNS | PERIODIC, st.integers(3, 90), st.integers(1, 700))
@settings(deadline=None, max_examples=300)
def test_the_pieces_in_order_are_the_run_however_it_is_read(run: bytes, h: int, batch: int) -> None:
    found = pieces_of(run, h, batch)
    assert b"".join(found) == run
    assert b"" not in found
    assert found == pieces_of(run, h)


def wanted(run: bytes, h: int) -> list[int]:
    """Where cuts must be: at the maxima, every 8 h bytes where there is none, at the end."""
    cuts, last = [], 0
    for place in [*by_definition(run, h), len(run)]:
        cuts += [*range(last + LONGEST * h, place, LONGEST * h), place]
        last = place
    return [place for place in cuts if place]


@given(RUNS | PERIODIC, st.integers(3, 90), st.integers(1, 700))
@settings(deadline=None, max_examples=300)
def test_cuts_are_at_the_maxima_and_as_far_apart_as_they_may_be_elsewhere(run: bytes, h: int, batch: int) -> None:
    assert list(accumulate(map(len, pieces_of(run, h, batch)))) == wanted(run, h)


@given(RUNS | PERIODIC, st.integers(3, 90))
@settings(deadline=None)
def test_pieces_are_neither_too_long_nor_too_many(run: bytes, h: int) -> None:
    lengths = list(map(len, pieces_of(run, h)))
    assert all(length <= LONGEST * h for length in lengths)
    assert len(lengths) <= 1 + len(run) / h
    for one, other in pairwise(lengths):  # no two short ones follow each other: the manifest stays small
        assert one + other > h


def test_pieces_of_noise_are_longer_than_the_half_window_and_about_twice_that_long() -> None:
    lengths = list(map(len, pieces_of(NOISE)))
    assert min(lengths[:-1]) > H
    assert 1.8 * H < sum(lengths) / len(lengths) < 2.2 * H


@pytest.mark.parametrize("length", [0, 1, H, 2 * H + 3])
def test_what_is_shorter_than_a_window_is_one_piece(length: int) -> None:
    assert pieces_of(NOISE[:length]) == [NOISE[:length]][:length]


def test_a_run_of_one_byte_is_cut_as_far_apart_as_may_be() -> None:
    for byte in (b"\0", b"a", b"\xff"):
        assert list(map(len, pieces_of(byte * 3000))) == [512, 512, 512, 512, 512, 440]


@given(st.binary(min_size=1, max_size=50), st.integers(0, 50))
@settings(deadline=None)
def test_a_periodic_run_has_no_more_cuts_than_its_ends_and_its_length_give(part: bytes, rest: int) -> None:
    run = (part * 200)[: 4000 + rest]
    lengths = list(map(len, pieces_of(run)))
    assert len(lengths) <= len(run) / (LONGEST * H) + 3


@given(st.integers(1, 60_000), st.binary(min_size=1, max_size=300), st.booleans())
@settings(deadline=None)
def test_a_change_anywhere_is_a_few_new_pieces(at: int, text: bytes, delete: bool) -> None:
    run = NOISE[:60_000]
    changed = run[:at] + (run[at + len(text) :] if delete else text + run[at:])
    known = set(pieces_of(run))
    assert len([piece for piece in pieces_of(changed) if piece not in known]) <= 4 + len(text) // H


@given(st.integers(0, 3000), noisy(st.integers(1, 3000), 256))
@settings(deadline=None)
def test_appending_changes_the_end_alone(length: int, more: bytes) -> None:
    short, long = cuts_of(NOISE[:length]), cuts_of(NOISE[:length] + more)
    settled = [place for place in short if place < length - H - 3]
    assert long[: len(settled)] == settled


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 700))
@settings(deadline=None)
def test_noise_behind_zeros_is_in_step_at_its_first_maximum(zeros: int, more: int, length: int) -> None:
    # cuts without a maximum depend on where the last one was; those at maxima do not
    noise = NOISE[: 2000 + length]
    one, other = ({place - n for place in cuts_of(bytes(n) + noise) if place > n + H} for n in (zeros, zeros + more))
    maxima = set(by_definition(noise, H))
    assert maxima <= one
    assert maxima <= other


def test_every_byte_is_read_once_and_in_order() -> None:
    asked: list[tuple[int, int]] = []

    def fill(start: int, target: memoryview) -> None:
        assert not target.readonly
        asked.append((start, len(target)))
        target[:] = NOISE[start : start + len(target)]

    list(content_pieces(fill, 100_000, H, batch=7000))
    assert [start for start, _ in asked] == [0, *accumulate(length for _, length in asked)][:-1]
    assert sum(length for _, length in asked) == 100_000


def test_pieces_stay_what_they_are_when_later_ones_are_read() -> None:
    batches = list(content_pieces(filler(NOISE), len(NOISE), H, batch=7000))
    assert len(batches) > 100
    assert b"".join(piece for pieces in batches for piece in pieces) == NOISE


def test_little_more_than_a_batch_is_held() -> None:
    def zeros(_start: int, target: memoryview) -> None:
        target[:] = bytes(len(target))

    def noise(start: int, target: memoryview) -> None:
        target[:] = (NOISE * 2)[start % 1000 : start % 1000 + len(target)]

    for fill in (zeros, noise):
        tracemalloc.start()
        total = sum(len(p) for pieces in content_pieces(fill, 50 << 20, 4096, batch=1 << 20) for p in pieces)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert total == 50 << 20
        assert peak < 10 << 20  # two batches, what fill makes, and what is mixed


def test_an_error_of_the_source_is_passed_on() -> None:
    def broken(_start: int, _target: memoryview) -> None:
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        list(content_pieces(broken, 100, H))


def test_large_files_have_large_pieces() -> None:
    assert half_window(0) == half_window(256 * 1024 * 1024) == 32 * 1024
    assert half_window(256 * 1024 * 1024 + 1) == 128 * 1024


# -- what is not by content ------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=30)), st.integers(1, 20))
def test_a_stream_is_cut_every_so_many_bytes(buffers: list[bytes], size: int) -> None:
    whole = b"".join(buffers)
    found = [b"".join(part) for part in cut(buffers, size)]
    assert found == [whole[at : at + size] for at in range(0, len(whole), size)]


def test_importing_it_does_not_load_numpy() -> None:
    code = "import sys, modelkeep.chunking, modelkeep.splitters; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
