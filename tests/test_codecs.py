"""What is packed unpacks to the same bytes, as the format page says it; chains are added up and turned back once."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelkeep import zstd
from modelkeep.codecs import (
    PATCH,
    RAW,
    SAMPLE,
    WIDTHS,
    ZSTD,
    Link,
    form_against,
    pack,
    patch,
    plain_form,
    sample_span,
    unpack,
)

RNG = np.random.default_rng(7)
TURNED = [width for width in WIDTHS if width]
widths = st.sampled_from(WIDTHS)


# The format page in plain Python, step by step


def xored(data: bytes, base: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(data, base, strict=True))


def rotated(number: bytes) -> bytes:
    bits = f"{int.from_bytes(number, 'little'):0{8 * len(number)}b}"
    return int(bits[1:] + bits[0], 2).to_bytes(len(number), "little")


def turned(data: bytes, width: int, base: bytes | None = None) -> bytes:
    """What a frame holds."""
    data = data if base is None else xored(data, base)
    if not width:
        return data
    whole, word = len(data) // width * width, min(width, 8)
    numbers = b"".join(rotated(data[at : at + word]) for at in range(0, whole, word))
    return b"".join(numbers[place::width] for place in range(width)) + data[whole:]


@st.composite
def alike(draw: st.DrawFn, most: int = 5) -> list[bytes]:
    """One to *most* values of one length."""
    length = draw(st.integers(0, 70))
    return draw(st.lists(st.binary(min_size=length, max_size=length), min_size=1, max_size=most))


@given(alike(2), widths)
def test_a_frame_holds_what_the_format_page_says(values: list[bytes], width: int) -> None:
    data, base = values[0], values[1] if len(values) > 1 else None
    stored = pack(data, width=width, base=base)
    assert zstd.decompress(stored, len(data)) == turned(data, width, base)


def test_the_example_of_the_format_page_holds() -> None:
    assert turned(bytes.fromhex("0180ff7f05"), 2) == bytes.fromhex("03fe00ff05")
    assert zstd.decompress(pack(bytes.fromhex("0180ff7f05"), width=2), 5) == bytes.fromhex("03fe00ff05")


@given(alike(), st.lists(widths, min_size=5, max_size=5), st.sampled_from([RAW, ZSTD]))
@example([b"abc"] * 5, [0, 2, 4, 8, 16], RAW)
def test_a_chain_of_any_widths_unpacks_to_what_was_packed(values: list[bytes], chosen: list[int], codec: int) -> None:
    root, width = values[0], chosen[0]
    links = [Link(root) if codec == RAW else Link(pack(root, width=width), ZSTD, width)]
    assert bytes(unpack(links, len(root))) == root
    for below, value, width in zip(values, values[1:], chosen[1:], strict=False):
        links.insert(0, Link(pack(value, width=width, base=below), ZSTD, width))
        assert bytes(unpack(links, len(value))) == value


@given(
    st.lists(st.binary(min_size=8, max_size=300), min_size=2, max_size=5),
    st.lists(widths, min_size=5, max_size=5),
    st.data(),
)
def test_a_chain_of_patches_and_turned_pieces_in_any_order_unpacks(
    values: list[bytes], chosen: list[int], data: st.DataObject
) -> None:
    below, *others = values
    links = [Link(below)]
    for drawn, width in zip(others, chosen, strict=False):
        if data.draw(st.booleans()):
            value = below[3:] + drawn
            links.insert(0, Link(patch(value, below), PATCH, length=len(value)))
        else:
            value = bytes(one ^ 1 for one in below)
            links.insert(0, Link(pack(value, width=width, base=below), ZSTD, width, len(value)))
        assert bytes(unpack(links, len(value))) == value
        below = value


@given(st.binary(min_size=8, max_size=400), st.binary(max_size=400), st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_patch_is_an_error_or_other_bytes_of_that_length_and_never_more(
    base: bytes, value: bytes, at: int, flipped: int
) -> None:
    frame = bytearray(patch(value, base))
    frame[at % len(frame)] ^= flipped
    try:
        found = unpack([Link(bytes(frame), PATCH), Link(base)], len(value))
    except ValueError:
        return
    assert len(found) == len(value)


@pytest.mark.parametrize("cut", [slice(0, 0), slice(0, -1), slice(1, None)])
def test_a_patch_that_is_cut_or_has_no_base_to_speak_of_is_an_error(cut: slice) -> None:
    base, value = RNG.bytes(1000), RNG.bytes(100)
    frame = patch(value, base)
    with pytest.raises(ValueError, match=r"."):
        unpack([Link(frame[cut], PATCH), Link(base)], len(value))
    with pytest.raises(ValueError, match=r"."):
        unpack([Link(frame + b"x", PATCH), Link(base)], len(value))
    with pytest.raises(ValueError, match=r"."):
        unpack([Link(frame, PATCH), Link(b"short")], len(value))
    with pytest.raises(ValueError, match=r"."):
        unpack([Link(frame, PATCH), Link(base)], len(value) - 1)


@pytest.mark.parametrize("width", TURNED)
@pytest.mark.parametrize("length", [(1 << 20) + 5, 16 * (1 << 18) + 17, 0, 1])
def test_long_values_are_turned_in_parts_and_come_back_whole(width: int, length: int) -> None:
    values = [RNG.bytes(length) for _ in range(3)]
    links = [Link(values[0])]
    for below, value in pairwise(values):
        links.insert(0, Link(pack(value, width=width, base=below), ZSTD, width))
    assert bytes(unpack(links, length)) == values[2]


def test_what_is_unpacked_and_what_it_is_packed_from_stay_as_they_are() -> None:
    base, value = bytearray(RNG.bytes(100)), bytearray(RNG.bytes(100))
    before = bytes(base), bytes(value)
    stored = pack(value, width=4, base=base)
    for links in ([Link(stored, ZSTD, 4), Link(base)], [Link(value), Link(base)]):
        unpack(links, 100)
        pack(value, base=base)
        assert (bytes(base), bytes(value)) == before


def test_buffers_of_any_shape_and_place_are_packed() -> None:
    array = np.arange(24, dtype="<f4")
    for view in (memoryview(array.reshape(4, 6)), memoryview(b"x" + array.tobytes())[1:]):  # type: ignore[arg-type]
        stored = pack(view, width=4, base=view)
        assert zstd.decompress(stored, 96) == bytes(96)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("held", [b"", b"1234", b"123456", bytes(1 << 20)])
def test_frames_of_another_length_are_refused_wherever_they_stand(width: int, held: bytes) -> None:
    wrong, right = Link(pack(held, width=width), ZSTD, width), Link(pack(b"12345", width=width), ZSTD, width)
    for links in ([wrong], [wrong, right], [right, wrong], [right, Link(held)], [Link(held), right]):
        with pytest.raises(ValueError, match="belong there"):
            unpack(links, 5)


def test_what_is_no_frame_is_refused_wherever_it_stands() -> None:
    right = pack(b"12345", width=2)
    for wrong in (b"", b"12345", right[:-1], right + b"1"):
        for links in ([Link(wrong, ZSTD, 2)], [Link(right, ZSTD, 2), Link(wrong, ZSTD, 2)]):
            with pytest.raises(zstd.Error):
                unpack(links, 5)


def test_a_base_of_another_length_is_refused() -> None:
    for base in (b"", b"1", b"123456"):
        with pytest.raises(ValueError, match="does not turn 5"):
            pack(b"12345", base=base)
        with pytest.raises(ValueError, match="does not turn 5"):
            form_against(b"12345", base)


# The frames


def test_parts_make_one_frame_that_tells_its_length() -> None:
    stored = zstd.compress(b"a" * 1000, b"", b"b" * 500, settings="numbers")
    assert stored[:4] == bytes.fromhex("28b52ffd")
    size = {0: 1, 1: 2}[stored[4] >> 6]  # RFC 8878, 3.1.1.1: a single segment of 1,500 bytes, less 256
    assert int.from_bytes(stored[5 : 5 + size], "little") == 1500 - 256
    assert zstd.decompress(stored, 1500) == b"a" * 1000 + b"b" * 500


def test_a_thread_that_failed_to_pack_packs_again() -> None:
    holes = memoryview(b"123456")[::2]
    for parts in ([bytes(1000), holes], [holes]):
        with pytest.raises(BufferError):
            zstd.compress(*parts, settings="numbers")
        assert zstd.decompress(zstd.compress(b"1", b"2", settings="numbers"), 9) == b"12"


def test_threads_pack_side_by_side() -> None:
    values = [RNG.bytes(50_000) for _ in range(8)]
    found: dict[int, bytes] = {}

    def work(index: int) -> None:
        for _ in range(5):
            found[index] = pack(values[index], width=4)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [bytes(unpack([Link(found[index], ZSTD, 4)], 50_000)) for index in range(8)] == values


# Forms


def numbers(count: int, kind: str) -> bytes:
    values = RNG.standard_normal(count)
    if kind == "bf16":
        return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return values.astype(kind).tobytes()


@pytest.mark.parametrize(("kind", "width", "most"), [("<f4", 4, 0.85), ("bf16", 2, 0.68), ("<f8", 8, 0.89)])
def test_the_width_of_numbers_is_found_on_a_sample_that_tells_how_all_of_them_shrink(
    kind: str, width: int, most: float
) -> None:
    whole = numbers(1 << 19, kind)
    offset, length = sample_span(len(whole))
    form = plain_form(memoryview(whole)[offset : offset + length])
    assert form.width == width
    assert form.ratio < most
    assert form.ratio == pytest.approx(len(pack(whole, width=width)) / len(whole), rel=0.02)


@pytest.mark.parametrize(("kind", "width"), [("<f4", 4), ("<f8", 8)])
def test_numbers_that_moved_a_little_are_small_against_their_base(kind: str, width: int) -> None:
    base = np.frombuffer(numbers(8192, kind), kind)
    moved = (base + 1e-3 * RNG.standard_normal(8192)).astype(kind)
    form = form_against(moved.tobytes(), base.tobytes())
    assert form.width == width
    assert form.ratio < 0.9 * plain_form(moved.tobytes()).ratio
    assert form.ratio == pytest.approx(len(pack(moved.tobytes(), width=width, base=base.tobytes())) / base.nbytes)


@pytest.mark.parametrize("sample", [b"to be or not to be, " * 3000, bytes(SAMPLE), RNG.bytes(SAMPLE), b"", b"1"])
def test_what_gains_nothing_by_a_width_has_none(sample: bytes) -> None:
    assert plain_form(sample).width == 0
    assert plain_form(sample).ratio == (len(pack(sample)) / len(sample) if sample else 1)


def test_equal_bytes_are_nothing_against_each_other() -> None:
    sample = numbers(16_384, "<f4")
    assert form_against(sample, sample).ratio < 0.001


@given(st.integers(0, 1 << 27))
@example(SAMPLE)
@example(SAMPLE + 17)
def test_a_sample_lies_in_the_middle_where_elements_begin(length: int) -> None:
    offset, size = sample_span(length)
    assert size == min(length, 65_536)
    assert offset % 16 == 0
    assert 0 <= (length - offset - size) - offset < 33
