"""How a photograph is filled: what the command, a folder and the studio let a person choose."""

from dataclasses import dataclass

from mend.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a photograph is filled, or each of many. A field is a flag of `mend fill` and a field of the studio's form.

    What stands in braces in a help text is listed where the text is shown.
    """

    object: str | None = None
    """fill an object instead of a mask: its name, such as dog or person, or largest."""
    segmenter: str = "deeplabv3_resnet101"
    """what finds the object: {segmenters}, hf:owner/name or hf:FOLDER; of these, felzenszwalb finds the largest only, and not
    reliably in photographs."""
    hole: str = "auto"
    """what marks the hole in the mask: auto, {holes}; painted is what is strongly coloured."""
    grow: int | None = None
    """pixels by which the hole is made larger on every side; 2 % of the longer side for an object, else 0, unless given."""
    feather: int = 0
    """pixels of the grown part, from its rim, over which the filling fades into the picture."""
    model: str | None = None
    """{classical} (biharmonic needs the extra eval); {fetched}, which are fetched; FILE.onnx or FILE.pt with its contract
    beside it, FILE.toml; a run folder or a model folder. The network in the box unless given."""
    smooth: bool = False
    """leave out the texture from elsewhere in the picture: nearer to what was there on average, and a blur in a large hole."""
    texture: bool = False
    """give the filling of another model texture too; the network in the box has it anyway."""
    seam: bool = False
    """blend the filling into the picture at the rim of the hole: for a network of yours that changes known pixels a little."""
    first_frame: bool = False
    """of an animation, or of several pages, fill the first and leave out the others; else such a file is refused."""
    opaque: bool = False
    """make what is filled opaque, where the picture is transparent; else it stays so."""
    quality: int | None = None
    """1 to 100, of a JPEG, WebP or AVIF; else a JPEG keeps its own tables, a WebP stays lossless, others are 95."""
    max_memory: str | None = None
    """memory that filling may take, such as 2GB; large pictures are then worked through in smaller tiles, and those of a folder
    one after another. Not for an object, since what finds it is not counted."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps …"""

    def check(self) -> None:
        """Raise InputError for options that exclude each other."""
        from mend.filling.load import check_texture

        if self.object and self.hole != "auto":
            raise InputError(
                "`hole` says what marks the hole in a mask, and does not fit `object`, which needs none. Leave it out."
            )
        check_texture(self.model, self.smooth, self.texture)
        if self.object and self.max_memory:
            raise InputError("`max_memory` does not count what finds an object. Leave it out, or give a `mask`.")

    @property
    def most_memory(self) -> int | None:
        """`max_memory` in bytes. InputError for text that is no memory."""
        from mend.inpaint.plan import memory_size

        return memory_size(self.max_memory) if self.max_memory else None
