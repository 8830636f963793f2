"""Questions about this gateway: requests, errors, cost, tokens, latency, models, health. Only for callers who may see it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from prefrontal.contracts.vitals import ModelCondition, Vitals
from prefrontal.reflex.phrasing import Grammar
from prefrontal.reflex.proposal import Proposal, ReflexAnswer, ReflexContext

HEALTH_CHANNEL = "system_health"
"""In this channel a bare "status" is a question about the gateway; elsewhere it could be about anything."""

DEFAULT_MINUTES = 60
"""The stretch of time when the question names none (assumed: what an operator looks at first)."""

MAX_MINUTES = 24 * 60
"""How far back the gateway's own counters reach."""


class GatewayMetrics(Protocol):
    """The gateway's own counters."""

    def window(self, minutes: int) -> Vitals:
        """Return what happened in the last `minutes`, in [1, 1440]."""
        ...

    def models(self) -> list[ModelCondition]:
        """Return the models that were used, as they are now."""
        ...


_GATEWAY = r"(?:the |this |our |my )?(?:gateway|prefrontal|proxy|router|server|service)"
_ASK = r"(?:(?:what(?:'s|s| is| was| were| are)?|show|give|tell|display|report|get) )?(?:me )?(?:the |our |my )?"
_OF = rf"(?: (?:of|on|for|at|by|in|through) {_GATEWAY})?"
_WHEN = (
    r"(?: (?:in |over |during |for |of |within )?(?:the )?(?:last|past) (?P<count>\d{1,4} )?"
    r"(?P<unit>minutes?|mins?|hours?|day)| (?P<today>today|so far today|since midnight)| (?P<now>now|right now|currently))?"
)
_DID = (
    rf"(?:has {_GATEWAY} (?:served|handled|answered|had|seen|received)"
    rf"|did {_GATEWAY} (?:serve|handle|answer|have|see|receive|get)"
    r"|have (?:we|you) (?:served|handled|answered|had)|were (?:there|made|served|handled)|are there|came in|have there been)"
)

_GRAMMAR = Grammar(
    {
        "requests": (
            rf"how many requests {_DID}{_WHEN}",
            rf"{_ASK}(?:request count|number of requests|request volume|traffic){_OF}{_WHEN}",
        ),
        "errors": (
            rf"how many (?:errors|failures|failed requests) {_DID}{_WHEN}",
            rf"how many requests (?:have )?failed{_OF}{_WHEN}",
            rf"{_ASK}(?:error rate|error count|number of errors|failure rate){_OF}{_WHEN}",
        ),
        "cost": (
            (
                rf"how much (?:money )?(?:have we|did we|has {_GATEWAY}|did {_GATEWAY}|have i) (?:spent|spend|cost)"
                rf"(?: on models| on llms)?{_WHEN}"
            ),
            rf"{_ASK}(?:gateway cost|model cost|model spend|llm spend|llm cost|api spend|gateway spend)s?{_OF}{_WHEN}",
        ),
        "tokens": (
            rf"how many tokens (?:have we used|did we use|has {_GATEWAY} used|did {_GATEWAY} use|were used){_WHEN}",
            rf"{_ASK}(?:token usage|token count|tokens used){_OF}{_WHEN}",
        ),
        "latency": (
            rf"{_ASK}(?:average |mean )?(?:gateway |request |response )?(?:latency|response time){_OF}{_WHEN}",
            rf"how (?:slow|fast) is {_GATEWAY}{_WHEN}",
        ),
        "models": (
            r"which models (?:are|were) (?:used|in use|busy|up|down|failing|resting)(?: now| right now| currently)?",
            rf"{_ASK}(?:model status|status of (?:the |our )?models|queue lengths?|queue){_OF}",
        ),
        "host_cpu": (
            rf"{_ASK}(?:average |mean |peak )?(?:cpu|cpu usage|cpu load|load)(?: usage)? (?:in|over|during|for) {{span:span}}",
        ),
        "host_memory": (rf"{_ASK}(?:average |mean |peak )?(?:memory|ram)(?: us(?:ag)?e)? (?:in|over|during|for) {{span:span}}",),
        "health": (
            rf"(?:is|are) {_GATEWAY} (?:ok|okay|healthy|up|alive|fine|working|running)(?: now| right now)?",
            rf"how (?:is|are) {_GATEWAY}(?: doing)?",
            rf"{_ASK}(?:health|status)(?: report| summary| check)? (?:of|for) {_GATEWAY}{_WHEN}",
            rf"{_ASK}(?:gateway|prefrontal) (?:health|status)(?: report| summary| check)?{_WHEN}",
        ),
    },
    {"span": r"(?:the )?(?:last|past) (?P<count>\d{1,4} )?(?P<unit>minutes?|mins?|hours?|day)"},
)
_SHORT = re.compile(
    r"(?:(?:system |current |overall )?(?:status|health)(?: report| summary| check)?|health ?check"
    r"|how are (?:you|things)(?: doing| going)?"
    r"|is everything (?:ok|okay|fine|alright|all right)|everything (?:ok|okay)|any (?:problems|errors|issues)(?: now| right now)?"
    r"|what(?:'s|s| is) (?:the )?(?:system )?(?:status|health))",
    re.IGNORECASE,
)
_OURSELVES = re.compile(r"\b(?:gateway|prefrontal)\b", re.IGNORECASE)
_HINTS = re.compile(
    r"gateway|prefrontal|proxy|router|server|service|requests|errors?|failures|spen[dt]|cost|tokens?|latency|models|cpu|memory|ram"
    r"|load|queue",
    re.IGNORECASE,
)


class Gateway:
    """The gateway's own figures over time, answered only where `context.allow_host` is set."""

    name = "gateway"
    description = "requests, errors, cost, tokens, latency and health of this gateway over time (loopback or admin callers only)"

    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics
        self._forms: dict[str, Callable[[Vitals, str], tuple[str, str] | None]] = {
            "requests": _requests,
            "errors": _errors,
            "cost": _cost,
            "tokens": _tokens,
            "latency": _latency,
            "host_cpu": _cpu,
            "host_memory": _memory,
        }

    def propose(self, text: str, context: ReflexContext) -> Proposal | None:
        """Return a proposal when the whole text asks for the gateway's own figures and the caller may see them."""
        if not context.allow_host:
            return None
        if context.channel != HEALTH_CHANNEL:
            if _OURSELVES.search(text) is None:
                return None  # "how many errors are there" may be about anything; only a question that names us is ours
        elif _SHORT.fullmatch(text):
            arguments: dict[str, object] = {"form": "health", "minutes": DEFAULT_MINUTES}
            return Proposal(tool=self.name, arguments=arguments, reason="asks how this gateway is")
        elif _HINTS.search(text) is None:
            return None
        found = _GRAMMAR.match(text)
        if found is None:
            return None
        form, parts = found
        minutes = minutes_of(parts, context.now_s)
        if minutes is None:
            return None
        return Proposal(
            tool=self.name,
            arguments={"form": form, "minutes": minutes},
            reason=f"asks for this gateway's {form.replace('_', ' ')}",
        )

    def answer(self, proposal: Proposal, context: ReflexContext) -> ReflexAnswer | None:
        """Return the figures; None when the caller may not see them or there are none yet."""
        if not context.allow_host:
            return None
        form, minutes = proposal.arguments["form"], proposal.arguments["minutes"]
        seen = self._metrics.window(minutes)
        when = spoken_span(minutes)
        if form == "models":
            result: tuple[str, str] | None = _models(self._metrics.models())
        elif form == "health":
            result = _health(seen, self._metrics.models(), when)
        else:
            result = self._forms[form](seen, when)
        if result is None:
            return None
        text = result[0]
        if seen.covered_minutes < minutes and form not in ("models", "health"):
            text += f" (This process has been up for {spoken_span(max(1, seen.covered_minutes))}.)"
        return ReflexAnswer(tool=self.name, text=text, value=result[1], arguments=proposal.arguments)


def minutes_of(parts: dict[str, str], now_s: float) -> int | None:
    """Return the stretch of time a question names, in minutes; None when it reaches further back than the counters."""
    if "today" in parts:
        return max(1, int(now_s % 86_400 // 60))
    unit = parts.get("unit")
    if unit is None:
        return DEFAULT_MINUTES
    count = int(parts.get("count", "1").strip() or 1)
    factor = 1 if unit.lower().startswith("min") else 60 if unit.lower().startswith("hour") else 24 * 60
    minutes = count * factor
    return minutes if 1 <= minutes <= MAX_MINUTES else None


def spoken_span(minutes: int) -> str:
    """Return minutes as people say them."""
    if minutes % 60 == 0 and minutes >= 60:
        hours = minutes // 60
        return "the last hour" if hours == 1 else f"the last {hours} hours"
    return "the last minute" if minutes == 1 else f"the last {minutes} minutes"


def _requests(seen: Vitals, when: str) -> tuple[str, str]:
    busiest = sorted(seen.by_model.items(), key=lambda item: -item[1])[:3]
    tail = f" Most went to {', '.join(f'{name} ({count})' for name, count in busiest)}." if busiest else ""
    text = f"{seen.requests} requests in {when}, {seen.without_model} of them answered without a model.{tail}"
    return text, str(seen.requests)


def _errors(seen: Vitals, when: str) -> tuple[str, str]:
    share = 100 * seen.errors / seen.requests if seen.requests else 0.0
    return f"{seen.errors} of {seen.requests} requests failed in {when} ({share:.1f}%); {seen.cancelled} were cancelled.", str(
        seen.errors
    )


def _cost(seen: Vitals, when: str) -> tuple[str, str]:
    unpriced = f" {seen.unpriced} requests went to models without a known price." if seen.unpriced else ""
    return f"${seen.cost_usd:.4f} was spent in {when}.{unpriced}", f"{seen.cost_usd:.6f}"


def _tokens(seen: Vitals, when: str) -> tuple[str, str]:
    total = seen.input_tokens + seen.output_tokens
    return f"{total} tokens in {when}: {seen.input_tokens} in, {seen.output_tokens} out.", str(total)


def _latency(seen: Vitals, when: str) -> tuple[str, str] | None:
    if seen.mean_ms is None:
        return None
    return f"Requests took {seen.mean_ms:.0f} ms on average in {when}.", f"{seen.mean_ms:.1f}"


def _cpu(seen: Vitals, when: str) -> tuple[str, str] | None:
    if seen.cpu_mean_percent is None or seen.cpu_peak_percent is None:
        return None
    text = (
        f"The CPU of this host was {seen.cpu_mean_percent:.0f}% busy on average in {when}, {seen.cpu_peak_percent:.0f}% at most."
    )
    return text, f"{seen.cpu_mean_percent:.1f}"


def _memory(seen: Vitals, when: str) -> tuple[str, str] | None:
    if seen.memory_mean_percent is None or seen.memory_peak_percent is None:
        return None
    text = f"{seen.memory_mean_percent:.0f}% of memory was in use on average in {when}, {seen.memory_peak_percent:.0f}% at most."
    return text, f"{seen.memory_mean_percent:.1f}"


def _models(models: list[ModelCondition]) -> tuple[str, str]:
    if not models:
        return "No model has been used yet.", "0"
    listed = []
    for model in models:
        state = "left alone after failures" if model.resting else "in service"
        listed.append(f"{model.model}: {state}, {model.in_flight} running, {model.waiting} waiting")
    return "; ".join(listed) + ".", str(len(models))


def _health(seen: Vitals, models: list[ModelCondition], when: str) -> tuple[str, str]:
    resting = [model for model in models if model.resting]
    word = "degraded" if resting or (seen.requests >= 10 and seen.errors * 10 > seen.requests) else "ok"
    parts = [f"The gateway is {word}.", _requests(seen, when)[0], _errors(seen, when)[0]]
    if resting:
        parts.append("Left alone after failures: " + ", ".join(f"{m.model} ({m.last_error})" for m in resting) + ".")
    parts.extend(part[0] for part in (_latency(seen, when), _cpu(seen, when), _memory(seen, when)) if part is not None)
    return " ".join(parts), word
