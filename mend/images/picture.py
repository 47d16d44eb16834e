"""A picture in memory: its pixels as the file has them, and everything that is needed to write such a file again."""

import io
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import numpy as np
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin

from mend.errors import InputError
from mend.images.formats import find_format
from mend.images.metadata import ON_THE_SIDE, Metadata, read_metadata, read_orientation, read_tags, save_arguments


class Source(TypedDict, total=False):
    """How a picture file was compressed, and what Pillow needs to do it again."""

    format: str  # "" of what was in no file
    frames: int
    compression: str  # of a TIFF
    lossless: bool  # of a WebP
    orientation: int  # of a JPEG, as are the following
    qtables: dict[int, list[int]]
    subsampling: int
    progressive: bool


@dataclass
class Picture:
    """A picture file in memory.

    `pixels` is (H, W, C), uint8, uint16 or float in [0, 1]; C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha).
    `notes` says what had to be converted or left out; those of them that are `losses` are on values of the file which the
    pixels have not, or not exactly. `content` is the file itself, where it is a JPEG: what does not change in it can be copied.
    """

    pixels: np.ndarray
    metadata: Metadata = field(default_factory=Metadata)
    source: Source = field(default_factory=Source)
    notes: list[str] = field(default_factory=list[str])
    losses: list[str] = field(default_factory=list[str])
    content: bytes = field(default=b"", repr=False)

    @property
    def full(self) -> int:
        """The value of white: 255, 65535, or 1 for floats."""
        return int(np.iinfo(self.pixels.dtype).max) if self.pixels.dtype.kind == "u" else 1

    @property
    def size(self) -> str:
        """Width×height."""
        return f"{self.pixels.shape[1]}×{self.pixels.shape[0]}"

    @property
    def kind(self) -> str:
        """Depth and channels in words, such as "16-bit grey with alpha"."""
        channels = ("grey", "grey with alpha", "RGB", "RGB with alpha")[self.pixels.shape[2] - 1]
        return f"{self.pixels.dtype.itemsize * 8}-bit {channels}"

    def lose(self, what: str) -> None:
        """Note a loss."""
        self.notes.append(what)
        self.losses.append(what)

    def image(self) -> np.ndarray:
        """The colours as an image (1, 3, H, W); grey is repeated, alpha is left out."""
        colours = self.pixels[..., : self._colours()].astype(np.float32)
        colours /= self.full
        rgb = colours if colours.shape[2] == 3 else colours.repeat(3, axis=2)
        return rgb.transpose(2, 0, 1)[None]

    def fill(self, raw: np.ndarray, hole: np.ndarray, weight: np.ndarray | None = None) -> "Picture":
        """A copy whose colours come from `raw` (1, 3, H, W) in the hole (1, 1, H, W); every other value is the same integer.

        `weight` (1, 1, H, W) is the share of `raw` that is taken in the hole; all of it unless given. A pixel of the hole keeps
        its alpha; `notes` says when it is transparent.
        """
        inside = hole[0, 0] > 0
        levels = raw[0][:, inside].clip(0, 1).T  # (pixels, 3)
        if weight is not None:
            own = self.pixels[inside, : self._colours()].astype(np.float32) / self.full
            levels = own + weight[0, 0][inside][:, None] * (levels - own)
        if self._colours() == 1:
            levels = levels @ np.array([[0.299], [0.587], [0.114]], np.float32)  # luma, ITU-R BT.601, as Pillow's "L"
        pixels = self.pixels.copy()
        levels = levels * self.full
        pixels[inside, : self._colours()] = (np.rint(levels) if pixels.dtype.kind == "u" else levels).astype(pixels.dtype)
        clear = self.count_clear(hole)
        said = [f"{clear:,} of the {inside.sum():,} pixels of the hole are not opaque, and stay so"] if clear else []
        return replace(self, pixels=pixels, notes=self.notes + said)

    def count_clear(self, hole: np.ndarray) -> int:
        """How many pixels of a hole (1, 1, H, W) are not opaque."""
        return int((self.pixels[hole[0, 0] > 0, -1] < self.full).sum()) if self.pixels.shape[2] in (2, 4) else 0

    def make_opaque(self, hole: np.ndarray) -> "Picture":
        """A copy of which the pixels of a hole (1, 1, H, W) are opaque."""
        if not self.count_clear(hole):
            return self
        pixels = self.pixels.copy()
        pixels[hole[0, 0] > 0, -1] = self.full
        return replace(self, pixels=pixels)

    def to_pil(self) -> Image.Image:
        """As a Pillow image, its metadata in `info`. InputError for 16-bit colour, which Pillow does not have."""
        if self.pixels.dtype == np.uint16 and self.pixels.shape[2] > 1:
            raise InputError("Pillow has no 16-bit colour. Pass an array instead of a path, or use 'mend fill'.")
        picture = Image.fromarray(self.pixels[..., 0] if self.pixels.shape[2] == 1 else self.pixels)
        text, colour = self.metadata.get("text", {}), self.metadata.get("colour", {})
        picture.info.update({**save_arguments(self.metadata, ""), **text, **colour})
        return picture

    def _colours(self) -> int:
        return 1 if self.pixels.shape[2] < 3 else 3


def picture_from_pil(opened: Image.Image) -> Picture:
    """A Pillow image as a `Picture`: upright, metadata kept; what is not grey or RGB is converted, which `notes` says.

    InputError for floats and for integers of 32 bits or with a sign: neither 8 nor 16 bits hold them.
    """
    turned, upright = is_turned(opened), ImageOps.exif_transpose(opened)
    metadata, notes = read_metadata(opened, upright)
    if turned:
        notes.append("turned upright, as its EXIF orientation says; the mask is taken as drawn on the upright picture")
    picture = Picture(np.empty((0, 0, 1), np.uint8), metadata, _read_compression(opened), notes)
    if opened.format == "TIFF":
        for loss in _describe_channels(opened):
            picture.lose(loss)
    signed = opened.format == "TIFF" and 2 in read_tags(opened).get(339, ())
    if upright.mode == "F" or (upright.mode == "I" and opened.format != "PPM") or signed:
        held = _MODES["F" if upright.mode == "F" else "I"]
        raise InputError(
            f"{getattr(opened, 'filename', '') or 'the picture'} holds {held}, which would be cut to 8 bits; "
            "expected 8 or 16 bits a channel, without a sign. Save it with 16 bits, or pass an array of floats from 0 to 1."
        )
    if upright.mode[0] == "I":  # a PGM of 16 bits is I, all others I;16
        if "transparency" in upright.info:
            picture.lose("its transparent grey level is not kept: 16-bit grey has no alpha here")
        pixels = np.asarray(upright).astype(np.uint16)
    else:
        pixels = np.asarray(_make_plain(upright, picture, _MODES.get(opened.mode, opened.mode)))
    picture.pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    _note_frames(picture, opened)
    return picture


def _make_plain(upright: Image.Image, picture: Picture, kind: str) -> Image.Image:
    """An upright image of some `kind` as grey or RGB, with alpha or without; what is converted is noted in `picture`."""
    target = _choose_mode(upright)
    if target == upright.mode:
        return upright
    foreign = upright.mode in FOREIGN  # the profile is of the colours of before
    profile = picture.metadata.pop("icc_profile", None) if foreign else None
    upright, how = _convert(upright, target, profile)
    (picture.lose if foreign else picture.notes.append)(f"{kind} converted to {target}{how}")
    return upright


def find_differences(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Where two pictures (H, W, C) differ, bool (H, W)."""
    differs = np.zeros(one.shape[:2], np.bool_)
    for channel in range(one.shape[2]):  # a quarter of the time of any() over the channels
        differs |= one[..., channel] != other[..., channel]
    return differs


def is_turned(opened: Image.Image) -> bool:
    """Whether its EXIF says that it is to be turned or mirrored, or was when it was opened."""
    return read_orientation(opened) in range(2, 9)


def as_rgb(opened: Image.Image, name: str = "the picture") -> Image.Image:
    if opened.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it to white
        levels = np.asarray(opened).astype(np.int64)
        if opened.mode != "I" or levels.max() > 255:  # of 32 bits nobody knows what white is
            levels //= 257
        return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).convert("RGB")
    if opened.mode == "F":
        return Image.fromarray(_round_floats(np.asarray(opened), name)).convert("RGB")
    if opened.mode == "P" and "transparency" in opened.info:
        opened = opened.convert("RGBA")  # straight to RGB would warn and pick the transparent colour's entry
    return opened.convert("RGB")


def read_alpha(opened: Image.Image) -> np.ndarray | None:
    """The alpha (H, W), uint8, of an image in any mode; None where there is none. Pillow has none of integers and floats."""
    if opened.mode[0] in "IF" or not opened.has_transparency_data:
        return None
    return np.asarray(opened.convert("RGBA").getchannel("A"))


def _round_floats(values: np.ndarray, name: str) -> np.ndarray:
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):  # NaN fails both
        raise InputError(f"{name} holds float values from {low:g} to {high:g}; expected 0 to 1, none of them NaN.")
    return np.rint(values * 255).astype(np.uint8)


FOREIGN = ("CMYK", "LAB", "YCbCr", "HSV")  # colours that are not red, green and blue
_MODES = {
    "P": "palette",
    "PA": "palette with alpha",
    "1": "black and white",
    "F": "floats",
    "I": "grey of 32 bits or with a sign",
}


def _choose_mode(opened: Image.Image) -> str:
    clear = "transparency" in opened.info
    if opened.mode in ("L", "1"):
        return "LA" if clear else "L"
    if opened.mode in ("LA", "RGBA"):
        return opened.mode
    if opened.mode == "La":
        return "LA"
    return "RGBA" if clear or opened.mode in ("PA", "RGBa") else "RGB"


def _convert(upright: Image.Image, target: str, profile: bytes | None) -> tuple[Image.Image, str]:
    """The picture in the mode `target`, and by what, in words."""
    if upright.mode == "CMYK" and profile:
        try:
            return _convert_by_profile(upright, ImageCms.ImageCmsProfile(io.BytesIO(profile))), " (sRGB, by its ICC profile)"
        except (OSError, ImageCms.PyCMSError):
            return upright.convert("RGB"), "; its ICC profile is damaged or none of CMYK, colours are approximate"
    if upright.mode == "CMYK":
        return upright.convert("RGB"), "; it has no ICC profile, colours are approximate"
    if upright.mode == "1" and target == "LA":
        upright = upright.convert("L")
    return upright.convert(target), ""


def _convert_by_profile(opened: Image.Image, profile: Any) -> Image.Image:
    made = ImageCms.profileToProfile(opened, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert made is not None  # None is for conversion in place
    return made


def _note_frames(picture: Picture, opened: Image.Image) -> None:
    if (count := count_frames(opened)) == 1:
        return
    if opened.format in ("MPO", "HEIF"):
        picture.lose(f"several pictures in one file, as phones make them: the main one of {count} is taken")
        return
    picture.source["frames"] = count
    picture.lose(f"{'several pages' if opened.format == 'TIFF' else 'animation'}: the first of {count} is taken")


def count_frames(opened: Image.Image) -> int:
    """How many frames or pages there are, without masks and smaller copies; those of a TIFF are gone through.

    Pillow decodes the picture anew after that.
    """
    if opened.format == "PSD":  # of which Pillow counts the layers
        return 1
    if opened.format != "TIFF":
        return getattr(opened, "n_frames", 1)
    pages = place = 1
    while True:
        try:
            opened.seek(place)
        except EOFError:
            break
        except Exception:  # a page of a kind that Pillow does not read, or a damaged one, after which there is none
            if opened.tell() != place:
                break
        pages += not read_tags(opened).get(254, 0) & 5  # a smaller copy, or a mask
        place += 1
    opened.seek(0)
    return pages


def _describe_channels(opened: Image.Image) -> list[str]:
    """What Pillow converts in a TIFF, or leaves out, before anybody sees it."""
    tags, bands = read_tags(opened), len(opened.getbands())
    said = ["its colours, which were multiplied by alpha, are divided by it"] if 1 in tags.get(338, ()) else []
    if (there := tags.get(277, 1)) > bands:
        said.append(f"the first {bands} of {there} channels are taken")
    return said


def _read_compression(opened: Image.Image) -> Source:
    """The format, and how to compress such a file again."""
    source = Source(format=find_format(opened) or "")
    if isinstance(opened, JpegImagePlugin.JpegImageFile):
        tables, straight = getattr(opened, "quantization", None), opened.info.get("adobe_transform") == 0
        if tables and (opened.mode == "L" or (opened.mode == "RGB" and not straight)):  # else they are no YCbCr tables
            source["orientation"] = turn = read_orientation(opened) or 1
            turned = turn in ON_THE_SIDE
            source["qtables"] = {n: _transpose(table) for n, table in tables.items()} if turned else tables
            source["subsampling"] = _find_subsampling(opened, turned)
            source["progressive"] = bool(opened.info.get("progressive"))
    if "compression" in opened.info:
        source["compression"] = opened.info["compression"]
    return source


def _transpose(table: list[int]) -> list[int]:
    """A quantization table for the picture turned by a quarter: frequencies across are frequencies down."""
    return [table[8 * column + row] for row in range(8) for column in range(8)]


def _find_subsampling(opened: JpegImagePlugin.JpegImageFile, turned: bool) -> int:
    """That of the colours, as Pillow numbers it; what it cannot write is none, in which no colour is lost."""
    factors: Any = tuple(n for _, across, down, _ in opened.layer for n in ((down, across) if turned else (across, down)))
    return JpegImagePlugin.samplings.get(factors, 0)
