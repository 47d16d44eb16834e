"""Processes that do tasks: one for pictures and masks, and one a model, each with a short queue."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator
from typing import Any

import anyio

from mend.errors import InputError
from mend.studio.messages import Done, Failed, Stage, read_message

WAITING = 8  # tasks that one worker lets wait; the next is refused
MODELS = 3  # models that are kept loaded
WAITING_FOR_TURN = Stage("waiting for its turn")
ENDING = "the studio is ending."
LINE = 1 << 25  # bytes of one line of a process: a mask of 100 megapixels that is all noise takes 28 million

Messages = AsyncGenerator[Stage | Done, None]


class Busy(InputError):
    """Too much is asked for at once; later it works."""


class Fault(InputError):
    """What came was right, and yet it failed: told in one sentence, as bad input is."""


class Worker:
    """A `mend.studio.process`, started when it is needed and ended when what it does is no longer wanted."""

    def __init__(self) -> None:
        self.process: asyncio.subprocess.Process | None = None
        self.turn = asyncio.Lock()
        self.waiting = 0
        self.shut = False  # then it starts no process

    async def run(self, task: str, **arguments: Any) -> Messages:
        """How far a task is, and in the end that it is done.

        InputError for what the task refuses, Fault for what it fails at, Busy for a full queue. Whoever stops listening
        ends the process in the middle of the task; the next task starts another.
        """
        if self.waiting > WAITING:
            raise Busy(f"{self.waiting} tasks are waiting already. Try again in a moment.")
        self.waiting += 1
        try:
            if self.turn.locked():
                yield WAITING_FOR_TURN
            async with self.turn:
                last: Done | Failed | None = None
                try:
                    async for message in self._ask(task, arguments):
                        if isinstance(message, Stage):
                            yield message
                        else:
                            last = message
                finally:
                    if last is None:
                        with anyio.CancelScope(shield=True):  # whoever hung up would break off the waiting, too
                            await self.end()
            # When others have their turn: whoever reads slowly keeps nobody waiting.
            if isinstance(last, Failed):
                raise (Fault if last.fault else InputError)(last.error)
            assert last is not None
            yield last
        finally:
            self.waiting -= 1

    async def _ask(self, task: str, arguments: dict[str, Any]) -> AsyncGenerator[Stage | Done | Failed, None]:
        if self.shut:
            raise Busy(ENDING)
        if self.process is None or self.process.returncode is not None:
            pipe = asyncio.subprocess.PIPE
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mend.studio.process"), stdin=pipe, stdout=pipe, start_new_session=True, limit=LINE
            )
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([task, arguments]).encode() + b"\n")
        while line := await process.stdout.readline():
            message = read_message(line)
            yield message
            if not isinstance(message, Stage):
                return
        if self.shut:
            raise Busy(ENDING)
        raise Fault("the process that worked on it died, perhaps for want of memory. Try a smaller picture.")

    async def end(self) -> None:
        """End the process, whatever it is at, and wait until it is gone: what it wrote to may then be removed."""
        process, self.process = self.process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class Workers:
    """The workers by name: "pictures", and a few models, of which the one unused longest gives way."""

    def __init__(self) -> None:
        self.pictures = Worker()
        self.models: dict[str, Worker] = {}
        self.ending: set[asyncio.Task[None]] = set()  # of models that gave way

    async def run_model(self, name: str, task: str, /, **arguments: Any) -> Messages:
        """`Worker.run` by the worker of a model. It is looked up when somebody listens, and counts as busy from then on: one
        that was looked up before would have given way to others, or be ended at its work."""
        async with contextlib.aclosing(self.model(name).run(task, **arguments)) as messages:
            async for message in messages:
                yield message

    def model(self, name: str) -> Worker:
        worker = self.models.pop(name, None) or Worker()
        worker.shut = self.pictures.shut
        self.models[name] = worker  # last is latest used
        idle = [other for other, one in self.models.items() if not one.waiting and other != name]
        for other in idle[: max(0, len(self.models) - MODELS)]:
            task = asyncio.create_task(self.models.pop(other).end())
            self.ending.add(task)
            task.add_done_callback(self.ending.discard)
        return worker

    async def end(self) -> None:
        """End every process, and wait until they are gone: asyncio complains of one that outlives its loop."""
        there = (self.pictures, *self.models.values())
        for worker in there:
            worker.shut = True  # else what waits for its turn would start the next
        await asyncio.gather(*(worker.end() for worker in there), *self.ending)
        await asyncio.sleep(0.05)  # their pipes are closed a turn of the loop later
