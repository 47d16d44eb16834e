"""The studio's server: the page, and what the page asks for.

The page's own requests answer in lines of JSON, as a `Worker` does. A task lives as long as somebody waits for its answer:
to cancel one is to hang up. What programs ask for is in `api`.
"""

import asyncio
import atexit
import contextlib
import secrets
import shutil
import time
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from mend.data.assets import VERSION
from mend.errors import InputError, pick
from mend.studio.access import MEGABYTES, Access
from mend.studio.api import Fills, add_api
from mend.studio.batches import add_batches
from mend.studio.examples import EXAMPLES, draw_thumbnail
from mend.studio.messages import Json, PictureFacts, as_json
from mend.studio.methods import Method
from mend.studio.responses import Share, answer_errors, decode_data_url, find, follow, read_json, receive_file, stream_lines
from mend.studio.runs import find_results, find_rows, find_runs, find_samples, read_evaluation, read_run
from mend.studio.sessions import Batch, Item, Session, Sessions, clean_name
from mend.studio.workers import Workers

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
    fills = Fills(sessions, workers, models, device)
    atexit.register(sessions.end)  # a second Ctrl-C leaves the lifespan out

    async def end_tasks() -> None:
        await workers.end()
        await fills.end()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        beside = {asyncio.create_task(warm(workers, models, device)), asyncio.create_task(_expire(sessions, fills))}
        yield
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)
        await end_tasks()
        sessions.end()

    app = FastAPI(
        title="mend studio", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.end_tasks = end_tasks
    answer_errors(app)
    add_api(app, fills)
    app.include_router(make_page(sessions, workers, models, named, device), include_in_schema=False)
    app.add_middleware(Access, hosts=hosts, auth=auth)
    return app


async def warm(workers: Workers, models: dict[str, Method], device: str) -> None:
    """Let the first picture and the first filling find their process awake; one after the other, for small machines."""
    first = next(iter(models.values()))
    for task in (workers.pictures.run("warm"), workers.run_model(first.process, "warm", options=first.options(device))):
        with contextlib.suppress(InputError):  # a model that does not load is said when somebody asks for it
            async for _ in task:
                pass


async def _expire(sessions: Sessions, fills: Fills) -> None:
    while True:
        await asyncio.sleep(EXPIRING)
        try:
            sessions.expire()
            await fills.expire()
        except Exception:  # else nothing would expire any more
            traceback.print_exc()


def make_page(sessions: Sessions, workers: Workers, models: dict[str, Method], named: list[str], device: str) -> APIRouter:
    """The routes of the page; arguments as in `make_app`."""
    page = APIRouter()

    # --- The page ---

    @page.get("/")
    async def index() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    @page.get("/docs")
    async def docs() -> FileResponse:
        return FileResponse(PAGE / "docs.html", headers={"Cache-Control": "no-cache"})

    @page.get("/page/{name}")
    async def part(name: str) -> FileResponse:
        return FileResponse(find(PARTS, name), headers={"Cache-Control": "no-cache"})

    @page.get("/examples/{name}")
    async def thumbnail(name: str) -> Response:
        find(EXAMPLES, name)
        return Response(draw_thumbnail(name), media_type="image/jpeg")

    @page.post("/sessions")
    async def create() -> dict[str, Any]:
        token, _ = sessions.create()
        return {
            "session": token,
            "models": {name: method.what for name, method in models.items()},
            "examples": list(EXAMPLES),
            "megabytes": MEGABYTES,
        }

    @page.post("/sessions/{token}/alive")
    async def alive(token: str) -> dict[str, str]:
        sessions.find(token).heard = time.monotonic()
        return {}

    @page.post("/sessions/{token}/close")
    async def close(token: str) -> dict[str, str]:
        sessions.close(token)
        return {}

    # --- Pictures ---

    @page.post("/sessions/{token}/pictures")
    async def upload(token: str, request: Request, name: str = "picture") -> StreamingResponse:
        session = sessions.find(token)
        key, item = session.add(clean_name(name))
        try:
            await receive_file(request, item, item.source)
        except BaseException:
            session.remove(key)
            raise
        sessions.find(token)  # is used now, however long the sending took
        return prepare_picture(session, key, item)

    @page.post("/sessions/{token}/examples/{name}")
    async def example(token: str, name: str) -> StreamingResponse:
        session, chosen = sessions.find(token), find(EXAMPLES, name)
        key, item = session.add(chosen.name)
        item.source.write_bytes(chosen.read())
        return prepare_picture(session, key, item, outline=chosen.outline)

    def prepare_picture(session: Session, key: str, item: Item, **more: object) -> StreamingResponse:
        def done(facts: Json) -> Json:
            item.facts = PictureFacts(**facts)
            return describe(key, item, **more)

        task = workers.pictures.run("prepare_picture", photo=str(item.source), name=item.name)
        return stream_lines(follow(task, item, done=done, undo=lambda: session.remove(key)))

    @page.post("/sessions/{token}/pictures/{key}/full")
    async def full(token: str, key: str) -> Any:
        item = find_picture(sessions.find(token), key)
        if item.full.exists():
            return {"done": {}}
        return stream_lines(follow(workers.pictures.run("show_full", photo=str(item.source)), item))

    @page.get("/sessions/{token}/pictures/{key}/{part}")
    async def file(token: str, key: str, part: str) -> FileResponse:
        item = find_picture(sessions.find(token), key)
        path, name = find(
            {
                "preview": (item.folder / "preview.webp", None),
                "full": (item.full, None),
                "source": (item.source, item.name),
                "result": item.result,
                "mask": (item.folder / "mask.png", f"{Path(item.name).stem}-mask.png"),
            },
            part,
        )
        if not path.is_file():
            raise HTTPException(404)
        kind = "application/octet-stream" if part == "source" else None  # as it came, whatever its name says
        kept = "no-store" if item.tasks else "private, max-age=3600"  # a preview of what is at work may still change
        return FileResponse(path, media_type=kind, filename=name, headers={"Cache-Control": kept})

    # --- Masks and filling ---

    @page.post("/sessions/{token}/pictures/{key}/mask")
    async def upload_mask(token: str, key: str, request: Request) -> StreamingResponse:
        session = sessions.find(token)
        item = find_picture(session, key)
        mask = session.add_mask(item)
        await receive_file(request, item, mask)
        sessions.find(token)
        return prepare_mask(item, mask)

    def prepare_mask(item: Item, mask: Path, **more: object) -> StreamingResponse:
        def done(facts: Json) -> Json:
            item.masks.append(mask.name)
            return {**more, "mask": mask.name, **facts}

        task = workers.pictures.run("prepare_mask", mask=str(mask), photo=str(item.source), name=item.name, size=item.size)
        return stream_lines(follow(task, item, done=done, undo=lambda: mask.unlink(missing_ok=True)))

    @page.post("/sessions/{token}/pictures/{key}/select")
    async def select(token: str, key: str, request: Request) -> StreamingResponse:
        asked = await read_json(request, Selection)
        item = find_picture(sessions.find(token), key)
        if not (asked.points or asked.box or asked.lasso):
            raise InputError("nothing was pointed at. Click the object, or draw a box or a line around it.")
        points = [(point.x, point.y, point.add) for point in asked.points]
        words = {"folder": str(item.folder), "points": points, "box": asked.box, "lasso": asked.lasso}
        return stream_lines(follow(workers.pictures.run("select_object", **words), item))

    @page.post("/sessions/{token}/pictures/{key}/fill")
    async def fill(token: str, key: str, request: Request) -> StreamingResponse:
        asked = await read_json(request, Filling)  # before the session is looked for, which may be closed meanwhile
        session = sessions.find(token)
        item, method = find_picture(session, key), pick(models, asked.model, "model")
        if asked.loaded is None and asked.mask is None:
            raise InputError("nothing is marked. Paint over what should go, click an object, or load a mask.")
        painted = decode_data_url(asked.mask or "")
        mask = item.mask(asked.loaded) if asked.loaded else None
        result, into = session.add(item.name, asked.compared)
        into.facts = item.facts
        if mask is None:
            mask = into.folder / "painted"
            mask.write_bytes(painted)
        places = {"photo": str(item.source), "name": item.name, "mask": str(mask), "out": str(into.folder)}
        options = {**method.options(device), "hole": "white", "grow": asked.grow}
        task = workers.run_model(method.process, "fill_picture", **places, options=options, score=asked.score)

        def done(facts: Json) -> Json:
            into.suffix = facts.pop("suffix")
            return {"picture": result, "name": item.name, **facts}

        return stream_lines(follow(task, item, into, also={"picture": result}, done=done, undo=lambda: session.remove(result)))

    add_batches(page, sessions, workers, models, device)

    # --- Links ---

    @page.post("/sessions/{token}/links")
    async def give(token: str, request: Request) -> dict[str, str]:
        session, asked = sessions.find(token), await read_json(request, Compared)
        mask = find_picture(session, asked.result).folder / "mask.png"
        if not mask.exists():
            raise InputError("this is no result, so it has no mask. Compare again.")
        return {"link": sessions.link(find_picture(session, asked.picture), mask, asked.methods, asked.score)}

    @page.post("/sessions/{token}/links/{link}")
    async def take(token: str, link: str) -> StreamingResponse:
        session = sessions.find(token)
        if link not in sessions.links:
            raise InputError(
                "this link no longer works: the studio has ended or given out many since. Open a picture and compare anew."
            )
        given = sessions.links[link]
        key, item = session.add(given.item.name)
        item.facts = given.item.facts
        given.item.copy_into(item.folder)
        mask = item.folder / secrets.token_hex(8)
        shutil.copyfile(given.item.folder / "mask", mask)  # at once: the link may give way to others meanwhile
        return prepare_mask(item, mask, **describe(key, item, methods=given.methods, score=given.score))

    # --- Runs ---

    @page.get("/runs")
    def all_runs() -> dict[str, Any]:
        return {"runs": {name: read_run(folder) for name, folder in find_runs(named).items()}}

    @page.get("/runs/{name}/{sample}")
    def sample(name: str, sample: str) -> FileResponse:
        return FileResponse(find(find_samples(find(find_runs(named), name)), sample))

    @page.get("/results")
    def results() -> dict[str, Any]:
        return {"results": {name: found for name, file in find_results().items() if (found := read_evaluation(file))}}

    @page.get("/results/{name}/{method}")
    async def rows(name: str, method: str, by: str = "", up: bool = True) -> StreamingResponse:
        found = read_evaluation(find(find_results(), name))
        find(found["methods"] if found else {}, method)
        words = {"file": str(find_rows(name, method)), "by": by, "up": up, "count": ROWS}
        return stream_lines(follow(workers.pictures.run("read_rows", **words)))

    return page


def find_picture(session: Session, key: str) -> Item:
    """The picture or result of a session; for the key of a batch, the answer is 404."""
    item = session.item(key)
    if isinstance(item, Batch):
        raise HTTPException(404)
    return item


def describe(key: str, item: Item, **more: object) -> Json:
    """What the page is told of a picture that was read."""
    return {"picture": key, "name": item.name, **as_json(item.facts), **more}


# --- What is asked for -----------------------------------------------------------------------------------------------


class Point(BaseModel):
    """Where a click was, and whether what is there belongs to the object, or not."""

    x: Share
    y: Share
    add: bool = True


class Selection(BaseModel):
    """Which object is meant: all clicks on it, the first first, and a box (left, top, right, bottom) or a line around it."""

    points: list[Point] = Field([], max_length=200)
    box: tuple[Share, Share, Share, Share] | None = None
    lasso: list[tuple[Share, Share]] | None = Field(None, min_length=3, max_length=5000)


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
