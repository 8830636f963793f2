"""What happened during one request, in order: the attempts, and how long each part waited for somebody else."""

from __future__ import annotations

from prefrontal.chat.usage import UNKNOWN_USAGE, Usage
from prefrontal.clock import Clock
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.lens import LENS_CALL
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.record import Attempt, Outcome
from prefrontal.contracts.wire import Dropped, WireRequest
from prefrontal.errors import PrefrontalError, ProviderError
from prefrontal.execute.retry import RetryClass


class Entry:
    """One attempt being written; times are milliseconds from the request's arrival."""

    def __init__(self, card: ModelCard, started_ms: float, number: int = 0) -> None:
        self.card = card
        self.number = number
        self.hedge = False
        self.lost = False
        self.started_ms = started_ms
        self.ended_ms = started_ms
        self.first_token_ms: float | None = None
        self.queued_ms = 0.0
        self.fields: EffortFields | None = None
        self.dropped: tuple[Dropped, ...] = ()
        self.outcome = "open"
        self.mark: str | None = None
        self.reason: str | None = None
        self.method: str | None = None
        self.error: PrefrontalError | None = None
        self.retry: RetryClass | None = None
        self.finish_reason: str | None = None
        self.usage = UNKNOWN_USAGE
        self.cost_usd: float | None = None
        self.upstream_request_id: str | None = None
        self.response_model: str | None = None
        self.chunks = 0

    def rendered(self, fields: EffortFields, wire: WireRequest) -> None:
        """Note what was sent for effort and what was left out."""
        self.fields = fields
        if fields.remove or fields.notes or wire.dropped:
            self.dropped = (*wire.dropped, *fields.remove, *fields.notes)

    def frozen(self) -> Attempt:
        """Return the attempt as it goes into the record."""
        error, fields = self.error, self.fields
        upstream = error if isinstance(error, ProviderError) else None
        return Attempt(
            model=self.card.id,
            provider=self.card.provider or self.card.profile,
            deployment=self.card.deployment,
            reason=self.reason,
            form_method=self.method,
            hedge=self.hedge,
            started_ms=round(self.started_ms, 3),
            first_token_ms=None if self.first_token_ms is None else round(self.first_token_ms, 3),
            ended_ms=round(self.ended_ms, 3),
            queued_ms=round(self.queued_ms, 3),
            outcome=_outcome(self),
            error_code=error.code if error else self.mark,
            error=error.message if error else None,
            upstream_status=upstream.upstream_status if upstream else None,
            upstream_request_id=(upstream.upstream_request_id if upstream else None) or self.upstream_request_id,
            retry_class=self.retry.kind if self.retry else None,
            finish_reason=self.finish_reason,
            response_model=self.response_model,
            chunks=self.chunks or None,
            effort_dialect=fields.dialect if fields else None,
            effort_fields=fields.fields or None if fields else None,
            usage=self.usage,
            cost_usd=self.cost_usd,
            dropped=self.dropped,
        )


def _outcome(entry: Entry) -> Outcome:
    if entry.lost and entry.error is None:
        return "hedge_lost"  # also one that had answered in the same moment
    return "ok" if entry.outcome == "ok" else "cancelled" if entry.outcome == "cancelled" else "error"


class Journal:
    """The attempts of one request. `waited_s` adds up the time that was not ours: upstream and queues."""

    def __init__(self, clock: Clock, arrived: float | None = None) -> None:
        self.clock = clock
        self.arrived = clock.monotonic() if arrived is None else arrived
        self.entries: list[Entry] = []
        self.waited_s = 0.0

    def elapsed_ms(self) -> float:
        """Return milliseconds since arrival."""
        return (self.clock.monotonic() - self.arrived) * 1000.0

    def begin(self, card: ModelCard) -> Entry:
        """Open an entry for an attempt that starts now."""
        entry = Entry(card, self.elapsed_ms(), len(self.entries))
        self.entries.append(entry)
        return entry

    def of(self, error: PrefrontalError) -> Entry | None:
        """Return the attempt that ended with this error."""
        return next((entry for entry in reversed(self.entries) if entry.error is error), None)

    def refuse(self, card: ModelCard, error: PrefrontalError) -> None:
        """Note an attempt that ended before it began."""
        entry = self.begin(card)
        entry.error, entry.outcome = error, "error"

    def classified(self, error: PrefrontalError, retry: RetryClass) -> None:
        """Note what the failure of an attempt meant."""
        for entry in reversed(self.entries):
            if entry.error is error:
                entry.retry = retry
                return

    def branch(self) -> Branch:
        """Return a journal for one of two attempts that run beside each other: it writes here, and counts its own waiting."""
        return Branch(self)

    def last(self) -> Entry | None:
        """Return the latest attempt at the answer itself that was not given up for another one."""
        return next((entry for entry in reversed(self.entries) if not entry.lost and entry.reason != LENS_CALL), None)

    def attempts(self) -> tuple[Attempt, ...]:
        """Return all attempts, frozen."""
        return tuple([entry.frozen() for entry in self.entries])

    def usage(self) -> Usage:
        """Return the tokens of all attempts together; an attempt that used none does not weaken the source."""
        counted = [e.usage for e in self.entries if e.usage is not UNKNOWN_USAGE]
        if len(counted) == 1:
            return counted[0]
        total = UNKNOWN_USAGE
        for number, usage in enumerate(counted):
            total = usage if number == 0 else total.plus(usage)
        return total

    def cost_usd(self) -> float | None:
        """Return the cost of all attempts that used tokens; None when one of them has no known price."""
        total = 0.0
        for entry in self.entries:
            if entry.usage is UNKNOWN_USAGE and entry.outcome != "ok":
                continue
            if entry.cost_usd is None:
                return None
            total += entry.cost_usd
        return total


class Branch(Journal):
    """The journal of one of several attempts at the same time."""

    def __init__(self, trunk: Journal) -> None:
        super().__init__(trunk.clock, trunk.arrived)
        self.entries = trunk.entries
        self.own: list[Entry] = []
        self.started = trunk.clock.monotonic()

    def begin(self, card: ModelCard) -> Entry:
        """Open an entry for an attempt that starts now, in the order of all attempts."""
        entry = super().begin(card)
        self.own.append(entry)
        return entry
