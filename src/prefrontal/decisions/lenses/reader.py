"""Has a lens read a request: memory, then models one after another, each told what was wrong, and at the end the formula.

A reading never fails. Timeouts, outages, budgets, refusals and nonsense end at the formula, and the reading says why.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from prefrontal.chat.blocks import Text
from prefrontal.chat.request import ChatRequest, Message, ResponseFormat, Sampling
from prefrontal.clock import Clock
from prefrontal.config.schema_lenses import PRESETS, LensEntry
from prefrontal.config.schema_service import Limits
from prefrontal.contracts.decision import DecisionRequest
from prefrontal.contracts.lens import LENS_CALL, LensReading, LensSource
from prefrontal.contracts.model import ModelCard
from prefrontal.decisions.asks import declined
from prefrontal.decisions.lenses.form import Invalid, misbehaved
from prefrontal.decisions.lenses.lens import Lens, Seen, State, retry_words
from prefrontal.decisions.lenses.memory import Memory
from prefrontal.decisions.native import NativeExchange
from prefrontal.decisions.rung import NO_THINKING
from prefrontal.errors import CapabilityMissing, LimitExceeded, PrefrontalError, ProviderTimeout, QuotaExceeded
from prefrontal.execute.call import Call
from prefrontal.execute.executor import Executor
from prefrontal.execute.journal import Branch

BUDGET, NO_MODEL, RESTING, TIMEOUT, INVALID = "budget", "no_model", "breaker_open", "timeout", "invalid"
NOT_ASKED, NO_TEXT = "not_asked", "no_text"
"""Findings of this room; others are the codes of errors."""

MAX_DETAIL = 300
"""Characters of a finding's words (assumed)."""

CacheUse = tuple[bool, bool]
"""Whether to look into the memory, and whether to keep."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one reading: seconds of one call with what is repeated of it, calls to one model, and seconds in all."""

    timeout_s: float
    tries: int
    deadline_s: float


def bounds_of(entry: LensEntry) -> Bounds:
    """Return the bounds of an entry: its own, where it names any, else its preset's."""
    preset = PRESETS[entry.preset]
    return Bounds(
        timeout_s=preset.timeout_s if entry.timeout_s is None else entry.timeout_s,
        tries=1 + (preset.retries if entry.retries is None else entry.retries),
        deadline_s=preset.deadline_s if entry.deadline_s is None else entry.deadline_s,
    )


class Reading(msgspec.Struct, kw_only=True):
    """One reading under way. call: what its calls have in common. cards: whom to ask, best first. who: whose reading it is."""

    lens: Lens[Any]
    entry: LensEntry
    seen: Seen
    cards: tuple[ModelCard, ...]
    call: Call
    journal: Branch
    who: str
    use: CacheUse
    asked: bool = False
    finding: str = NO_MODEL
    detail: str | None = None


class Reader:
    """Reads requests through lenses. Holds what `Memory` holds, and no request's state."""

    def __init__(self, executor: Callable[[], Executor], clock: Clock) -> None:
        self._executor = executor
        self._clock = clock
        self.memory = Memory(clock)

    async def read(self, reading: Reading) -> LensReading:
        """Return what the lens sees, whatever happens; only a cancellation passes through."""
        begun = self._clock.monotonic()
        key = self._key(reading)
        if reading.use[0] and (kept := self.memory.find(key)) is not None:
            return self._made(reading, kept.state, "cache", kept.model, begun)
        bounds = bounds_of(reading.entry)
        deadline = begun + bounds.deadline_s
        if reading.call.deadline is not None:
            deadline = min(deadline, begun + (reading.call.deadline - begun) / 2)  # the large model needs the rest (assumed)
        left_s = deadline - self._clock.monotonic()
        try:
            if left_s <= 0:
                raise TimeoutError
            async with self._clock.timeout(left_s):
                found = await self._ask_all(reading, bounds, deadline)
        except TimeoutError:
            found, reading.finding, reading.detail = None, TIMEOUT, f"no reading within {max(0.0, left_s):.3g} s"
        except PrefrontalError as error:
            found, reading.finding, reading.detail = None, error.code, error.message
        if found is None:
            return self._made(reading, reading.lens.fallback(reading.seen), "fallback", None, begun)
        state, model = found
        if reading.use[1]:
            self.memory.keep(key, state, model, reading.entry.cache_ttl_s)
        return self._made(reading, state, "model", model, begun)

    def unread(self, lens: Lens[Any], seen: Seen, finding: str, *, asked: bool) -> LensReading:
        """Return what the formula says, without asking anybody."""
        state = lens.fallback(seen)
        return LensReading(
            name=lens.name,
            version=lens.version,
            state=state.data,
            summary=state.summary,
            effects=state.effects,
            source="fallback",
            finding=finding,
            asked=asked,
        )

    # -- asking ------------------------------------------------------------------------------------------------------------

    async def _ask_all(self, reading: Reading, bounds: Bounds, deadline: float) -> tuple[State, str] | None:
        """Ask one model after another; None: none gave a reading, and `reading` says why."""
        for card in reading.cards:
            if not self.memory.begins(reading.lens.name, card.id):
                reading.finding, reading.detail = RESTING, f"'{card.id}' gave no reading several times and rests"
                continue
            well: bool | None = False
            try:
                found = await self._ask_model(reading, card, bounds, deadline)
                well = True
                return found, card.id
            except Invalid as error:
                reading.finding, reading.detail = INVALID, misbehaved(card.id, error).message
            except PrefrontalError as error:
                if isinstance(error, LimitExceeded):
                    well = None  # our own limits say nothing of the model
                reading.finding, reading.detail = _code(error), error.message
            except asyncio.CancelledError:
                if self._clock.monotonic() < deadline:
                    well = None  # the client left
                raise
            finally:
                self.memory.ended(reading.lens.name, card.id, well=well)
        return None

    async def _ask_model(self, reading: Reading, card: ModelCard, bounds: Bounds, deadline: float) -> State:
        """Return the state one model sees. Raises Invalid, PrefrontalError."""
        lens = reading.lens
        if lens.questions and card.decisions is not None and card.decisions.dialect is not None:
            try:
                return lens.finish(await self._by_decisions(reading, card, bounds, deadline), reading.seen)
            except CapabilityMissing:
                pass  # it has no such route after all: it is asked by chat
        wrong: list[Message] = []
        for number in range(bounds.tries):
            request = _request(lens, reading.seen, card.id, reading.entry.max_tokens, wrong)
            answer, _ = await self._executor().complete(self._call(reading, card, bounds, deadline, request), reading.journal)
            if declined(answer):
                raise Invalid("the model declined")
            try:
                return lens.finish(lens.form.read(answer.text), reading.seen)
            except Invalid as error:
                if number + 1 == bounds.tries:
                    raise
                wrong = [_said("assistant", answer.text or "(nothing)"), _said("user", retry_words(str(error)))]
        raise Invalid("it was not asked")

    async def _by_decisions(self, reading: Reading, card: ModelCard, bounds: Bounds, deadline: float) -> Any:
        """Return the reply that an engine gives on its own route for decisions, all questions in one request."""
        assert card.decisions is not None
        lens = reading.lens
        wanted = DecisionRequest(model=card.id, state=reading.seen.shown, questions=lens.questions)
        exchange = NativeExchange(wanted, lens.questions, card.decisions)
        call = self._call(reading, card, bounds, deadline, _request(lens, reading.seen, card.id, 1, ()))
        done, _ = await self._executor().exchange(msgspec.structs.replace(call, exchange=exchange), reading.journal)
        return lens.form.assemble(lens.questions, done.answer)

    def _call(self, reading: Reading, card: ModelCard, bounds: Bounds, deadline: float, request: ChatRequest) -> Call:
        call = reading.call
        return msgspec.structs.replace(
            call,
            request=request,
            cards=(card,),
            effort=NO_THINKING if card.can("thinking") else call.effort,
            limits=_limits(call.limits, bounds),
            deadline=min(deadline, self._clock.monotonic() + bounds.timeout_s),
            reason=LENS_CALL,
        )

    # -- the end -----------------------------------------------------------------------------------------------------------

    def _key(self, reading: Reading) -> tuple[str, ...]:
        """Return what makes two readings the same: lens and wording, models, whose request, and its words."""
        words = hashlib.sha256(reading.seen.shown.encode("utf-8", "surrogatepass")).hexdigest()
        models = "\n".join([f"{card.id} {card.wire_name}" for card in reading.cards])
        return reading.lens.name, reading.lens.digest, models, reading.who, words

    def _made(self, reading: Reading, state: State, source: LensSource, model: str | None, begun: float) -> LensReading:
        failed = source == "fallback"
        return LensReading(
            name=reading.lens.name,
            version=reading.lens.version,
            state=state.data,
            summary=state.summary,
            effects=state.effects,
            source=source,
            model=model,
            latency_ms=round((self._clock.monotonic() - begun) * 1000.0, 3),
            attempts=len(reading.journal.own),
            finding=reading.finding if failed else None,
            detail=reading.detail[:MAX_DETAIL] if failed and reading.detail else None,
            asked=reading.asked,
        )


def _request(lens: Lens[Any], seen: Seen, model: str, cap: int, wrong: Any) -> ChatRequest:
    shown = _said("user", f"<request>{seen.shown}</request>")
    return ChatRequest(
        model=model,
        messages=(_said("system", lens.system), shown, *wrong),
        max_output_tokens=cap,
        cap_field="max_tokens",
        sampling=Sampling(temperature=0.0),
        response_format=ResponseFormat(kind="json_schema", name=f"lens_{lens.name}", schema=lens.form.schema, strict=True),
    )


def _said(role: Any, text: str) -> Message:
    return Message(role=role, blocks=(Text(text=text),))


def _limits(limits: Limits, bounds: Bounds) -> Limits:
    """Return the limits with the bounds of one reading in them: one call's time, and calls to one model."""
    bound = bounds.timeout_s
    timeouts = msgspec.structs.replace(
        limits.timeouts,
        connect_s=min(limits.timeouts.connect_s, bound),
        first_token_s=min(limits.timeouts.first_token_s, bound),
        total_s=min(limits.timeouts.total_s, bound),
    )
    retries = msgspec.structs.replace(limits.retries, attempts=min(10, bounds.tries))
    return msgspec.structs.replace(limits, timeouts=timeouts, retries=retries)


def _code(error: PrefrontalError) -> str:
    if isinstance(error, QuotaExceeded):
        return BUDGET
    return TIMEOUT if isinstance(error, ProviderTimeout) else error.code
