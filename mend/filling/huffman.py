"""The entropy coder of a JPEG: Huffman codes to coefficients and back (ITU-R T.81, the sequential mode with 8 bits).

Codes come block by block, all components in turn. `order` (units, n) says which blocks make up each unit of coding, and
`kinds` (n,) of which component each is. `tables` has the Huffman tables of each component, of its first coefficient (DC) and
of the others (AC), as they stand in the file: 16 bytes say how many codes of each length there are, the others which symbols
they mean. Coefficients are (blocks, 64) int16, zigzag.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mend.inpaint.compiled import compile_loop, inline_loop

LONGEST = 500  # bytes of an encoded block, at most: 64 numbers of 31 bits, a 0 behind each byte, and the end of an interval

Tables = Sequence[tuple[bytes, bytes]]


def list_codes(table: bytes) -> Iterator[tuple[int, int, int]]:
    """The codes of a Huffman table: (code, length in bits, symbol). ValueError or IndexError for a damaged one."""
    code, at = 0, 16
    for length in range(1, 17):
        for _ in range(table[length - 1]):
            if code == (1 << length) - 1:  # ones alone are no code: they fill the last byte
                raise ValueError("a table with too many codes")
            yield code, length, table[at]
            code, at = code + 1, at + 1
        code *= 2


# --- From codes ------------------------------------------------------------------------------------------------------


def decode_blocks(codes: np.ndarray, tables: Tables, order: np.ndarray, kinds: np.ndarray, interval: int) -> np.ndarray:
    """The coefficients of all blocks from the bytes of a scan, with a restart marker after every `interval` units; 0: none.

    Raises ValueError for codes that mean nothing, or too few.
    """
    lookup = np.zeros((len(tables), 2, 1 << 16), np.uint16)  # by the next 16 bits: length and symbol; 0 where no code is such
    for i, pair in enumerate(tables):
        for place, table in enumerate(pair):
            for code, length, symbol in list_codes(table):
                lookup[i, place, code << (16 - length) : (code + 1) << (16 - length)] = length << 8 | symbol
    coefficients = np.zeros((order.size, 64), np.int16)
    if not _decode_scan(codes, lookup, order, kinds, interval, coefficients):
        raise ValueError("codes that mean nothing, or too few")
    return coefficients


@inline_loop
def _load(data: Any, at: int, bits: int, count: int, made_up: int) -> tuple[int, int, int, int]:
    """At least 49 bits, of which the last are made up where the data ends, or a marker stands."""
    while count <= 48:
        value: Any = 0
        if at >= len(data) or (data[at] == 255 and (at + 1 >= len(data) or data[at + 1] != 0)):
            made_up += 8
        else:
            value = np.int64(data[at])
            at += 2 if value == 255 else 1
        bits = ((bits << 8) | value) & 0xFFFFFFFFFFFFFF
        count += 8
    return at, bits, count, made_up


@compile_loop
def _decode_scan(data: Any, lookup: Any, order: Any, kinds: Any, interval: int, coefficients: Any) -> bool:
    """Whether all units could be decoded."""
    at, bits, count, made_up = 0, 0, 0, 0
    before: Any = np.zeros(4, np.int64)
    for unit in range(len(order)):
        if interval > 0 and unit > 0 and unit % interval == 0:
            if at + 1 >= len(data) or data[at] != 255 or data[at + 1] < 0xD0 or data[at + 1] > 0xD7:
                return False
            at, bits, count, made_up = at + 2, 0, 0, 0
            before[:] = 0
        for place in range(len(kinds)):
            block, kind = order[unit, place], kinds[place]
            k = 0
            while k < 64:
                at, bits, count, made_up = _load(data, at, bits, count, made_up)
                code: Any = np.int64(lookup[kind, 0 if k == 0 else 1, (bits >> (count - 16)) & 0xFFFF])
                if code == 0:
                    return False
                count -= code >> 8
                size = code & 15
                if k > 0:
                    run = (code >> 4) & 15
                    if size == 0 and run < 15:
                        break
                    k += run
                    if k > 63:
                        return False
                value = (bits >> (count - size)) & ((1 << size) - 1)
                count -= size
                if size > 0 and value < 1 << (size - 1):
                    value -= (1 << size) - 1
                if k == 0:
                    value += before[kind]
                    before[kind] = value
                coefficients[block, k] = value
                k += 1
            if made_up > count:  # what was made up is used
                return False
    return True


# --- To codes --------------------------------------------------------------------------------------------------------


def encode_blocks(coefficients: np.ndarray, tables: Tables, order: np.ndarray, kinds: np.ndarray) -> bytes | None:
    """The codes of all blocks; None where a table lacks one, and for more pairs of tables than this mode has."""
    if len(set(tables)) > 2:
        return None
    codes, lengths = np.zeros((len(tables), 2, 256), np.int64), np.zeros((len(tables), 2, 256), np.int64)
    for i, pair in enumerate(tables):
        for place, table in enumerate(pair):
            for code, length, symbol in list_codes(table):
                codes[i, place, symbol], lengths[i, place, symbol] = code, length
    out = np.empty(len(coefficients) * LONGEST + 8, np.uint8)
    used = _encode_scan(coefficients, codes, lengths, order, kinds, out)
    return None if used < 0 else out[:used].tobytes()


@inline_loop
def _store(out: Any, at: int, bits: int, count: int, value: int, length: int) -> tuple[int, int, int]:
    """Add bits, and write the bytes that are full, a 0 after each 255."""
    bits, count = (bits << length) | value, count + length
    while count >= 8:
        byte = (bits >> (count - 8)) & 255
        out[at] = byte
        at += 1
        if byte == 255:
            out[at] = 0
            at += 1
        count -= 8
    return at, bits & 255, count


@compile_loop
def _encode_scan(coefficients: Any, codes: Any, lengths: Any, order: Any, kinds: Any, out: Any) -> int:
    """How many bytes were written; −1 where there is no code for something."""
    at, bits, count = 0, 0, 0
    before: Any = np.zeros(4, np.int64)
    for unit in range(len(order)):
        for place in range(len(kinds)):
            block, kind = order[unit, place], kinds[place]
            last = 63
            while last > 0 and coefficients[block, last] == 0:
                last -= 1
            run, table = 0, 0
            for k in range(last + 1):
                value: Any = np.int64(coefficients[block, k])
                if k == 0:
                    value, before[kind] = value - before[kind], value
                elif value == 0:
                    run += 1
                    continue
                while run > 15:
                    if lengths[kind, table, 0xF0] == 0:
                        return -1
                    at, bits, count = _store(out, at, bits, count, codes[kind, table, 0xF0], lengths[kind, table, 0xF0])
                    run -= 16
                size, rest = 0, abs(value)
                while rest > 0:
                    size, rest = size + 1, rest >> 1
                symbol = run << 4 | size
                if size > 15 or lengths[kind, table, symbol] == 0:
                    return -1
                if value < 0:
                    value += (1 << size) - 1
                at, bits, count = _store(
                    out, at, bits, count, codes[kind, table, symbol] << size | value, lengths[kind, table, symbol] + size
                )
                run, table = 0, 1
            if last < 63:
                if lengths[kind, 1, 0] == 0:
                    return -1
                at, bits, count = _store(out, at, bits, count, codes[kind, 1, 0], lengths[kind, 1, 0])
    if count > 0:
        at, bits, count = _store(out, at, bits, count, (1 << (8 - count)) - 1, 8 - count)
    return at
