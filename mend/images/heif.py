"""HEIC and HEIF, as phones write them: read by pillow-heif, where it is installed."""

from PIL import Image

from mend.errors import InputError

BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def is_heif(head: bytes) -> bool:
    """Whether a file begins with these 12 bytes; what is AVIF by its content Pillow opens itself."""
    return head[4:8] == b"ftyp" and head[8:12] in BRANDS


def register_heif(name: str) -> None:
    """Have Pillow read such files; it does not write them. InputError, on the file `name`, without pillow-heif."""
    try:
        from pillow_heif import HeifImageFile
    except ModuleNotFoundError:
        raise InputError(
            f"{name} is HEIC, which needs pillow-heif. Run in the folder of mend: pip install '.[heif]'. Or convert the "
            "file to JPEG or PNG."
        ) from None
    Image.register_open("HEIF", HeifImageFile, is_heif)
