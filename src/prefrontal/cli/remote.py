"""A Prefrontal that runs elsewhere, over its HTTP API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from prefrontal.chat.usage import UNKNOWN_USAGE, Usage
from prefrontal.cli.answers import Ending, Part
from prefrontal.clock import Clock
from prefrontal.contracts.wire import Method, WireRequest, WireResponse
from prefrontal.errors import (
    AllAttemptsFailed,
    ConfigError,
    InvalidRequest,
    PrefrontalError,
    ProviderCut,
    ProviderMisbehaved,
    ProviderUnreachable,
    every_error,
)
from prefrontal.execute.transport import Timeouts, Transport, WireStream, open_transport

PROBE = Timeouts(connect_s=1.0, first_byte_s=2.0, total_s=2.0)
"""For finding out who listens at a port of this machine (assumed: /livez takes milliseconds, strangers may stay silent)."""

LOOK = Timeouts(connect_s=2.0, first_byte_s=10.0, total_s=10.0)
"""For routes that answer from memory (assumed)."""

WORK = Timeouts(connect_s=5.0, first_byte_s=None, between_s=None, total_s=None)
"""For routes that wait for a model: the gateway's own limits apply."""

INSTANCE = "x-prefrontal-instance"
"""The header every answer of a Prefrontal carries."""


def base_of(url: str) -> str:
    """Return the address of a gateway without the ``/v1`` that SDKs put at its end.

    Raises:
        InvalidRequest: `url` is not a web address.
    """
    text = url.strip().rstrip("/")
    if "://" not in text:
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise InvalidRequest(f"'{url}' is not the address of a gateway.", param="url", hint="Such as http://127.0.0.1:4123.")
    return text.removesuffix("/v1").rstrip("/")


class Gateway:
    """One running gateway. Close it. `url` may end in ``/v1`` or not; `key` is sent as a bearer token."""

    def __init__(self, url: str, *, clock: Clock, key: str | None = None, transport: Transport | None = None) -> None:
        self.url = base_of(url)
        self._key = key
        self._clock = clock
        self._transport = transport or open_transport(clock=clock)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def is_prefrontal(self) -> bool:
        """Return whether a Prefrontal answers there. Never raises for a server that does not."""
        try:
            answer = await self._transport.send(self._request("GET", "/livez"), PROBE)
        except PrefrontalError:
            return False
        return INSTANCE in answer.headers

    async def get(self, path: str) -> Any:
        """Return the JSON at a path. Raises PrefrontalError with the gateway's own words."""
        return _read(await self._send(self._request("GET", path), LOOK))

    async def post(self, path: str, body: Any = None) -> Any:
        """Send JSON to a path and return the answer; waits as long as the work takes. Raises like `get`."""
        return _read(await self._send(self._request("POST", path, {} if body is None else body), WORK))

    async def delete(self, path: str) -> Any:
        """Delete what is at a path and return the answer. Raises like `get`."""
        return _read(await self._send(self._request("DELETE", path), LOOK))

    async def pieces(self, path: str) -> AsyncIterator[bytes]:
        """Yield what is at a path as it arrives, however long it is. Raises like `get`."""
        source = await self._open(self._request("GET", path))
        try:
            while data := await source.read():
                yield data
        finally:
            await source.aclose()

    async def engine(self, name: str, action: str) -> Any:
        """Load or unload a local model. Raises like `get`."""
        return await self.post(f"/v1/engines/{quote(name, safe='/:@')}/{action}")

    # -- asking (see `prefrontal.cli.answers.Asker`) -------------------------------------------------------------------

    async def explain(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> dict[str, Any]:
        """Return what would be done, without doing it."""
        found: dict[str, Any] = await self.post("/v1/explain", {"model": "auto", **options, "messages": messages})
        return found

    async def whole(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> list[Part]:
        """Return the whole answer in the parts of a stream."""
        started = self._clock.monotonic()
        body = await self.post("/v1/chat/completions", {"model": "auto", **options, "messages": messages})
        try:
            message = body["choices"][0]["message"]
            parts = [Part(kind="content", text=message.get("content") or message.get("refusal") or "")]
        except (LookupError, TypeError) as error:
            raise ProviderMisbehaved(f"{self.url} sent an answer without choices.") from error
        if message.get("reasoning_content"):
            parts.insert(0, Part(kind="thinking", text=message["reasoning_content"]))
        for index, call in enumerate(message.get("tool_calls") or ()):
            parts.append(Part(kind="tool", tool={"index": index, "id": call.get("id"), **call.get("function", {})}))
        ours, usage = body.get("x_prefrontal") or {}, usage_of(body.get("usage"))
        return [*parts, Part(kind="end", ending=_ending(ours, usage, self._elapsed_ms(started)))]

    async def stream(self, messages: list[dict[str, Any]], options: dict[str, Any]) -> AsyncIterator[Part]:
        """Yield the answer as it arrives, then its ending. Leaving early closes the connection, which cancels the request."""
        started = self._clock.monotonic()
        body = {"model": "auto", **options, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
        source = await self._open(self._request("POST", "/v1/chat/completions", body))
        reader = _Reader(self.url)
        try:
            while data := await source.read():
                for part in reader.feed(data):
                    yield part
            for part in reader.finish():
                yield part
            yield Part(kind="end", ending=_ending(reader.ours, reader.usage, self._elapsed_ms(started)))
        finally:
            await source.aclose()

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def _request(self, method: Method, path: str, body: Any = None) -> WireRequest:
        headers = [("content-type", "application/json")] if body is not None else []
        if self._key:
            headers.append(("authorization", f"Bearer {self._key}"))
        data = b"" if body is None else msgspec.json.encode(body)
        return WireRequest(method=method, url=self.url + path, headers=tuple(headers), body=data)

    async def _send(self, request: WireRequest, timeouts: Timeouts) -> WireResponse:
        try:
            return await self._transport.send(request, timeouts)
        except ProviderUnreachable as error:
            raise self._nobody(error) from error

    async def _open(self, request: WireRequest) -> WireStream:
        try:
            source = await self._transport.open(request, WORK)
        except ProviderUnreachable as error:
            raise self._nobody(error) from error
        if source.status == 200:
            return source
        parts = []
        try:
            while data := await source.read():
                parts.append(data)
        finally:
            await source.aclose()
        raise refused(source.status, b"".join(parts))

    def _nobody(self, error: PrefrontalError) -> PrefrontalError:
        return ProviderUnreachable(
            f"No gateway answers at {self.url}.", hint=f"Start one with `prefrontal serve`. ({error.message})"
        )

    def _elapsed_ms(self, started: float) -> float:
        return (self._clock.monotonic() - started) * 1000


class _Reader:
    """Reads our own event stream: parts, and at its end usage and extension."""

    def __init__(self, url: str) -> None:
        from prefrontal.providers.catalogue import load_profiles
        from prefrontal.providers.openai.stream import OpenAIStreamParser

        self._url = url
        self._parser = OpenAIStreamParser(load_profiles()["openai-compatible"])
        self.ours: dict[str, Any] = {}
        self.usage = UNKNOWN_USAGE

    def feed(self, data: bytes) -> list[Part]:
        """Return the parts that `data` completes. Raises PrefrontalError."""
        return self._parts(self._parser.feed(data))

    def finish(self) -> list[Part]:
        """Return the rest. Raises ProviderCut."""
        try:
            return self._parts(self._parser.finish())
        except ProviderCut as error:
            raise ProviderCut(f"{self._url} ended the answer before its end.") from error

    def _parts(self, chunks: Any) -> list[Part]:
        from prefrontal.app.reply import pieces_of

        found: list[Part] = []
        for chunk in chunks:
            self.usage = chunk.usage or self.usage
            self.ours = (chunk.extra or {}).get("x_prefrontal") or self.ours
            found.extend(Part(kind=piece.kind, text=piece.text, tool=piece.tool) for piece in pieces_of(chunk))
        return found


def usage_of(raw: Any) -> Usage:
    """Return the usage of an answer in OpenAI's form."""
    if not isinstance(raw, dict):
        return UNKNOWN_USAGE
    cached = (raw.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return Usage(
        uncached_input_tokens=max(0, (raw.get("prompt_tokens") or 0) - cached),
        cache_read_tokens=cached,
        output_tokens=raw.get("completion_tokens") or 0,
        reasoning_tokens=(raw.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0,
        source="reported",
    )


def refused(status: int, body: bytes) -> PrefrontalError:
    """Return the gateway's error answer as an error with its words."""
    try:
        raw = msgspec.json.decode(body)
        shown = raw["error"]
        message = str(shown["message"])
    except (msgspec.DecodeError, LookupError, TypeError):
        return ProviderMisbehaved(f"The server answered with status {status}.", hint="Is it a Prefrontal gateway?")
    details = (raw.get("x_prefrontal") or {}).get("details") or {}
    hint = None
    if status == 401:
        hint = "Set PREFRONTAL_API_KEY to a key of the gateway."
    elif details.get("known"):
        hint = f"Known: {', '.join(details['known'])}."
    known = {kind.code: kind for kind in every_error() if kind not in (ConfigError, AllAttemptsFailed, PrefrontalError)}
    error = known.get(str(shown.get("code")), PrefrontalError)(message, param=shown.get("param"), hint=hint)
    error.status = status
    return error


def _read(answer: WireResponse) -> Any:
    if answer.status >= 400:
        raise refused(answer.status, answer.body)
    try:
        return msgspec.json.decode(answer.body)
    except msgspec.DecodeError as error:
        raise ProviderMisbehaved("The server's answer is not JSON.", hint="Is it a Prefrontal gateway?") from error


def _ending(ours: dict[str, Any], usage: Usage, elapsed_ms: float) -> Ending:
    source = ours.get("usage_source")
    if source in ("reported", "estimated", "unknown"):
        usage = msgspec.structs.replace(usage, source=source)
    return Ending(
        model=ours.get("model"),
        answered_by=ours.get("answered_by", "model"),
        effort=ours.get("effort"),
        effort_sent=ours.get("effort_sent", True),
        usage=usage,
        cost_usd=ours.get("cost_usd"),
        duration_ms=elapsed_ms,
        trace=ours.get("trace"),
        tool=ours.get("tool"),
        attempts=ours.get("attempts", 0),
    )
