"""The studio: a web page on which a person removes something from a picture.

`page/` is what is seen. `server` answers it and `api` answers programs, after `access` said who may ask; `sessions` holds what
is open. Neither touches a pixel: `tasks` do, each in a `process` that `workers` keeps, by one of the `methods`; what they say
on the way and in the end are `messages`.
"""

import contextlib
import logging
import os
import signal
import socket
import threading
import webbrowser
from typing import TYPE_CHECKING

from mend.errors import InputError
from mend.studio.methods import list_methods

if TYPE_CHECKING:
    from fastapi import FastAPI


def studio(models: list[str], host: str, port: int, auth: str | None, device: str, show: bool) -> None:
    """Serve the studio until Ctrl-C; `models` are run folders, model folders and networks' files to offer besides
    what is in the box."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # nothing leaves the machine
    if auth is not None and (":" not in auth or auth.startswith(":") or auth.endswith(":")):
        raise InputError("`auth` is to be NAME:PASSWORD.")
    from mend.studio.server import make_app

    local = host in LOCAL
    if not local and auth is None:
        raise InputError(f"`host={host}` lets other machines in, and no password was given. Add `auth=NAME:PASSWORD`.")
    methods = list_methods(models)
    with _listen(host, port) as listening, contextlib.suppress(KeyboardInterrupt):  # which is how a server is ended
        _end_on_signals()
        app = make_app(methods, models, device, LOCAL if local else None, auth)  # makes a folder, which the server removes
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        print(f"mend studio: {address}   (Ctrl-C ends it)", flush=True)
        if show:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()  # some wait for the browser to end
        _run(app, listening)


LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


def _run(app: "FastAPI", listening: socket.socket) -> None:
    """Serve until a signal, and then end within a second or so, whatever is at work."""
    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await app.state.end_tasks()  # else uvicorn would wait for their answers
            # It would show where an answer broke off that is being sent.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            await super().shutdown(sockets)

    config = uvicorn.Config(app, log_level="warning", access_log=False, proxy_headers=False, timeout_graceful_shutdown=1)
    Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family)
    if os.name == "posix":  # elsewhere it would let two studios have one port
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
        opened.listen()
    except (OSError, OverflowError) as error:
        opened.close()
        raise InputError(f"cannot listen at {host}:{port} ({error}). Choose another `port`, or 0 for a free one.") from None
    return opened


def _end_on_signals() -> None:
    """Let SIGTERM, and a terminal that is closed, end the studio as Ctrl-C does: nothing is left behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until uvicorn has handlers of its own, and after
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # under nohup it goes on
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))  # uvicorn does not know SIGHUP
