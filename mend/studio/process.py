"""A process that does the studio's tasks, one after another, until the server ends.

`python -m mend.studio.process` reads a task a line from standard input, [name, arguments], and says how it goes in lines of
JSON (see `mend.studio.messages`). A process can be ended in the middle of anything, which a thread cannot: so everything can be
cancelled, and a picture that takes all memory takes no page with it.
"""

import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from PIL import Image

from mend.errors import InputError, is_disk_full, is_out_of_memory
from mend.studio.messages import Done, Failed, Stage, as_json
from mend.studio.tasks import MEGAPIXELS, TASKS, Report, hide_path

REFUSED = {"EPS", "WMF"}  # formats that Pillow hands to Ghostscript, or to Windows, which is for nothing that strangers send


def main() -> None:
    """Do tasks until the server ends. What libraries print goes to standard error, not among the messages."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    Image.MAX_IMAGE_PIXELS = MEGAPIXELS * 1_000_000
    Image.init()
    Image.ID[:] = [name for name in Image.ID if name not in REFUSED]

    def say(message: Stage | Done | Failed) -> None:
        print(json.dumps(as_json(message)), file=output, flush=True)

    for line in read_lines():
        name, arguments = json.loads(line)
        say(do_task(name, arguments, report=lambda *words, **more: say(Stage(*words, **more))))


def read_lines() -> Iterator[str]:
    """The lines of standard input. When it ends, the server has: the process goes at once, in the middle of a task."""
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


def do_task(name: str, arguments: dict[str, Any], report: Report) -> Done | Failed:
    try:
        return Done(as_json(TASKS[name](report, **arguments)))
    except InputError as error:
        return Failed(_hide_paths(str(error), arguments))
    except Exception as error:
        if is_out_of_memory(error):
            return Failed("there was not enough memory for that. Try a smaller picture or another model.", fault=True)
        if is_disk_full(error):
            return Failed("no space is left on the disk of the studio. Free some, and try again.", fault=True)
        traceback.print_exc()
        return Failed(f"a fault of mend itself ({type(error).__name__}); the terminal has the details.", fault=True)


def _hide_paths(sentence: str, arguments: dict[str, Any]) -> str:
    """A sentence with names in place of the paths among a task's arguments."""
    for argument, name in (("mask", "the mask"), ("photo", arguments.get("name", "the picture")), ("out", "the result")):
        if argument in arguments:
            sentence = hide_path(sentence, arguments[argument], name)
    model = arguments.get("options", {}).get("model")
    if model is not None:
        sentence = sentence.replace(model, Path(model).name)
    return sentence.replace("the mask the mask", "the mask")


if __name__ == "__main__":
    main()
