"""Prometheus metrics. Labels are bounded: models come from the registry, never from what a client wrote."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sized
from itertools import accumulate
from typing import Any

from prefrontal.app.library import Prefrontal
from prefrontal.chat.usage import Usage
from prefrontal.contracts.cache import CacheNote
from prefrontal.contracts.record import RequestRecord
from prefrontal.contracts.verdict import Validation
from prefrontal.errors import PrefrontalError
from prefrontal.serve.gauges import Gauges

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Buckets for answers: from a reflex to ten minutes of thinking."""

OVERHEAD_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
"""Buckets for the time that is ours."""

NO_MODEL = "none"

OTHER = "other"
MOST_SERIES = 2000
"""Series of one family (assumed: hundreds of models). Models that are named as ``provider/model`` without being configured are as
many as clients think of."""


class Metrics:
    """One process's metrics, in a registry of its own. `observe` is called for each finished request.

    Requests only add to plain numbers; families are made of them when somebody scrapes. Counting through the client library costs
    four times as much (measured: 6 µs a request against 1.5), and there are a thousand requests to a scrape.
    """

    def __init__(self, pf: Prefrontal) -> None:
        from prometheus_client import CollectorRegistry

        self._requests = Counts("prefrontal_requests", "Finished requests.", ("model", "status", "answered_by"))
        self._duration = Spread(
            "prefrontal_request_duration_seconds", "From arrival to the end of the answer.", ("model",), SECONDS
        )
        self._first_token = Spread(
            "prefrontal_time_to_first_token_seconds", "From arrival to the first token.", ("model",), SECONDS
        )
        self._overhead = Spread(
            "prefrontal_overhead_seconds", "Time of a request that was not spent waiting for an upstream.", (), OVERHEAD_SECONDS
        )
        self._tokens = Counts("prefrontal_tokens", "Tokens.", ("model", "type"))
        self._cost = Counts("prefrontal_cost_usd", "Known cost in USD.", ("model",))
        self._attempts = Counts("prefrontal_attempts", "Calls to upstreams.", ("model", "outcome", "code"))
        self._errors = Counts("prefrontal_errors", "Errors answered to clients.", ("code",))
        self._queued = Spread("prefrontal_queue_wait_seconds", "Wait of calls that found no free place.", ("model",), SECONDS)
        task = ("model", "task_type")
        self._task_requests = Counts("prefrontal_task_requests", "Assessed requests, by their end.", (*task, "status"))
        self._task_duration = Means("prefrontal_task_duration_seconds", "Assessed requests that went well.", task)
        form = ("model", "method", "outcome")
        self._forms = Counts("prefrontal_structured_outputs", "Answers held to a form, by how it was told and what came.", form)
        self._task_cost = Counts("prefrontal_task_cost_usd", "Known cost of assessed requests in USD.", task)
        place = ("model", "deployment", "outcome")
        self._places = Counts("prefrontal_deployment_attempts", "Calls to deployments of models that have several.", place)
        self._hedges = Counts("prefrontal_hedges", "Second attempts beside slow first ones, by their end.", ("model", "outcome"))
        self._shed = Counts("prefrontal_shed", "Requests refused for want of room.", ("reason", "priority"))
        self._admission = Spread("prefrontal_admission_wait_seconds", "Wait of requests to be let in.", ("priority",), SECONDS)
        self._cache = Counts("prefrontal_cache_requests", "Requests the response cache had to do with.", ("status",))
        self._saved = Counts("prefrontal_cache_saved_usd", "Known cost of the calls that were not made again.", ("model",))
        self.registry = CollectorRegistry()
        for part in (
            *(self._requests, self._duration, self._first_token, self._overhead),
            *(self._tokens, self._cost, self._attempts, self._errors, self._queued),
            *(self._places, self._hedges, self._shed, self._admission),
            *(self._cache, self._saved),
            *(self._forms, self._task_requests, self._task_duration, self._task_cost, Gauges(pf)),
        ):
            self.registry.register(part)

    def observe(self, record: RequestRecord) -> None:
        """Count a finished request."""
        model = record.model or NO_MODEL
        self._requests.add((model, record.status, record.answered_by))
        self._duration.add((model,), record.duration_ms / 1000.0)
        self._overhead.add((), record.overhead_ms / 1000.0)
        if record.first_token_ms is not None:
            self._first_token.add((model,), record.first_token_ms / 1000.0)
        if record.cache is not None:
            self._observe_cache(record.cache, model)
        if record.answered_by != "cache":  # its tokens were used once, by the call that was made
            self._observe_usage(record.usage, model)
        if record.cost_usd:
            self._cost.add((model,), record.cost_usd)
        for attempt in record.attempts:
            self._attempts.add((attempt.model, attempt.outcome, attempt.error_code or ""))
            if attempt.queued_ms:
                self._queued.add((attempt.model,), attempt.queued_ms / 1000.0)
            if attempt.deployment is not None:
                self._places.add((attempt.model, attempt.deployment, attempt.outcome))
            if attempt.hedge:
                self._hedges.add((attempt.model, "lost" if attempt.outcome == "hedge_lost" else attempt.outcome))
        if record.shed is not None:
            self._shed.add((record.shed, record.priority))
        if record.admission_ms:
            self._admission.add((record.priority,), record.admission_ms / 1000.0)
        self._observe_task(record, model)

    def _observe_cache(self, note: CacheNote, model: str) -> None:
        self._cache.add((note.status,))
        if note.saved_usd:
            self._saved.add((model,), note.saved_usd)

    def _observe_usage(self, usage: Usage, model: str) -> None:
        if usage.uncached_input_tokens:
            self._tokens.add((model, "input"), usage.uncached_input_tokens)
        if usage.cache_read_tokens:
            self._tokens.add((model, "cached_input"), usage.cache_read_tokens)
        if usage.output_tokens:
            self._tokens.add((model, "output"), usage.output_tokens)

    def _observe_task(self, record: RequestRecord, model: str) -> None:
        """Count for a model and a task type: so many, so long, so dear, ten task types at most; and what a form came to."""
        if record.validation is not None:
            self._forms.add((model, record.validation.method or "", outcome_of(record.validation)))
        if record.assessment is None:
            return
        labels = (model, record.assessment.task_type)
        self._task_requests.add((*labels, record.status))
        if record.status == "ok":
            self._task_duration.add(labels, record.duration_ms / 1000.0)
        if record.cost_usd:
            self._task_cost.add(labels, record.cost_usd)

    def error(self, error: PrefrontalError) -> None:
        """Count an error answered to a client."""
        self._errors.add((error.code,))

    def render(self) -> bytes:
        """Return the text exposition."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)


def outcome_of(validation: Validation) -> str:
    """Return how an answer came to hold, or that it does not."""
    if not validation.passed:
        return "invalid"
    if validation.escalations:
        return "escalated"
    return "repaired" if validation.repairs else "mended" if validation.mended else "valid"


def bounded(labels: tuple[str, ...], known: Sized) -> tuple[str, ...]:
    """Return new labels, or those of all that came too late: a family has at most `MOST_SERIES` series and one more."""
    return labels if len(known) < MOST_SERIES else (OTHER,) * len(labels)


class Counts:
    """A counter by labels. Owned by one event loop."""

    __slots__ = ("_help", "_labels", "_name", "_values")

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._name, self._help, self._labels = name, text, labels
        self._values: dict[tuple[str, ...], float] = {}

    def add(self, labels: tuple[str, ...], amount: float = 1.0) -> None:
        """Count up."""
        value = self._values.get(labels)
        if value is None:
            labels = bounded(labels, self._values)
            value = self._values.get(labels, 0.0)
        self._values[labels] = value + amount

    def collect(self) -> Iterable[Any]:
        """Yield the family."""
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


class Means:
    """A sum and a count by labels, for a mean. Owned by one event loop."""

    __slots__ = ("_help", "_labels", "_name", "_values")

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._name, self._help, self._labels = name, text, labels
        self._values: dict[tuple[str, ...], tuple[int, float]] = {}

    def add(self, labels: tuple[str, ...], value: float) -> None:
        """Count a value."""
        if labels not in self._values:
            labels = bounded(labels, self._values)
        count, total = self._values.get(labels, (0, 0.0))
        self._values[labels] = (count + 1, total + value)

    def collect(self) -> Iterable[Any]:
        """Yield the family."""
        from prometheus_client.core import SummaryMetricFamily

        family = SummaryMetricFamily(self._name, self._help, labels=self._labels)
        for labels, (count, total) in self._values.items():
            family.add_metric(labels, count, total)
        yield family


class Spread:
    """A histogram by labels; `bounds` rise, and the last bucket is without end. Owned by one event loop."""

    __slots__ = ("_bounds", "_help", "_labels", "_name", "_sums", "_values")

    def __init__(self, name: str, text: str, labels: tuple[str, ...], bounds: tuple[float, ...]) -> None:
        self._name, self._help, self._labels, self._bounds = name, text, labels, bounds
        self._values: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def add(self, labels: tuple[str, ...], value: float) -> None:
        """Count a value into its bucket."""
        buckets = self._values.get(labels)
        if buckets is None:
            labels = bounded(labels, self._values)
            buckets = self._values.setdefault(labels, [0] * (len(self._bounds) + 1))
        buckets[bisect_left(self._bounds, value)] += 1
        self._sums[labels] = self._sums.get(labels, 0.0) + value

    def collect(self) -> Iterable[Any]:
        """Yield the family; each bucket counts all values up to its bound."""
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        names = [*map(repr, self._bounds), "+Inf"]
        for labels, counts in self._values.items():
            family.add_metric(labels, list(zip(names, accumulate(counts), strict=True)), self._sums[labels])
        yield family
