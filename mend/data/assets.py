"""What comes with mend: where it lies, and its TOML files, of which a misspelt key is an error."""

import tomllib
from pathlib import Path
from typing import Any

from mend.errors import InputError, suggest_nearest

VERSION = "0.1.0"
ASSETS = Path(__file__).parent.parent / "assets"


def read_toml(name: str | Path, kind: str, keys: list[str]) -> dict[str, Any]:
    """The values of a TOML file: a shipped one of this kind, such as "recipe", by its name, or a path that ends in .toml.

    Raises InputError for an unknown name, and for a key that is not among `keys`.
    """
    folder = ASSETS / f"{kind}s"
    file = Path(name) if str(name).endswith(".toml") else folder / f"{name}.toml"
    if not file.exists():
        known = sorted(p.stem for p in folder.glob("*.toml"))
        raise InputError(
            f"unknown {kind} {str(name)!r}.{suggest_nearest(str(name), known)} Known: {', '.join(known)}, or a .toml file."
        )
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no TOML: {error}.") from None
    for key in values:
        if key not in keys:
            raise InputError(f"unknown key {key!r} in {file.name}.{suggest_nearest(key, keys)} Known: {', '.join(keys)}.")
    return values
