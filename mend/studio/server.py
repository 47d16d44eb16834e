"""The studio's server: the page, what the page asks for, and the same filling for programs.

The page's own requests answer in lines of JSON, as a `Worker` does. A task lives as long as somebody waits for its answer:
to cancel one is to hang up.
"""

import asyncio
import atexit
import base64
import contextlib
import json
import os
import secrets
import shutil
import traceback
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import gradio
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from gradio.data_classes import FileData
from gradio.events import api as gradio_api
from pydantic import BaseModel, Field, ValidationError
from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as HTTPError
from starlette.requests import ClientDisconnect

from mend.errors import InputError, pick
from mend.studio.door import MEGABYTES, Door
from mend.studio.examples import EXAMPLES, Example, thumbnail
from mend.studio.methods import Method
from mend.studio.runs import find_runs, read_result, read_run, result_files, rows_file, samples
from mend.studio.sessions import Item, Session, Sessions, Uploads, wanted
from mend.studio.workers import Busy, Fault, Message, Workers

T = TypeVar("T")

PAGE = Path(__file__).parent / "page"
QUEUE = 16  # of Gradio's client: calls that may wait
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
    atexit.register(sessions.end)  # a second Ctrl-C leaves the lifespan out

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        beside = asyncio.create_task(warm(workers, models, device)), asyncio.create_task(_expiring(sessions, uploads))
        yield
        for task in beside:
            task.cancel()
        await workers.end()
        sessions.end()

    app = FastAPI(title="mend studio", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(InputError, lambda _, error: JSONResponse({"error": str(error)}, 400))
    app.add_exception_handler(Busy, lambda _, error: JSONResponse({"error": str(error)}, 503, {"Retry-After": "5"}))
    app.add_exception_handler(Fault, lambda _, error: JSONResponse({"error": str(error)}, 500))
    app.add_exception_handler(Exception, lambda _, error: JSONResponse({"error": _fault(error)}, 500))
    app.add_exception_handler(ClientDisconnect, lambda *_: Response(status_code=499))  # which nobody reads
    app.add_exception_handler(HTTPError, _said)
    app.add_exception_handler(RequestValidationError, lambda *_: JSONResponse({"error": "the request is incomplete."}, 422))

    # --- The page ---

    @app.get("/")
    async def index() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/page/{name}")
    async def part(name: str) -> FileResponse:
        return FileResponse(_listed(PARTS, name), headers={"Cache-Control": "no-cache"})

    @app.get("/examples/{name}")
    async def example_in_small(name: str) -> Response:
        _listed(EXAMPLES, name)
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
        sessions.find(token)
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
            await _receive(request, item.folder / "source")
        except BaseException:
            session.remove(key)
            raise
        return _lines(opened(session, key, item))

    @app.post("/sessions/{token}/examples/{name}")
    async def example(token: str, name: str) -> StreamingResponse:
        session, chosen = sessions.find(token), _listed(EXAMPLES, name)
        key, item = session.add(chosen.file.name)
        shutil.copyfile(chosen.file, item.folder / "source")
        return _lines(opened(session, key, item, chosen))

    async def opened(session: Session, key: str, item: Item, example: Example | None = None) -> AsyncIterator[Message]:
        try:
            with wanted(item):
                async for message in workers.pictures.do("open_picture", folder=str(item.folder), name=item.name):
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
        return _lines(at_full_size(sessions.find(token).item(key)))

    async def at_full_size(item: Item) -> AsyncIterator[Message]:
        if item.full.exists():
            yield {"done": {}}
            return
        with wanted(item):
            async for message in workers.pictures.do("show_full", folder=str(item.folder)):
                yield message

    @app.get("/sessions/{token}/pictures/{key}/{part}")
    async def file(token: str, key: str, part: str) -> FileResponse:
        item = sessions.find(token).item(key)
        path, name = _listed(
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
            await _receive(request, mask)
        except BaseException:
            mask.unlink(missing_ok=True)
            raise
        return _lines(loaded(item, mask))

    async def loaded(item: Item, mask: Path) -> AsyncIterator[Message]:
        try:
            task = workers.pictures.do("open_mask", mask=str(mask), size=item.size)
            async for message in _with_image(task, item, Path(f"{mask}.preview")):
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
        item, asked = sessions.find(token).item(key), await _json(request, Point)
        target = item.folder / "selected"
        task = workers.pictures.do("select", folder=str(item.folder), x=asked.x, y=asked.y, mask=str(target))
        return _lines(_with_image(task, item, target))

    @app.post("/sessions/{token}/pictures/{key}/fill")
    async def fill(token: str, key: str, request: Request) -> StreamingResponse:
        session, asked = sessions.find(token), await _json(request, Filling)
        item, method = session.item(key), pick(models, asked.model, "model")
        if asked.loaded is None and asked.mask is None:
            raise InputError("nothing is marked. Paint over what should go, click an object, or load a mask.")
        painted = _decoded(asked.mask or "")
        mask = item.mask(asked.loaded) if asked.loaded else None
        result, into = session.add(item.name, asked.compared)
        into.facts = dict(item.facts)
        if mask is None:
            mask = into.folder / "painted"
            mask.write_bytes(painted)
        return _lines(filled(session, item, mask, method, result, into, asked))

    async def filled(
        session: Session, item: Item, mask: Path, method: Method, result: str, into: Item, asked: Filling
    ) -> AsyncIterator[Message]:
        try:
            with wanted(item, into):
                async for message in _fill(workers, method, device, item, mask, into, asked.grow, asked.score):
                    yield {"done": {"picture": result, "name": item.name, **message["done"]}} if "done" in message else message
        except BaseException:
            session.remove(result)
            raise

    # --- Links ---

    @app.post("/sessions/{token}/links")
    async def give(token: str, request: Request) -> dict[str, Any]:
        session, asked = sessions.find(token), await _json(request, Compared)
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
        shutil.copyfile(given.item.folder / "mask", mask)
        facts = {"picture": key, "name": item.name, **item.facts, "methods": given.methods, "score": given.score}

        async def taken() -> AsyncIterator[Message]:
            async for message in loaded(item, mask):
                yield {"done": {**facts, **message["done"]}} if "done" in message else message

        return _lines(taken())

    # --- Runs ---

    @app.get("/runs")
    def all_runs() -> dict[str, Any]:
        return {name: read_run(folder) for name, folder in find_runs(named).items()}

    @app.get("/runs/{name}/{sample}")
    def sample(name: str, sample: str) -> FileResponse:
        return FileResponse(_listed(samples(_listed(find_runs(named), name)), sample))

    @app.get("/results")
    def results() -> dict[str, Any]:
        return {name: found for name, file in result_files().items() if (found := read_result(file))}

    @app.get("/results/{name}/{method}")
    async def rows(name: str, method: str, by: str = "psnr", up: bool = True) -> dict[str, Any]:
        found = read_result(_listed(result_files(), name))
        _listed(found["methods"] if found else {}, method)
        return await _last(workers.pictures.do("rows", file=str(rows_file(name, method)), by=by, up=up, count=ROWS))

    # --- For programs ---

    @app.post("/fill")
    async def fill_once(request: Request) -> FileResponse:
        async with request.form(max_files=2, max_fields=3) as form:
            given = {part: form.get(part) for part in ("image", "mask")}
            model, marked = str(form.get("model", next(iter(models)))), str(form.get("hole", "auto"))
            token, session = sessions.create()
            try:
                _, item = session.add(Path(getattr(given["image"], "filename", None) or "picture").name)
                with wanted(item):
                    for part, place in (("image", "source"), ("mask", "loaded")):
                        upload = given[part]
                        if not isinstance(upload, UploadFile):
                            raise InputError(f"no {part} came. Send two files: -F image=@photo.jpg -F mask=@mask.png.")
                        with (item.folder / place).open("wb") as target:
                            await asyncio.to_thread(shutil.copyfileobj, upload.file, target)
                    into = await _while_waited_for(request, once(session, item, pick(models, model, "model"), marked))
            except BaseException:
                sessions.close(token)
                raise
        path, name = into.result
        return FileResponse(path, filename=name, background=BackgroundTask(sessions.close, token))

    async def once(session: Session, item: Item, method: Method, marked: str = "auto") -> Item:
        """The result of filling `source` in the folder of an item where its `loaded` is `marked`."""
        _, into = session.add(item.name)
        item.facts = await _last(workers.pictures.do("open_picture", folder=str(item.folder), name=item.name))
        into.facts = item.facts
        mask = item.folder / "loaded"
        await _last(workers.pictures.do("open_mask", mask=str(mask), size=item.size, marked=marked))
        await _last(_fill(workers, method, device, item, mask, into, grow=0, score=False))
        return into

    # --- For programs, by Gradio's client ---

    uploads = Uploads(sessions.folder / "uploads")
    os.environ["GRADIO_TEMP_DIR"] = str(uploads.folder)  # what lies there Gradio copies to no place of its own

    # In place of Gradio's own, which takes as much as comes, makes paths of names, and forgets what was not sent whole.
    @app.post("/gradio/gradio_api/upload")
    async def upload_for_gradio(request: Request) -> list[str]:
        async with request.form(max_files=2, max_fields=0) as form:
            sent = [(part, uploads.new()) for part in form.getlist("files") if isinstance(part, UploadFile)]
            for part, place in sent:
                with place.open("wb") as target:
                    await asyncio.to_thread(shutil.copyfileobj, part.file, target)
        return [str(place) for _, place in sent]

    @app.api_route("/gradio/gradio_api/file={path:path}", methods=["GET", "HEAD"])
    async def file_for_gradio(path: str) -> FileResponse:
        _listed(uploads.files, path)
        return FileResponse(path)

    async def fill_for_gradio(image: FileData, mask: FileData, model: str = next(iter(models))) -> FileData:
        assert isinstance(image, dict)  # Gradio hands over what it documents as FileData as a dictionary
        assert isinstance(mask, dict)
        token = ""
        try:
            token, session = sessions.create()
            _, item = session.add(Path(image["orig_name"] or "picture").name)
            for file, place in ((image, "source"), (mask, "loaded")):
                shutil.copyfile(file["path"], item.folder / place)
            with wanted(item):
                into = await once(session, item, pick(models, model, "model"))
            result, _ = into.result
            return FileData(path=str(shutil.move(result, uploads.new(result.suffix))))
        except InputError as error:
            raise gradio.Error(str(error), print_exception=False) from None
        except Exception as error:
            traceback.print_exc()
            raise gradio.Error(_fault(error), print_exception=False) from None
        finally:
            sessions.close(token)

    with OnlyUploads(uploads, analytics_enabled=False) as blocks:
        gradio_api(fill_for_gradio, api_name="fill", concurrency_limit=2)
    blocks.queue(max_size=QUEUE)
    gradio.mount_gradio_app(app, blocks, "/gradio", ssr_mode=False, run_history=False, show_error=False)
    app.add_middleware(Door, hosts=hosts, auth=auth)
    return app


async def _expiring(sessions: Sessions, uploads: Uploads) -> None:
    while True:
        await asyncio.sleep(60)
        sessions.expire()
        uploads.expire()


async def warm(workers: Workers, models: dict[str, Method], device: str) -> None:
    """Let the first picture and the first filling find their process awake; one after the other, for small machines."""
    first = next(iter(models.values()))
    for worker, words in ((workers.pictures, {}), (workers.model(first.process), {"model": first.model, "device": device})):
        with contextlib.suppress(InputError):  # a model that does not load is said when somebody asks for it
            await _last(worker.do("warm", **words))


def _fill(
    workers: Workers, method: Method, device: str, item: Item, mask: Path, into: Item, grow: int, score: bool
) -> AsyncIterator[Message]:
    places = {"folder": str(item.folder), "mask": str(mask), "out": str(into.folder)}
    how = {"model": method.model, "texture": method.texture, "device": device, "grow": grow, "score": score}
    return workers.model(method.process).do("fill", **places, size=item.size, **how)


class OnlyUploads(gradio.Blocks):
    """Takes text, and files of which it is true that they were uploaded; Gradio itself would also fetch a file's address."""

    def __init__(self, uploads: Uploads, **options: Any) -> None:
        super().__init__(**options)
        self.uploads = uploads

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:
        try:
            super().validate_inputs(block_fn, inputs)
        except ValueError:
            raise gradio.Error("fill takes an image, a mask and a model's name.", print_exception=False) from None
        for i, value in enumerate(inputs):
            if isinstance(value, str):
                continue
            path, name = (str(value.get(part, "")) for part in ("path", "orig_name")) if isinstance(value, dict) else ("", "")
            if path not in self.uploads.files:
                said = "this file was not uploaded, or not lately. Send it with handle_file of Gradio's client."
                raise gradio.Error(said, print_exception=False)
            inputs[i] = {"path": path, "orig_name": name}


# --- Requests and answers --------------------------------------------------------------------------------------------


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


Asked = TypeVar("Asked", bound=BaseModel)

PARTS = {file.name: file for file in PAGE.iterdir() if file.suffix in (".css", ".js", ".svg")}


def _lines(messages: AsyncIterator[Message]) -> StreamingResponse:
    """Messages as lines of JSON; bad input is the last of them. When the reader hangs up, the messages are not asked for."""

    async def lines() -> AsyncIterator[bytes]:
        try:
            async for message in messages:
                yield json.dumps(message).encode() + b"\n"
        except InputError as error:
            yield json.dumps({"error": str(error)}).encode() + b"\n"
        except Exception as error:
            traceback.print_exc()
            yield json.dumps({"error": _fault(error)}).encode() + b"\n"
        finally:
            await messages.aclose()  # type: ignore[attr-defined]

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def _with_image(messages: AsyncIterator[Message], item: Item, image: Path) -> AsyncIterator[Message]:
    """The messages of a task that draws an `image` of an item, which comes with the last."""
    try:
        with wanted(item):
            async for message in messages:
                if "done" in message:
                    message = {"done": {"image": "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode()}}
                yield message
    finally:
        await messages.aclose()  # type: ignore[attr-defined]


async def _last(messages: AsyncIterator[Message]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    async for message in messages:
        facts = message.get("done", facts)
    return facts


async def _while_waited_for(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; whoever hangs up ends it."""
    working = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({working}, timeout=0.5))[0]:
            if await request.is_disconnected():
                raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        await asyncio.wait({working})


async def _receive(request: Request, file: Path) -> None:
    with file.open("wb") as target:
        async for chunk in request.stream():
            target.write(chunk)


async def _json(request: Request, kind: type[Asked]) -> Asked:
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"])) or "the request"
        raise InputError(f"{where} is not what was expected: {wrong['msg'][0].lower()}{wrong['msg'][1:]}.") from None


def _decoded(url: str) -> bytes:
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except ValueError:
        raise InputError("the mask is no data URL in base64.") from None


def _fault(error: Exception) -> str:
    return f"a fault of mend itself ({type(error).__name__}); the terminal has the details."


def _listed(table: dict[str, T], name: str) -> T:
    if name not in table:
        raise HTTPException(404)
    return table[name]


async def _said(_: Request, error: Any) -> Response:
    sentence = "there is nothing here." if error.status_code == 404 else str(error.detail)
    return JSONResponse({"error": sentence}, error.status_code)
