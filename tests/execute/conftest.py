"""A bench for the executor: scripted models behind a transport in memory, and a clock that tests move."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from prefrontal.chat.blocks import Text
from prefrontal.chat.request import ChatRequest, Message
from prefrontal.clock import Chance, Clock
from prefrontal.config.schema_service import Limits
from prefrontal.contracts.effort import Effort
from prefrontal.contracts.model import Capability, ModelCard
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import ProviderTimeout
from prefrontal.execute.attempt import Attempter
from prefrontal.execute.call import Call
from prefrontal.execute.executor import Executor
from prefrontal.execute.journal import Journal
from prefrontal.execute.runtime import Runtime
from prefrontal.execute.transport.base import SYSTEM_TRUST, Timeouts, TlsOptions
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.effort import load_dialects
from prefrontal.providers.registry import builtin_providers
from prefrontal.testing.clock import FakeClock

HANG = "hang"
DIALECTS, PROFILES, PROVIDERS = load_dialects(), load_profiles(), builtin_providers()


@dataclass
class Step:
    """One answer of a model: seconds to wait, bytes, an exception to raise, or HANG, in order; `head` comes before the status."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    head: list[Any] = field(default_factory=list)
    parts: list[Any] = field(default_factory=list)


def event(delta: dict[str, Any] | None = None, finish: str | None = None, usage: tuple[int, int] | None = None) -> bytes:
    """Return one event of OpenAI's stream."""
    chunk: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    if usage is None:
        chunk["choices"] = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    else:
        chunk["choices"] = []
        chunk["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def streamed(*words: str, finish: str = "stop", usage: tuple[int, int] | None = (7, 3), thinking: str = "") -> list[bytes]:
    """Return a whole stream, one event a part."""
    parts = [event({"role": "assistant", "content": ""})]
    parts += [event({"reasoning_content": thinking})] if thinking else []
    parts += [event({"content": word}) for word in words]
    parts.append(event(finish=finish))
    return [*parts, *([event(usage=usage)] if usage else []), DONE]


def whole(text: str | None, *, finish: str = "stop", usage: tuple[int, int] | None = (7, 3), thinking: str = "") -> Step:
    """Return a whole answer."""
    message = {"role": "assistant", "content": text} | ({"reasoning_content": thinking} if thinking else {})
    body: dict[str, Any] = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    body["choices"] = [{"index": 0, "message": message, "finish_reason": finish}]
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return Step(parts=[json.dumps(body).encode()])


def refusal(status: int, message: str = "no", *, param: str | None = None, code: str | None = None, **headers: str) -> Step:
    """Return an error answer; underscores in header names become dashes."""
    body = {"error": {"message": message, "type": "server_error", "param": param, "code": code}}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Step(status=status, headers=names, parts=[json.dumps(body).encode()])


class ScriptedStream:
    """A `WireStream` that reads a step's parts."""

    def __init__(self, transport: ScriptedTransport, step: Step, timeouts: Timeouts) -> None:
        self.status, self.headers = step.status, step.headers
        self._transport, self._parts, self._timeouts = transport, list(step.parts), timeouts
        self.begun = transport.clock.monotonic()
        transport.open_streams.add(self)

    async def read(self) -> bytes:
        limits = [limit for limit in (self._timeouts.between_s, self._left()) if limit is not None]
        try:
            async with self._transport.clock.timeout(min(limits) if limits else None):
                return await self._next()
        except TimeoutError as error:
            raise ProviderTimeout("too slow", details={"stage": "between"}) from error

    def _left(self) -> float | None:
        total = self._timeouts.total_s
        return None if total is None else max(0.001, self.begun + total - self._transport.clock.monotonic())

    async def _next(self) -> bytes:
        while self._parts:
            part = self._parts.pop(0)
            if isinstance(part, bytes):
                return part
            await self._transport.perform(part)
        return b""

    async def aclose(self) -> None:
        self._transport.open_streams.discard(self)
        if self._transport.slow_close:
            await asyncio.get_running_loop().create_future()


class ScriptedTransport:
    """A `Transport` whose upstreams say what the test wrote down, one step a call, the last one for ever."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.steps: dict[str, list[Step]] = defaultdict(list)
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.at: list[float] = []
        self.timeouts: list[Timeouts] = []
        self.open_streams: set[ScriptedStream] = set()
        self.sending = 0
        self.slow_close = False

    async def perform(self, part: Any) -> None:
        if isinstance(part, BaseException):
            raise part
        if part == HANG:
            await asyncio.get_running_loop().create_future()
        elif isinstance(part, int | float):
            await self.clock.sleep(part)

    async def _begin(self, request: WireRequest, timeouts: Timeouts) -> Step:
        model = (urlsplit(request.url).hostname or "").removesuffix(".test")
        self.sent.append((model, json.loads(request.body)))
        self.at.append(self.clock.monotonic())
        self.timeouts.append(timeouts)
        steps = self.steps[model]
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        for part in step.head:
            await self.perform(part)
        return step

    async def send(self, request: WireRequest, timeouts: Timeouts, *, tls: TlsOptions = SYSTEM_TRUST) -> WireResponse:
        self.sending += 1
        try:
            async with self.clock.timeout(timeouts.total_s):
                step = await self._begin(request, timeouts)
                stream, body = ScriptedStream(self, step, Timeouts(between_s=None, total_s=None)), b""
                try:
                    while data := await stream.read():
                        body += data
                finally:
                    self.open_streams.discard(stream)
        except TimeoutError as error:
            raise ProviderTimeout("too slow", details={"stage": "total"}) from error
        finally:
            self.sending -= 1
        return WireResponse(status=step.status, headers=step.headers, body=body)

    async def open(self, request: WireRequest, timeouts: Timeouts, *, tls: TlsOptions = SYSTEM_TRUST) -> ScriptedStream:
        self.sending += 1
        try:
            return ScriptedStream(self, await self._begin(request, timeouts), timeouts)
        finally:
            self.sending -= 1

    async def aclose(self) -> None:
        return None


class ScriptedEngines:
    """Local engines: `starting` is performed before one is ready; `leased` counts those in use."""

    def __init__(self, transport: ScriptedTransport) -> None:
        self._transport = transport
        self.starting: list[Any] = []
        self.leased = 0

    @asynccontextmanager
    async def lease(self, model_id: str) -> AsyncIterator[str]:
        for part in self.starting:
            await self._transport.perform(part)
        self.leased += 1
        try:
            yield f"http://{model_id}.test"
        finally:
            self.leased -= 1


class Bench:
    """Everything an executor needs, and what it did."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.transport = ScriptedTransport(clock)
        self.engines = ScriptedEngines(self.transport)
        self.runtime = Runtime(default_limit=4, default_queue=2)
        self.attempter = Attempter(
            transport=self.transport,
            providers=PROVIDERS,
            profiles=PROFILES,
            dialects=DIALECTS,
            runtime=self.runtime,
            clock=clock,
            engines=self.engines,
        )
        self.executor = Executor(attempter=self.attempter, clock=clock, chance=Chance(7))
        self.journals: list[Journal] = []

    def model(self, name: str, *steps: Step, **fields: Any) -> ModelCard:
        """Return the card of a model that answers with `steps`, the last one for ever."""
        card = ModelCard(id=name, wire_name=name, profile="openai-compatible", base_url=f"http://{name}.test/v1")
        self.transport.steps[name] = list(steps)
        return msgspec.structs.replace(card, **fields)

    def thinker(self, name: str, *steps: Step, dialect: str, **fields: Any) -> ModelCard:
        """Return the card of a model that thinks, steered by `dialect`."""
        can = {"thinking": Capability(value=True, origin="config")}
        return self.model(name, *steps, effort_dialect=dialect, capabilities=can, **fields)

    def call(self, *cards: ModelCard, limits: dict[str, Any] | None = None, effort: float | None = None, **fields: Any) -> Call:
        """Return a call of `cards`. `limits` are settings as in the file; other fields are the request's or the call's."""
        own = {name: fields.pop(name) for name in ("deadline", "default_cap") if name in fields}
        message = Message(role="user", blocks=(Text(text="Why is the sky blue?"),))
        asked = Effort(score=effort, origin="caller") if effort is not None else Effort()
        request = ChatRequest(model="auto", messages=(message,), **fields)
        return Call(request=request, cards=cards, effort=asked, limits=msgspec.convert(limits or {}, Limits), **own)

    def journal(self) -> Journal:
        """Return a new journal that is checked at the end."""
        self.journals.append(Journal(self.clock))
        return self.journals[-1]

    async def complete(self, call: Call) -> Any:
        """Return the executor's whole answer."""
        return (await self.executor.complete(call, self.journal()))[0]

    async def open(self, call: Call) -> Any:
        """Return the executor's open stream."""
        return (await self.executor.open(call, self.journal()))[0]

    async def text(self, call: Call) -> str:
        """Return the text of a stream read to its end."""
        live = await self.open(call)
        pieces = []
        try:
            while chunks := await live.read():
                pieces += [chunk.text for chunk in chunks]
        finally:
            await live.aclose()
        return "".join(pieces)

    async def ask(self, call: Call, mode: str) -> str:
        """Return the text of the answer, ``whole`` or as a ``stream``."""
        return await self.text(call) if mode == "stream" else (await self.complete(call)).text

    @property
    def asked(self) -> list[str]:
        """The models that were sent a request, in order."""
        return [model for model, _ in self.transport.sent]

    def outcomes(self) -> list[tuple[str, str, str | None]]:
        """Return model, outcome and error code of each attempt of the last journal."""
        return [(a.model, a.outcome, a.error_code) for a in self.journals[-1].attempts()]

    def assert_idle(self) -> None:
        """Fail unless every slot is free, nobody waits, no upstream is open, no engine leased, every attempt settled once."""
        for state in self.runtime.all():
            assert (state.slots.held, state.slots.waiting) == (0, 0), state.name
        assert not self.transport.open_streams
        assert self.transport.sending == 0
        assert self.engines.leased == 0
        for journal in self.journals:
            assert all(entry.outcome != "open" for entry in journal.entries)


class Wire:
    """The words tests write answers in."""

    hang = HANG
    done = DONE
    event = staticmethod(event)
    streamed = staticmethod(streamed)
    whole = staticmethod(whole)
    refusal = staticmethod(refusal)
    step = Step

    @staticmethod
    def answer(text: str, mode: str, **fields: Any) -> Step:
        """Return an answer, ``whole`` or as a ``stream``."""
        return Step(parts=streamed(text, **fields)) if mode == "stream" else whole(text, **fields)


@pytest.fixture
def wire() -> type[Wire]:
    """What scripted models answer."""
    return Wire


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A bench whose time jumps by itself; at the end nothing may be left held, open or unsettled."""
    made = Bench(FakeClock(auto=True))
    yield made
    made.assert_idle()


@pytest.fixture
async def slow_bench() -> AsyncIterator[Bench]:
    """A bench whose time stands still until the test moves it; at the end nothing may be left held, open or unsettled."""
    made = Bench(FakeClock())
    yield made
    made.assert_idle()
