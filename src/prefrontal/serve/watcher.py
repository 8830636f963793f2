"""Notices that the client has left, and cancels the work done for it."""

from __future__ import annotations

import asyncio

from prefrontal.serve.types import Receive


class Watcher:
    """While its block runs, a disconnect of the client cancels the task; `gone` then tells why.

    uvicorn's `send` is silent after a disconnect, so `receive` has to be watched.
    """

    __slots__ = ("_receive", "_task", "_watching", "gone")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task: asyncio.Task[object] | None = None
        self._watching: asyncio.Task[None] | None = None
        self.gone = False

    def __enter__(self) -> Watcher:
        self._task = asyncio.current_task()
        self._watching = asyncio.create_task(self._watch())
        return self

    def __exit__(self, *_: object) -> None:
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                if self._task is not None:
                    self._task.cancel()
                return
