"""Many pictures of the page at once: sent one by one, filled as `mend fill` fills a folder, fetched as a ZIP.

A batch is an item of a session. Its folder has `photos` and `masks`, numbered, whatever they are called where they came from; a
`mask`, if there is one for all; and `filled.zip` in the end.
"""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field

from mend.errors import InputError, pick
from mend.studio.methods import Method
from mend.studio.responses import Share, follow, read_json, receive_file, stream_lines
from mend.studio.sessions import ROOM, Batch, Session, Sessions, clean_name, clean_suffix
from mend.studio.workers import Workers

MOST = 1000  # pictures of a batch
ZIP = "filled.zip"


class Region(BaseModel):
    """A box (left, top, right, bottom) where something stands in every picture, drawn on one of this height and width; of what
    is in it `letters` alone, if these are meant."""

    box: tuple[Share, Share, Share, Share]
    drawn: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    letters: bool = False


class BatchFilling(BaseModel):
    """How a batch is to be filled; where, its masks say, or a region."""

    model: str
    grow: int = Field(0, ge=0, le=1000)
    region: Region | None = None


def add_batches(page: APIRouter, sessions: Sessions, workers: Workers, models: dict[str, Method], device: str) -> None:
    """Add the routes of batches; arguments as in `make_app`."""

    def find_batch(token: str, key: str) -> tuple[Session, Batch]:
        session = sessions.find(token)
        batch = session.item(key)
        if not isinstance(batch, Batch):
            raise HTTPException(404)
        return session, batch

    async def receive(request: Request, batch: Batch, file: Path) -> None:
        if batch.bytes > ROOM:
            raise InputError(f"the pictures are more than {ROOM // 10**9} GB. Do them in several goes, or use 'mend fill'.")
        await receive_file(request, batch, file)

    @page.post("/sessions/{token}/batches")
    async def create(token: str) -> dict[str, str]:
        key, batch = sessions.find(token).add_batch()
        for part in ("photos", "masks"):
            (batch.folder / part).mkdir()
        return {"batch": key}

    @page.post("/sessions/{token}/batches/{key}/pictures")
    async def add_picture(token: str, key: str, request: Request, name: str = "picture") -> dict[str, int]:
        _, batch = find_batch(token, key)
        if len(batch.names) >= MOST:
            raise InputError(f"a batch has up to {MOST} pictures. Do them in several goes, or use 'mend fill'.")
        number = len(batch.names) + 1
        file = f"{number:04d}{clean_suffix(clean_name(name))}"
        batch.names[file] = clean_name(name)
        try:
            await receive(request, batch, batch.folder / "photos" / file)
        except BaseException:
            del batch.names[file]
            raise
        return {"number": number}

    @page.post("/sessions/{token}/batches/{key}/masks")
    async def add_mask(token: str, key: str, request: Request, number: int | None = None) -> dict[str, int]:
        _, batch = find_batch(token, key)
        await receive(request, batch, batch.folder / ("mask" if number is None else f"masks/{number:04d}.png"))
        return {}

    @page.post("/sessions/{token}/batches/{key}/fill")
    async def fill(token: str, key: str, request: Request) -> StreamingResponse:
        asked = await read_json(request, BatchFilling)
        _, batch = find_batch(token, key)
        method = pick(models, asked.model, "model")
        words = {"folder": str(batch.folder), "names": batch.names, "region": asked.region and asked.region.model_dump()}
        # As for a single picture: masks become white on black, and of an animation the first frame is taken.
        options = {**method.options(device), "hole": "white", "first_frame": True, "grow": asked.grow}
        return stream_lines(follow(workers.run_model(method.process, "fill_batch", **words, options=options), batch))

    @page.get("/sessions/{token}/batches/{key}/zip")
    async def fetch(token: str, key: str) -> FileResponse:
        _, batch = find_batch(token, key)
        if not (batch.folder / ZIP).is_file():
            raise HTTPException(404)
        return FileResponse(batch.folder / ZIP, filename="filled.zip", headers={"Cache-Control": "no-store"})

    @page.delete("/sessions/{token}/batches/{key}", status_code=204)
    async def remove(token: str, key: str) -> None:
        session, batch = find_batch(token, key)
        if not batch.tasks:
            session.remove(key)
