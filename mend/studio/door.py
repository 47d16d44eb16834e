"""What stands before every request: who may ask, for what, and how much they may send."""

import base64
import hmac
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEGABYTES = 200  # of a file; what else is sent is parsed where everybody waits for it

# The page needs nothing from elsewhere, and the browser holds it to that.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # without a referrer Firefox would close a session with the origin "null"
    "Cross-Origin-Resource-Policy": "same-origin",
}
# What Gradio's client needs. The rest of Gradio's routes (a proxy, a fetcher of addresses, its own page) stays shut.
GRADIO = ("config", "gradio_api/info", "gradio_api/upload", "gradio_api/queue/", "gradio_api/call/fill",
          "gradio_api/heartbeat/", "gradio_api/cancel", "gradio_api/reset", "gradio_api/file=")  # fmt: skip


class Door:
    """Refuses other hosts (a name that resolves to this machine is one), other sites, strangers, and large bodies."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, auth: str | None) -> None:
        self.app, self.hosts = app, hosts
        self.auth = f"Basic {base64.b64encode(auth.encode()).decode()}".encode() if auth else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})  # before it was accepted: a refusal
            return
        refusal = self._refusal(Headers(scope=scope), scope["path"])
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        most = _megabytes(scope["path"])
        room = most * 1_000_000

        async def measured() -> Message:
            nonlocal room
            message = await receive()
            room -= len(message.get("body", b""))
            if room < 0:
                raise HTTPException(413, _too_large(most))
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                for name in [name for name in headers if name.startswith("access-control-")]:
                    del headers[name]
            await send(message)

        await self.app(scope, measured, guarded)

    def _refusal(self, headers: Headers, path: str) -> JSONResponse | None:
        host = _split(f"//{headers.get('host', '')}").hostname or ""
        if self.hosts is not None and host not in self.hosts:
            return _no(421, f"this is the studio of another host than {host!r}.")
        origin = headers.get("origin")
        if (origin is not None and _split(origin).netloc != headers.get("host")) or (
            headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
        ):
            return _no(403, "another site may not use the studio.")
        if self.auth and not hmac.compare_digest(headers.get("authorization", "").encode(), self.auth):
            refusal = _no(401, "a name and a password are needed.")
            refusal.headers["WWW-Authenticate"] = 'Basic realm="mend studio", charset="UTF-8"'
            return refusal
        if path.startswith("/gradio/") and not path.removeprefix("/gradio/").startswith(GRADIO):
            return _no(404, "there is nothing here.")
        length = headers.get("content-length", "0")
        most = _megabytes(path)
        if not length.isdigit() or int(length) > most * 1_000_000:
            return _no(413, _too_large(most))
        return None


FILES = re.compile(r"/fill|/gradio/gradio_api/upload|/sessions/[^/]+/pictures(/[^/]+/mask)?")


def _megabytes(path: str) -> int:
    """How much may be sent to an address: a file, a call by Gradio's client, or a painted mask, which takes less than one."""
    if FILES.fullmatch(path):
        return MEGABYTES
    return 1 if path.startswith("/gradio/") else 20


def _too_large(most: int) -> str:
    if most == MEGABYTES:
        return f"the file is larger than {most} MB, the most that the studio takes. Use 'mend fill' for it."
    return f"the request is larger than {most} MB. Send what is large as a file."


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # a bracket that is not closed
        return urlsplit("")


def _no(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)
