"""A mock upstream: a real HTTP server that speaks the wires of several vendors and fails on request.

    async with MockUpstream({"capital of France": "Paris"}) as up:
        up.fail(Fault(kind="status", status=429, headers={"retry-after": "1"}))
        ...                                # point the program under test at up.base_url
        assert up.requests[0].json["model"] == "mock-model"

It answers `POST /v1/chat/completions`, `/v1/messages`, `/v1beta/models/{model}:generateContent` and
`:streamGenerateContent`, `/api/chat`, `/v1/embeddings`, `/tokenize`, `/v1/messages/count_tokens`, `/api/show` and
`GET /v1/models`, `/api/tags`, `/health`.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec

from prefrontal.clock import Clock, SystemClock
from prefrontal.testing.answers import Answer, Script, Spoken, choose, speak, text_of
from prefrontal.testing.faults import LOADING_BODY, Fault, FaultQueue
from prefrontal.testing.http_server import HttpServer, Recorded, Reply
from prefrontal.testing.mock_openai import OpenAIWire
from prefrontal.testing.mock_vendors import AnthropicWire, GeminiWire, OllamaWire
from prefrontal.testing.mock_wire import Event, Wire

_JSON = {"content-type": "application/json"}
_GARBAGE = b"<html>\x00\xff this is neither JSON nor an event\n\n"


class MockUpstream:
    """An upstream under the test's control, on 127.0.0.1 and a free port; an async context manager.

    `answers` says what the model says (see `Script`); without it the last user message is echoed. `models` are listed.
    `reasoning_field` is where OpenAI's wire carries the trace ("tags" for `<think>` in the content). `embedding_size`
    is the length of embedding vectors, which depend on the text alone. `routes` adds or replaces answers by
    (method, path): (status, object), for instance `{("GET", "/props"): (200, {...})}`. `tls` makes it speak HTTPS.

    `requests` holds every request in order of arrival, `faults` what is still to go wrong.
    """

    def __init__(
        self,
        answers: Script | None = None,
        *,
        models: Sequence[str] = ("mock-model",),
        faults: Sequence[Fault] = (),
        reasoning_field: str = "reasoning_content",
        embedding_size: int = 8,
        routes: Mapping[tuple[str, str], tuple[int, Any]] | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Clock | None = None,
        port: int = 0,
    ) -> None:
        self.answers = answers
        self.models = tuple(models)
        self.faults = FaultQueue()
        self.faults.add(*faults)
        self.routes: dict[tuple[str, str], tuple[int, Any]] = dict(routes or {})
        self._embedding_size = embedding_size
        self._clock = clock or SystemClock()
        self._scheme = "https" if tls else "http"
        self._port = port
        self._server = HttpServer(self.answer, clock=self._clock, tls=tls)
        self._gemini = GeminiWire()
        self._openai = OpenAIWire(reasoning_field)
        self._wires: dict[str, Wire] = {
            "/v1/chat/completions": self._openai,
            "/v1/messages": AnthropicWire(),
            "/api/chat": OllamaWire(),
        }

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start listening; after `stop` on the same port again."""
        await self._server.start(self._port)
        self._port = self._server.port

    async def stop(self) -> None:
        """Stop listening and abort every connection, as a killed engine does."""
        await self._server.stop()

    @property
    def root_url(self) -> str:
        """`http://127.0.0.1:PORT`: the base of Anthropic, Gemini and Ollama clients."""
        return f"{self._scheme}://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """`http://127.0.0.1:PORT/v1`: the base of OpenAI clients."""
        return f"{self.root_url}/v1"

    @property
    def requests(self) -> list[Recorded]:
        """Every request so far, in order of arrival."""
        return self._server.requests

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._server.connections)

    async def arrived(self, count: int = 1) -> Recorded:
        """Wait until `count` requests have arrived in all, and return that one."""
        await self._server.arrived(count)
        return self.requests[count - 1]

    def fail(self, *faults: Fault) -> None:
        """Queue faults for the next requests."""
        self.faults.add(*faults)

    def heal(self) -> None:
        """Drop every fault still queued."""
        self.faults.clear()

    async def answer(self, request: Recorded, reply: Reply) -> None:
        """Write the whole reply to one request: the fault that is due, or what the script says."""
        wire = self._wire(request)
        generates = wire is not None or request.path == "/v1/embeddings"
        fault = self.faults.take(request, generates=generates)
        if await self._fails_at_once(fault, wire or self._openai, reply):
            return
        if wire is None:
            status, found = self._plain(request)
            reply.whole(status, _JSON, msgspec.json.encode(found))
            return
        asked = wire.read(request)
        said = choose(self.answers, request, asked)
        if isinstance(said, Fault):
            fault, said = fault or said, Answer(text=asked.text)
            if await self._fails_at_once(fault, wire, reply):
                return
        if said.delay_s > 0:
            await self._clock.sleep(said.delay_s)
        spoken = _bent(speak(_bent_answer(said, fault), asked), fault)
        if asked.stream:
            await self._stream(wire, wire.events(spoken), fault, reply, said.pace_s)
        else:
            await self._whole(wire, wire.body(spoken), fault, reply)

    def _wire(self, request: Recorded) -> Wire | None:
        if request.method != "POST" or (request.method, request.path) in self.routes:
            return None
        if request.path.endswith((":generateContent", ":streamGenerateContent")):
            return self._gemini
        return self._wires.get(request.path)

    async def _fails_at_once(self, fault: Fault | None, wire: Wire, reply: Reply) -> bool:
        """Perform the faults that leave nothing of the answer; return whether one was."""
        if fault is None:
            return False
        if fault.kind == "loading":
            reply.whole(503, {**_JSON, **fault.headers}, LOADING_BODY)
        elif fault.kind == "status":
            body = wire.error(fault.status, fault.message) if fault.body is None else fault.body
            reply.whole(fault.status, {**_JSON, **fault.headers}, body)
        elif fault.kind == "drop":
            reply.cut(reset=fault.reset)
        elif fault.kind == "empty":
            reply.whole(200, {**_JSON, **fault.headers}, b"")
        else:
            if fault.kind == "slow_headers":
                await self._clock.sleep(fault.delay_s)
            return False
        return True

    async def _whole(self, wire: Wire, body: bytes, fault: Fault | None, reply: Reply) -> None:
        kind = fault.kind if fault is not None else None
        headers = {**_JSON, "x-request-id": "mock-request"}
        if fault is None or kind not in ("cut_after", "slow_first_token", "slow_between"):
            if fault is not None and kind in ("error_after_200", "error_midstream"):
                body = wire.error(500, fault.message)
            elif kind == "garbage":
                body = _GARBAGE
            elif kind == "wrong_json":
                body = b'{"unexpected": true}'
            elif kind == "keepalive_comments":
                body = b"\n\n\n" + body
            reply.whole(200, headers, body)
            return
        reply.start(200, headers, len(body))
        half = len(body) // 2
        if kind != "slow_first_token":
            reply.write(body[:half])
        if kind == "cut_after":
            reply.cut(reset=fault.reset)
            return
        await self._clock.sleep(fault.delay_s)
        reply.write(body if kind == "slow_first_token" else body[half:])

    async def _stream(self, wire: Wire, events: list[Event], fault: Fault | None, reply: Reply, pace_s: float) -> None:
        reply.start(200, {"content-type": wire.content_type, "x-request-id": "mock-request"})
        tokens, total = 0, sum(event.token for event in events)
        for event in events:
            if fault is not None:
                said_all = tokens == total and (event is not events[0] or len(events) == 1)
                if (event.token or said_all) and await self._breaks(wire, fault, reply, tokens, total):
                    return
                if fault.kind == "keepalive_comments":
                    reply.write(b"\n" if isinstance(wire, OllamaWire) else b": keep-alive\n\n")
                await self._slows(fault, event, tokens)
            if pace_s and event.token and tokens:
                await self._clock.sleep(pace_s)
            reply.write(event.data)
            tokens += event.token
            await self._clock.sleep(0)  # one write, one segment: pieces are not merged while nobody reads
        reply.end()

    async def _slows(self, fault: Fault, event: Event, tokens: int) -> None:
        if not event.token:
            return
        if (fault.kind == "slow_first_token" and tokens == 0) or (
            fault.kind == "slow_between" and tokens >= max(1, fault.after_chunks)
        ):
            await self._clock.sleep(fault.delay_s)

    async def _breaks(self, wire: Wire, fault: Fault, reply: Reply, tokens: int, total: int) -> bool:
        """Before a token or the finish: perform the faults that end a stream; return whether one did."""
        due = 0 if fault.kind in ("error_after_200", "wrong_json") else fault.after_chunks
        if tokens < min(due, total) or fault.kind not in (
            "cut_after",
            "garbage",
            "wrong_json",
            "error_after_200",
            "error_midstream",
        ):
            return False
        if fault.kind == "cut_after":
            await self._clock.sleep(0.01)  # what was written must arrive before a reset discards it
            reply.cut(reset=fault.reset)
            return True
        pieces = {"garbage": _GARBAGE, "wrong_json": wire.wrong_event()}
        reply.write(pieces.get(fault.kind) or wire.error_event(fault.message))
        reply.end()
        return True

    def _plain(self, request: Recorded) -> tuple[int, Any]:
        """Answer everything that is not a chat."""
        found = self.routes.get((request.method, request.path))
        if found is not None:
            return found
        body = request.json if isinstance(request.json, dict) else {}
        counted = str(body.get("content") or body.get("prompt") or text_of([*_texts(body.get("messages"))]))
        listed = [{"id": m, "object": "model", "created": 1_700_000_000, "owned_by": "mock"} for m in self.models]
        tagged = [{"name": m, "model": m, "size": 1, "details": {"family": "mock"}} for m in self.models]
        shown = {"capabilities": ["completion"], "details": {"family": "mock"}, "model_info": {"mock.context_length": 8192}}
        answers: dict[tuple[str, str], Any] = {
            ("GET", "/health"): {"status": "ok"},
            ("GET", "/v1/models"): {"object": "list", "data": listed},
            ("GET", "/api/tags"): {"models": tagged},
            ("POST", "/api/show"): shown,
            ("POST", "/tokenize"): {"tokens": [*range(len(counted.split()))], "count": len(counted.split())},
            ("POST", "/v1/messages/count_tokens"): {"input_tokens": len(counted.split())},
        }
        if (request.method, request.path) == ("POST", "/v1/embeddings"):
            return 200, self._embeddings(body)
        if (request.method, request.path) in answers:
            return 200, answers[request.method, request.path]
        return 404, {"error": {"message": f"No route {request.method} {request.path}", "type": "not_found_error"}}

    def _embeddings(self, body: dict[str, Any]) -> dict[str, Any]:
        given = body.get("input", "")
        texts = given if isinstance(given, list) else [given]
        data = [
            {"object": "embedding", "index": i, "embedding": _vector(str(text), self._embedding_size)}
            for i, text in enumerate(texts)
        ]
        count = sum(len(str(text).split()) for text in texts)
        usage = {"prompt_tokens": count, "total_tokens": count}
        return {"object": "list", "model": body.get("model"), "data": data, "usage": usage}


def _bent_answer(answer: Answer, fault: Fault | None) -> Answer:
    """Return the answer as the faults of content change it."""
    if fault is None:
        return answer
    if fault.kind == "length_empty":
        thoughts = answer.reasoning or "so many thoughts and no end"
        return msgspec.structs.replace(answer, text="", tool_calls=(), reasoning=thoughts, finish="length")
    if fault.kind == "huge_line":
        return msgspec.structs.replace(answer, text="x" * fault.size)
    return answer


def _bent(spoken: Spoken, fault: Fault | None) -> Spoken:
    """Return the settled answer as the faults of usage change it."""
    if fault is not None and fault.kind == "usage_missing":
        return msgspec.structs.replace(spoken, usage=False)
    if fault is not None and fault.kind == "usage_with_choices":
        return msgspec.structs.replace(spoken, usage_with_choices=True, include_usage=True)
    return spoken


def _texts(messages: Any) -> list[dict[str, str]]:
    rows = messages if isinstance(messages, list) else []
    return [{"text": text_of(m.get("content"))} for m in rows if isinstance(m, dict)]


def _vector(text: str, size: int) -> list[float]:
    """Return `size` numbers in [-1, 1] that depend on the text alone."""
    numbers: list[float] = []
    block = 0
    while len(numbers) < size:
        digest = hashlib.sha256(f"{block}:{text}".encode()).digest()
        numbers += [byte / 127.5 - 1.0 for byte in digest]
        block += 1
    return numbers[:size]
