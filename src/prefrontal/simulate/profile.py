"""Models that exist only as a profile: how long they take, what they charge, how often they are right. A `Transport`.

Answers come by the wire of a decision route, so everything between the question and the answer is the code that serves. What a
profile answers follows from the seed, the model and the state alone; how long it takes, also from how many it is working on.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import struct
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import msgspec

from prefrontal.contracts.decision import NO_CONTEXT, Question
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.decisions.distribution import mode
from prefrontal.decisions.types import DecisionType, Types
from prefrontal.errors import ProviderUnreachable
from prefrontal.execute.transport.base import SYSTEM_TRUST, Timeouts, TlsOptions, WireStream
from prefrontal.execute.transport.faults import timed_out
from prefrontal.simulate.desk import checksum
from prefrontal.simulate.schema import EngineEntry, Scenario, ScriptEntry
from prefrontal.simulate.virtual import VirtualClock

VOLATILE = ("time", "agent")
"""Fields of a state that no model's answer hangs on."""

_NORMAL = NormalDist()
_UNITS = struct.Struct("<4I")
_HEADERS = {"content-type": "application/json"}


class ProfileTransport:
    """Answers for every model of a scenario. `scripted`: answers come from the scenario's script, at once.

    `calls` counts the calls by model, `busy_s` the time its slots worked; `answered_s` is when the last answer about a state
    came, by its checksum, on the clock, until somebody clears it.
    """

    def __init__(self, scenario: Scenario, types: Types, clock: VirtualClock, *, seed: int, scripted: bool = False) -> None:
        self._engines = scenario.engines
        self._script = scenario.script if scripted else None
        self._clock = clock
        self._seed = seed
        self._types = {_asked(one.question): (name, one) for name, one in types.registered.items()}
        self._free: dict[str, list[float]] = {}
        self.calls: dict[str, int] = {}
        self.answered_s: dict[int, float] = {}
        self.busy_s: dict[str, float] = {}

    async def send(self, request: WireRequest, timeouts: Timeouts, *, tls: TlsOptions = SYSTEM_TRUST) -> WireResponse:
        """Answer one request in virtual time; see `Transport.send`."""
        if request.method != "POST":
            return _failure(404, "a profile has nothing to tell of itself")
        body = msgspec.json.decode(request.body)
        model: str = body.get("model", "")
        engine = self._engines.get(model)
        if engine is None or "questions" not in body:
            return _failure(404, f"there is no profile of the model '{model}'")
        count = self.calls[model] = self.calls.get(model, 0) + 1
        luck, wait = _units(f"{self._seed}/{model}/{count}".encode())[:2]
        if self._script is None:
            await self._work(model, engine, wait, timeouts, request.url)
            if luck < engine.failures:
                return _failure(503, "profiled failure")
        known = body["state"] if isinstance(body["state"], dict) else {}
        self.answered_s[checksum(body["state"])] = self._clock.monotonic()
        state = {key: value for key, value in known.items() if key not in VOLATILE}
        answers = {id_: self._answer(model, engine, question, state) for id_, question in body["questions"].items()}
        usage = {"input_tokens": engine.input_tokens, "output_tokens": engine.output_tokens}
        return WireResponse(
            status=200, headers=_HEADERS, body=msgspec.json.encode({"model": model, "answers": answers, "usage": usage})
        )

    async def open(self, request: WireRequest, timeouts: Timeouts, *, tls: TlsOptions = SYSTEM_TRUST) -> WireStream:
        """Refuse: decisions are not streamed."""
        raise ProviderUnreachable("A profile does not stream.")

    async def aclose(self) -> None:
        """Do nothing."""

    async def _work(self, model: str, engine: EngineEntry, luck: float, timeouts: Timeouts, url: str) -> None:
        """Let the time pass that one answer takes: until a slot is free, and then that of the answer."""
        free = self._free.get(model)
        if free is None:
            free = self._free[model] = [0.0] * engine.slots
        spread = math.log1p(engine.cv * engine.cv)
        scatter = math.exp(_NORMAL.inv_cdf(min(max(luck, 1e-9), 1 - 1e-9)) * math.sqrt(spread) - spread / 2)
        service_s = engine.latency_ms / 1000 * scatter
        now = self._clock.monotonic()
        done = max(now, heapq.heappop(free)) + service_s
        heapq.heappush(free, done)
        self.busy_s[model] = self.busy_s.get(model, 0.0) + service_s
        limit_s = timeouts.total_s
        if limit_s is not None and done - now > limit_s:
            await self._clock.sleep(limit_s)
            raise timed_out(url, "total", limit_s)
        await self._clock.sleep(done - now)

    def _answer(self, model: str, engine: EngineEntry, asked: Mapping[str, Any], state: dict[str, Any]) -> dict[str, Any]:
        labels, kind = _labels(asked), asked["type"]
        found = self._types.get((asked.get("instructions", ""), kind, labels))
        shares = self._shares(model, engine, found, labels, state)
        if kind == "noul":
            return {"type": "noul", "noul": shares[0]}
        if kind == "score":
            level = sum([n * share for n, share in enumerate(shares)])
            return {"type": "score", "score": level, "probabilities": {str(n): share for n, share in enumerate(shares)}}
        return {"type": "choice", "choice": labels[mode(shares)], "probabilities": dict(zip(labels, shares, strict=True))}

    def _shares(
        self,
        model: str,
        engine: EngineEntry,
        found: tuple[str, DecisionType] | None,
        labels: tuple[str, ...],
        state: dict[str, Any],
    ) -> tuple[float, ...]:
        """Return the distribution: the rule's answer as often as the profile is right, else another one, less surely."""
        size = len(labels)
        right, name = 0, ""
        if found is not None:
            name = found[0]
            right = mode(found[1].fallback.answer(state, NO_CONTEXT)[0])
        if self._script is not None:
            line = _line(self._script, name, state)
            if line is not None:
                right = _place(line.answer, labels)
            return _peaked(size, right, 1.0 if size == 1 else 0.9 if line is None else line.sure)
        hit, other, sure, _ = _units(f"{self._seed}/{model}/{name}/".encode() + msgspec.json.encode(_lasting(state)))
        if hit < engine.accuracy or size == 1:
            return _peaked(size, right, max(1 / size, 1 - (1 - engine.sure) * 2 * sure))
        wrong = (right + 1 + int(other * (size - 1))) % size
        return _peaked(size, wrong, 1 / size + (engine.sure - 1 / size) * max(sure, 1e-6))


def _asked(question: Question) -> tuple[str, str, tuple[str, ...]]:
    kind = {"yes_no": "noul"}.get(question.kind, question.kind)
    labels = ("true", "false") if kind == "noul" else tuple([str(option.value) for option in question.options])
    return question.instructions, kind, labels


def _labels(asked: Mapping[str, Any]) -> tuple[str, ...]:
    return ("true", "false") if asked["type"] == "noul" else tuple([str(label) for label in asked["criteria"]])


def _lasting(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state without the number of its task."""
    task = state.get("task")
    return {**state, "task": task.get("kind")} if isinstance(task, dict) else state


def _line(script: tuple[ScriptEntry, ...], name: str, state: Mapping[str, Any]) -> ScriptEntry | None:
    for line in script:
        if line.type in (None, name) and all(state.get(key) == value for key, value in line.where.items()):
            return line
    return None


def _place(answer: str | bool, labels: tuple[str, ...]) -> int:
    text = answer if isinstance(answer, str) else "true" if answer else "false"
    text = {"yes": "true", "no": "false"}.get(text, text) if labels == ("true", "false") else text
    return labels.index(text) if text in labels else 0


def _peaked(size: int, at: int, share: float) -> tuple[float, ...]:
    rest = (1 - share) / (size - 1) if size > 1 else 0.0
    return tuple([share if n == at else rest for n in range(size)])


def _units(data: bytes) -> tuple[float, float, float, float]:
    """Return four numbers in [0, 1) that follow from `data`."""
    a, b, c, d = _UNITS.unpack(hashlib.blake2b(data, digest_size=16).digest())
    return a / 4294967296, b / 4294967296, c / 4294967296, d / 4294967296


def _failure(status: int, message: str) -> WireResponse:
    body = msgspec.json.encode({"error": {"message": message, "type": "server_error", "code": status}})
    return WireResponse(status=status, headers=_HEADERS, body=body)
