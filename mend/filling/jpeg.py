"""A JPEG changed in its blocks that were filled, and in no other: their coefficients are copied.

A JPEG keeps 8×8 blocks of each of its components, as rounded coefficients of the cosine transform. Decoded and encoded again
whole, they come out a little different everywhere. Here those of the file are read as they are, the blocks in which a pixel
changed are made anew, and all are written with the file's own tables (ITU-R T.81, of which this is the sequential Huffman
mode with 8 bits: what cameras write).
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mend.images import Picture, find_differences, read_image
from mend.images.deep import orient
from mend.images.metadata import Metadata, save_arguments, turn_exif
from mend.inpaint.compiled import compiled, inlined

SOF0, SOF1, DHT, SOI, EOI, SOS, DQT, DRI, APP14 = 0xC0, 0xC1, 0xC4, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xEE
RGB = (ord("R"), ord("G"), ord("B"))  # as the components are called where they are no YCbCr
KEPT = "only the blocks at the hole are encoded again"
LONGEST = 500  # bytes of an encoded block, at most: 64 numbers of 31 bits, a 0 behind each byte, and the end of an interval
ZIGZAG = np.array(sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else i % 8)))
COSINES = np.array([[np.cos((2 * x + 1) * u * np.pi / 16) / (2 if u else 8**0.5) for x in range(8)] for u in range(8)])
YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]])


def encode_changes(picture: Picture) -> bytes | None:
    """The JPEG that `picture` was read from with those of its blocks made anew in which a pixel is another now.

    The blocks lie as in that file, and are turned as it says. Its metadata is that of the picture. None where that is not
    possible: it was read from no JPEG, from one of another mode (progressive, arithmetic, CMYK), or from a damaged one.
    """
    turn = picture.source.get("orientation", 1)
    try:
        file = _read(picture.content)
        coefficients = _decode(file)
        exif = turn_exif(picture.metadata["exif"], turn) if turn > 1 else picture.metadata.get("exif")
    except (_Unlike, KeyError, IndexError, ValueError, struct.error):
        return None
    before = read_image(picture.content).pixels
    if before.shape != picture.pixels.shape or before.dtype != picture.pixels.dtype:
        return None
    changed = find_differences(before, picture.pixels)
    back = {6: 8, 8: 6}.get(turn, turn)
    pixels = orient(picture.pixels, back)
    if pixels.shape[:2] != (file.height, file.width):  # damage, or a reader that crops
        return None
    _replace(coefficients, file, pixels, orient(changed, back))
    metadata = picture.metadata.copy()
    if exif:
        metadata["exif"] = exif
    if turn > 4 and "dpi" in metadata:
        metadata["dpi"] = metadata["dpi"][::-1]
    return _write(file, coefficients, metadata)


# --- What the file is ------------------------------------------------------------------------------------------------


class _Unlike(ValueError):
    """It is a JPEG of another kind, or damaged."""


@dataclass(frozen=True)
class _Component:
    """`across` and `down` are blocks in a unit of coding; `columns` × `rows` are all, and the first of them is `first`."""

    across: int
    down: int
    columns: int
    rows: int
    first: int
    table: np.ndarray  # (64,), zigzag
    dc: int
    ac: int


@dataclass(frozen=True)
class _File:
    """A sequential JPEG: its size, components, Huffman tables {class and number: segment}, and where its codes are."""

    width: int
    height: int
    components: list[_Component]
    huffman: dict[int, bytes]
    quantization: bytes  # the segments
    frame: bytes
    interval: int
    codes: np.ndarray


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The marker segments up to the first scan: the marker, and what follows its length. Of the scan also the codes."""
    at = 2
    while True:
        while content[at] == 0xFF and content[at + 1] == 0xFF:  # fill bytes
            at += 1
        if content[at] != 0xFF:
            raise _Unlike("no marker where one should be")
        marker, length = content[at + 1], struct.unpack_from(">H", content, at + 2)[0]
        if marker == SOS:
            yield marker, content[at + 4 :]
            return
        yield marker, content[at + 4 : at + 2 + length]
        at += 2 + length


def _read(content: bytes) -> _File:
    if content[:2] != bytes([0xFF, SOI]):
        raise _Unlike("no JPEG")
    tables: dict[int, np.ndarray] = {}
    huffman: dict[int, bytes] = {}
    quantization, frame, interval = b"", b"", 0
    for marker, data in _segments(content):
        if marker == DQT:
            quantization += _segment(marker, data)
            while data:
                size = 128 if data[0] >> 4 else 64
                tables[data[0] & 15] = np.frombuffer(data, ">u2" if size == 128 else np.uint8, 64, 1).astype(np.float64)
                data = data[1 + size :]
        elif marker == DHT:
            while data:
                size = 17 + sum(data[1:17])
                huffman[data[0]] = data[1:size]
                data = data[size:]
        elif marker == DRI:
            interval = struct.unpack(">H", data)[0]
        elif marker in (SOF0, SOF1):
            frame = _segment(marker, data)
        elif marker == APP14 and data[:5] == b"Adobe" and data[11] == 0:
            raise _Unlike("no YCbCr")
        elif 0xC0 <= marker <= 0xCF:
            raise _Unlike("another mode")
        elif marker == SOS:
            scan = data
    if not all(table.all() for table in tables.values()):
        raise _Unlike("a table that divides by 0")
    precision, height, width, count = struct.unpack_from(">BHHB", frame, 4)
    if precision != 8 or count not in (1, 3) or scan[0] != count or not (width and height):
        raise _Unlike("another kind")
    listed = [tuple(frame[10 + 3 * i : 13 + 3 * i]) for i in range(count)]
    if tuple(name for name, _, _ in listed) == RGB or [name for name, _, _ in listed] != list(scan[1 : 1 + 2 * count : 2]):
        raise _Unlike("other colours, or another order")
    sizes = [(size >> 4, size & 15) if count > 1 else (1, 1) for _, size, _ in listed]
    most = [max(side) for side in zip(*sizes, strict=True)]
    if any(not (1 <= side <= 4) or top % side for size in sizes for side, top in zip(size, most, strict=True)):
        raise _Unlike("blocks that do not fit into each other")
    across, down = -(-width // (8 * most[0])), -(-height // (8 * most[1]))
    components, first = [], 0
    for i, (wide, tall) in enumerate(sizes):
        tabs = scan[2 + 2 * i]
        components.append(
            _Component(wide, tall, across * wide, down * tall, first, tables[listed[i][2]], tabs >> 4, 16 | (tabs & 15))
        )
        first += across * wide * down * tall
    codes = np.frombuffer(scan, np.uint8, offset=1 + 2 * count + 3)
    return _File(width, height, components, huffman, quantization, frame, interval, codes)


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _codes(table: bytes) -> Iterator[tuple[int, int, int]]:
    """The codes of a Huffman table: (code, length in bits, symbol)."""
    code, at = 0, 16
    for length in range(1, 17):
        for _ in range(table[length - 1]):
            if code == (1 << length) - 1:  # ones alone are no code: they fill the last byte
                raise _Unlike("a table with too many codes")
            yield code, length, table[at]
            code, at = code + 1, at + 1
        code *= 2


# --- Its coefficients ------------------------------------------------------------------------------------------------


def _layout(file: _File) -> np.ndarray:
    """What the loops need of each component: (C, 6) blocks across and down in a unit, in a row, the first, DC and AC table."""
    return np.array([[c.across, c.down, c.columns, c.first, i, 4 + i] for i, c in enumerate(file.components)])


def _units(file: _File) -> int:
    first = file.components[0]
    return (first.columns // first.across) * (first.rows // first.down)


def _decode(file: _File) -> np.ndarray:
    """The coefficients of all blocks, (blocks, 64) int16, zigzag, component after component, row after row."""
    lookup = np.zeros((8, 1 << 16), np.uint16)  # by the next 16 bits: length and symbol; 0 where there is no such code
    for i, component in enumerate(file.components):
        for place, number in ((i, component.dc), (4 + i, component.ac)):
            for code, length, symbol in _codes(file.huffman[number]):
                lookup[place, code << (16 - length) : (code + 1) << (16 - length)] = length << 8 | symbol
    last = file.components[-1]
    coefficients = np.zeros((last.first + last.columns * last.rows, 64), np.int16)
    done = np.zeros(1, np.int64)
    _decode_scan(file.codes, lookup, _layout(file), _units(file), file.interval, coefficients, done)
    if done[0] != _units(file):
        raise _Unlike("codes that mean nothing, or too few")
    return coefficients


@inlined
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


@compiled
def _decode_scan(data: Any, lookup: Any, layout: Any, units: int, interval: int, coefficients: Any, done: Any) -> None:
    at, bits, count, made_up = 0, 0, 0, 0
    before: Any = np.zeros(4, np.int64)
    per_row = layout[0, 2] // layout[0, 0]
    for unit in range(units):
        if interval > 0 and unit > 0 and unit % interval == 0:
            if at + 1 >= len(data) or data[at] != 255 or data[at + 1] < 0xD0 or data[at + 1] > 0xD7:
                return
            at, bits, count, made_up = at + 2, 0, 0, 0
            before[:] = 0
        for component in range(len(layout)):
            wide, tall, columns, first = layout[component, 0], layout[component, 1], layout[component, 2], layout[component, 3]
            dc, ac = layout[component, 4], layout[component, 5]
            for inner in range(wide * tall):
                row = unit // per_row * tall + inner // wide
                block = first + row * columns + unit % per_row * wide + inner % wide
                k = 0
                while k < 64:
                    at, bits, count, made_up = _load(data, at, bits, count, made_up)
                    code: Any = np.int64(lookup[dc if k == 0 else ac, (bits >> (count - 16)) & 0xFFFF])
                    if code == 0:
                        return
                    count -= code >> 8
                    size = code & 15
                    if k > 0:
                        run = (code >> 4) & 15
                        if size == 0 and run < 15:
                            break
                        k += run
                        if k > 63:
                            return
                    value = (bits >> (count - size)) & ((1 << size) - 1)
                    count -= size
                    if size > 0 and value < 1 << (size - 1):
                        value -= (1 << size) - 1
                    if k == 0:
                        value += before[component]
                        before[component] = value
                    coefficients[block, k] = value
                    k += 1
                if made_up > count:  # what was made up is used
                    return
        done[0] = unit + 1


# --- Blocks made anew ------------------------------------------------------------------------------------------------


def _replace(coefficients: np.ndarray, file: _File, pixels: np.ndarray, changed: np.ndarray) -> None:
    """Put new coefficients in place of those of the blocks in which pixels `changed` (H, W)."""
    if not changed.any():
        return
    widest, tallest = (max(getattr(c, side) for c in file.components) for side in ("across", "down"))
    unit = (8 * tallest, 8 * widest)
    # Only the part around the changes, in whole units of coding; beyond the border the last pixels go on.
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    top, left = rows[0] // unit[0], columns[0] // unit[1]
    bottom, right = rows[-1] // unit[0] + 1, columns[-1] // unit[1] + 1
    here = slice(top * unit[0], bottom * unit[0]), slice(left * unit[1], right * unit[1])
    part, marks = pixels[here], changed[here]
    padding = (0, (bottom - top) * unit[0] - part.shape[0]), (0, (right - left) * unit[1] - part.shape[1])
    part, marks = np.pad(part, (*padding, (0, 0)), "edge"), np.pad(marks, padding)
    for i, component in enumerate(file.components):
        high, wide = tallest // component.down, widest // component.across  # pixels for one sample
        levels = part.astype(np.float32)[..., 0] - 128 if part.shape[2] == 1 else part @ YCBCR[i].astype(np.float32)
        if i == 0 and part.shape[2] == 3:
            levels -= 128
        height, width = levels.shape[0] // high, levels.shape[1] // wide
        samples = levels.reshape(height, high, width, wide).mean((1, 3))
        touched = marks.reshape(height // 8, 8 * high, width // 8, 8 * wide).any((1, 3))
        blocks = samples.reshape(height // 8, 8, width // 8, 8).transpose(0, 2, 1, 3)[touched]
        made = (COSINES @ blocks @ COSINES.T).reshape(-1, 64)[:, ZIGZAG]
        y, x = np.nonzero(touched)
        places = component.first + (y + top * component.down) * component.columns + x + left * component.across
        coefficients[places] = np.rint(made / component.table).clip(-1023, 1023)


# --- And written -----------------------------------------------------------------------------------------------------


def _write(file: _File, coefficients: np.ndarray, metadata: Metadata) -> bytes | None:
    """The file with other coefficients and metadata; with the usual Huffman tables where its own have not every code."""
    colour = len(file.components) == 3
    small = io.BytesIO()  # Pillow writes the metadata, and the usual tables
    Image.new("RGB" if colour else "L", (8, 8)).save(small, "JPEG", **save_arguments(metadata, "JPEG"))
    segments = list(_segments(small.getvalue()))
    usual = {0: b"", 16: b""}
    for marker, data in segments:
        while marker == DHT and data:
            size = 17 + sum(data[1:17])
            usual[data[0]] = data[1:size]
            data = data[size:]
    # DC and AC of each component
    own = [(file.huffman[c.dc], file.huffman[c.ac]) for c in file.components]
    other = [(usual[n], usual[16 | n]) for n in [0, 1, 1][: len(own)]]
    codes, tables = _encode(file, coefficients, own), own
    if codes is None:
        codes, tables = _encode(file, coefficients, other), other
    if codes is None:
        return None
    head = b"".join(_segment(marker, data) for marker, data in segments if 0xE0 <= marker <= 0xFE)
    numbers = {table: number for number, table in enumerate(dict.fromkeys(tables))}
    huffman = b"".join(
        bytes([kind << 4 | number]) + table for pair, number in numbers.items() for kind, table in enumerate(pair)
    )
    names = [file.frame[10 + 3 * i] for i in range(len(own))]
    scan = bytes([len(own)]) + b"".join(bytes([name, 17 * numbers[pair]]) for name, pair in zip(names, tables, strict=True))
    return b"".join(
        (
            bytes([0xFF, SOI]),
            head,
            file.quantization,
            file.frame,
            _segment(DHT, huffman),
            _segment(SOS, scan + bytes([0, 63, 0])),
            codes,
            bytes([0xFF, EOI]),
        )
    )


def _encode(file: _File, coefficients: np.ndarray, tables: list[tuple[bytes, bytes]]) -> bytes | None:
    """The codes of all blocks; None where a table lacks one, and for more pairs of tables than this mode has."""
    if len(set(tables)) > 2:
        return None
    codes, lengths = np.zeros((8, 256), np.int64), np.zeros((8, 256), np.int64)
    for i, pair in enumerate(tables):
        for place, table in zip((i, 4 + i), pair, strict=True):
            for code, length, symbol in _codes(table):
                codes[place, symbol], lengths[place, symbol] = code, length
    out, used = np.empty(len(coefficients) * LONGEST + 8, np.uint8), np.full(1, -1, np.int64)
    _encode_scan(coefficients, codes, lengths, _layout(file), _units(file), out, used)
    return None if used[0] < 0 else out[: used[0]].tobytes()


@inlined
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


@compiled
def _encode_scan(coefficients: Any, codes: Any, lengths: Any, layout: Any, units: int, out: Any, used: Any) -> None:
    at, bits, count = 0, 0, 0
    before: Any = np.zeros(4, np.int64)
    per_row = layout[0, 2] // layout[0, 0]
    for unit in range(units):
        for component in range(len(layout)):
            wide, tall, columns, first = layout[component, 0], layout[component, 1], layout[component, 2], layout[component, 3]
            for inner in range(wide * tall):
                row = unit // per_row * tall + inner // wide
                block = first + row * columns + unit % per_row * wide + inner % wide
                last = 63
                while last > 0 and coefficients[block, last] == 0:
                    last -= 1
                run, table = 0, layout[component, 4]
                for k in range(last + 1):
                    value: Any = np.int64(coefficients[block, k])
                    if k == 0:
                        value, before[component] = value - before[component], value
                    elif value == 0:
                        run += 1
                        continue
                    while run > 15:
                        if lengths[table, 0xF0] == 0:
                            return
                        at, bits, count = _store(out, at, bits, count, codes[table, 0xF0], lengths[table, 0xF0])
                        run -= 16
                    size, rest = 0, abs(value)
                    while rest > 0:
                        size, rest = size + 1, rest >> 1
                    symbol = run << 4 | size
                    if size > 15 or lengths[table, symbol] == 0:
                        return
                    if value < 0:
                        value += (1 << size) - 1
                    at, bits, count = _store(
                        out, at, bits, count, codes[table, symbol] << size | value, lengths[table, symbol] + size
                    )
                    run, table = 0, layout[component, 5]
                if last < 63:
                    table = layout[component, 5]
                    if lengths[table, 0] == 0:
                        return
                    at, bits, count = _store(out, at, bits, count, codes[table, 0], lengths[table, 0])
    if count > 0:
        at, bits, count = _store(out, at, bits, count, (1 << (8 - count)) - 1, 8 - count)
    used[0] = at
