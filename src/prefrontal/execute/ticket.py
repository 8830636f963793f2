"""The way into a model and out again: breaker, slot, queue, and the settlement that every attempt gets exactly once."""

from __future__ import annotations

from prefrontal.chat.usage import Usage
from prefrontal.clock import Clock
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.money import to_pico
from prefrontal.errors import PrefrontalError, ProviderCut, ProviderOverloaded, ProviderTimeout
from prefrontal.execute import breaker
from prefrontal.execute.breaker import BreakerPolicy
from prefrontal.execute.call import Call
from prefrontal.execute.journal import Entry, Journal
from prefrontal.execute.retry import classify
from prefrontal.execute.runtime import ModelState, Runtime
from prefrontal.ledger.purse import Purse
from prefrontal.ledger.reservation import Reservation
from prefrontal.plan.cost import cost_usd
from prefrontal.plan.parking import parked_by
from prefrontal.plan.reserve import reserved
from prefrontal.plan.tokens import estimate_length, estimate_request

LEARN_FIRST, LEARN_EVERY = 32, 16
"""Token estimates learn from the first reports of a model and then from a sample: estimating costs time (assumed)."""

HTTP_NOT_OK = 300
"""From this status on an answer is an error, for which nobody pays."""

MARGIN_S = 60.0
"""How much longer than a call may take its reservation holds (assumed); a stream beyond that is corrected at its end."""


class Ticket:
    """One attempt on its way through a model.

    `seated`: it holds a slot. `sent`: the upstream has been asked. `settled`: its entry is closed and its slot is free. `turn`:
    which of the model's calls it is, counted from 1.
    """

    __slots__ = ("call", "entry", "journal", "reservation", "seated", "sent", "settled", "state", "trial", "turn")

    def __init__(self, call: Call, state: ModelState, entry: Entry, journal: Journal) -> None:
        self.call = call
        self.state = state
        self.entry = entry
        self.journal = journal
        self.seated = False
        self.sent = False
        self.settled = False
        self.trial = False
        self.turn = 0
        self.reservation: Reservation | None = None


class Desk:
    """Gives out tickets and settles them. All of its state is in the runtime."""

    def __init__(self, *, runtime: Runtime, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock

    async def enter(self, call: Call, card: ModelCard, journal: Journal) -> Ticket:
        """Return a ticket that holds a slot, waiting in the model's queue if need be, and the money for the call.

        Raises:
            ProviderOverloaded: the breaker keeps requests away. LimitExceeded: the queue is full, or a limit is reached.
            QuotaExceeded: a budget is used up. ProviderTimeout: no slot came free in time. In each case, and when cancelled,
            the attempt is settled and no slot is held.
        """
        state = self._runtime.state(card)
        ticket = Ticket(call, state, journal.begin(card), journal)
        ticket.entry.reason = call.reason
        self._check_breaker(ticket, card)
        if not state.slots.try_take():
            await self._queue(ticket)
        ticket.seated = True
        if state.breaker.opened_at is not None:
            self._check_breaker(ticket, card)  # it may have opened, or sent out its one trial, while this one waited
            state.breaker = breaker.started(state.breaker)
            ticket.trial = True
        state.calls += 1
        ticket.turn = state.calls
        if call.purse is not None:
            await self._reserve(ticket, call.purse)
        return ticket

    def settle(
        self, ticket: Ticket, *, error: PrefrontalError | None = None, cancelled: bool = False, usage: Usage | None = None
    ) -> None:
        """Free the slot, close the entry, and tell the breaker how it ended. A second call does nothing."""
        if ticket.settled:
            return
        ticket.settled = True
        if ticket.seated:
            ticket.state.slots.release()
        entry = ticket.entry
        entry.ended_ms = ticket.journal.elapsed_ms()
        entry.error = error
        given_up = "hedge_lost" if entry.lost else "cancelled"
        entry.outcome = "error" if error is not None else given_up if cancelled else "ok"
        if usage is None and ticket.sent and (cancelled or _had_begun(error)):
            usage = self.known_usage(ticket, None, 0)  # the upstream was at work for a client that left, or died over the answer
        if usage is not None:
            entry.usage = usage
            entry.cost_usd = cost_usd(entry.card, usage, self._clock.now())
            if ticket.call.exchange is not None and entry.cost_usd and entry.cost_usd > ticket.state.dearest_exchange_usd:
                ticket.state.dearest_exchange_usd = entry.cost_usd
        if ticket.reservation is not None:
            _pay(ticket, ticket.reservation)
        if ticket.seated:
            self._tell(ticket, error, cancelled=cancelled)

    def known_usage(self, ticket: Ticket, usage: Usage | None, characters: int) -> Usage:
        """Return the reported usage, and learn from it; without one, an estimate marked as such."""
        state, request = ticket.state, ticket.call.request
        if usage is not None and usage.source == "reported":
            if usage.input_tokens and (ticket.turn <= LEARN_FIRST or ticket.turn % LEARN_EVERY == 0):
                estimated = estimate_request(request, state.calibration)
                state.calibration = state.calibration.update(estimated, usage.input_tokens)
            return usage
        return Usage(
            uncached_input_tokens=estimate_request(request, state.calibration),
            output_tokens=estimate_length(characters, state.calibration),
            source="estimated",
        )

    def _check_breaker(self, ticket: Ticket, card: ModelCard) -> None:
        state, now = ticket.state, self._clock.monotonic()
        if breaker.admits(state.breaker, now):
            return
        error = ProviderOverloaded(
            f"Model '{card.id}' is left alone after repeated failures: {state.last_error or 'no reason noted'}",
            model=card.id,
            provider=card.provider or card.profile,
            should_retry=False,
            retry_after_s=round(breaker.reopens_in_s(state.breaker, now), 1),
        )
        if ticket.seated:
            state.slots.release()
            ticket.seated = False
        self.settle(ticket, error=error)
        raise error

    async def _reserve(self, ticket: Ticket, purse: Purse) -> None:
        """Hold what the call is expected to cost. Raises PrefrontalError; the attempt is settled then, no model is blamed."""
        call, card = ticket.call, ticket.entry.card
        usage, pico = reserved(
            call.request,
            card,
            self._clock.now(),
            default_cap=call.default_cap,
            embedding=call.embeddings is not None or call.exchange is not None,
            calibration=ticket.state.calibration,
        )
        if pico is not None and call.exchange is not None:
            pico = max(pico, to_pico(ticket.state.dearest_exchange_usd))
        times = call.limits.timeouts
        longest_s = max(card.timeout_s or 0.0, times.total_s) + times.first_token_s + MARGIN_S
        number = ticket.entry.number
        try:
            ticket.reservation = await purse.reserve(card.id, number=number, usage=usage, pico=pico, ttl_s=longest_s)
        except BaseException as error:
            ticket.state.slots.release()
            ticket.seated = False
            if ticket.trial:
                ticket.state.breaker = breaker.abandoned(ticket.state.breaker)
            refused = error if isinstance(error, PrefrontalError) else None
            self.settle(ticket, error=refused, cancelled=refused is None)
            raise

    async def _queue(self, ticket: Ticket) -> None:
        state, journal, call = ticket.state, ticket.journal, ticket.call
        before = self._clock.monotonic()
        try:
            async with self._clock.timeout(call.remaining_s(before, call.limits.timeouts.first_token_s)):
                back_s = max(1.0, round(state.queue_wait_ms() / 1000.0))
                await state.slots.take(retry_after_s=back_s, who=call.who, priority=call.priority)
        except PrefrontalError as error:
            self.settle(ticket, error=error)
            raise
        except TimeoutError as error:
            text = f"No place at model '{state.name}' became free in time."
            late = ProviderTimeout(text, model=state.name, details={"stage": "queue"})
            self.settle(ticket, error=late)
            raise late from error
        except BaseException:
            self.settle(ticket, cancelled=True)
            raise
        finally:
            waited = self._clock.monotonic() - before
            journal.waited_s += waited
            ticket.entry.queued_ms = waited * 1000.0

    def _tell(self, ticket: Ticket, error: PrefrontalError | None, *, cancelled: bool) -> None:
        """Let the model's state learn from the end of an attempt that held a slot."""
        state, entry = ticket.state, ticket.entry
        if entry.card.deployment is not None:
            self._tell_place(ticket, error)
        if error is None and not cancelled:
            state.breaker = breaker.succeeded(state.breaker)
            began = entry.started_ms + entry.queued_ms
            first = entry.first_token_ms
            state.observe(
                first_token_ms=None if first is None else first - began,
                duration_ms=entry.ended_ms - began,
                output_tokens=entry.usage.output_tokens,
            )
            return
        if error is not None:
            state.failures += 1
            state.last_error = error.message
            if classify(error).counts:
                limits = ticket.call.limits.breaker
                policy = BreakerPolicy(failures=limits.failures, window_s=limits.window_s, open_s=limits.open_s)
                state.breaker = breaker.failed(state.breaker, self._clock.monotonic(), policy, trial=ticket.trial)
                return
        if ticket.trial:
            state.breaker = breaker.abandoned(state.breaker)


    def _tell_place(self, ticket: Ticket, error: PrefrontalError | None) -> None:
        """Let balancing learn: how long there was nothing to read, also in vain, and whether the place or its key must rest."""
        entry, now = ticket.entry, self._clock.monotonic()
        seen_ms = entry.ended_ms if entry.first_token_ms is None else entry.first_token_ms
        if entry.first_token_ms is not None or error is None:  # a quick refusal must not look like a fast place
            ticket.state.peaked(seen_ms - entry.started_ms - entry.queued_ms, now)
        parked = None if error is None else parked_by(error, now)
        if parked is not None:
            self._runtime.parking.park(entry.card, parked)


def _had_begun(error: PrefrontalError | None) -> bool:
    """Return whether an upstream broke off an answer it had begun to give: what it did until then is on its bill."""
    return isinstance(error, ProviderCut) and 200 <= error.details.get("status", 0) < HTTP_NOT_OK


def _pay(ticket: Ticket, reservation: Reservation) -> None:
    """Settle what was held for an attempt that has ended, or give it back when nothing was used."""
    purse, entry = ticket.call.purse, ticket.entry
    if purse is None:
        return
    if entry.usage.source == "unknown":
        purse.release(reservation)
    else:
        purse.settle(reservation, entry.outcome, entry.usage, None if entry.cost_usd is None else to_pico(entry.cost_usd))
