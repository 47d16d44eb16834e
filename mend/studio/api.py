"""Filling for programs: what `mend fill` writes, over HTTP.

POST /fill answers with the picture; to hang up is to cancel. POST /fills begins the same and answers with an address, of which
GET says how far it is, GET …/result has the picture, and DELETE cancels it. /openapi.json describes both, /docs shows that.
"""

import asyncio
import contextlib
import json
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from docstring_parser import parse_from_object
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.datastructures import UploadFile
from starlette.types import Receive, Scope, Send

from mend.errors import InputError, make_unknown_error, pick
from mend.filling.lists import insert_lists
from mend.filling.options import Options
from mend.studio.messages import Done, FillFacts, Stage, as_json
from mend.studio.methods import Method
from mend.studio.responses import Lines, explain, find, run_while_connected, stream_lines, validate
from mend.studio.sessions import ROOM, Sessions, clean_name, clean_suffix, measure_folder
from mend.studio.workers import WAITING_FOR_TURN, Busy, Fault, Messages, Workers

FILLS = 32  # that are at work, or whose results wait to be fetched
KEPT = 600.0  # seconds for which a result waits
REFRESH = 0.1  # seconds between two looks at how far a filling is
FILES = ("image", "mask")
OURS = ("object", "segmenter", "device", "max_memory")  # options of `mend fill` that are the studio's to decide


@dataclass
class Fill:
    """A picture that a program sent to be filled: its folder, how far it is, and its result or what went wrong."""

    folder: Path
    waits: bool  # for its result to be fetched
    name: str = "picture"
    stage: Stage = WAITING_FOR_TURN
    facts: FillFacts | None = None  # when it is filled
    error: Exception | None = None
    task: asyncio.Task[None] | None = None  # None while it is being received
    ended: float | None = None


class Fills:
    """The fills of programs, by keys that cannot be guessed."""

    def __init__(self, sessions: Sessions, workers: Workers, models: dict[str, Method], device: str) -> None:
        self.sessions, self.workers, self.models, self.device = sessions, workers, models, device
        self.form = make_form(list(models))
        self.open: dict[str, Fill] = {}  # those begun first are first

    async def start(self, request: Request, waits: bool) -> tuple[str, Fill, asyncio.Task[None]]:
        """A new fill by the form of a request: its key, it, and what works on it. InputError for what is wrong in the form."""
        await self._make_room()  # before anything is received
        key, fill = secrets.token_urlsafe(24), Fill(self.sessions.new_folder(), waits)
        self.open[key] = fill
        try:
            fill.task = asyncio.create_task(_follow(fill, await self._receive(fill, request)))
            return key, fill, fill.task
        except BaseException:
            await self.remove(key)
            raise

    async def _make_room(self) -> None:
        """Results that wait give way, those begun first before the others."""
        while len(self.open) >= FILLS or sum(measure_folder(fill.folder) for fill in self.open.values()) > ROOM:
            waiting = [key for key, fill in self.open.items() if fill.waits and fill.ended is not None]
            if not waiting:
                if len(self.open) >= FILLS:
                    raise Busy(f"{FILLS} pictures are being filled already. Try again in a moment.")
                return
            await self.remove(waiting[0])

    async def _receive(self, fill: Fill, request: Request) -> Messages:
        """The task that does what a form asks for, once its files are in the folder."""
        async with request.form(max_files=len(FILES), max_fields=len(self.form.model_fields)) as form:
            known = [*FILES, *self.form.model_fields]
            for name, _ in form.multi_items():
                if name not in known:
                    raise make_unknown_error("form field", name, known)
                if len(form.getlist(name)) > 1:
                    raise InputError(f"the form field {name!r} came twice; expected it once.")
            places = {}
            for part in FILES:
                upload = form.get(part)
                if not isinstance(upload, UploadFile):
                    raise InputError(f"no {part} came. Send two files: -F image=@photo.jpg -F mask=@mask.png.")
                name = clean_name(upload.filename or "", part)
                fill.name = name if part == "image" else fill.name
                place = fill.folder / f"{part}{clean_suffix(name)}"
                places[part] = str(place)
                with place.open("wb") as target:
                    await asyncio.to_thread(shutil.copyfileobj, upload.file, target)
            values = {name: form[name] for name in self.form.model_fields if name in form}
        options = validate(self.form, values).model_dump()
        method = pick(self.models, options["model"], "model")
        options |= method.options(self.device) | {"smooth": options["smooth"] or method.smooth}
        words = {"photo": places["image"], "name": fill.name, "mask": places["mask"], "out": str(fill.folder)}
        return self.workers.run_model(method.process, "fill_upload", **words, options=options)

    async def remove(self, key: str) -> None:
        """Cancel a fill, if it is not over, and remove its files."""
        if (fill := self.open.pop(key, None)) is not None:
            if fill.task is not None:
                fill.task.cancel()
                await asyncio.wait({fill.task})
            shutil.rmtree(fill.folder, ignore_errors=True)

    async def expire(self) -> None:
        for key, fill in list(self.open.items()):
            if fill.waits and fill.ended is not None and time.monotonic() - fill.ended > KEPT:
                await self.remove(key)

    async def end(self) -> None:
        for key in list(self.open):
            await self.remove(key)


async def _follow(fill: Fill, messages: Messages) -> None:
    """Keep in a fill how far its task is, and its facts; of the files, keep the result."""
    try:
        async with aclosing(messages):
            async for message in messages:
                if isinstance(message, Done):
                    fill.facts = FillFacts(**message.done)
                else:
                    fill.stage = message
    except Exception as error:
        fill.error = error if isinstance(error, InputError) else Fault(explain(error))
    finally:
        fill.ended = time.monotonic()
        for part in FILES:
            for file in fill.folder.glob(f"{part}*"):
                file.unlink()


async def _report(key: str, fill: Fill) -> Lines:
    """How far a fill is, until it is over."""
    shown = None
    while fill.ended is None:
        if fill.stage is not shown:
            shown = fill.stage
            yield as_json(shown)
        await asyncio.sleep(REFRESH)
    if fill.error is not None:
        raise fill.error
    if fill.facts is None:
        raise InputError("this filling was cancelled.")
    yield {"done": {**as_json(fill.facts), "result": f"/fills/{key}/result"}}


class Result(FileResponse):
    """The filled picture, its notes in a header; `then` is what is to be done when it was sent, or could not be."""

    def __init__(self, fill: Fill, then: Callable[[], Awaitable[None]] | None = None) -> None:
        if fill.error is not None:
            raise fill.error
        assert fill.facts is not None
        file, name = f"result{fill.facts.suffix}", f"{Path(fill.name).stem}-filled{fill.facts.suffix}"
        super().__init__(fill.folder / file, filename=name, headers={"X-Mend-Notes": json.dumps(fill.facts.notes)})
        self.then = then

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.then is not None:
                await self.then()


# --- Routes ----------------------------------------------------------------------------------------------------------


def add_api(app: FastAPI, fills: Fills) -> None:
    """Add the routes for programs."""
    form = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _describe(fills.form)}}}}

    @app.post(
        "/fill", response_class=FileResponse, openapi_extra=form, responses={200: PICTURE, **_describe_errors(400, 413, 503)}
    )
    async def fill(request: Request) -> Result:
        """Fill a picture and return it, byte for byte as `mend fill` writes it. To cancel, close the connection."""
        async with contextlib.AsyncExitStack() as stack:
            key, one, task = await fills.start(request, waits=False)
            stack.push_async_callback(fills.remove, key)
            await run_while_connected(request, task)
            result = Result(one, then=lambda: fills.remove(key))  # raises what went wrong, and then the stack removes it
            stack.pop_all()
            return result

    @app.post("/fills", status_code=202, openapi_extra=form, responses=_describe_errors(400, 413, 503))
    async def begin(request: Request) -> JSONResponse:
        """Start to fill a picture. The answer says where to read the progress, and where the result will be."""
        key, _, _ = await fills.start(request, waits=True)
        at = f"/fills/{key}"
        return JSONResponse({"key": key, "progress": at, "result": f"{at}/result"}, 202, {"Location": at})

    @app.get("/fills/{key}", response_class=StreamingResponse, responses={200: LINES, **_describe_errors(404)})
    async def follow(key: str) -> StreamingResponse:
        """Read the progress, line by line, until the picture is filled."""
        return stream_lines(_report(key, find(fills.open, key)))

    @app.get("/fills/{key}/result", response_class=FileResponse, responses={200: PICTURE, **_describe_errors(400, 404, 409)})
    async def result(key: str) -> Result:
        """Get the filled picture, or the error. It is kept for ten minutes."""
        one = find(fills.open, key)
        if one.ended is None:
            raise HTTPException(409, f"this picture is not filled yet. /fills/{key} says how far it is.")
        return Result(one)

    @app.delete("/fills/{key}", status_code=204, responses=_describe_errors(404))
    async def cancel(key: str) -> None:
        """Cancel a filling, or remove its result."""
        find(fills.open, key)
        await fills.remove(key)


# --- What OpenAPI says of them ---------------------------------------------------------------------------------------

ERRORS = {
    400: "mend cannot fill this; the error says why in one sentence.",
    404: "Nothing has this key, or no longer.",
    409: "It is not filled yet.",
    413: "The files are too large.",
    503: "Too many requests at once. Try again later.",
}
PICTURE: dict[str, Any] = {
    "description": "The filled picture. Its header X-Mend-Notes is a JSON list of sentences: what to know about it.",
    "content": {"image/*": {}},
}
LINES: dict[str, Any] = {
    "description": 'Lines of JSON: {"stage": …, "share": …} as it goes on, then {"done": …}, or {"error": …}.',
    "content": {"application/x-ndjson": {}},
}


def _describe_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}}
    return {status: {"description": ERRORS[status], "content": content} for status in statuses}


def make_form(models: list[str]) -> type[BaseModel]:
    """The fields of the form besides its files: the options of `mend fill`, and which of the models."""
    said = {one.arg_name: one.description or "" for one in parse_from_object(Options).params}  # the text below each field
    hints = get_type_hints(Options)
    described: dict[str, Any] = {
        one.name: (hints[one.name], Field(one.default, description=insert_lists(said[one.name])))
        for one in fields(Options)
        if one.name not in (*OURS, "model")
    }
    described["model"] = (str, Field(models[0], description=f"what fills it: {', '.join(models)}."))
    return create_model("Form", __config__=ConfigDict(extra="forbid"), **described)


def _describe(form: type[BaseModel]) -> dict[str, Any]:
    """The form with its files as OpenAPI has it."""
    said = {"image": "the picture to fill", "mask": "white where it is to be filled, or COCO annotations (.json)"}
    files = {name: {"type": "string", "format": "binary", "description": said[name]} for name in FILES}
    schema = form.model_json_schema()
    return {**schema, "properties": files | schema["properties"], "required": list(FILES)}
