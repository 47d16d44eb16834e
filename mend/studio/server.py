"""The studio's server: the page, what the page asks for, and the same filling for programs.

The page's own requests answer in lines of JSON, as a `Worker` does. A task lives as long as somebody waits for its answer:
to cancel one is to hang up.
"""

import asyncio
import atexit
import base64
import contextlib
import secrets
import shutil
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as HTTPError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from mend.errors import InputError, pick
from mend.studio.answers import as_lines, decoded, fault, last, listed, read, receive, refused, while_waited_for
from mend.studio.calls import take_calls
from mend.studio.door import MEGABYTES, Door
from mend.studio.examples import EXAMPLES, Example, thumbnail
from mend.studio.methods import Method
from mend.studio.runs import find_runs, read_result, read_run, result_files, rows_file, samples
from mend.studio.sessions import Item, Session, Sessions, Uploads, wanted
from mend.studio.workers import Busy, Fault, Messages, Workers

PAGE = Path(__file__).parent / "page"
PARTS = {file.name: file for file in PAGE.iterdir() if file.suffix in (".css", ".js", ".svg")}
EXPIRING = 60.0  # seconds from one look for what has expired to the next
ROWS = 100  # of a table of scores: the first, in the order asked for


def make_app(
    models: dict[str, Method], named: list[str], device: str, hosts: frozenset[str] | None, auth: str | None
) -> FastAPI:
    """The studio as an ASGI application.

    models  the methods by what the page calls them; the first is chosen at the start
    named   run folders to show besides those in `runs`
    hosts   names under which it may be asked for; None for any
    auth    "name:password", or None
    """
    sessions, workers = Sessions(), Workers()
    uploads = Uploads(sessions.folder / "uploads")
    atexit.register(sessions.end)  # a second Ctrl-C leaves the lifespan out

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        beside = {asyncio.create_task(warm(workers, models, device)), asyncio.create_task(_expiring(sessions, uploads))}
        yield
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)
        await workers.end()
        sessions.end()

    app = FastAPI(title="mend studio", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(InputError, lambda _, error: JSONResponse({"error": str(error)}, 400))
    app.add_exception_handler(Busy, lambda _, error: JSONResponse({"error": str(error)}, 503, {"Retry-After": "5"}))
    app.add_exception_handler(Fault, lambda _, error: JSONResponse({"error": str(error)}, 500))
    app.add_exception_handler(Exception, lambda _, error: JSONResponse({"error": fault(error)}, 500))
    app.add_exception_handler(ClientDisconnect, lambda *_: Response(status_code=499))  # which nobody reads
    app.add_exception_handler(HTTPError, refused)
    app.add_exception_handler(RequestValidationError, lambda *_: JSONResponse({"error": "the request is incomplete."}, 422))

    # --- The page ---

    @app.get("/")
    async def index() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/page/{name}")
    async def part(name: str) -> FileResponse:
        return FileResponse(listed(PARTS, name), headers={"Cache-Control": "no-cache"})

    @app.get("/examples/{name}")
    async def example_in_small(name: str) -> Response:
        listed(EXAMPLES, name)
        return Response(thumbnail(name), media_type="image/jpeg")

    @app.post("/sessions")
    async def create() -> dict[str, Any]:
        token, _ = sessions.create()
        return {
            "session": token,
            "models": {name: method.what for name, method in models.items()},
            "examples": list(EXAMPLES),
            "megabytes": MEGABYTES,
        }

    @app.post("/sessions/{token}/alive")
    async def alive(token: str) -> dict[str, Any]:
        sessions.find(token).heard = time.monotonic()
        return {}

    @app.post("/sessions/{token}/close")
    async def close(token: str) -> dict[str, Any]:
        sessions.close(token)
        return {}

    # --- Pictures ---

    @app.post("/sessions/{token}/pictures")
    async def upload(token: str, request: Request, name: str = "picture") -> StreamingResponse:
        session = sessions.find(token)
        key, item = session.add(Path(name).name)
        try:
            with wanted(item):
                await receive(request, item.folder / "source")
        except BaseException:
            session.remove(key)
            raise
        sessions.find(token)  # is used now, however long the sending took
        return as_lines(opened(session, key, item))

    @app.post("/sessions/{token}/examples/{name}")
    async def example(token: str, name: str) -> StreamingResponse:
        session, chosen = sessions.find(token), listed(EXAMPLES, name)
        key, item = session.add(chosen.file.name)
        with wanted(item):
            await asyncio.to_thread(shutil.copyfile, chosen.file, item.folder / "source")
        return as_lines(opened(session, key, item, chosen))

    async def opened(session: Session, key: str, item: Item, example: Example | None = None) -> Messages:
        task = workers.pictures.do("open_picture", folder=str(item.folder), name=item.name)
        try:
            async with working(task, item):
                async for message in task:
                    if "done" in message:
                        item.facts = message["done"]
                        outline = {"outline": example.outline} if example else {}
                        message = {"done": {"picture": key, "name": item.name, **item.facts, **outline}}
                    yield message
        except BaseException:
            session.remove(key)
            raise

    @app.get("/sessions/{token}/pictures/{key}")
    async def facts(token: str, key: str) -> dict[str, Any]:
        item = sessions.find(token).item(key)
        return {"picture": key, "name": item.name, **item.facts}

    @app.post("/sessions/{token}/pictures/{key}/full")
    async def full(token: str, key: str) -> StreamingResponse:
        return as_lines(at_full_size(sessions.find(token).item(key)))

    async def at_full_size(item: Item) -> Messages:
        if item.full.exists():
            yield {"done": {}}
            return
        task = workers.pictures.do("show_full", folder=str(item.folder))
        async with working(task, item):
            async for message in task:
                yield message

    @app.get("/sessions/{token}/pictures/{key}/{part}")
    async def file(token: str, key: str, part: str) -> FileResponse:
        item = sessions.find(token).item(key)
        path, name = listed(
            {
                "preview": (item.folder / "preview.webp", None),
                "full": (item.full, None),
                "result": item.result,
                "mask": (item.folder / "mask.png", f"{Path(item.name).stem}-mask.png"),
            },
            part,
        )
        if not path.is_file():
            raise HTTPException(404)
        return FileResponse(path, filename=name, headers={"Cache-Control": "private, max-age=3600"})

    # --- Masks and filling ---

    @app.post("/sessions/{token}/pictures/{key}/mask")
    async def upload_mask(token: str, key: str, request: Request) -> StreamingResponse:
        session = sessions.find(token)
        item = session.item(key)
        mask = session.add_mask(item)
        try:
            with wanted(item):
                await receive(request, mask)
        except BaseException:
            mask.unlink(missing_ok=True)
            raise
        sessions.find(token)
        return as_lines(loaded(item, mask))

    async def loaded(item: Item, mask: Path) -> Messages:
        task = workers.pictures.do("open_mask", mask=str(mask), size=item.size)
        try:
            async with aclosing(_with_image(task, item, Path(f"{mask}.preview"))) as messages:
                async for message in messages:
                    if "done" in message:
                        item.masks.append(mask.name)
                        message["done"]["mask"] = mask.name
                    yield message
        except BaseException:
            mask.unlink(missing_ok=True)
            raise
        finally:
            Path(f"{mask}.preview").unlink(missing_ok=True)

    @app.post("/sessions/{token}/pictures/{key}/select")
    async def select(token: str, key: str, request: Request) -> StreamingResponse:
        asked = await read(request, Point)
        item = sessions.find(token).item(key)
        target = item.folder / f"selected-{secrets.token_hex(8)}"
        task = workers.pictures.do("select", folder=str(item.folder), x=asked.x, y=asked.y, mask=str(target))
        return as_lines(_with_image(task, item, target))

    @app.post("/sessions/{token}/pictures/{key}/fill")
    async def fill(token: str, key: str, request: Request) -> StreamingResponse:
        asked = await read(request, Filling)  # before the session is looked for, which may be closed meanwhile
        session = sessions.find(token)
        item, method = session.item(key), pick(models, asked.model, "model")
        if asked.loaded is None and asked.mask is None:
            raise InputError("nothing is marked. Paint over what should go, click an object, or load a mask.")
        painted = decoded(asked.mask or "")
        mask = item.mask(asked.loaded) if asked.loaded else None
        result, into = session.add(item.name, asked.compared)
        into.facts = dict(item.facts)
        if mask is None:
            mask = into.folder / "painted"
            mask.write_bytes(painted)
        return as_lines(filled(session, item, mask, method, result, into, asked))

    async def filled(
        session: Session, item: Item, mask: Path, method: Method, result: str, into: Item, asked: Filling
    ) -> Messages:
        task = _fill(workers, method, device, item, mask, into, asked.grow, asked.score)
        try:
            async with working(task, item, into):
                async for message in task:
                    yield {"done": {"picture": result, "name": item.name, **message["done"]}} if "done" in message else message
        except BaseException:
            session.remove(result)
            raise

    # --- Links ---

    @app.post("/sessions/{token}/links")
    async def give(token: str, request: Request) -> dict[str, Any]:
        session, asked = sessions.find(token), await read(request, Compared)
        mask = session.item(asked.result).folder / "mask.png"
        if not mask.exists():
            raise InputError("this is no result, so it has no mask. Compare again.")
        return {"link": sessions.link(session.item(asked.picture), mask, asked.methods, asked.score)}

    @app.post("/sessions/{token}/links/{link}")
    async def take(token: str, link: str) -> StreamingResponse:
        session = sessions.find(token)
        if link not in sessions.links:
            raise InputError(
                "this link no longer works: the studio has ended or given out many since. Open a picture and compare anew."
            )
        given = sessions.links[link]
        key, item = session.add(given.item.name)
        item.facts = dict(given.item.facts)
        given.item.copy_into(item.folder)
        mask = item.folder / secrets.token_hex(8)
        shutil.copyfile(given.item.folder / "mask", mask)  # at once: the link may give way to others meanwhile
        facts = {"picture": key, "name": item.name, **item.facts, "methods": given.methods, "score": given.score}

        async def taken() -> Messages:
            async with aclosing(loaded(item, mask)) as messages:
                async for message in messages:
                    yield {"done": {**facts, **message["done"]}} if "done" in message else message

        return as_lines(taken())

    # --- Runs ---

    @app.get("/runs")
    def all_runs() -> dict[str, Any]:
        return {"runs": {name: read_run(folder) for name, folder in find_runs(named).items()}}

    @app.get("/runs/{name}/{sample}")
    def sample(name: str, sample: str) -> FileResponse:
        return FileResponse(listed(samples(listed(find_runs(named), name)), sample))

    @app.get("/results")
    def results() -> dict[str, Any]:
        return {"results": {name: found for name, file in result_files().items() if (found := read_result(file))}}

    @app.get("/results/{name}/{method}")
    async def rows(name: str, method: str, by: str = "", up: bool = True) -> StreamingResponse:
        found = read_result(listed(result_files(), name))
        listed(found["methods"] if found else {}, method)
        return as_lines(workers.pictures.do("rows", file=str(rows_file(name, method)), by=by, up=up, count=ROWS))

    # --- For programs ---

    @app.post("/fill")
    async def fill_once(request: Request) -> FileResponse:
        with contextlib.ExitStack() as stack:
            session = stack.enter_context(sessions.call())  # before anything is received
            async with request.form(max_files=2, max_fields=3) as form:
                given = {part: form.get(part) for part in ("image", "mask")}
                model, marked = str(form.get("model", next(iter(models)))), str(form.get("hole", "auto"))
                _, item = session.add(Path(getattr(given["image"], "filename", None) or "picture").name)
                for part, place in (("image", "source"), ("mask", "loaded")):
                    upload = given[part]
                    if not isinstance(upload, UploadFile):
                        raise InputError(f"no {part} came. Send two files: -F image=@photo.jpg -F mask=@mask.png.")
                    with (item.folder / place).open("wb") as target:
                        await asyncio.to_thread(shutil.copyfileobj, upload.file, target)
            work = once(session, item, pick(models, model, "model"), marked)
            path, name = (await while_waited_for(request.is_disconnected, work)).result
            return LastFile(path, name, stack.pop_all().close)

    async def once(session: Session, item: Item, method: Method, marked: str = "auto") -> Item:
        """The result of filling `source` in the folder of an item where its `loaded` is `marked`."""
        _, into = session.add(item.name)
        item.facts = await last(workers.pictures.do("open_picture", folder=str(item.folder), name=item.name))
        into.facts = item.facts
        mask = item.folder / "loaded"
        await last(workers.pictures.do("open_mask", mask=str(mask), size=item.size, marked=marked))
        await last(_fill(workers, method, device, item, mask, into, grow=0, score=False))
        return into

    take_calls(app, sessions, uploads, models, once)
    app.add_middleware(Door, hosts=hosts, auth=auth)
    return app


@contextlib.asynccontextmanager
async def working(task: Messages, *items: Item) -> AsyncIterator[None]:
    """While a task works on items, they stay; what is left of it then is ended."""
    with wanted(*items):
        async with aclosing(task):
            yield


class LastFile(FileResponse):
    """A file, and what is to be done when it was sent, or could not be."""

    def __init__(self, path: Path, name: str, then: Callable[[], None]) -> None:
        super().__init__(path, filename=name)
        self.then = then

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.then()


async def _expiring(sessions: Sessions, uploads: Uploads) -> None:
    while True:
        await asyncio.sleep(EXPIRING)
        try:
            sessions.expire()
            uploads.expire()
        except Exception:  # else nothing would expire any more
            traceback.print_exc()


async def warm(workers: Workers, models: dict[str, Method], device: str) -> None:
    """Let the first picture and the first filling find their process awake; one after the other, for small machines."""
    first = next(iter(models.values()))
    for worker, words in ((workers.pictures, {}), (workers.model(first.process), {"model": first.model, "device": device})):
        with contextlib.suppress(InputError):  # a model that does not load is said when somebody asks for it
            await last(worker.do("warm", **words))


def _fill(
    workers: Workers, method: Method, device: str, item: Item, mask: Path, into: Item, grow: int, score: bool
) -> Messages:
    places = {"folder": str(item.folder), "mask": str(mask), "out": str(into.folder)}
    how = {"model": method.model, "texture": method.texture, "device": device, "grow": grow, "score": score}
    return workers.model(method.process).do("fill", **places, size=item.size, **how)


# --- What is asked for -----------------------------------------------------------------------------------------------


class Point(BaseModel):
    """Where a click was, in shares of the picture's width and height."""

    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)


class Filling(BaseModel):
    """How a picture is to be filled: by which model, and where: `mask` is what was painted, a data URL of white on black,
    `loaded` the key of a mask file, which is used at its full size."""

    model: str
    mask: str | None = None
    loaded: str | None = None
    grow: int = Field(0, ge=0, le=1000)
    score: bool = False  # the picture is intact under the mask: measure against it
    compared: bool = False


class Compared(BaseModel):
    """What a link is to show: a picture where the mask of a `result` is white, filled by these methods."""

    picture: str
    result: str
    methods: list[str] = Field(min_length=2, max_length=6)
    score: bool


async def _with_image(task: Messages, item: Item, image: Path) -> Messages:
    """The messages of a task that draws an `image` of an item, which comes with the last."""
    async with working(task, item):
        async for message in task:
            if "done" in message:
                message = {"done": {"image": "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode()}}
                image.unlink()
            yield message
