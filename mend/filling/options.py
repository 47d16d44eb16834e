"""How a photograph is filled: what the command, a folder and the studio let a person choose."""

from dataclasses import dataclass
from pathlib import Path

from mend.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a photograph is filled, or each of many. A field is a flag of `mend fill` and a field of the studio's form.

    What stands in braces in a help text is listed where the text is shown.
    """

    object: str | None = None
    """remove an object, without a mask: its name, such as dog or person; or largest."""
    segmenter: str = "deeplabv3_resnet101"
    """what finds the object: {segmenters}, hf:owner/name or hf:FOLDER. felzenszwalb, which is no network, finds the largest
    object only, and often fails on photographs."""
    hole: str = "auto"
    """what marks the hole in the mask: auto, {holes}. painted means strongly coloured."""
    grow: int | None = None
    """enlarge the hole by this many pixels on every side. Default: 0; for an object, 2 % of the picture's longer side."""
    feather: int = 0
    """fade the filling into the picture over this many pixels, within what grow has added."""
    model: str | None = None
    """what fills the hole. Default: the network that comes with mend. Others: {classical} (biharmonic needs the extra eval);
    {fetched}, downloaded on first use; FILE.onnx or FILE.pt, described by a FILE.toml beside it; a folder that 'mend train'
    made."""
    smooth: bool = False
    """do not add texture from the rest of the picture: on average closer to what was there, but blurred in a large hole."""
    texture: bool = False
    """add texture to the filling of another model too. The default network always gets it."""
    seam: bool = False
    """blend the filling into the picture at the edge of the hole, for a network of yours that changes other pixels too."""
    first_frame: bool = False
    """fill the first frame of an animation, or the first page of a document, and drop the others. Without this, such a file is
    refused."""
    opaque: bool = False
    """make the filled area opaque. Without this, it stays transparent where the picture is."""
    quality: int | None = None
    """1 to 100, for JPEG, WebP and AVIF. Default: a JPEG keeps the quality that it has, a WebP is lossless unless it was lossy
    before, and anything else is 95."""
    max_memory: str | None = None
    """the most memory that filling may take, such as 2GB. Large pictures are then filled in smaller tiles, and a folder one
    picture at a time. Does not go with an object, since what finds it is not counted."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps …"""

    def check(self) -> None:
        """Raise InputError for options that exclude each other, or are out of range."""
        if self.object and self.hole != "auto":
            raise InputError(
                "`hole` says what marks the hole in a mask, and does not fit `object`, which needs none. Leave it out."
            )
        check_texture(self.model, self.smooth, self.texture)
        if self.object and self.max_memory:
            raise InputError("`max_memory` does not count what finds an object. Leave it out, or give a `mask`.")
        if self.grow is not None or not self.object:  # the hole of an object is grown by a share of the picture
            from mend.masks.hole import check_ring  # OpenCV takes a while

            check_ring(self.grow or 0, self.feather)

    @property
    def most_memory(self) -> int | None:
        """`max_memory` in bytes. InputError for text that is no memory."""
        from mend.inpaint.plan import parse_memory

        return parse_memory(self.max_memory) if self.max_memory else None


def check_texture(model: str | Path | None, smooth: bool, texture: bool) -> None:
    """Raise InputError for `smooth` beside what it does not fit."""
    if smooth and texture:
        raise InputError("`smooth` leaves texture out, `texture` adds it. Leave one of them out.")
    if smooth and model is not None:
        raise InputError(
            "`smooth` is for the network that comes with mend: another `model` has no texture unless you add `texture`. "
            "Leave it out."
        )
