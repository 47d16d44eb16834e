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
from functools import cached_property

import numpy as np
from PIL import Image

from mend.filling.huffman import decode_blocks, encode_blocks
from mend.images import Picture, find_differences, read_image
from mend.images.bit_depth import orient
from mend.images.metadata import Metadata, reset_orientation, save_arguments

SOF0, SOF1, DHT, SOI, EOI, SOS, DQT, DRI, APP14 = 0xC0, 0xC1, 0xC4, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xEE
RGB = (ord("R"), ord("G"), ord("B"))  # as the components are called where they are no YCbCr
KEPT = "only the blocks at the hole are encoded again"
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
        coefficients = decode_blocks(file.codes, file.tables, *file.order, file.interval)
        exif = reset_orientation(picture.metadata["exif"], turn)[0] if turn > 1 else picture.metadata.get("exif")
    except (KeyError, IndexError, ValueError, struct.error):
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


@dataclass(frozen=True)
class _Component:
    """`across` and `down` are blocks in a unit of coding; `columns` × `rows` are all, and the first of them is `first`."""

    across: int
    down: int
    columns: int
    rows: int
    first: int
    divisors: np.ndarray  # (64,), zigzag
    tables: tuple[bytes, bytes]  # of Huffman codes, DC and AC


@dataclass(frozen=True)
class _File:
    """A sequential JPEG: its size, components, the segments that are copied, and its codes, with restarts at an interval."""

    width: int
    height: int
    components: list[_Component]
    quantization: bytes
    frame: bytes
    interval: int
    codes: np.ndarray

    @property
    def tables(self) -> list[tuple[bytes, bytes]]:
        return [component.tables for component in self.components]

    @cached_property
    def order(self) -> tuple[np.ndarray, np.ndarray]:
        """In which order the blocks come: those of each unit of coding (units, n), and of which component each is (n,)."""
        blocks = [
            (c.first + np.arange(c.rows * c.columns, dtype=np.int32))
            .reshape(c.rows // c.down, c.down, c.columns // c.across, c.across)
            .transpose(0, 2, 1, 3)
            .reshape(-1, c.down * c.across)
            for c in self.components
        ]
        return np.hstack(blocks), np.repeat(np.arange(len(blocks)), [part.shape[1] for part in blocks])


def _read_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The marker segments up to the first scan: the marker, and what follows its length. Of the scan also the codes."""
    at = 2
    while True:
        while content[at] == 0xFF and content[at + 1] == 0xFF:  # fill bytes
            at += 1
        if content[at] != 0xFF:
            raise ValueError("no marker where one should be")
        marker, length = content[at + 1], struct.unpack_from(">H", content, at + 2)[0]
        if marker == SOS:
            yield marker, content[at + 4 :]
            return
        yield marker, content[at + 4 : at + 2 + length]
        at += 2 + length


def _read_huffman_tables(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The tables of a DHT segment, each with its class (in the upper half of the byte) and number."""
    while data:
        size = 17 + sum(data[1:17])
        yield data[0], data[1:size]
        data = data[size:]


def _read(content: bytes) -> _File:
    """ValueError, KeyError, IndexError or struct.error for a JPEG of another kind, and for a damaged one."""
    if content[:2] != bytes([0xFF, SOI]):
        raise ValueError("no JPEG")
    divisors: dict[int, np.ndarray] = {}
    huffman: dict[int, bytes] = {}
    quantization, frame, interval = b"", b"", 0
    for marker, data in _read_segments(content):
        if marker == DQT:
            quantization += _make_segment(marker, data)
            while data:
                size = 128 if data[0] >> 4 else 64
                divisors[data[0] & 15] = np.frombuffer(data, ">u2" if size == 128 else np.uint8, 64, 1).astype(np.float64)
                data = data[1 + size :]
        elif marker == DHT:
            huffman.update(_read_huffman_tables(data))
        elif marker == DRI:
            interval = struct.unpack(">H", data)[0]
        elif marker in (SOF0, SOF1):
            frame = _make_segment(marker, data)
        elif marker == APP14 and data[:5] == b"Adobe" and data[11] == 0:
            raise ValueError("no YCbCr")
        elif 0xC0 <= marker <= 0xCF:
            raise ValueError("another mode")
        elif marker == SOS:
            scan = data
    if not all(table.all() for table in divisors.values()):
        raise ValueError("a table that divides by 0")
    precision, height, width, count = struct.unpack_from(">BHHB", frame, 4)
    if precision != 8 or count not in (1, 3) or scan[0] != count or not (width and height):
        raise ValueError("another kind")
    listed = [tuple(frame[10 + 3 * i : 13 + 3 * i]) for i in range(count)]
    if tuple(name for name, _, _ in listed) == RGB or [name for name, _, _ in listed] != list(scan[1 : 1 + 2 * count : 2]):
        raise ValueError("other colours, or another order")
    sizes = [(size >> 4, size & 15) if count > 1 else (1, 1) for _, size, _ in listed]
    most = [max(side) for side in zip(*sizes, strict=True)]
    if any(not (1 <= side <= 4) or top % side for size in sizes for side, top in zip(size, most, strict=True)):
        raise ValueError("blocks that do not fit into each other")
    across, down = -(-width // (8 * most[0])), -(-height // (8 * most[1]))
    components, first = [], 0
    for i, (wide, tall) in enumerate(sizes):
        tables = huffman[scan[2 + 2 * i] >> 4], huffman[16 | (scan[2 + 2 * i] & 15)]
        components.append(_Component(wide, tall, across * wide, down * tall, first, divisors[listed[i][2]], tables))
        first += across * wide * down * tall
    codes = np.frombuffer(scan, np.uint8, offset=1 + 2 * count + 3)
    return _File(width, height, components, quantization, frame, interval, codes)


def _make_segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


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
        coefficients[places] = np.rint(made / component.divisors).clip(-1023, 1023)


# --- And written -----------------------------------------------------------------------------------------------------


def _write(file: _File, coefficients: np.ndarray, metadata: Metadata) -> bytes | None:
    """The file with other coefficients and metadata; with the usual Huffman tables where its own have not every code."""
    colour = len(file.components) == 3
    small = io.BytesIO()  # Pillow writes the metadata, and the usual tables
    Image.new("RGB" if colour else "L", (8, 8)).save(small, "JPEG", **save_arguments(metadata, "JPEG"))
    segments = list(_read_segments(small.getvalue()))
    usual = {number: table for marker, data in segments if marker == DHT for number, table in _read_huffman_tables(data)}
    own, order = file.tables, file.order
    other = [(usual[n], usual[16 | n]) for n in [0, 1, 1][: len(own)]]
    tables, codes = own, encode_blocks(coefficients, own, *order)
    if codes is None:
        tables, codes = other, encode_blocks(coefficients, other, *order)
    if codes is None:
        return None
    head = b"".join(_make_segment(marker, data) for marker, data in segments if 0xE0 <= marker <= 0xFE)
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
            _make_segment(DHT, huffman),
            _make_segment(SOS, scan + bytes([0, 63, 0])),
            codes,
            bytes([0xFF, EOI]),
        )
    )
