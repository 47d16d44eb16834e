"""The command line: one verb a function. Nothing heavy is imported until a verb runs."""

import sys

from mend.cli import experiment, filling  # noqa: F401 (they add their verbs to `app`)
from mend.cli.app import app
from mend.errors import InputError


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Bad input prints its message and exits with 1, Ctrl-C with 130; `--debug` shows tracebacks."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in tokens
    try:
        app([token for token in tokens if token != "--debug"])
    except KeyboardInterrupt as stop:
        print(f"\nstopped. {str(stop) or 'The same command goes on from what was finished.'}", file=sys.stderr)
        sys.exit(130)
    except (InputError, OSError, MemoryError, torch_out_of_memory()) as error:
        if debug:
            raise
        print(f"mend: {_said(error)}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        print(
            f"mend: a fault of mend itself ({type(error).__name__}: {error}). "
            "Run the command again with --debug, and report what it prints.",
            file=sys.stderr,
        )
        sys.exit(2)


def torch_out_of_memory() -> type[BaseException]:
    """PyTorch's error of that name, where PyTorch was imported at all."""
    torch = sys.modules.get("torch")
    return torch.OutOfMemoryError if torch is not None else MemoryError


def _said(error: BaseException) -> str:
    import errno

    if not isinstance(error, (InputError, OSError)):
        return "out of memory. Try a smaller picture, --batch-size or --width."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        place = f" for {error.filename}" if error.filename else ""
        return f"no space left on the disk{place}. Free some and run the command again."
    return str(error)
