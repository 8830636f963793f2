"""Runs a request through the states. Each step does its work and names the next state; the table is in `states`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from prefrontal.assess.assessor import assess
from prefrontal.chat.blocks import Text
from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import ChatResponse, Choice
from prefrontal.chat.usage import Usage
from prefrontal.config.hedging import hedge_of
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.plan import Plan, Reason
from prefrontal.contracts.record import RequestRecord, Status
from prefrontal.decisions.lenses.reader import Reader
from prefrontal.errors import CapabilityMissing, InvariantBroken, PrefrontalError, QuotaExceeded, cause_of
from prefrontal.execute.call import Call
from prefrontal.execute.journal import Journal
from prefrontal.execute.places import would_ask
from prefrontal.ledger.standing import RateStanding
from prefrontal.machine import lenses, validation
from prefrontal.machine.admission import admit, deadline_of, priority_of
from prefrontal.machine.caching import Caching
from prefrontal.machine.content import content_of
from prefrontal.machine.context import CallContext, World
from prefrontal.machine.fit import check_named
from prefrontal.machine.knowledge import checked, consult
from prefrontal.machine.money import affordable, look, settled, worded
from prefrontal.machine.names import adhoc_in, asked_channel, own_channel, read_name
from prefrontal.machine.parts import Parts
from prefrontal.machine.people import people_of
from prefrontal.machine.question import may_use, reflex_text
from prefrontal.machine.reach import check_named_reach, settle_reach
from prefrontal.machine.run import Run
from prefrontal.machine.snapshot import note_reader, plan_inputs, preferred_place, with_channel
from prefrontal.machine.states import TERMINAL, State
from prefrontal.machine.stream import AnswerStream
from prefrontal.plan.balance import Chosen
from prefrontal.plan.inputs import PlanInputs, ToolOffer
from prefrontal.plan.planner import make_plan
from prefrontal.plan.tokens import estimate_request
from prefrontal.providers.effort import effort_from_caller, render_for_call
from prefrontal.reflex.proposal import ReflexContext
from prefrontal.validate.schema import asks_for_form

NO_TOKENS = Usage(source="reported")
"""A reflex uses no tokens, and we know that."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer with its record. standing: what is left of the caller's rate limits."""

    response: ChatResponse
    record: RequestRecord
    standing: tuple[RateStanding, ...] = ()


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What would be done with a request, without doing it.

    told: what the model would be told of the effort (None: no model). form: how it would be told the form of its answer.
    place: which of the model's deployments would be asked, and why (None: it has one).
    """

    run: Run
    plan: Plan
    told: EffortFields | None = None
    form: dict[str, Any] | None = None
    place: Chosen | None = None


class Machine:
    """Answers requests. Holds no request's state; each lives in its `Run`."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._turn = 0
        self.caching = None if parts.cache is None else Caching(parts.cache, executor=parts.executor, clock=parts.clock)
        self.reader = Reader(lambda: parts.executor, parts.clock)
        self._steps: dict[State, Callable[[Run], Awaitable[State]]] = {
            State.INIT: self._init,
            State.ROUTING_DECISION: self._routing_decision,
            State.TOOL_ONLY_EXECUTION: self._tool_only_execution,
            State.LENS: self._lens,
            State.MODEL_SELECTION: self._model_selection,
            State.CACHE_LOOKUP: self._cache_lookup,
            State.LLM_CALL: self._llm_call,
            State.VALIDATION: self._validation,
        }

    # -- the ways in -------------------------------------------------------------------------------------------------

    async def answer(self, request: ChatRequest, context: CallContext, world: World) -> Answer:
        """Return the whole answer; its record is written. Raises PrefrontalError after writing the record of the failure."""
        run = self.begin(request, context, world, streaming=False)
        await self._drive(run)
        response = run.response
        if response is None:
            raise InvariantBroken("A finished request has no answer.")
        run.to(State.COMPLETED)
        record = self.finish(run, "ok")
        if run.purse is not None:
            await settled(run)
        return Answer(response=response, record=record, standing=run.standing())

    async def stream(self, request: ChatRequest, context: CallContext, world: World) -> AnswerStream:
        """Return a stream whose first token is there. Its record is written when it ends or is closed. Raises PrefrontalError."""
        run = self.begin(request, context, world, streaming=True)
        await self._drive(run)
        watch = validation.Watch(run, self.parts) if run.state is State.VALIDATION else None
        return AnswerStream(run, self.finish, watch)

    async def explain(self, request: ChatRequest, context: CallContext, world: World) -> Explanation:
        """Return the plan for a request without calling anything. Raises PrefrontalError when there is none."""
        run = self.begin(request, context, world, streaming=False)
        for state, step in ((State.INIT, self._init), (State.ROUTING_DECISION, self._routing_decision)):
            if run.state is state:
                run.to(await step(run))
        if run.state is State.LENS:
            await lenses.read(run, self.parts, self.reader, ask=False)
            run.to(self._after_lens(run))
        if run.state is State.MODEL_SELECTION:
            run.to(await self._model_selection(run))
        if run.plan is None:
            effect = "the request names this model, so no other is considered and none stands in for it"
            if run.degraded is not None:
                effect = f"the budget '{run.degraded.budget}' leaves too little for '{run.degraded.instead_of}', the one named"
            named = Reason(rule="name" if run.degraded is None else "budget", effect=effect)
            run.plan = Plan(path="model", model=run.cards[0].id, channel=run.channel, effort=run.effort, reasons=(named,))
        if run.plan.path != "model":
            return Explanation(run=run, plan=run.plan)
        aside = self._stood_aside(run)
        plan = run.plan if aside is None else msgspec.structs.replace(run.plan, reasons=(*run.plan.reasons, aside))
        told = render_for_call(run.effort, run.cards[0], run.request, self.parts.dialects, default_cap=run.default_cap)
        shapes, asks = self.parts.executor.shapes, asks_for_form(run.request)
        form = shapes.shown(run.cards[0], run.request) if asks else None
        runtime, now = self.parts.runtime, self.parts.clock.monotonic()
        place = would_ask(runtime, self._call(run), run.cards[0], now) if run.cards[0].deployments else None
        return Explanation(run=run, plan=plan, told=told, form=form, place=place)

    def _stood_aside(self, run: Run) -> Reason | None:
        """Return why a reflex that knows the question leaves it to a model; None: none knows it."""
        text = reflex_text(run) if run.assessment is not None and not run.lenses else None
        if text is None:
            return None
        allowed = msgspec.structs.replace(self._reflex_context(run), allow_host=True)
        offered = self.parts.reflexes.propose(text, allowed)
        if offered is None:
            return None
        why = "may not be used here" if not may_use(run, offered.tool) else "answers only callers on this machine and admin keys"
        return Reason(rule="reflex", effect=f"the reflex '{offered.tool}' knows this question and {why}")

    def begin(self, request: ChatRequest, context: CallContext, world: World, *, streaming: bool) -> Run:
        """Return the context of a new request, in INIT."""
        clock = self.parts.clock
        now_s = clock.now()
        run = Run(
            run_id=self.parts.chance.identifier("req_", now_s),
            request=request,
            context=context,
            world=world,
            journal=Journal(clock, context.arrived),
            now_s=now_s,
            streaming=streaming,
        )
        people = people_of(request)
        if people:
            run.users = self.parts.users(people)
        treasury, grant = self.parts.treasury, context.grant
        if treasury is not None:
            run.purse = treasury.purse(grant.payer if grant is not None else None, context.key_id, run.id)
        hints = request.hints
        if hints.priority is not None or context.priority is not None or (grant is not None and grant.priority != "normal"):
            run.priority = priority_of(run)
        if hints.deadline_s is not None or context.timeout_s is not None:
            run.deadline = deadline_of(run)
        return run

    async def _drive(self, run: Run) -> None:
        """Run the steps up to SYNTHESIS; an error or a cancellation ends the request with its record."""
        try:
            if run.purse is not None:
                await run.purse.enter()
            if self.parts.door is not None:
                await admit(run, self.parts.door)
            while run.state is not State.SYNTHESIS and not (run.state is State.VALIDATION and run.live is not None):
                run.to(await self._steps[run.state](run))
            if run.lookup is not None and run.live is None and self.caching is not None:
                await self.caching.keep_checked(run)  # here: whoever leaves while it is written must let go of the door, too
        except PrefrontalError as error:
            error.details.setdefault("trace", run.id)
            error.standing = run.standing()
            self.finish(run, "error", error)
            raise
        except asyncio.CancelledError as gone:
            self.give_up(run, gone)
            raise
        except BaseException as error:
            self.finish(run, "error", InvariantBroken(f"{type(error).__name__} inside the gateway."))
            raise

    # -- the steps ---------------------------------------------------------------------------------------------------

    async def _init(self, run: Run) -> State:
        request, world = run.request, run.world
        channels = world.config.routing.channels
        asked = read_name(request.model, world.registry, channels.keys(), adhoc_in(world, self.parts.adhoc))
        run.asked = asked
        effort = effort_from_caller(request, self.parts.dialects)
        if effort is not None:
            run.effort = effort
        run.request = self.parts.turns.restore(request)
        if asked.kind != "named":
            wanted = asked.channel or asked_channel(request, run.context, channels.keys())
            run.channel = wanted or own_channel(run.context, channels.keys()) or "chat"
            if (request.hints.lens is not None or channels[run.channel].lens) and asked.kind != "reflex":
                run.lenses = lenses.wanted(request.hints.lens, channels[run.channel].lens)
            await self._prepare(run)
            return State.ROUTING_DECISION
        card = asked.card
        assert card is not None
        await self._prepare(run)
        check_named(run.request, card, world.registry, self.parts.runtime)
        await look(run)
        run.cards = (card,) if run.purse is None else (affordable(run, card, self.parts),)
        check_named_reach(run)
        if request.hints.lens is None:
            return self._asking(run)
        run.lenses = lenses.wanted(request.hints.lens, ())
        return State.LENS if run.lenses else self._asking(run)

    async def _prepare(self, run: Run) -> None:
        """Settle where the request may be sent, and add what engrams hold to it where it is to be answered from some."""
        wishes, asked = settle_reach(run)
        if wishes:
            await consult(run, self.parts.librarian, wishes, asked=asked)

    async def _routing_decision(self, run: Run) -> State:
        parts = self.parts
        cap = run.request.max_output_tokens
        if cap is not None and cap < 0:  # one engine's word for "no limit", which the others would refuse
            run.request = msgspec.structs.replace(run.request, max_output_tokens=None)
        run.assessment = assess(run.given, input_tokens=estimate_request(run.request), rules=parts.rules)
        context = self._reflex_context(run)
        text = reflex_text(run)
        run.proposal = parts.reflexes.propose(text, context) if text is not None else None
        if run.proposal is not None and not may_use(run, run.proposal.tool):
            run.proposal = None
        if run.proposal is not None:
            offer = ToolOffer(tool=run.proposal.tool, arguments=run.proposal.arguments, reason=run.proposal.reason)
            run.plan = make_plan(self._inputs(run, offer), parts.policies)
            return State.TOOL_ONLY_EXECUTION
        return State.LENS if run.lenses else State.MODEL_SELECTION

    async def _tool_only_execution(self, run: Run) -> State:
        assert run.proposal is not None
        run.reflex = self.parts.reflexes.answer(run.proposal, self._reflex_context(run))
        if run.reflex is None:
            return State.LENS if run.lenses else State.MODEL_SELECTION
        run.answered_by = "tool"
        run.model = f"reflex/{run.reflex.tool}"
        choice = Choice(blocks=(Text(text=run.reflex.text),), finish_reason="stop")
        run.response = ChatResponse(model=run.model, created_s=int(run.started_s), choices=(choice,), usage=NO_TOKENS)
        return State.SYNTHESIS

    async def _lens(self, run: Run) -> State:
        await lenses.read(run, self.parts, self.reader)
        return self._after_lens(run)

    def _after_lens(self, run: Run) -> State:
        return self._asking(run) if run.cards else State.MODEL_SELECTION

    async def _model_selection(self, run: Run) -> State:
        parts, world = self.parts, run.world
        if run.asked is not None and run.asked.kind == "reflex":
            raise CapabilityMissing(
                "No reflex recognises this question.", param="messages", hint="Use the model 'auto' to let a model answer it."
            )
        await look(run)
        try:
            plan = make_plan(self._inputs(run, None), parts.policies)
        except QuotaExceeded as error:
            raise worded(run, error) from error
        run.plan = plan
        run.degraded = plan.degraded
        run.effort = plan.effort
        run.cards = tuple([world.registry.cards[name] for name in (plan.model, *plan.fallbacks) if name is not None])
        run.request, run.default_cap = with_channel(run.request, world.config.routing.channels[run.channel])
        return self._asking(run)

    def _asking(self, run: Run) -> State:
        """Return how the chosen models are asked: by way of the cache when anything speaks of it."""
        run.check = validation.begin(run, self.parts)
        return State.CACHE_LOOKUP if self.caching is not None and self.caching.spoken_of(run) else State.LLM_CALL

    async def _cache_lookup(self, run: Run) -> State:
        assert self.caching is not None
        return State.SYNTHESIS if await self.caching.look(run, self._call(run)) else State.LLM_CALL

    async def _llm_call(self, run: Run) -> State:
        self._turn += run.plan is not None  # here and not in planning: an explanation must not move the round robin
        call = self._call(run)
        check = run.check
        if check is not None and check.reason is not None:
            return await validation.ask_again(run, self.parts, call)
        held = run.streaming and check is not None and run.world.config.structured_output.stream == "hold"
        if run.lookup is not None and self.caching is not None and not held:
            card = await self.caching.call(run, call, run.lookup)
        elif run.streaming and not held:
            run.live, card = await self.parts.executor.open(call, run.journal)
        else:
            run.response, card = await self.parts.executor.complete(call, run.journal)
        run.model = card.id
        run.answered_by = "model"
        return State.SYNTHESIS if check is None else State.VALIDATION

    async def _validation(self, run: Run) -> State:
        return validation.step(run, self.parts)

    def _call(self, run: Run) -> Call:
        """Return what the executor is asked for a request as it stands."""
        limits = run.world.config.limits
        hedge = None if run.plan is None else run.world.config.routing.channels[run.channel].hedge
        return Call(
            request=run.request,
            cards=run.cards,
            effort=run.effort,
            limits=limits,
            deadline=run.deadline,
            default_cap=run.default_cap,
            purse=run.purse,
            trace=run.propagation(always=self.parts.tracing),
            reach=run.reach,
            hedge=hedge_of(hedge),
            prefer=preferred_place(run, self.parts),
            who=run.context.key_id,
            priority=run.priority,
        )

    # -- the end -----------------------------------------------------------------------------------------------------

    def give_up(self, run: Run, cancelled: asyncio.CancelledError) -> None:
        """Write the record of a request whose task was cancelled: by a client that left, or with an error that says why."""
        error = cause_of(cancelled)
        if error is not None:
            error.details.setdefault("trace", run.id)
        self.finish(run, "cancelled" if error is None else "error", error)

    def finish(self, run: Run, status: Status, error: PrefrontalError | None = None) -> RequestRecord:
        """Write the record, exactly once; a second call returns the first record."""
        if run.finished and run.record is not None:
            return run.record
        if run.flight is not None and not run.flight.over:  # its client left, and others wait for its call
            run.flight.at_end(lambda: self.finish(run, status, error))
            return run.make_record(status, error=error)
        run.finished = True
        if run.purse is not None:
            run.purse.close()
        if run.door is not None:
            run.door.leave()
        if status != "ok" and run.state not in TERMINAL:
            run.to(State.FAILED if status == "error" else State.CANCELLED)
        if run.words and status == "ok":
            run.knowledge = checked(run)
        content = content_of(run) if run.keeps_content else None
        record = run.record = run.make_record(status, error=error, content=content)
        self._learn(run, record)
        if run.cache is not None and self.caching is not None:
            self.caching.cache.count(run.cache)
        hidden = record.assessment is not None and record.assessment.lens and not run.keeps_content
        self.parts.sink(lenses.discreet(record) if hidden else record)
        return record

    def _learn(self, run: Run, record: RequestRecord) -> None:
        parts = self.parts
        known = run.response is not None and record.status == "ok" and run.answered_by in ("model", "cache")
        if known and run.response is not None and record.model is not None:
            for choice in run.response.choices:
                parts.turns.remember(choice.blocks, record.model, run.given)
        if run.answered_by == "model" and record.model is not None and record.status == "ok":
            note_reader(run, parts, record.model, record.usage.input_tokens)
        for entry in run.journal.entries:
            if entry.cost_usd and entry.card.origin == "discovered" and not entry.card.self_hosted:
                parts.meter.add(entry.cost_usd, run.started_s)

    def _inputs(self, run: Run, offer: ToolOffer | None) -> PlanInputs:
        return plan_inputs(run, self.parts, offer=offer, turn=self._turn)

    def _reflex_context(self, run: Run) -> ReflexContext:
        zone = run.request.hints.timezone or run.world.config.routing.reflexes.timezone or self.parts.timezone
        return ReflexContext(now_s=run.started_s, timezone=zone, allow_host=run.context.allow_host, channel=run.channel)
