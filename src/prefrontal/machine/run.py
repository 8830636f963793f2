"""One request on its way: the mutable context that the steps share, and how it ends as a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import ChatResponse
from prefrontal.chat.usage import UNKNOWN_USAGE, Usage
from prefrontal.contracts.assessment import Assessment
from prefrontal.contracts.cache import CacheNote
from prefrontal.contracts.decision import DecisionAnswer, DecisionRequest
from prefrontal.contracts.effort import Effort
from prefrontal.contracts.knowledge import KnowledgeNote, Words
from prefrontal.contracts.lens import LENS_CALL, LensName, LensReading
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.money import NOBODY, Degraded, Payer
from prefrontal.contracts.plan import Plan
from prefrontal.contracts.reach import Reach
from prefrontal.contracts.record import AnsweredBy, RequestRecord, Status
from prefrontal.contracts.resilience import Priority
from prefrontal.contracts.trace import Propagation, trace_id_of
from prefrontal.contracts.wire import Dropped
from prefrontal.errors import PrefrontalError
from prefrontal.execute.cache.flight import Flight
from prefrontal.execute.door import Door
from prefrontal.execute.journal import Journal
from prefrontal.execute.live import LiveStream
from prefrontal.ledger.purse import Purse
from prefrontal.ledger.standing import RateStanding
from prefrontal.machine.checking import Check
from prefrontal.machine.context import CallContext, World
from prefrontal.machine.names import Asked
from prefrontal.machine.people import without_people
from prefrontal.machine.reuse import Lookup, Reused, SharedReader
from prefrontal.machine.states import State, check
from prefrontal.plan.prefixes import Prefix
from prefrontal.reflex.proposal import Proposal, ReflexAnswer

OURS = "effort"
"""The field by which notes go that speak of an effort nobody asked for: it was computed."""

COST_DIGITS = 12
"""Decimal places of a cost in US dollars that are shown: a millionth of a microdollar; the rest is binary rounding."""


class Run:
    """The context of one request. Created at arrival, finished exactly once."""

    priority: Priority = "normal"
    deadline: float | None = None
    admission_ms: float = 0.0
    door: Door | None = None
    decisions: tuple[DecisionAnswer, ...] = ()
    decided: DecisionRequest | None = None
    plain: ChatRequest | None = None  # as it came, where passages were put into `request`
    knowledge: KnowledgeNote | None = None
    words: tuple[Words, ...] = ()
    lenses: tuple[LensName, ...] = ()

    def __init__(
        self,
        *,
        run_id: str,
        request: ChatRequest,
        context: CallContext,
        world: World,
        journal: Journal,
        now_s: float,
        streaming: bool,
    ) -> None:
        self.id = run_id
        self.request = request
        self.context = context
        self.world = world
        self.journal = journal
        self.started_s = now_s
        self.streaming = streaming
        self.state = State.INIT
        self.states: list[State] = [State.INIT]
        self.asked: Asked | None = None
        self.channel = "chat"
        self.session: str | None = None
        self.assessment: Assessment | None = None
        self.plan: Plan | None = None
        self.proposal: Proposal | None = None
        self.reflex: ReflexAnswer | None = None
        self.cards: tuple[ModelCard, ...] = ()
        self.effort = Effort()
        self.default_cap: int | None = None
        self.response: ChatResponse | None = None
        self.check: Check | None = None
        self.live: LiveStream | SharedReader | None = None
        self.prefixes: tuple[Prefix, ...] | None = None
        self.cache: CacheNote | None = None
        self.lookup: Lookup | None = None
        self.reused: Reused | None = None
        self.flight: Flight[Any] | None = None
        self.model: str | None = None
        self.answered_by: AnsweredBy = "none"
        self.lost: Callable[[], tuple[Dropped, ...]] | None = None
        self.purse: Purse | None = None
        self.degraded: Degraded | None = None
        self.reach: Reach | None = None
        self.data_classes: tuple[str, ...] = ()
        self.users: tuple[str, ...] = ()
        self.finished = False
        self.record: RequestRecord | None = None

    def to(self, state: State) -> None:
        """Go to `state`. Raises InvariantBroken when the table forbids it."""
        check(self.state, state)
        self.state = state
        self.states.append(state)

    def dropped(self) -> tuple[Dropped, ...]:
        """Return what the latest attempt did not send as given."""
        last = self.journal.last()
        if last is None and self.reused is not None:
            return self.reused.dropped
        return () if last is None else last.dropped

    def propagation(self, *, always: bool) -> Propagation | None:
        """Return what upstreams are told of this trace: of one that the caller began, and with `always` of any."""
        trace = self.context.trace
        return None if trace is None and not always else Propagation(record_id=self.id, context=trace)

    def standing(self) -> tuple[RateStanding, ...]:
        """Return what is left of the caller's rate limits; nothing where none holds."""
        return () if self.purse is None else self.purse.standing(self.model)

    @property
    def given(self) -> ChatRequest:
        """The request without the passages that were put into it: what its caller will send again in the next turn."""
        return self.request if self.plain is None else self.plain

    @property
    def payer(self) -> Payer:
        """Who a virtual key says pays."""
        return NOBODY if self.context.grant is None else self.context.grant.payer

    @property
    def keeps_content(self) -> bool:
        """Whether what was said goes into the record."""
        grant = self.context.grant
        return self.world.config.records.content and (grant is None or grant.store_content)

    def _lost(self) -> tuple[Dropped, ...]:
        """What of the answer the caller's dialect could not carry: a stream's renderer knows it, else the whole answer tells."""
        if self.lost is not None:
            return self.lost()
        count = self.context.lost
        return () if count is None or self.response is None or self.streaming else count(self.response)

    def _who(self) -> dict[str, Any]:
        """Return the fields of the record that say who asked."""
        context, payer = self.context, self.payer
        return {
            "session": self.request.hints.session or context.session,
            "request_id": context.request_id,
            "key_id": context.key_id,
            "team": payer.team,
            "tags": payer.tags,
            "users": self.users,
            "metadata": without_people(self.request.metadata),
        }

    def _used(self, duration_ms: float) -> tuple[Usage, float | None, float | None]:
        """Return what the request used and cost, and when its first token came, in ms from arrival."""
        journal = self.journal
        if self.answered_by == "tool" and self.response is not None:
            return self.response.usage, 0.0, duration_ms
        if self.answered_by == "cache":
            shared = self.live.first_ms if isinstance(self.live, SharedReader) else duration_ms
            return UNKNOWN_USAGE if self.reused is None else self.reused.usage, 0.0, shared
        first = next((e.first_token_ms for e in journal.entries if e.outcome == "ok" and e.reason != LENS_CALL), None)
        return journal.usage(), journal.cost_usd(), first

    def make_record(
        self, status: Status, *, error: PrefrontalError | None = None, content: dict[str, Any] | None = None
    ) -> RequestRecord:
        """Return the record of the request as it stands now."""
        journal = self.journal
        duration_ms = journal.elapsed_ms()
        usage, cost, first = self._used(duration_ms)
        trace = self.context.trace
        return RequestRecord(
            id=self.id,
            started_s=self.started_s,
            route=self.context.route,
            dialect=self.request.dialect,
            requested_model=self.request.model,
            status=status,
            answered_by=self.answered_by,
            http_status=200 if error is None else error.status,
            model=self.model,
            stream=self.streaming,
            channel=self.channel,
            **self._who(),
            degraded=self.degraded,
            data_classes=self.data_classes,
            cache=self.cache,
            trace_id=trace_id_of(self.id) if trace is None else trace.trace_id,
            parent_span_id=None if trace is None else trace.parent_id,
            trace_sampled=trace is None or trace.sampled,
            priority=self.priority,
            shed=None if error is None else error.details.get("shed"),
            admission_ms=round(self.admission_ms, 3),
            duration_ms=round(duration_ms, 3),
            overhead_ms=round(max(0.0, duration_ms - journal.waited_s * 1000.0), 3),
            first_token_ms=None if first is None else round(first, 3),
            usage=usage,
            cost_usd=cost,
            states=tuple(self.states),
            attempts=journal.attempts(),
            assessment=self.assessment,
            plan=self.plan,
            tool=self.reflex.tool if self.reflex else None,
            effort_score=self.effort.score,
            dropped=(*self.dropped(), *self._lost()),
            validation=None if self.check is None else self.check.result,
            error_code=error.code if error else None,
            error=error.text if error else None,
            config_hash=self.world.hash,
            decisions=self.decisions,
            knowledge=self.knowledge,
            content=content,
        )


def told(dropped: tuple[Dropped, ...]) -> tuple[Dropped, ...]:
    """Return what callers are told of: what became of their own wishes. What became of ours is in the record."""
    return tuple([one for one in dropped if one.field != OURS])


def effort_unsent(record: RequestRecord) -> bool:
    """Return whether an effort was computed of which the model that answered was told nothing."""
    told_it = [one for one in record.attempts if one.outcome != "hedge_lost" and one.reason != LENS_CALL]
    last = told_it[-1] if told_it else None
    if record.effort_score is None or last is None or last.effort_fields:
        return False
    return any(one.field == OURS and one.action == "dropped" for one in last.dropped)


def knowledge_shown(note: KnowledgeNote) -> dict[str, Any]:
    """Return what an answer says of the engrams: `knowledge`, and where passages were found, `citations`."""
    found = {name: value for name, value in msgspec.to_builtins(note).items() if name != "citations" and value is not None}
    shown: dict[str, Any] = {"knowledge": {"found": bool(note.citations), **found}}
    if note.citations:
        shown["citations"] = msgspec.to_builtins(note.citations)
    return shown


def lens_shown(readings: tuple[LensReading, ...]) -> dict[str, Any]:
    """Return what an answer says of the lenses its caller named, by name."""
    shown: dict[str, Any] = {}
    for one in readings:
        if one.asked:
            kept = {"source": one.source, "model": one.model, "finding": one.finding, "detail": one.detail}
            told = {name: value for name, value in kept.items() if value is not None}
            shown[one.name] = {"state": one.state, **told, "latency_ms": one.latency_ms, "attempts": one.attempts}
    return shown


def extension(record: RequestRecord) -> dict[str, Any]:
    """Return the `x_prefrontal` object of an answer."""
    shown: dict[str, Any] = {
        "trace": record.id,
        "answered_by": record.answered_by,
        "model": record.model,
        "cost_usd": None if record.cost_usd is None else round(record.cost_usd, COST_DIGITS),
        "attempts": len(record.attempts),
        "overhead_ms": record.overhead_ms,
        "usage_source": record.usage.source,
    }
    if record.effort_score is not None:
        shown["effort"] = record.effort_score
        if effort_unsent(record):
            shown["effort_sent"] = False
    if record.validation is not None:
        shown["validation"] = msgspec.to_builtins(record.validation)
    if record.tool:
        shown["tool"] = record.tool
    if record.cache is not None:
        shown["cache"] = {name: value for name, value in msgspec.structs.asdict(record.cache).items() if value is not None}
    if record.knowledge is not None:
        shown.update(knowledge_shown(record.knowledge))
    if record.assessment is not None and record.assessment.lens and (seen := lens_shown(record.assessment.lens)):
        shown["lens"] = seen
    if record.degraded is not None:
        shown["degraded"] = msgspec.to_builtins(record.degraded)
    dropped = told(record.dropped) if record.dropped else ()
    if dropped:
        shown["dropped"] = [msgspec.to_builtins(d) for d in dropped]
    return shown
