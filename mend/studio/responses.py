"""What the studio reads of a request, and how it answers: in lines of JSON as a task goes on, in one sentence for what goes
wrong."""

import asyncio
import base64
import json
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException as HTTPError
from starlette.requests import ClientDisconnect

from mend.errors import InputError
from mend.studio.messages import Done, Json, as_json
from mend.studio.sessions import Gone, Item, hold
from mend.studio.workers import Busy, Fault, Messages

T = TypeVar("T")
Model = TypeVar("Model", bound=BaseModel)


# --- Requests --------------------------------------------------------------------------------------------------------

Share = Annotated[float, Field(ge=0, le=1)]  # of a picture's width, or of its height


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


def validate(kind: type[Model], values: bytes | Json) -> Model:
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

Lines = AsyncGenerator[Json, None]


def stream_lines(lines: Lines) -> StreamingResponse:
    """Lines of JSON; bad input is the last of them. When the reader hangs up, no more are asked for."""

    async def encode() -> AsyncIterator[bytes]:
        try:
            async for line in lines:
                yield json.dumps(line).encode() + b"\n"
        except Exception as error:
            yield json.dumps({"error": explain(error)}).encode() + b"\n"
        finally:
            await lines.aclose()

    return StreamingResponse(encode(), media_type="application/x-ndjson")


async def follow(
    task: Messages,
    *items: Item,
    also: Json = {},  # noqa: B006, which nobody changes
    done: Callable[[Json], Json] = lambda facts: facts,
    undo: Callable[[], None] = lambda: None,
) -> Lines:
    """What a task says that works on items, which stay meanwhile; each stage tells what `also` is to be known.

    `done` makes of its facts what the page is told; `undo` is called when it did not come to its end.
    """
    try:
        with hold(*items):
            async with aclosing(task):
                async for message in task:
                    yield {"done": done(message.done)} if isinstance(message, Done) else {**also, **as_json(message)}
    except BaseException:
        undo()
        raise


def explain(error: Exception) -> str:
    """One sentence for an error; of one that is no bad input, the terminal gets the details."""
    if isinstance(error, InputError):
        return str(error)
    traceback.print_exception(error)
    return _blame_mend(error)


def _blame_mend(error: Exception) -> str:
    return f"a fault of mend itself ({type(error).__name__}); the terminal has the details."


def answer_errors(app: FastAPI) -> None:
    """Let every error of the application be answered with {"error": sentence}."""
    # Of what is no bad input Starlette itself prints the traceback.
    app.add_exception_handler(Exception, lambda _, error: JSONResponse({"error": _blame_mend(error)}, 500))
    app.add_exception_handler(InputError, _answer_input_error)
    app.add_exception_handler(ClientDisconnect, lambda *_: Response(status_code=499))  # which nobody reads
    app.add_exception_handler(HTTPError, _answer_status)
    app.add_exception_handler(RequestValidationError, lambda *_: JSONResponse({"error": "the request is incomplete."}, 422))


async def _answer_input_error(_: Request, error: Exception) -> Response:
    statuses: dict[type[Exception], int] = {Busy: 503, Gone: 410, Fault: 500}
    status = statuses.get(type(error), 400)
    return JSONResponse({"error": str(error)}, status, {"Retry-After": "5"} if status == 503 else None)


async def _answer_status(_: Request, error: Any) -> Response:
    sentence = "there is nothing here." if error.status_code == 404 else str(error.detail)
    return JSONResponse({"error": sentence}, error.status_code)
