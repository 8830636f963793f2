"""One attempt: a slot, an engine, the wire, the answer, the settlement. Each ends in exactly one entry of the journal."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack

import msgspec

from prefrontal.chat.collect import Collector
from prefrontal.chat.embeddings import EmbeddingsResponse
from prefrontal.chat.response import ChatResponse
from prefrontal.chat.usage import Usage
from prefrontal.clock import Clock
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import (
    NoModelAvailable,
    PrefrontalError,
    ProviderCut,
    ProviderTimeout,
    ProviderUnreachable,
    ThinkingAteCap,
)
from prefrontal.execute.call import Call
from prefrontal.execute.exchange import Embedding, Exchange, Exchanged
from prefrontal.execute.guarded import error_body, guarded, upstream_error
from prefrontal.execute.journal import Journal
from prefrontal.execute.lease import ENGINE_API, Engines, LeasedStream
from prefrontal.execute.live import LiveStream
from prefrontal.execute.media import MediaFetcher
from prefrontal.execute.opening import (
    answer_length,
    ended_thinking,
    hold_opening,
    thinking_ate_cap,
    thinking_ate_cap_chunks,
    thinks,
)
from prefrontal.execute.relief import Relief, Try
from prefrontal.execute.runtime import Runtime
from prefrontal.execute.scrub import scrub
from prefrontal.execute.shapes import Shapes
from prefrontal.execute.ticket import Desk, Ticket
from prefrontal.execute.transport.base import Timeouts, Transport, WireStream
from prefrontal.execute.trust import tls_of
from prefrontal.plan.parking import paced_by
from prefrontal.providers.base import Provider, Target
from prefrontal.providers.effort import Dialects
from prefrontal.providers.profile import Profile
from prefrontal.providers.registry import Providers
from prefrontal.providers.structured import plain, plain_parser

__all__ = ["Attempter", "Engines", "Try"]

log = logging.getLogger(__name__)

HTTP_NOT_OK = 300
"""From this status on an answer is an error: redirects are not followed."""


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
        fetcher: MediaFetcher | None = None,
    ) -> None:
        self.transport = transport
        self.providers = providers
        self.profiles = profiles
        self.clock = clock
        self.runtime = runtime
        self.engines = engines
        self.fetcher = fetcher
        self.relief = Relief(dialects=dialects, runtime=runtime)
        self.shapes = Shapes(runtime=runtime, profiles=profiles, clock=clock)
        self._desk = Desk(runtime=runtime, clock=clock)

    # -- whole answers -----------------------------------------------------------------------------------------------

    async def complete(self, call: Call, attempt: Try, journal: Journal) -> ChatResponse:
        """Ask once and return the whole answer. Raises PrefrontalError; the attempt is settled either way."""
        fields = self.relief.fields(call, attempt)
        if fields.stream_only:
            return await self._collected(call, attempt, journal)
        card = attempt.card
        ticket = await self._desk.enter(call, card, journal)
        try:
            if card.base_url is None:
                async with AsyncExitStack() as lease:
                    target = await self._leased(ticket, lease)
                    answer = await self._exchange(ticket, attempt, fields, target)
            else:
                answer = await self._exchange(ticket, attempt, fields, self._target(card))
        except PrefrontalError as error:
            usage = error.details.get("usage") if isinstance(error, ThinkingAteCap) else None
            self._desk.settle(ticket, error=_named(error, card), usage=usage)
            raise
        except BaseException:
            self._desk.settle(ticket, cancelled=True)
            raise
        usage = self._desk.known_usage(ticket, answer.usage, answer_length(answer))
        self._desk.settle(ticket, usage=usage)
        return answer if usage is answer.usage else msgspec.structs.replace(answer, usage=usage)

    async def _exchange(self, ticket: Ticket, attempt: Try, fields: EffortFields, target: Target) -> ChatResponse:
        """Send the request and read the whole answer."""
        entry, provider = ticket.entry, self._provider(target)
        wire = await self._rendered(ticket, target, fields, stream=False)
        reply = await self._send(wire, ticket)
        self._pace(target, reply.headers)
        entry.upstream_request_id = _request_id(reply.headers)
        if reply.status >= HTTP_NOT_OK:
            raise upstream_error(provider, reply, target)
        answer = plain(guarded("The answer", target.card.id, provider.parse_chat, reply, target), entry.method)
        entry.response_model = answer.model or None
        if answer.choices:
            entry.finish_reason = answer.choices[0].finish_reason
        if thinking_ate_cap(answer, thinks(attempt.card, fields, answer.usage)):
            self._ate_cap(ticket, attempt, answer.usage)
        return answer

    async def _collected(self, call: Call, attempt: Try, journal: Journal) -> ChatResponse:
        """Return the whole answer of a model that only streams. Nothing was shown, so every failure may still be mended."""
        collector = Collector()
        live = await self.open(call, attempt, journal)
        try:
            while chunks := await live.read():
                for chunk in chunks:
                    collector.add(chunk)
        finally:
            await live.aclose()
        entry = live.entry
        answer = msgspec.structs.replace(collector.response(), usage=entry.usage)
        if entry.fields is not None and thinking_ate_cap(answer, thinks(attempt.card, entry.fields, answer.usage)):
            error = _cap_eaten(attempt.card, entry.usage)
            entry.mark = error.code
            if self.relief.after(call, attempt, error) is not None:
                entry.error, entry.outcome = error, "error"
                raise error
        return answer

    async def embed(self, call: Call, attempt: Try, journal: Journal) -> EmbeddingsResponse:
        """Ask once for embeddings. Raises PrefrontalError; the attempt is settled either way."""
        assert call.embeddings is not None
        done = await self._once(Embedding(call.embeddings), call, attempt, journal)
        answer: EmbeddingsResponse = msgspec.structs.replace(done.answer, usage=done.usage)
        return answer

    async def exchange(self, call: Call, attempt: Try, journal: Journal) -> Exchanged:
        """Ask once for what `call.exchange` says. Raises PrefrontalError; the attempt is settled either way."""
        assert call.exchange is not None
        return await self._once(call.exchange, call, attempt, journal)

    async def _once(self, exchange: Exchange, call: Call, attempt: Try, journal: Journal) -> Exchanged:
        card = attempt.card
        ticket = await self._desk.enter(call, card, journal)
        try:
            async with AsyncExitStack() as lease:
                target = self._target(card) if card.base_url is not None else await self._leased(ticket, lease)
                provider = self._provider(target)
                reply = await self._send(guarded("The request", card.id, exchange.render, provider, target), ticket)
                if reply.status >= HTTP_NOT_OK:
                    raise exchange.refused(provider, reply, target)
                done = guarded("The answer", card.id, exchange.parse, provider, reply, target)
                ticket.entry.response_model = done.model
        except PrefrontalError as error:
            self._desk.settle(ticket, error=_named(error, card))
            raise
        except BaseException:
            self._desk.settle(ticket, cancelled=True)
            raise
        usage = self._desk.known_usage(ticket, done.usage, 0)
        self._desk.settle(ticket, usage=usage)
        return msgspec.structs.replace(done, usage=usage)

    async def _send(self, wire: WireRequest, ticket: Ticket) -> WireResponse:
        wire = self._timed(_traced(wire, ticket), ticket)
        card = ticket.entry.card
        before = self.clock.monotonic()
        ticket.sent = True
        try:
            return await self.transport.send(wire, self._timeouts(ticket.call, card, whole=True), tls=tls_of(card))
        finally:
            ticket.journal.waited_s += self.clock.monotonic() - before

    # -- streams -----------------------------------------------------------------------------------------------------

    async def open(self, call: Call, attempt: Try, journal: Journal) -> LiveStream:
        """Ask once for a stream; return when its first token is there or it has ended. Raises PrefrontalError."""
        card = attempt.card
        ticket = await self._desk.enter(call, card, journal)
        opened: list[LiveStream | WireStream] = []
        try:
            async with self.clock.timeout(call.remaining_s(self.clock.monotonic(), call.limits.timeouts.first_token_s)):
                return await self._opened(ticket, attempt, opened)
        except TimeoutError as error:
            text = f"Model '{card.id}' sent no token in time."
            late = ProviderTimeout(text, details={"stage": "first_token"})
            self._desk.settle(ticket, error=_named(late, card), usage=_usage_of(opened))
            await _drop(opened)
            raise late from error
        except PrefrontalError as error:
            self._desk.settle(ticket, error=_named(error, card), usage=_usage_of(opened))
            await _drop(opened)
            raise
        except BaseException:
            self._desk.settle(ticket, cancelled=True, usage=_usage_of(opened))
            await _drop(opened)
            raise

    async def _opened(self, ticket: Ticket, attempt: Try, opened: list[LiveStream | WireStream]) -> LiveStream:
        """Open the stream and hold its opening; what has to be closed on the way is put into `opened`."""
        call, card, entry = ticket.call, attempt.card, ticket.entry
        fields = self.relief.fields(call, attempt)
        stream, target = await self._stream(ticket, fields)
        opened.append(stream)
        self._pace(target, stream.headers)
        entry.upstream_request_id = _request_id(stream.headers)
        provider = self._provider(target)
        if stream.status >= HTTP_NOT_OK:
            raise upstream_error(provider, await error_body(stream), target)
        live = LiveStream(
            stream=stream,
            parser=plain_parser(guarded("The answer", card.id, provider.stream_parser, target), entry.method),
            entry=entry,
            journal=ticket.journal,
            clock=self.clock,
            settle=lambda done, error, left: self._settle(ticket, done, error, left=left),
            deadline=call.deadline,
        )
        opened.append(live)
        held = await hold_opening(live, call.limits.opening)
        if thinking_ate_cap_chunks(held, live, thinks(card, fields, live.usage)):
            self._ate_cap(ticket, attempt, live.usage)
        live.held = held
        return live

    async def _stream(self, ticket: Ticket, fields: EffortFields) -> tuple[WireStream, Target]:
        """Send the request; return the stream, which holds the lease of a local engine, and where it comes from."""
        call, card = ticket.call, ticket.entry.card
        async with AsyncExitStack() as lease:
            target = self._target(card) if card.base_url is not None else await self._leased(ticket, lease)
            wire = self._timed(_traced(await self._rendered(ticket, target, fields, stream=True), ticket), ticket)
            before = self.clock.monotonic()
            ticket.sent = True
            try:
                stream = await self.transport.open(wire, self._timeouts(call, card, whole=False), tls=tls_of(card))
            finally:
                ticket.journal.waited_s += self.clock.monotonic() - before
            if card.base_url is None:
                stream = LeasedStream(stream, lease.pop_all())
        return stream, target

    def _settle(self, ticket: Ticket, live: LiveStream, error: PrefrontalError | None, *, left: bool) -> None:
        if ticket.settled:
            return
        if error is not None:
            _named(error, live.entry.card)
        elif not left and ended_thinking(live, ticket.call.request):
            ticket.entry.mark = ThinkingAteCap.code  # what was shown of it cannot be taken back
        usage = self._desk.known_usage(ticket, live.usage, live.characters)
        self._desk.settle(ticket, error=error, cancelled=left, usage=usage)

    # -- both --------------------------------------------------------------------------------------------------------

    def _ate_cap(self, ticket: Ticket, attempt: Try, usage: Usage | None) -> None:
        """Raise ThinkingAteCap when asking again can help; else mark the attempt and let the answer pass as it is."""
        error = _cap_eaten(attempt.card, usage)
        if self.relief.after(ticket.call, attempt, error) is not None:
            raise error
        ticket.entry.mark = error.code

    async def _rendered(self, ticket: Ticket, target: Target, fields: EffortFields, *, stream: bool) -> WireRequest:
        """Return the request as this model's engine may have and understands it; see `Fetcher.inlined`, `Shapes`."""
        call, entry, provider = ticket.call, ticket.entry, self._provider(target)
        request = call.request
        if self.fetcher is not None:
            request = await self.fetcher.inlined(request, target.card, target.profile, call.reach, call.fetched)
        if request.response_format is not None:
            request, target = self.shapes.told(request, target, entry)
        wire = guarded("The request", target.card.id, provider.render_chat, request, target, fields, stream=stream)
        entry.rendered(fields, wire)
        return wire

    def _timed(self, wire: WireRequest, ticket: Ticket) -> WireRequest:
        """Return the request with the time that is left of the caller's, for upstreams that take it."""
        deadline = ticket.call.deadline
        header = None if deadline is None else self.profiles[ticket.entry.card.profile].deadline_header
        if deadline is None or header is None:
            return wire
        left_ms = max(1, int((deadline - self.clock.monotonic()) * 1000))
        return msgspec.structs.replace(wire, headers=(*wire.headers, (header, str(left_ms))))

    def _pace(self, target: Target, headers: Mapping[str, str]) -> None:
        """Let a deployment rest whose upstream says that nothing is left for now, before it has to refuse."""
        prefix = target.profile.rate_limit_headers
        if prefix is not None and target.card.deployment is not None:
            parked = paced_by(headers, prefix, self.clock.monotonic())
            if parked is not None:
                self.runtime.parking.park(target.card, parked)

    def _target(self, card: ModelCard) -> Target:
        return Target(card=card, profile=self.profiles[card.profile], base_url=card.base_url or "")

    def _provider(self, target: Target) -> Provider:
        return self.providers.for_profile(target.profile)

    async def _leased(self, ticket: Ticket, lease: AsyncExitStack) -> Target:
        """Return the target with the address of the model's own engine, started when needed."""
        card = ticket.entry.card
        if self.engines is None or card.local_path is None:
            raise NoModelAvailable(f"Model '{card.id}' has neither an endpoint nor a local file.")
        before = self.clock.monotonic()
        try:
            async with self.clock.timeout(ticket.call.remaining_s(before, None)):
                base_url = await lease.enter_async_context(self.engines.lease(card.id))
        except TimeoutError as error:
            text = f"The engine of model '{card.id}' was not ready in time."
            raise ProviderTimeout(text, details={"stage": "connect"}) from error
        finally:
            ticket.journal.waited_s += self.clock.monotonic() - before
        return msgspec.structs.replace(self._target(card), base_url=base_url + ENGINE_API)

    def _timeouts(self, call: Call, card: ModelCard, *, whole: bool) -> Timeouts:
        """Return the transport's limits. The first token is timed here, because an engine's start and its queue count as well.

        A stream that goes on sending tokens is healthy however long it takes: only a model's own limit or the caller's ends it.
        """
        limits = call.limits.timeouts
        longest_s = card.timeout_s or (limits.total_s if whole else None)
        total = call.remaining_s(self.clock.monotonic(), longest_s)
        between = None if whole else limits.between_tokens_s
        return Timeouts(connect_s=limits.connect_s, first_byte_s=None, between_s=between, total_s=total)


def _cap_eaten(card: ModelCard, usage: Usage | None) -> ThinkingAteCap:
    return ThinkingAteCap(f"Model '{card.id}' spent its output cap on thinking.", model=card.id, details={"usage": usage})


def _named(error: PrefrontalError, card: ModelCard) -> PrefrontalError:
    """Write the model's name into an error that does not know it yet; an engine of ours is told by it, not by its address."""
    if card.base_url is None and isinstance(error, ProviderCut | ProviderUnreachable) and "reason" in error.details:
        error.message, error.hint = f"The engine of '{card.id}' ended unexpectedly.", None
    scrub(error, card)
    if getattr(error, "model", "") is None:
        error.model = card.id  # type: ignore[attr-defined]  # only ProviderError has it, and getattr found it
        error.provider = card.provider or card.profile  # type: ignore[attr-defined]  # same
    return error


def _traced(wire: WireRequest, ticket: Ticket) -> WireRequest:
    """Return the request with where it may go, and with the headers that make what the upstream does part of a trace."""
    trace, reach = ticket.call.trace, ticket.call.reach
    if reach is not None:
        wire = msgspec.structs.replace(wire, reach=reach)
    if trace is None:
        return wire
    return msgspec.structs.replace(wire, headers=(*wire.headers, *trace.headers(ticket.entry.number + 1)))


def _request_id(headers: Mapping[str, str]) -> str | None:
    return headers.get("x-request-id") or headers.get("request-id")


def _usage_of(opened: list[LiveStream | WireStream]) -> Usage | None:
    last = opened[-1] if opened else None
    return last.usage if isinstance(last, LiveStream) else None


async def _drop(opened: list[LiveStream | WireStream]) -> None:
    """Close what an opening that failed had opened; the outermost closes the inner."""
    if opened:
        last = opened[-1]
        await (last.abandon() if isinstance(last, LiveStream) else last.aclose())
