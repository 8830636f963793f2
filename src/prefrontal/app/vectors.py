"""Keeping dense vectors in step with the engrams of a home, in the background: ingest never waits for them."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from prefrontal.app.encoders import Encoders
from prefrontal.clock import Clock
from prefrontal.config.schema_knowledge import Knowledge as Settings
from prefrontal.errors import PrefrontalError

if TYPE_CHECKING:
    from prefrontal.knowledge.dense.encoder import Encoder
    from prefrontal.knowledge.dense.fill import Filled

log = logging.getLogger(__name__)

FILL_EVERY_S = 15.0
"""How often it is looked whether an engram needs vectors (assumed: what is new is found by its words meanwhile)."""

NONE = "none"


class Vectors:
    """Which encoder each engram has, and the vectors by it. Belongs to one event loop."""

    def __init__(self, folder: Path, *, clock: Clock) -> None:
        self.encoders = Encoders(folder.with_name("encoders"))
        self._folder = folder
        self._clock = clock
        self._settings = Settings()
        self._closing = threading.Event()
        self._filled: dict[str, tuple[str, int]] = {}
        self._problems: dict[str, str] = {}

    def configure(self, settings: Settings) -> None:
        """Let other settings hold from now on; an earlier `keep` ends by itself."""
        self._settings = settings

    def close(self) -> None:
        """Stop after the batch at hand."""
        self._closing.set()

    def problem(self, name: str) -> str | None:
        """Return why the vectors of an engram could not be made when that was last tried."""
        return self._problems.get(name)

    def encoder_of(self, name: str) -> str | None:
        """Return the encoder that an engram's vectors are to be by; None: words only."""
        entry = self._settings.engrams.get(name)
        found = entry.encoder if entry is not None and entry.encoder is not None else self._settings.encoder
        return None if found in (None, NONE) else found

    async def encoder(self, name: str, encoder: str) -> Encoder:
        """Return an encoder for what an engram holds. Raises what `Encoders.get` raises."""
        entry = self._settings.engrams.get(name)
        return await self.encoders.get(encoder, entry.data_class if entry is not None else None)

    async def keep(self) -> None:
        """Give vectors to what has none, again and again, until other settings hold; at once where no encoder is configured."""
        settings = self._settings
        wanted = settings.encoder is not None or any(entry.encoder is not None for entry in settings.engrams.values())
        while wanted and self._settings is settings and not self._closing.is_set():
            for name in await asyncio.to_thread(_names, self._folder):
                await self._fill_when_changed(name)
            await self._clock.sleep(FILL_EVERY_S)

    async def embed(self, name: str, encoder: str) -> Filled | None:
        """Give the passages of an engram dense vectors, where they have none; None when another process is at it.

        encoder: of this machine, or `model:` and the name of a model of the gateway. Raises PrefrontalError.
        """
        found = await self.encoder(name, encoder)

        def run() -> Filled | None:
            from prefrontal.app.dense import filled

            return filled(self._folder / f"{name}.engram", found, precision=self._settings.precision, watch=self._go_on)

        return await asyncio.to_thread(run)

    def _go_on(self, _done: int, _all: int) -> bool:
        return not self._closing.is_set()

    async def _fill_when_changed(self, name: str) -> None:
        """Encode what has no vector; a problem is kept, told once, and tried again."""
        encoder = self.encoder_of(name)
        if encoder is None:
            return
        try:
            version = await asyncio.to_thread(_version, self._folder / f"{name}.engram")
            if version and self._filled.get(name) != (encoder, version):
                done = await self.embed(name, encoder)
                if done is not None and done.done:
                    self._filled[name] = (encoder, version)
                    self._problems.pop(name, None)
        except PrefrontalError as error:
            text = error.message.replace(f"{self._folder}/", "")
            if self._problems.get(name) != text:
                log.warning("no vectors for the engram %s: %s", name, text)
            self._problems[name] = text


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.engram"))


def _version(path: Path) -> int:
    from prefrontal.knowledge.store.engram import Engram

    with Engram(path) as engram:
        return engram.version
