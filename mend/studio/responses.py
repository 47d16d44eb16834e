"""What the studio reads of a request, and how it answers: in lines of JSON as a task goes on, in one sentence for what goes
wrong."""

import asyncio
import base64
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException as HTTPError
from starlette.requests import ClientDisconnect

from mend.errors import InputError
from mend.studio.sessions import Gone, Item, hold
from mend.studio.workers import Busy, Fault, Messages

Facts = dict[str, Any]
T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)


# --- Requests --------------------------------------------------------------------------------------------------------


async def receive_file(request: Request, item: Item, file: Path) -> None:
    """Write what comes to a file of an item, which stays meanwhile; of what breaks off nothing is left."""
    try:
        with hold(item), file.open("wb") as target:
            async for chunk in request.stream():
                target.write(chunk)
    except BaseException:
        file.unlink(missing_ok=True)
        raise


async def read_json(request: Request, kind: type[Model]) -> Model:
    return validate(kind, await request.body())


def validate(kind: type[Model], values: bytes | Facts) -> Model:
    """The model of JSON, or of values by name. InputError for the first that is wrong."""
    try:
        return kind.model_validate_json(values) if isinstance(values, bytes) else kind.model_validate(values)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"])) or "the request"
        raise InputError(f"{where} is not what was expected: {wrong['msg'][0].lower()}{wrong['msg'][1:]}.") from None


def decode_data_url(url: str) -> bytes:
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except ValueError:
        raise InputError("the mask is no data URL in base64.") from None


def find(table: dict[str, T], name: str) -> T:
    """`table[name]`; for a name that it does not have, the answer is 404."""
    if name not in table:
        raise HTTPException(404)
    return table[name]


async def run_while_connected(request: Request, work: Awaitable[T]) -> T:
    """What `work` returns; it is cancelled when whoever sent the request hangs up."""
    running = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({running}, timeout=0.5))[0]:
            if await request.is_disconnected():
                raise ClientDisconnect
        return running.result()
    finally:
        running.cancel()
        await asyncio.wait({running})


# --- Answers ---------------------------------------------------------------------------------------------------------


def stream_lines(messages: Messages) -> StreamingResponse:
    """Messages as lines of JSON; bad input is the last of them. When the reader hangs up, the messages are not asked for."""

    async def lines() -> AsyncIterator[bytes]:
        try:
            async for message in messages:
                yield json.dumps(message).encode() + b"\n"
        except Exception as error:
            yield json.dumps({"error": explain(error)}).encode() + b"\n"
        finally:
            await messages.aclose()

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def follow(
    task: Messages,
    *items: Item,
    also: Facts = {},  # noqa: B006, which nobody changes
    done: Callable[[Facts], Facts] = lambda facts: facts,
    undo: Callable[[], None] = lambda: None,
    after: Callable[[], None] = lambda: None,
) -> Messages:
    """The messages of a task that works on items, which stay meanwhile; each tells what `also` is to be known.

    `done` makes of its facts what the page is told; `undo` is called when it did not come to its end, `after` in any case.
    """
    try:
        with hold(*items):
            async with aclosing(task):
                async for message in task:
                    yield {"done": done(message["done"])} if "done" in message else {**also, **message}
    except BaseException:
        undo()
        raise
    finally:
        after()


async def wait_for(messages: Messages) -> Facts:
    """The facts in the last of a task's messages."""
    facts = Facts()
    async for message in messages:
        facts = message.get("done", facts)
    return facts


def explain(error: Exception) -> str:
    """One sentence for an error; of one that is no bad input, the terminal gets the details."""
    if isinstance(error, InputError):
        return str(error)
    traceback.print_exception(error)
    return _blame_mend(error)


def _blame_mend(error: Exception) -> str:
    return f"a fault of mend itself ({type(error).__name__}); the terminal has the details."


def answer_error(error: Exception) -> JSONResponse:
    headers = {"Retry-After": "5"} if isinstance(error, Busy) else None
    statuses = {Busy: 503, Gone: 410, Fault: 500, InputError: 400}
    status = next((status for kind, status in statuses.items() if isinstance(error, kind)), 500)
    return JSONResponse({"error": explain(error)}, status, headers)


def answer_errors(app: FastAPI) -> None:
    """Let every error of the application be answered with {"error": sentence}."""
    # Of what is no bad input Starlette itself prints the traceback.
    app.add_exception_handler(Exception, lambda _, error: JSONResponse({"error": _blame_mend(error)}, 500))
    app.add_exception_handler(InputError, lambda _, error: answer_error(error))
    app.add_exception_handler(ClientDisconnect, lambda *_: Response(status_code=499))  # which nobody reads
    app.add_exception_handler(HTTPError, _answer_status)
    app.add_exception_handler(RequestValidationError, lambda *_: JSONResponse({"error": "the request is incomplete."}, 422))


async def _answer_status(_: Request, error: Any) -> Response:
    sentence = "there is nothing here." if error.status_code == 404 else str(error.detail)
    return JSONResponse({"error": sentence}, error.status_code)
