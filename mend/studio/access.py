"""Checks every request before it reaches the studio: who sends it, from where, and how large it is."""

import base64
import hmac
import re
import time
from collections import deque
from collections.abc import Mapping
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEGABYTES = 200  # of a file; what else is sent is parsed where everybody waits for it
# Where files are sent to.
FILES = re.compile(r"/fills?|/sessions/[^/]+/(pictures(/[^/]+/mask)?|batches/[^/]+/(pictures|masks))")
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^][:@/?#\s]+)(:\d+)?")  # no name before an @, which a browser would leave out
ATTEMPTS, PAUSE = 10, 60.0  # wrong passwords in so many seconds, from one address, before it has to wait
ADDRESSES = 1000  # of which wrong passwords are remembered

# The page needs nothing from elsewhere, and the browser holds it to that.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # without a referrer Firefox would close a session with the origin "null"
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Access:
    """Refuses other hosts (a name that resolves to this machine is one), other sites, strangers, and large bodies."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, auth: str | None) -> None:
        self.app, self.hosts = app, hosts
        self.auth = f"Basic {base64.b64encode(auth.encode()).decode()}".encode() if auth else None
        self.attempts: dict[str, deque[float]] = {}  # when an address sent its last wrong passwords

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})  # before it was accepted: a refusal
            return
        most = MEGABYTES if FILES.fullmatch(scope["path"]) else 20  # a painted mask takes less than one
        headers, address = Headers(scope=scope), (scope.get("client") or ("",))[0]
        refusal = self._refuse_host(headers) or self._refuse_stranger(headers, address) or _refuse_length(headers, most)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        room = most * 1_000_000

        async def measured() -> Message:
            nonlocal room
            message = await receive()
            room -= len(message.get("body", b""))
            if room < 0:
                raise HTTPException(413, _explain_size(most))
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, measured, guarded)

    def _refuse_host(self, headers: Headers) -> JSONResponse | None:
        host = headers.get("host", "")
        name = found[1].strip("[]").lower() if (found := HOST.fullmatch(host)) else None
        if name is None or (self.hosts is not None and name not in self.hosts):
            return _refuse(421, f"this is the studio of another host than {host!r}.")
        origin = headers.get("origin")
        if (origin is not None and _parse_location(origin) != host) or (
            headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
        ):
            return _refuse(403, "another site may not use the studio.")
        return None

    def _refuse_stranger(self, headers: Headers, address: str) -> JSONResponse | None:
        if self.auth is None:
            return None
        now, wrong = time.monotonic(), self.attempts.get(address, deque())
        if len(wrong) == ATTEMPTS and now - wrong[0] < PAUSE:
            refusal = _refuse(429, "there were too many wrong passwords. Try again in a minute.")
            refusal.headers["Retry-After"] = str(round(PAUSE))
            return refusal
        sent = headers.get("authorization", "").encode()
        if hmac.compare_digest(sent, self.auth):
            self.attempts.pop(address, None)
            return None
        if sent:  # a browser asks without a password first
            if address not in self.attempts and len(self.attempts) >= ADDRESSES:
                self.attempts.pop(next(iter(self.attempts)))
            self.attempts.setdefault(address, deque(maxlen=ATTEMPTS)).append(now)
        refusal = _refuse(401, "a name and a password are needed.")
        refusal.headers["WWW-Authenticate"] = 'Basic realm="mend studio", charset="UTF-8"'
        return refusal


def _refuse_length(headers: Headers, most: int) -> JSONResponse | None:
    length = headers.get("content-length", "0")
    return None if length.isdecimal() and int(length) <= most * 1_000_000 else _refuse(413, _explain_size(most))


def _explain_size(most: int) -> str:
    if most == MEGABYTES:
        return f"the file is larger than {most} MB, the most that the studio takes. Use 'mend fill' for it."
    return f"the request is larger than {most} MB. Send what is large as a file."


def _parse_location(address: str) -> str:
    try:
        return urlsplit(address).netloc
    except ValueError:  # a bracket that is not closed
        return ""


def _refuse(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)
