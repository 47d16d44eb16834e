"""The command line: one verb a function. Nothing heavy is imported until a verb runs."""

import os
import select
import sys
import warnings
from pathlib import Path

from cyclopts import ArgumentOrderError, CycloptsError, MissingArgumentError, UnusedCliTokensError

from mend import distributed
from mend.cli import experiment, filling  # noqa: F401 (they add their verbs to `app`)
from mend.cli.app import app
from mend.errors import InputError, is_disk_full, is_out_of_memory, name_missing_extra, show_flags

GOES_ON = "The same command goes on from what was finished."
PYTHONS_FORMAT = warnings.formatwarning


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Bad input prints its message and exits with 1, a misspelt command line with 2, Ctrl-C with 130;
    `--debug` shows tracebacks."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in tokens
    distributed.handle_signals()
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of what is odd in a picture the notes tell
    warnings.formatwarning = _format_warning
    try:
        try:
            with name_missing_extra():
                app([token for token in tokens if token != "--debug"])
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where somebody listens to what may go wrong
    except KeyboardInterrupt as stop:
        done = "Nothing was written." if tokens[:1] == ["fill"] else GOES_ON
        if distributed.claim_last_word():
            print(f"\nstopped{distributed.describe_stop()}. {show_flags(str(stop)) or done}", file=sys.stderr, flush=True)
        sys.exit(130)
    except CycloptsError as misuse:
        if distributed.claim_last_word():
            print(f"mend: {_describe_misuse(misuse, tokens)}", file=sys.stderr, flush=True)
        sys.exit(2)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _has_reader_left():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(141)  # as of a program that SIGPIPE ended
        if debug:
            raise
        explanation = _explain(error, tokens)
        if distributed.claim_last_word():
            print(f"mend: {show_flags(explanation) or _describe_fault(error)}", file=sys.stderr, flush=True)
        sys.exit(1 if explanation else 2)


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """What a warning says; of mend's own not where in the code, which is nothing to its users."""
    if category is UserWarning and Path(filename).is_relative_to(Path(__file__).parents[1]):
        return f"mend: {message}\n"
    return PYTHONS_FORMAT(message, category, filename, lineno, line)


def _describe_misuse(error: CycloptsError, tokens: list[str]) -> str:
    """What is wrong with a command line that was not understood."""
    command = " ".join(["mend", *(error.command_chain or [])])
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        if error.keyword is not None:
            return f"{error.keyword} needs a value after it; '{command} --help' says what it is."
        name = error.argument.name.lstrip("-").upper() if error.argument.index is not None else error.argument.name
        return f"'{command}' needs {name}; '{command} --help' says what that is."
    if isinstance(error, ArgumentOrderError):
        return f"what is {error.token}? Name each file by its flag, or all without, in the order that '{command} --help' shows."
    if not isinstance(error, UnusedCliTokensError):
        return str(error)
    unused = ", ".join(error.unused_tokens or [])
    if tokens[:1] != ["fill"]:
        return f"what is {unused}? '{command} --help' says what it takes."
    is_mask = "--mask" not in tokens and Path(unused).is_file()
    todo = f"If it is the mask, write --mask {unused}." if is_mask else "To fill many, put them into a folder, and name that."
    return f"one picture or one folder is filled at a time; what is {unused}? {todo}"


def _has_reader_left() -> bool:
    """Whether the program that reads what is printed, such as `head`, has ended."""
    if sys.stdout is None or os.name != "posix":
        return False
    waiting = select.poll()
    waiting.register(sys.stdout.fileno(), select.POLLOUT)
    return any(events & select.POLLERR for _, events in waiting.poll(0))


def _explain(error: Exception, tokens: list[str]) -> str:
    """What went wrong and what to do; "" where mend itself is at fault."""
    if distributed.is_from_lost_process(error):
        goes_on = "The same command goes on with --skip-existing." if tokens[:1] == ["fill"] else GOES_ON
        return f"another process of this job was ended, or the whole job. {goes_on}"
    if is_out_of_memory(error):
        less = {
            "fill": "a smaller picture, or --max-memory, such as --max-memory 2GB",
            "train": "a smaller --batch-size or --width",
        }
        return f"out of memory. Try {less.get(''.join(tokens[:1]), 'smaller pictures')}."
    if is_disk_full(error):
        place = f" for {error.filename}" if error.filename else ""
        return f"no space left on the disk{place}. Free some and run the command again."
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}."  # the system's words without its number
    return str(error) if isinstance(error, (InputError, OSError)) else ""


def _describe_fault(error: Exception) -> str:
    return (
        f"a fault of mend itself ({type(error).__name__}: {error}). "
        "Run the command again with --debug, and report what it prints."
    )
