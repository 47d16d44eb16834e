"""What a picture file holds besides its pixels, kept so that any format with a place for it can hold it again."""

import re
import struct
from contextlib import suppress
from typing import Any, TypedDict, cast

from PIL import Image
from PIL.ExifTags import TAGS
from PIL.PngImagePlugin import PngInfo

COLOUR = ("gamma", "chromaticity", "srgb")
MOST_DPI = 1e8  # a quarter of a nanometre between two pixels; a PNG holds no more
PREVIEW = "the embedded preview shows the picture as it was; it is left out"
LAYERS = {34377, 37724}  # what Photoshop keeps in a TIFF: a preview and much else, and every layer
ON_THE_SIDE = range(5, 9)  # orientations that exchange width and height
ORIENTATION, XMP_TAG, EXIF_POINTER, GPS_POINTER, INTEROP_POINTER = 274, 700, 34665, 34853, 40965
# A TIFF keeps the camera's tags in one list with how its pixels are stored, and with what has a key of its own above.
STORAGE = {
    254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 280, 281, 282, 283, 284, 290, 291, 292, 293, 296, 297, 317,
    320, 322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 347, 512, 513, 514, 530, 531, 532, 700, 34675,
}  # fmt: skip


class Metadata(TypedDict, total=False):
    icc_profile: bytes  # what the numbers mean as colours
    exif: bytes  # from `Exif` on: the camera's account, GPS and the maker's notes included
    xmp: bytes  # the editor's account
    dpi: tuple[float, float]  # dots per inch, x and y
    comment: bytes  # of a JPEG
    text: dict[str, str]  # of a PNG, by keyword, such as `parameters`
    colour: dict[str, Any]
    """What a PNG says of its numbers besides or without a profile: gamma, chromaticity, srgb, as Pillow has them, and the bytes
    of cICP, primaries and transfer of high dynamic range."""


def read_metadata(opened: Image.Image, upright: Image.Image) -> tuple[Metadata, list[str]]:
    """The metadata of a loaded picture, and what of it was left out, in words; `upright` is the same after its orientation.

    The pixels are upright from here on, so the orientation is 1. Previews go: they would still show what was removed.
    """
    info, left_out = upright.info, list[str]()
    found = cast(Metadata, {key: info[key] for key in ("icc_profile", "dpi", "comment") if info.get(key)})
    if not _has_resolution(opened):
        found.pop("dpi", None)
    if "aspect" in info:
        left_out.append("the shape of its pixels, which are not square, is left out")
    if "dpi" in found and not _is_resolution(found["dpi"]):
        left_out.append(f"its resolution, {found.pop('dpi')} dots per inch, is none; it is left out")
    if "dpi" in found and read_orientation(opened) in ON_THE_SIDE:
        found["dpi"] = found["dpi"][::-1]
    if opened.format != "TIFF" and opened.info.get("exif"):
        exif, said = reset_orientation(opened.info["exif"])
    else:
        exif, said = _encode_exif(opened)
    left_out += said
    if exif:
        found["exif"] = exif
    xmp = info.get("xmp") or b""
    xmp, previews = re.subn(rb"<(xmp|xap):Thumbnails>.*?</\1:Thumbnails>", b"", xmp, flags=re.DOTALL)
    if xmp:
        found["xmp"] = xmp.rstrip(b"\0")
    if previews and PREVIEW not in left_out:
        left_out.append(PREVIEW)
    text = {k: v for k, v in getattr(opened, "text", {}).items() if k not in _READ_ELSEWHERE}
    if text:
        found["text"] = text
    colour = {key: info[key] for key in COLOUR if key in info}
    if colour:
        found["colour"] = colour
    if opened.format == "TIFF" and LAYERS & set(read_tags(opened)):
        left_out.append("Photoshop's layers and preview show the picture as it was; they are left out")
    if info.get("photoshop"):
        left_out.append("the Photoshop block (IPTC, paths) is left out")
    if any(data.startswith(b"http://ns.adobe.com/xmp/extension/\0") for _, data in getattr(opened, "applist", [])):
        left_out.append("the extended XMP (depth maps and the like) is left out")
    return found, left_out


def read_tags(opened: Image.Image) -> Any:
    """The tags of a TIFF by their numbers."""
    return opened.tag_v2  # type: ignore[attr-defined]


def read_orientation(opened: Image.Image) -> int | None:
    """What its EXIF says, or said when it was opened, of how it is to be turned or mirrored."""
    with suppress(SyntaxError):  # of a damaged block, which Pillow takes for an empty one from then on
        opened.getexif()
    return opened.info.get("orientation", opened.getexif().get(ORIENTATION))


def _has_resolution(opened: Image.Image) -> bool:
    """Whether its resolution is its own: Pillow has 1×1 for a TIFF and 72×72 for a JPEG that says none."""
    if opened.format == "TIFF":
        return 282 in read_tags(opened)
    if opened.format in ("JPEG", "MPO"):
        return opened.info.get("jfif_unit") in (1, 2) or {282, 296} <= set(opened.getexif())
    return True


def _is_resolution(dpi: Any) -> bool:
    return isinstance(dpi, tuple) and len(dpi) == 2 and all(0 < number < MOST_DPI for number in dpi)


_READ_ELSEWHERE = ("XML:com.adobe.xmp", "Raw profile type exif", "Raw profile type APP1")


def reset_orientation(exif: bytes, orientation: int = 1) -> tuple[bytes, list[str]]:
    """An EXIF block with orientation 1, or another, and without its preview, and what was left out, in words.

    Every other byte stays where it is: a maker's notes are full of offsets, and do not survive being written anew.
    """
    data = bytearray(re.sub(b"^(Exif\0\0)+", b"", exif))
    left_out = []
    try:
        order = {b"II": "<", b"MM": ">"}[bytes(data[:2])]
        tags, link = _read_directory(data, order, struct.unpack_from(order + "I", data, 4)[0])
        if ORIENTATION in tags:
            kind, turn, place = tags[ORIENTATION]
            struct.pack_into(order + ("H" if kind == 3 else "I"), data, place, orientation)
            if (turn in ON_THE_SIDE) != (orientation in ON_THE_SIDE):
                _swap(data, tags, 282, 283)
                if EXIF_POINTER in tags:
                    _swap(data, _read_directory(data, order, tags[EXIF_POINTER][1])[0], 40962, 40963)
        (preview,) = struct.unpack_from(order + "I", data, link)
        struct.pack_into(order + "I", data, link, 0)
        if preview:
            left_out.append(PREVIEW)
            tags, _ = _read_directory(data, order, preview)
            for offset_tag, length_tag in ((513, 514), (273, 279)):  # a JPEG, or bare pixels
                if offset_tag in tags and length_tag in tags:
                    start, length = tags[offset_tag][1], tags[length_tag][1]
                    data[start : start + length] = bytes(len(data[start : start + length]))
                    if start + length >= len(data):
                        del data[start:]
    except (KeyError, struct.error):
        return b"", ["the EXIF block is damaged; it is left out"]
    return b"Exif\0\0" + bytes(data), left_out


def _swap(data: bytearray, tags: dict[int, tuple[int, int, int]], x: int, y: int) -> None:
    """What two tags say of width and height, where the picture is turned by a quarter."""
    if x in tags and y in tags:
        one, other = (slice(tags[tag][2] - 6, tags[tag][2] + 4) for tag in (x, y))  # type, count, and the value or its place
        data[one], data[other] = data[other], data[one]


def _read_directory(data: bytearray, order: str, at: int) -> tuple[dict[int, tuple[int, int, int]], int]:
    """The tags of an EXIF directory as {tag: (type, value, where the value is)}, and where its link to the next one is."""
    (count,) = struct.unpack_from(order + "H", data, at)
    tags = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
        tags[tag] = (kind, value, entry + 8)
    return tags, at + 2 + 12 * count


def _encode_exif(opened: Image.Image) -> tuple[bytes, list[str]]:
    """EXIF that does not come as a block of bytes, a TIFF's tags or an old PNG's text; and what Pillow cannot write of it."""
    tags = _drop_storage(opened.getexif())
    block = tags.tobytes() if len(tags) else b""
    written, were = _list_tags(block), _list_tags(opened.getexif())
    changed = [TAGS.get(tag, str(tag)) for (part, tag), value in were.items() if written.get((part, tag)) != value]
    own = tags.get(EXIF_POINTER, {})
    if read_orientation(opened) in ON_THE_SIDE and {40962, 40963} <= set(own):
        own[40962], own[40963] = own[40963], own[40962]
        block = tags.tobytes()
    return block, [f"EXIF tags that could not be kept as they are: {', '.join(changed)}"] if changed else []


class _Bytes(str):
    """Text of EXIF as Pillow reads it, each byte a character, written as the same bytes; Pillow writes ? for all but ASCII."""

    def encode(self, *_: Any) -> bytes:
        try:
            return super().encode("latin-1")
        except UnicodeEncodeError:  # it comes from a program, not from a file
            return super().encode("utf-8")


def _keep_bytes(value: Any) -> Any:
    if isinstance(value, str):
        return _Bytes(value)
    if isinstance(value, tuple):
        return tuple(map(_keep_bytes, value))
    return {tag: _keep_bytes(own) for tag, own in value.items()} if isinstance(value, dict) else value


def _drop_storage(exif: Image.Exif) -> Image.Exif:
    """A copy without how the pixels were stored and turned."""
    kept = Image.Exif()
    for tag in exif:
        if tag not in STORAGE | LAYERS and tag != ORIENTATION:
            kept[tag] = _keep_bytes({**exif.get_ifd(tag)} if tag in (EXIF_POINTER, GPS_POINTER) else exif[tag])
    if EXIF_POINTER in kept:
        kept[EXIF_POINTER].pop(INTEROP_POINTER, None)  # an offset into the file of before
    return kept


def save_arguments(metadata: Metadata, kind: str) -> dict[str, Any]:
    """Pillow's arguments that write `metadata` into a file of the format `kind`; what it has no place for stays out."""
    arguments: dict[str, Any] = {key: value for key, value in metadata.items() if key not in ("text", "colour")}
    if kind == "JPEG" and max(metadata.get("dpi", (0,))) > 65535:  # it has 16 bits for it
        del arguments["dpi"]
    if kind == "PNG":
        arguments["pnginfo"] = chunks = PngInfo()
        for keyword, text in metadata.get("text", {}).items():
            chunks.add_text(keyword, text)
        if "xmp" in metadata:
            chunks.add_itxt("XML:com.adobe.xmp", metadata["xmp"].decode("utf-8", "replace"))
        colour = metadata.get("colour", {})
        if "gamma" in colour:
            chunks.add(b"gAMA", _encode_fractions(colour["gamma"]))
        if "chromaticity" in colour:
            chunks.add(b"cHRM", _encode_fractions(*colour["chromaticity"]))
        if "srgb" in colour:
            chunks.add(b"sRGB", bytes([colour["srgb"]]))
        if "cICP" in colour:
            chunks.add(b"cICP", colour["cICP"])
    return arguments


def _encode_fractions(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}I", *(round(number * 100_000) for number in numbers))


def make_tiff_tags(metadata: Metadata) -> Image.Exif:
    """EXIF and XMP as a TIFF holds them, in its own list of tags."""
    exif = Image.Exif()
    exif.load(metadata.get("exif", b""))
    tags = _drop_storage(exif)
    if "xmp" in metadata:
        tags[XMP_TAG] = metadata["xmp"]
    return tags


def compare_metadata(before: Metadata, after: Metadata) -> dict[str, str]:
    """For each kind of metadata, by its name: "kept", "changed", "lost", or "added" where only `after` has it."""
    fates = {}
    for key, name in NAMES.items():
        if key in before:
            same = key in after and _normalise(key, before.get(key)) == _normalise(key, after.get(key))
            fates[name] = "kept" if same else "changed" if key in after else "lost"
        elif key in after:
            fates[name] = "added"
    return fates


NAMES = {
    "icc_profile": "ICC profile",
    "exif": "EXIF",
    "xmp": "XMP",
    "dpi": "DPI",
    "comment": "comment",
    "text": "PNG text",
    "colour": "gamma and primaries",
}


def _normalise(key: str, value: Any) -> Any:
    if key == "dpi":
        return tuple(round(float(number)) for number in value)
    if key == "text":
        return {keyword: str(text) for keyword, text in value.items()}
    return _list_tags(value) if key == "exif" else value


def _list_tags(exif: bytes | Image.Exif) -> dict[tuple[int, int], bytes]:
    """What EXIF says of the picture, by its list of tags, 0 for the first, and the tag."""
    if isinstance(exif, bytes):
        block, exif = exif, Image.Exif()
        exif.load(block)
    elsewhere = {EXIF_POINTER, GPS_POINTER, INTEROP_POINTER, ORIENTATION} | STORAGE | LAYERS
    lists = {0: dict(exif), EXIF_POINTER: exif.get_ifd(EXIF_POINTER), GPS_POINTER: exif.get_ifd(GPS_POINTER)}
    # As text, in which NaN is itself.
    return {(n, tag): _Bytes(v).encode() for n, tags in lists.items() for tag, v in tags.items() if tag not in elsewhere}
