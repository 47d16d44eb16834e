"""Formats of picture files: by a suffix, by what a file says of itself, and which of them an output gets."""

from pathlib import Path

from PIL import Image

from mend.errors import InputError

KNOWN = "PNG, JPEG, WebP, TIFF, GIF, BMP, AVIF or HEIC"  # what people have, of all that Pillow reads
LOSSY = ("JPEG", "WEBP", "AVIF")


def name_format(suffix: str) -> str | None:
    """The format that a suffix names, if Pillow can write it, and read it again to see that it is right."""
    kind = Image.registered_extensions().get(suffix.lower())  # which also makes Pillow load its formats
    kind = "JPEG" if kind == "MPO" else kind
    return kind if kind in Image.SAVE and kind in Image.OPEN else None


def find_format(opened: Image.Image) -> str | None:
    """Its format, JPEG for several in one."""
    return "JPEG" if opened.format == "MPO" else opened.format


def has_quality(path: str | Path) -> bool:
    """Whether the format that the suffix names has a quality; see `encode`."""
    return name_format(Path(path).suffix) in LOSSY


def check_quality(path: str | Path, quality: int) -> None:
    """InputError unless the format has a quality, and this is one."""
    if not (has_quality(path) and 1 <= quality <= 100):
        raise InputError(f"`quality` is {quality} for {Path(path).name}; it is 1 to 100, and for .jpg, .webp and .avif only.")


def name_output(photo: Path, content: str | None) -> Path:
    """Where a filled `photo` goes unless told otherwise: NAME-filled beside it, with its `choose_suffix`."""
    return photo.with_name(f"{photo.stem}-filled{choose_suffix(photo.suffix, content)}")


def choose_suffix(suffix: str, content: str | None) -> str:
    """What is written of a picture with `suffix`, whose format is `content`, None where that is not known: its own.

    But .png where the format cannot hold every colour (GIF), or is rare, and where the suffix lies about it.
    """
    kind = name_format(suffix)
    return suffix if kind in ("PNG", "JPEG", "WEBP", "TIFF") and content in (kind, None) else ".png"


def find_pictures(root: Path, *besides: str) -> list[Path]:
    """Every picture under a folder, sorted, by its suffix, and what has a suffix of `besides`; hidden ones are left out.

    InputError where there is none.
    """
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    suffixes |= {".heic", ".heif", *besides}
    root = root.expanduser()
    found = sorted(p for p in root.rglob("*") if p.suffix.lower() in suffixes and p.is_file() and not _is_hidden(p, root))
    if not found:
        others = [p.name for p in sorted(root.rglob("*")) if p.is_file()][:3]
        said = f"it holds {', '.join(others)} …" if others else "it is empty."
        raise InputError(f"no pictures in {root}: {said} Expected {KNOWN}.")
    return found


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)
