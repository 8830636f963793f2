"""The encoder of the configuration: one of this machine, or a model of the gateway, asked like any request for embeddings."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefrontal.chat.embeddings import EmbeddingsRequest
from prefrontal.errors import InvalidRequest, StoreError
from prefrontal.machine.context import CallContext
from prefrontal.machine.embed import Embedded

if TYPE_CHECKING:
    from prefrontal.knowledge.dense.encoder import Encoder, EncoderInfo

MODEL = "model:"
"""Stands before the name of a model of the gateway; other names are of encoders of this machine."""

BATCH = 32
"""Texts of one request (assumed: far below what any upstream takes, and little is lost when one fails)."""

PROBE = "prefrontal"

Embed = Callable[[EmbeddingsRequest, CallContext], Awaitable[Embedded]]


class Encoders:
    """Finds encoders by their names and keeps the last one. `embed` asks the gateway, on the loop this is made for."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._embed: Embed | None = None
        self._loaded: tuple[str, Encoder] | None = None
        self._models: dict[tuple[str, str | None], GatewayEncoder] = {}
        self._lock = threading.Lock()

    def attach(self, embed: Embed) -> None:
        """Let models of the gateway be asked this way."""
        self._embed = embed

    async def get(self, name: str, data_class: str | None = None) -> Encoder:
        """Return an encoder. data_class: of what it will be given, so that a model of another class's hosts is refused.

        Raises NotFound, StoreError, CapabilityMissing; of a model what a request for embeddings raises.
        """
        if name.startswith(MODEL):
            return await self._of_gateway(name.removeprefix(MODEL), data_class)
        return await asyncio.to_thread(self._of_machine, name)

    def _of_machine(self, name: str) -> Encoder:
        from prefrontal.knowledge.dense import pinned

        with self._lock:
            if self._loaded is None or self._loaded[0] != name:
                self._loaded = (name, pinned.load(self._home, name))
            return self._loaded[1]

    async def _of_gateway(self, model: str, data_class: str | None) -> Encoder:
        if self._embed is None or not model:
            raise InvalidRequest("No model can be asked for embeddings here.", param="encoder")
        key = (model, data_class)
        if key in self._models:
            return self._models[key]
        context = CallContext(route="knowledge", data_classes=(data_class,) if data_class else ())
        found = GatewayEncoder(self._embed, asyncio.get_running_loop(), model, context)
        await found.ready()
        self._models[key] = found
        return found


class GatewayEncoder:
    """A model that makes embeddings, asked from threads; see `ready`. Each batch is a request with a record of its own."""

    info: EncoderInfo

    def __init__(self, embed: Embed, loop: asyncio.AbstractEventLoop, model: str, context: CallContext) -> None:
        self._embed, self._loop, self._model, self._context = embed, loop, model, context

    async def ready(self) -> None:
        """Ask once, for the dimensions: without them nothing can be kept."""
        from prefrontal.knowledge.dense.encoder import EncoderInfo

        rows = await self._rows([PROBE])
        mark = hashlib.sha256(f"{self._model}\n{len(rows[0])}".encode()).hexdigest()[:32]
        self.info = EncoderInfo(name=self._model, dim=len(rows[0]), revision=mark)

    def encode(self, texts: Sequence[str]) -> Any:
        """See `Encoder.encode`. Never from the loop's own thread."""
        import numpy as np

        from prefrontal.knowledge.dense.encoder import checked

        out = np.zeros((len(texts), self.info.dim), np.float32)
        for at in range(0, len(texts), BATCH):
            some = [text.encode("utf-8", "replace").decode() or PROBE for text in texts[at : at + BATCH]]
            rows = asyncio.run_coroutine_threadsafe(self._rows(some), self._loop).result()
            if any(len(row) != self.info.dim for row in rows):
                raise StoreError(f"The model {self._model} gave vectors of other dimensions than before.")
            out[at : at + len(some)] = rows
        return checked(out, len(texts), self.info)

    async def _rows(self, texts: Sequence[str]) -> list[Sequence[float]]:
        request = EmbeddingsRequest(model=self._model, inputs=tuple(texts), encoding_format="float")
        done = await self._embed(request, self._context)
        rows = [_floats(one) for one in done.response.vectors]
        if len(rows) != len(texts) or not rows[0]:
            raise StoreError(f"The model {self._model} gave {len(rows)} vectors for {len(texts)} texts.")
        return rows


def _floats(one: tuple[float, ...] | str) -> Sequence[float]:
    if isinstance(one, tuple):
        return one
    data = base64.b64decode(one)
    return struct.unpack(f"<{len(data) // 4}f", data[: len(data) // 4 * 4])
