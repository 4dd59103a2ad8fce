"""A 64-bit number for each value and each row, the same for equal values of any width: for overlap, counts and keys.

FNV-1a (Fowler, Noll, Vo), on words of eight bytes, and the finaliser of MurmurHash3 (Appleby). They keep equal rows
equal, and spread others; they keep nobody from making two rows of one number, and no promise rests on them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from blake3 import blake3

from modelkeep.capture.frames.columns import BLOCK, MOMENTS, TEXTS, Array, Block, Column, fits_float

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_ONE, _TWO = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_MISSING = np.uint64(0x6D697373696E6721)
_WHOLE = np.uint64(0x77686F6C65000000)
_LONG = 4096  # bytes; longer texts are digested one by one
_BASIS = np.uint64(0xCBF29CE484222325)
_WORD = 8  # bytes
_MASKS = np.array([(1 << (8 * size)) - 1 for size in range(9)], dtype=np.uint64)


def seed_of(name: str) -> Any:
    """The number of a column's name."""
    return np.uint64(int.from_bytes(blake3(name.encode("utf-8", "surrogatepass")).digest(8), "little"))


def mixed(values: Array, seed: Any = 0) -> Array:
    """Numbers spread over 64 bits; their own memory is kept."""
    kept = values ^ np.uint64(seed)
    kept ^= kept >> np.uint64(33)
    kept *= _ONE
    kept ^= kept >> np.uint64(29)
    kept *= _TWO
    kept ^= kept >> np.uint64(32)
    return kept


def spread(values: Array, seed: Any, out: Array) -> Array:
    """The numbers of one column of a row, to be added to those of the others and `mixed`."""
    np.bitwise_xor(values, seed, out=out)
    out *= _ONE
    out ^= out >> np.uint64(32)
    out *= _TWO
    return out


def block_bits(word: str, block: Block) -> Array:
    """A number for each value of a block, equal for equal values; not spread."""
    if word in TEXTS:
        bits = text_bits(*block.parts)
    elif word in MOMENTS:
        seconds, nanoseconds = block.parts
        bits = seconds.view("u8") * np.uint64(1_000_000_000) + nanoseconds.astype("u8")
    else:
        bits = number_bits(block.parts[0])
    if block.valid is not None:
        bits = np.where(block.valid, bits, _MISSING)
    return bits


def number_bits(values: Array) -> Array:
    """Numbers of all kinds as float64, as far as they are exact there: 1, 1.0 and True are one."""
    if values.dtype.kind in "iu" and not fits_float(values):
        whole = values.astype("u8")
        return np.where(np.abs(values.astype("f8")) <= 2.0**53, values.astype("f8").view("u8"), whole ^ _WHOLE)
    if values.dtype.kind == "c":
        wide = values.astype("<c16").view("u8").reshape(*values.shape, 2)
        return mixed(wide[..., 0].copy()) ^ wide[..., 1]
    wide = values.astype("<f8", copy=False)
    return wide.view("u8")


def text_bits(lengths: Array, raw: Array) -> Array:
    """A number for each text of a block, eight bytes at a time for all of them at once."""
    sizes = lengths.astype("i8")
    starts = np.cumsum(sizes) - sizes
    padded = np.concatenate([raw, np.zeros(_WORD, "u1")])
    words = np.ndarray((len(raw) + 1,), "<u8", padded, strides=(1,))
    bits = words[starts]
    bits &= _MASKS[np.minimum(sizes, _WORD)]
    bits ^= lengths.astype("u8") * _PRIME ^ _BASIS
    bits *= _PRIME
    bits ^= bits >> np.uint64(32)
    active = np.flatnonzero((sizes > _WORD) & (sizes <= _LONG))
    done = _WORD
    while active.size:
        left = sizes[active] - done
        part = words[starts[active] + done] & _MASKS[np.minimum(left, _WORD)]
        kept = (bits[active] ^ part) * _PRIME
        bits[active] = kept ^ (kept >> np.uint64(32))
        done += _WORD
        active = active[left > _WORD]
    for index in np.flatnonzero(sizes > _LONG):
        text = raw[starts[index] : starts[index] + sizes[index]]
        bits[index] = int.from_bytes(blake3(text).digest(8), "little")
    return bits


def column_bits(column: Column) -> Array:
    """A number for each row of a whole column, also of nested ones."""
    if column.children:
        return nested_bits(column)
    parts = [
        block_bits(column.word, column.read(start, min(start + BLOCK, column.rows)))
        for start in range(0, column.rows, BLOCK)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, "u8")


def nested_bits(column: Column) -> Array:
    """A number for each list, of its items in their order; or for each struct, of its fields by name."""
    block = column.read(0, column.rows)
    bits = np.full(column.rows, _BASIS, "u8")
    for name, child in column.children:
        inner = column_bits(child)
        if column.word == "struct":
            bits += spread(inner, seed_of(name), np.empty_like(inner))
            continue
        lengths = block.parts[0]
        ends = np.cumsum(lengths)
        place = np.arange(len(inner), dtype="i8") - np.repeat(ends - lengths, lengths)
        sums = np.concatenate([np.zeros(1, "u8"), np.cumsum(mixed(inner ^ (place.view("u8") * _PRIME)), dtype="u8")])
        bits += (sums[ends] - sums[ends - lengths]) ^ (lengths.view("u8") * _TWO)
    return bits if block.valid is None else np.where(block.valid, bits, _MISSING)
