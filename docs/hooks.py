"""What MkDocs changes in a page.

A link to `../FILE`, outside of docs/, becomes the copied picture, or a link to the repository. A list item that is only
"- `mend.NAME`" becomes the documentation of that object.
"""

import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REPOSITORY = "https://github.com/mend-inpainting/mend/blob/main/"
OUTSIDE = re.compile(r"(?<=\]\()\.\./([^)#\s]+)")
NAME = re.compile(r"^- `(mend[.\w]*)`$", re.MULTILINE)
SHOWN = {".gif", ".jpg", ".png", ".svg", ".webp"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pictures that the pages show."""
    root = Path(config.docs_dir).parent
    for page in list(files.documentation_pages()):
        for name in OUTSIDE.findall(page.content_string):
            if PurePosixPath(name).suffix in SHOWN and files.get_file_from_path(name) is None:
                files.append(File.generated(config, name, abs_src_path=str(root / name)))
    return files


def on_page_markdown(markdown: str, config: MkDocsConfig, **_: object) -> str:
    """Lead `../FILE` to the picture in the site, or to the file in the repository; a file that is not there is an error. Put
    the documentation of a listed object in its place."""

    def lead(found: re.Match[str]) -> str:
        name = found[1]
        if not (Path(config.docs_dir).parent / name).exists():
            raise FileNotFoundError(f"a page links {found[0]}, which is not there")
        return name if PurePosixPath(name).suffix in SHOWN else REPOSITORY + name

    return NAME.sub(r"::: \1\n", OUTSIDE.sub(lead, markdown))
