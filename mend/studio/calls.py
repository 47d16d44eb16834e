"""Calls of Gradio's client: what it sends is kept for a while, what it asks for waits in Gradio's queue."""

import asyncio
import os
import shutil
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import gradio
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse
from gradio.context import LocalContext
from gradio.data_classes import CancelBody, FileData
from gradio.events import api
from gradio.queueing import Event
from gradio.server_messages import ProcessCompletedMessage
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from mend.errors import InputError, pick
from mend.studio.answers import fault, listed, while_waited_for
from mend.studio.methods import Method
from mend.studio.sessions import Item, Session, Sessions, Uploads

QUEUE = 16  # calls that may wait
REMEMBERED = 100  # calls, and clients, of which Gradio keeps notes; by itself ten thousand, at 13 kB each
Fill = Callable[[Session, Item, Method], Awaitable[Item]]


def take_calls(app: FastAPI, sessions: Sessions, uploads: Uploads, models: dict[str, Method], filled: Fill) -> None:
    """Let Gradio's client call /fill of the app at /gradio; `filled` does what is called for."""
    os.environ["GRADIO_TEMP_DIR"] = str(uploads.folder)  # what lies there Gradio copies to no place of its own
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = str(REMEMBERED)

    # In place of Gradio's own, which takes as much as comes, makes paths of names, and forgets what was not sent whole.
    @app.post("/gradio/gradio_api/upload")
    async def upload(request: Request) -> list[str]:
        with sessions.call():  # before anything is received
            return await received(request)

    async def received(request: Request) -> list[str]:
        async with request.form(max_files=2, max_fields=0) as form:
            sent = [(part, uploads.new()) for part in form.getlist("files") if isinstance(part, UploadFile)]
            for part, place in sent:
                with place.open("wb") as target:
                    await asyncio.to_thread(shutil.copyfileobj, part.file, target)
        return [str(place) for _, place in sent]

    @app.api_route("/gradio/gradio_api/file={path:path}", methods=["GET", "HEAD"])
    async def file(path: str) -> FileResponse:
        listed(uploads.files, path)
        return FileResponse(path)

    # In place of Gradio's own, which cancels all that this client has asked for.
    @app.post("/gradio/gradio_api/cancel")
    async def cancel(body: CancelBody) -> dict[str, bool]:
        queue = blocks._queue
        if body.event_id in queue.pending_event_ids_session.get(body.session_hash, ()):
            await queue.clean_events(event_id=body.event_id)
            over = ProcessCompletedMessage(output={}, success=True, event_id=body.event_id)
            queue.pending_messages_per_session[body.session_hash].put_nowait(over)
        return {"success": True}

    async def fill(image: FileData, mask: FileData, model: str = next(iter(models))) -> FileData:
        assert isinstance(image, dict)  # Gradio hands over what it documents as FileData as a dictionary
        assert isinstance(mask, dict)

        mine = LocalContext.event_id.get(None)

        async def left() -> bool:
            """Whether nobody listens for the answer any more, which Gradio notes, and lets the work go on."""
            return any(event._id == mine and not event.alive for event in blocks.running())

        try:
            with sessions.call() as session:
                _, item = session.add(Path(image["orig_name"] or "picture").name)
                for sent, place in ((image, "source"), (mask, "loaded")):
                    await asyncio.to_thread(shutil.copyfile, sent["path"], item.folder / place)
                result, _ = (await while_waited_for(left, filled(session, item, pick(models, model, "model")))).result
                return FileData(path=str(shutil.move(result, uploads.new(result.suffix))))
        except InputError as error:
            raise gradio.Error(str(error), print_exception=False) from None
        except ClientDisconnect:
            raise gradio.Error("nobody waited for the answer.", print_exception=False) from None
        except Exception as error:
            traceback.print_exc()
            raise gradio.Error(fault(error), print_exception=False) from None

    with Calls(uploads, analytics_enabled=False) as blocks:
        api(fill, api_name="fill", concurrency_limit=2)
    blocks.queue(max_size=QUEUE)
    blocks.state_session_capacity = REMEMBERED
    uploads.wanted = blocks.wanted
    gradio.mount_gradio_app(app, blocks, "/gradio", ssr_mode=False, run_history=False, show_error=False)


class Calls(gradio.Blocks):
    """Takes text, and files of which it is true that they were uploaded; Gradio itself would also fetch a file's address."""

    def __init__(self, uploads: Uploads, **options: Any) -> None:
        super().__init__(**options)
        self.uploads = uploads

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:
        try:
            super().validate_inputs(block_fn, inputs)
        except ValueError:
            raise gradio.Error("fill takes an image, a mask and a model's name.", print_exception=False) from None
        *files, model = inputs
        if not isinstance(model, str):
            raise gradio.Error("the third is the model's name, in words.", print_exception=False)
        for i, value in enumerate(files):
            path, name = _named(value)
            if path not in self.uploads.files:
                said = "this file was not uploaded, or not lately. Send it with handle_file of Gradio's client."
                raise gradio.Error(said, print_exception=False)
            inputs[i] = {"path": path, "orig_name": name}

    def running(self) -> Iterator[Event]:
        return (event for events in self._queue.active_jobs if events for event in events)

    def wanted(self) -> set[str]:
        """The files that calls name, be they at work or waiting."""
        waiting = (event for queue in self._queue.event_queue_per_concurrency_id.values() for event in queue.queue)
        calls = [event.data.data for event in (*self.running(), *waiting) if event.data]
        return {_named(value)[0] for values in calls for value in values}


def _named(value: Any) -> tuple[str, str]:
    """The path and the name of a file as Gradio's client puts it."""
    return (str(value.get("path", "")), str(value.get("orig_name", ""))) if isinstance(value, dict) else ("", "")
