"""One attempt: a slot, an engine, the wire, the answer, the settlement. Each ends in exactly one entry of the journal."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

import msgspec

from prefrontal.chat.embeddings import EmbeddingsResponse
from prefrontal.chat.response import ChatResponse
from prefrontal.chat.usage import Usage
from prefrontal.clock import Clock
from prefrontal.contracts.effort import Effort, EffortFields
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import (
    CapabilityMissing,
    NoModelAvailable,
    PrefrontalError,
    ProviderOverloaded,
    ProviderRejected,
    ProviderTimeout,
    ThinkingAteCap,
)
from prefrontal.execute import breaker
from prefrontal.execute.breaker import BreakerPolicy
from prefrontal.execute.call import Call
from prefrontal.execute.journal import Entry, Journal
from prefrontal.execute.live import LiveStream
from prefrontal.execute.opening import answer_length, hold_opening, thinking_ate_cap, thinking_ate_cap_chunks, thinks
from prefrontal.execute.retry import classify
from prefrontal.execute.runtime import ModelState, Runtime
from prefrontal.execute.transport.base import Timeouts, Transport, WireStream
from prefrontal.plan.cost import cost_usd
from prefrontal.plan.tokens import estimate_length, estimate_request
from prefrontal.providers.base import Provider, Target
from prefrontal.providers.effort import Dialects, nearest_level_after_400, render_effort, step_down, without_budget_after_400
from prefrontal.providers.profile import Profile
from prefrontal.providers.registry import Providers

MAX_ERROR_BODY_BYTES = 1_048_576
"""How much of an error answer to a stream is read (assumed: error bodies are small)."""

HTTP_NOT_OK = 300
"""From this status on an answer is an error: redirects are not followed."""

ENGINE_API = "/v1"
"""Where llama.cpp's server speaks the OpenAI dialect below its address."""

LEARN_FIRST, LEARN_EVERY = 32, 16
"""Token estimates learn from the first reports of a model and then from a sample: estimating costs time (assumed)."""

CAP_GROWTH = 2
"""When thinking ate a cap of ours, the next attempt gets this multiple (assumed)."""


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


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """How one model is asked this time: effort, the cap when it is ours to set, and which relief was already given."""

    card: ModelCard
    effort: Effort
    cap: int | None = None
    relieved: bool = False


class Attempter:
    """Asks one model once. Shared by all requests; all of its state is in `runtime`."""

    def __init__(
        self,
        *,
        transport: Transport,
        providers: Providers,
        profiles: Mapping[str, Profile],
        dialects: Dialects,
        runtime: Runtime,
        clock: Clock,
        engines: Engines | None,
    ) -> None:
        self.transport = transport
        self.providers = providers
        self.profiles = profiles
        self.dialects = dialects
        self.runtime = runtime
        self.clock = clock
        self.engines = engines

    # -- what is sent ------------------------------------------------------------------------------------------------

    def fields(self, call: Call, attempt: Try) -> EffortFields:
        """Return the effort rendered for this model. Pure but for the effort levels learnt from earlier refusals."""
        card = self._taught(attempt.card)
        cap = attempt.cap or call.default_cap
        return render_effort(attempt.effort, card, call.request, self.dialects, default_cap=cap)

    def relief(self, call: Call, attempt: Try, error: PrefrontalError) -> Try | None:
        """Return how to ask the same model once more after `error`, or None when there is nothing to ease."""
        if attempt.relieved:
            return None
        if isinstance(error, ThinkingAteCap):
            fields = self.fields(call, attempt)
            ours = call.request.max_output_tokens is None and fields.output_cap_tokens is not None
            ceiling = attempt.card.max_output_tokens
            if ours and fields.output_cap_tokens and (ceiling is None or fields.output_cap_tokens < ceiling):
                grown = fields.output_cap_tokens * CAP_GROWTH
                return msgspec.structs.replace(attempt, relieved=True, cap=min(grown, ceiling) if ceiling else grown)
            less = step_down(
                attempt.effort, attempt.card, call.request, self.dialects, default_cap=attempt.cap or call.default_cap
            )
            return msgspec.structs.replace(attempt, relieved=True, effort=less) if less is not None else None
        if isinstance(error, ProviderRejected) and attempt.effort.origin != "default":
            return self._relearn(call, attempt, error)
        return None

    def _relearn(self, call: Call, attempt: Try, error: ProviderRejected) -> Try | None:
        """Return the attempt with what a refusal of the effort field teaches about the model, and keep it for later calls."""
        state = self.runtime.state(attempt.card)
        sent = self.fields(call, attempt).level
        card = self._taught(attempt.card)
        levels = nearest_level_after_400(error.message, sent, card, self.dialects, param=error.param)
        if levels is not None:
            state.effort_levels = levels
            return msgspec.structs.replace(attempt, relieved=True)
        overrides = without_budget_after_400(error.message, card, self.dialects, param=error.param)
        if overrides is not None:
            state.effort_overrides = overrides
            return msgspec.structs.replace(attempt, relieved=True)
        return None

    def _taught(self, card: ModelCard) -> ModelCard:
        """Return the card with what earlier refusals taught."""
        state = self.runtime.find(card.id)
        if state is None or (state.effort_levels is None and state.effort_overrides is None):
            return card
        return msgspec.structs.replace(
            card,
            effort_levels=state.effort_levels or card.effort_levels,
            effort_overrides=state.effort_overrides or card.effort_overrides,
        )

    def _endpoint(self, card: ModelCard) -> tuple[Provider, Target]:
        profile = self.profiles[card.profile]
        return self.providers.for_profile(profile), Target(card=card, profile=profile, base_url=card.base_url or "")

    async def _leased(self, card: ModelCard, target: Target, lease: AsyncExitStack, journal: Journal) -> Target:
        """Return the target with the address of the model's own engine, started when needed."""
        if self.engines is None or card.local_path is None:
            raise NoModelAvailable(f"Model '{card.id}' has neither an endpoint nor a local file.")
        before = self.clock.monotonic()
        try:
            base_url = await lease.enter_async_context(self.engines.lease(card.id))
        finally:
            journal.waited_s += self.clock.monotonic() - before
        return msgspec.structs.replace(target, base_url=base_url + ENGINE_API)

    # -- the attempt -------------------------------------------------------------------------------------------------

    async def _enter(self, call: Call, card: ModelCard, journal: Journal) -> tuple[ModelState, Entry]:
        state = self.runtime.state(card)
        entry = journal.begin(card)
        now = self.clock.monotonic()
        if not breaker.admits(state.breaker, now):
            error = ProviderOverloaded(
                f"Model '{card.id}' is left alone after repeated failures: {state.last_error or 'no reason noted'}",
                model=card.id,
                provider=card.provider,
                should_retry=False,
                retry_after_s=round(breaker.reopens_in_s(state.breaker, now), 1),
            )
            self._close_entry(entry, journal, error=error)
            raise error
        if not state.slots.try_take():
            await self._queue(call, state, entry, journal)
        state.breaker = breaker.started(state.breaker)
        state.calls += 1
        return state, entry

    async def _queue(self, call: Call, state: ModelState, entry: Entry, journal: Journal) -> None:
        before = self.clock.monotonic()
        try:
            async with self.clock.timeout(self._remaining(call, call.limits.timeouts.first_token_s)):
                await state.slots.take(retry_after_s=max(1.0, round(state.queue_wait_ms() / 1000.0)))
        except PrefrontalError as error:
            self._close_entry(entry, journal, error=error)
            raise
        except TimeoutError as error:
            late = ProviderTimeout(
                f"No place at model '{state.name}' became free in time.", model=state.name, details={"stage": "queue"}
            )
            self._close_entry(entry, journal, error=late)
            raise late from error
        except BaseException:
            self._close_entry(entry, journal, cancelled=True)
            raise
        finally:
            waited = self.clock.monotonic() - before
            journal.waited_s += waited
            entry.queued_ms = waited * 1000.0

    async def complete(self, call: Call, attempt: Try, journal: Journal) -> ChatResponse:
        """Ask once and return the whole answer. Raises PrefrontalError; the attempt is settled either way."""
        card = attempt.card
        state, entry = await self._enter(call, card, journal)
        try:
            provider, target = self._endpoint(card)
            if card.base_url is None:
                async with AsyncExitStack() as lease:
                    target = await self._leased(card, target, lease, journal)
                    answer = await self._exchange(call, attempt, entry, journal, provider, target)
            else:
                answer = await self._exchange(call, attempt, entry, journal, provider, target)
        except PrefrontalError as error:
            usage = error.details.get("usage") if isinstance(error, ThinkingAteCap) else None
            self._leave(state, entry, journal, call, error=_named(error, card), usage=usage)
            raise
        except BaseException:
            self._leave(state, entry, journal, call, cancelled=True)
            raise
        usage = self._known_usage(call, state, answer.usage, answer_length(answer))
        self._leave(state, entry, journal, call, usage=usage)
        return answer if usage is answer.usage else msgspec.structs.replace(answer, usage=usage)

    async def _exchange(
        self, call: Call, attempt: Try, entry: Entry, journal: Journal, provider: Provider, target: Target
    ) -> ChatResponse:
        """Send the request and read the whole answer."""
        card = attempt.card
        fields = self.fields(call, attempt)
        wire = provider.render_chat(call.request, target, fields, stream=False)
        entry.rendered(fields, wire)
        reply = await self._send(wire, call, card, journal)
        if reply.status >= HTTP_NOT_OK:
            raise provider.parse_error(reply, target)
        answer = provider.parse_chat(reply, target)
        entry.first_token_ms = journal.elapsed_ms()
        entry.upstream_request_id = reply.headers.get("x-request-id") or reply.headers.get("request-id")
        if answer.choices:
            entry.finish_reason = answer.choices[0].finish_reason
        if thinking_ate_cap(answer, thinks(card, fields, answer.usage)):
            self._ate_cap(call, attempt, entry, answer.usage)
        return answer

    async def embed(self, call: Call, attempt: Try, journal: Journal) -> EmbeddingsResponse:
        """Ask once for embeddings. Raises PrefrontalError; the attempt is settled either way."""
        card = attempt.card
        state, entry = await self._enter(call, card, journal)
        try:
            async with AsyncExitStack() as lease:
                provider, target = self._endpoint(card)
                if card.base_url is None:
                    target = await self._leased(card, target, lease, journal)
                wire = provider.render_embeddings(call.embeddings, target) if call.embeddings is not None else None
                if wire is None:
                    raise CapabilityMissing(f"'{card.id}' cannot make embeddings: its engine has no such route.", param="model")
                reply = await self._send(wire, call, card, journal)
                if reply.status >= HTTP_NOT_OK:
                    raise provider.parse_error(reply, target)
                answer = provider.parse_embeddings(reply, target)
        except PrefrontalError as error:
            self._leave(state, entry, journal, call, error=_named(error, card))
            raise
        except BaseException:
            self._leave(state, entry, journal, call, cancelled=True)
            raise
        usage = self._known_usage(call, state, answer.usage, 0)
        self._leave(state, entry, journal, call, usage=usage)
        return msgspec.structs.replace(answer, usage=usage)

    async def _send(self, wire: WireRequest, call: Call, card: ModelCard, journal: Journal) -> WireResponse:
        before = self.clock.monotonic()
        try:
            return await self.transport.send(wire, self._timeouts(call, card, whole=True))
        finally:
            journal.waited_s += self.clock.monotonic() - before

    async def open(self, call: Call, attempt: Try, journal: Journal) -> LiveStream:
        """Ask once for a stream; return when its first token is there or it has ended. Raises PrefrontalError."""
        card = attempt.card
        state, entry = await self._enter(call, card, journal)
        opened: list[LiveStream | WireStream] = []
        try:
            async with self.clock.timeout(self._remaining(call, call.limits.timeouts.first_token_s)):
                live = await self._opened(call, attempt, state, entry, journal, opened)
        except TimeoutError as error:
            text = f"Model '{card.id}' sent no token in time."
            late = ProviderTimeout(text, model=card.id, provider=card.provider, details={"stage": "first_token"})
            self._leave(state, entry, journal, call, error=late)
            await _drop(opened)
            raise late from error
        except PrefrontalError as error:
            usage = opened[-1].usage if opened and isinstance(opened[-1], LiveStream) else None
            self._leave(state, entry, journal, call, error=_named(error, card), usage=usage)
            await _drop(opened)
            raise
        except BaseException:
            self._leave(state, entry, journal, call, cancelled=True)
            await _drop(opened)
            raise
        return live

    async def _opened(
        self,
        call: Call,
        attempt: Try,
        state: ModelState,
        entry: Entry,
        journal: Journal,
        opened: list[LiveStream | WireStream],
    ) -> LiveStream:
        """Open the stream and hold its opening; what has to be closed on the way is put into `opened`."""
        card = attempt.card
        provider, target = self._endpoint(card)
        lease = AsyncExitStack()
        if card.base_url is None:
            target = await self._leased(card, target, lease, journal)
        fields = self.fields(call, attempt)
        wire = provider.render_chat(call.request, target, fields, stream=True)
        entry.rendered(fields, wire)
        before = self.clock.monotonic()
        try:
            stream = await self.transport.open(wire, self._timeouts(call, card, whole=False))
        except BaseException:
            await lease.aclose()
            raise
        finally:
            journal.waited_s += self.clock.monotonic() - before
        if card.base_url is None:
            stream = LeasedStream(stream, lease)
        opened.append(stream)
        entry.upstream_request_id = stream.headers.get("x-request-id") or stream.headers.get("request-id")
        if stream.status >= HTTP_NOT_OK:
            raise provider.parse_error(await _error_body(stream), target)
        live = LiveStream(
            stream=stream,
            parser=provider.stream_parser(target),
            entry=entry,
            journal=journal,
            clock=self.clock,
            settle=lambda done, error, left: self._settle(done, state, call, error, cancelled=left),
            deadline=call.deadline,
        )
        opened.append(live)
        held = await hold_opening(live, call.limits.opening)
        if thinking_ate_cap_chunks(held, live, thinks(card, fields, live.usage)):
            self._ate_cap(call, attempt, entry, live.usage)
        live.held = held
        return live

    def _ate_cap(self, call: Call, attempt: Try, entry: Entry, usage: Usage | None) -> None:
        """Raise ThinkingAteCap when asking again can help; else mark the attempt and let the answer pass as it is."""
        error = ThinkingAteCap(
            f"Model '{attempt.card.id}' spent its output cap on thinking.", model=attempt.card.id, details={"usage": usage}
        )
        if self.relief(call, attempt, error) is not None:
            raise error
        entry.mark = ThinkingAteCap.code

    # -- the end of an attempt ---------------------------------------------------------------------------------------

    def _settle(self, live: LiveStream, state: ModelState, call: Call, error: PrefrontalError | None, *, cancelled: bool) -> None:
        if error is not None:
            _named(error, live.entry.card)
        usage = self._known_usage(call, state, live.usage, live.characters)
        self._leave(state, live.entry, live.journal, call, error=error, cancelled=cancelled, usage=usage)

    def _leave(
        self,
        state: ModelState,
        entry: Entry,
        journal: Journal,
        call: Call,
        *,
        error: PrefrontalError | None = None,
        cancelled: bool = False,
        usage: Usage | None = None,
    ) -> None:
        """Free the slot, tell the breaker, close the entry. Called exactly once for each `_enter` that returned."""
        state.slots.release()
        self._close_entry(entry, journal, error=error, cancelled=cancelled, usage=usage)
        if cancelled:
            state.breaker = breaker.abandoned(state.breaker)
            return
        if error is None:
            state.breaker = breaker.succeeded(state.breaker)
            first = entry.first_token_ms
            began = entry.started_ms + entry.queued_ms
            state.observe(
                first_token_ms=None if first is None else first - began,
                duration_ms=entry.ended_ms - began,
                output_tokens=entry.usage.output_tokens,
            )
            return
        state.failures += 1
        state.last_error = error.message
        if classify(error).counts:
            policy = call.limits.breaker
            state.breaker = breaker.failed(
                state.breaker,
                self.clock.monotonic(),
                BreakerPolicy(failures=policy.failures, window_s=policy.window_s, open_s=policy.open_s),
            )
        else:
            state.breaker = breaker.abandoned(state.breaker)

    def _close_entry(
        self,
        entry: Entry,
        journal: Journal,
        *,
        error: PrefrontalError | None = None,
        cancelled: bool = False,
        usage: Usage | None = None,
    ) -> None:
        entry.ended_ms = journal.elapsed_ms()
        entry.error = error
        entry.outcome = "cancelled" if cancelled else "error" if error is not None else "ok"
        if usage is not None:
            entry.usage = usage
            entry.cost_usd = cost_usd(entry.card, usage, self.clock.now())

    def _known_usage(self, call: Call, state: ModelState, usage: Usage | None, characters: int) -> Usage:
        """Return the reported usage, and learn from it; without one, an estimate marked as such."""
        if usage is not None and usage.source == "reported":
            if usage.input_tokens and (state.calls <= LEARN_FIRST or state.calls % LEARN_EVERY == 0):
                estimated = estimate_request(call.request, state.calibration)
                state.calibration = state.calibration.update(estimated, usage.input_tokens)
            return usage
        return Usage(
            uncached_input_tokens=estimate_request(call.request, state.calibration),
            output_tokens=estimate_length(characters, state.calibration),
            source="estimated",
        )

    # -- time --------------------------------------------------------------------------------------------------------

    def _remaining(self, call: Call, limit_s: float | None) -> float | None:
        if call.deadline is None:
            return limit_s
        left = max(0.001, call.deadline - self.clock.monotonic())
        return left if limit_s is None else min(limit_s, left)

    def _timeouts(self, call: Call, card: ModelCard, *, whole: bool) -> Timeouts:
        limits = call.limits.timeouts
        total = self._remaining(call, card.timeout_s or limits.total_s)
        if whole:
            return Timeouts(connect_s=limits.connect_s, first_byte_s=None, between_s=None, total_s=total)
        return Timeouts(connect_s=limits.connect_s, first_byte_s=None, between_s=limits.between_tokens_s, total_s=None)


def _named(error: PrefrontalError, card: ModelCard) -> PrefrontalError:
    """Write the model's name into an error that does not know it yet."""
    if getattr(error, "model", "") is None:
        error.model = card.id  # type: ignore[attr-defined]  # only ProviderError has it, and getattr found it
        error.provider = card.provider or card.profile  # type: ignore[attr-defined]  # same
    return error


async def _error_body(stream: WireStream) -> WireResponse:
    parts: list[bytes] = []
    size = 0
    while size < MAX_ERROR_BODY_BYTES and (data := await stream.read()):
        parts.append(data)
        size += len(data)
    return WireResponse(status=stream.status, headers=stream.headers, body=b"".join(parts))


async def _drop(opened: list[LiveStream | WireStream]) -> None:
    """Close what an opening that failed had opened; the outermost closes the inner."""
    if opened:
        last = opened[-1]
        await (last.abandon() if isinstance(last, LiveStream) else last.aclose())
