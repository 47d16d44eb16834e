"""How the studio is asked and answers: in lines of JSON as a task goes on, and in one sentence for what goes wrong."""

import asyncio
import base64
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from mend.errors import InputError
from mend.studio.workers import Messages

T = TypeVar("T")
Asked = TypeVar("Asked", bound=BaseModel)


def as_lines(messages: Messages) -> StreamingResponse:
    """Messages as lines of JSON; bad input is the last of them. When the reader hangs up, the messages are not asked for."""

    async def lines() -> AsyncIterator[bytes]:
        try:
            async for message in messages:
                yield json.dumps(message).encode() + b"\n"
        except InputError as error:
            yield json.dumps({"error": str(error)}).encode() + b"\n"
        except Exception as error:
            traceback.print_exc()
            yield json.dumps({"error": fault(error)}).encode() + b"\n"
        finally:
            await messages.aclose()

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def last(messages: Messages) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    async for message in messages:
        facts = message.get("done", facts)
    return facts


async def while_waited_for(left: Callable[[], Awaitable[bool]], work: Awaitable[T]) -> T:
    """What `work` returns; it is ended when whoever asked for it has `left`."""
    working = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({working}, timeout=0.5))[0]:
            if await left():
                raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        await asyncio.wait({working})


async def receive(request: Request, file: Path) -> None:
    with file.open("wb") as target:
        async for chunk in request.stream():
            target.write(chunk)


async def read(request: Request, kind: type[Asked]) -> Asked:
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"])) or "the request"
        raise InputError(f"{where} is not what was expected: {wrong['msg'][0].lower()}{wrong['msg'][1:]}.") from None


def decoded(url: str) -> bytes:
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except ValueError:
        raise InputError("the mask is no data URL in base64.") from None


def fault(error: Exception) -> str:
    return f"a fault of mend itself ({type(error).__name__}); the terminal has the details."


def listed(table: dict[str, T], name: str) -> T:
    if name not in table:
        raise HTTPException(404)
    return table[name]


async def refused(_: Request, error: Any) -> Response:
    sentence = "there is nothing here." if error.status_code == 404 else str(error.detail)
    return JSONResponse({"error": sentence}, error.status_code)
