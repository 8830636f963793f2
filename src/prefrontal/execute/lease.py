"""A local engine for the length of one answer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

from prefrontal.execute.transport.base import WireStream

ENGINE_API = "/v1"
"""Where llama.cpp's server speaks the OpenAI dialect below its address."""


class Engines(Protocol):
    """The local engines, as far as an attempt needs them."""

    def lease(self, model_id: str) -> AbstractAsyncContextManager[str]:
        """Return a context with the base URL of the ready engine, which is not unloaded meanwhile. Raises ProviderError."""
        ...


class LeasedStream:
    """A stream of a local engine: closing it gives the engine back."""

    def __init__(self, stream: WireStream, lease: AsyncExitStack) -> None:
        self._stream = stream
        self._lease = lease

    @property
    def status(self) -> int:
        """See `WireStream.status`."""
        return self._stream.status

    @property
    def headers(self) -> Mapping[str, str]:
        """See `WireStream.headers`."""
        return self._stream.headers

    async def read(self) -> bytes:
        """See `WireStream.read`."""
        return await self._stream.read()

    async def aclose(self) -> None:
        """Close the stream and give the engine back."""
        try:
            await self._stream.aclose()
        finally:
            await self._lease.aclose()
