"""The part of the tree that says which models decide what, what is remembered, and what is asked together."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from prefrontal.config.schema_numbers import Count, Count0, NotNegative, Positive, Share
from prefrontal.contracts.decision import Tier

MaskName = Literal["dates", "times", "ids", "numbers"]


class Signal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When one measure of complexity makes a decision harder."""

    above: Annotated[float | None, Meta(description="It counts when the measure is above this.")] = None
    below: Annotated[float | None, Meta(description="It counts when the measure is below this.")] = None
    weight: Annotated[
        Positive, Meta(description="How much it counts; at `signals_needed` the decision goes one tier up, at twice that two.")
    ] = 1.0


class EscalateBelow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Confidence below which a higher tier is asked, by where the distribution comes from.

    All assumed: the less a source is to be trusted, the surer it has to be.
    """

    native: Annotated[Share, Meta(description="The engine's own decision route. Assumed.")] = 0.1
    logprobs: Annotated[Share, Meta(description="Probabilities of tokens. Assumed.")] = 0.1
    votes: Annotated[Share, Meta(description="Shares of several answers. Assumed.")] = 0.3
    self_report: Annotated[Share, Meta(description="What the model says of itself. Assumed.")] = 0.5


class Tiers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Three tiers of models for `auto`, from the cheapest to the ablest. Without any model here there are no tiers."""

    routine: Annotated[tuple[str, ...], Meta(description="Models of tier 1, best first: what follows known rules.")] = ()
    contextual: Annotated[tuple[str, ...], Meta(description="Models of tier 2: what needs the situation understood.")] = ()
    complex: Annotated[tuple[str, ...], Meta(description="Models of tier 3: what is new, creative, or between several.")] = ()
    types: Annotated[
        dict[str, Tier], Meta(description="Type of decision → tier, also of types that are registered elsewhere.")
    ] = {}
    unknown: Annotated[Tier, Meta(description="Tier of a question whose type says none. Specified.")] = 2
    creativity: Annotated[Tier, Meta(description="Lowest tier of what needs creativity. Specified.")] = 3
    novel_multi_agent: Annotated[Tier, Meta(description="Lowest tier of what is new and involves several agents. Specified.")] = 3
    signals: Annotated[dict[str, Signal], Meta(description="Measure of complexity, as callers name it → when it counts.")] = {}
    signals_needed: Annotated[
        Positive, Meta(description="Weight of signals that lifts a decision by one tier. Assumed: one is a hint, two are a case.")
    ] = 2.0
    signals_reach: Annotated[
        Tier, Meta(description="Highest tier that signals alone lead to. Assumed: hosted models are for what is declared.")
    ] = 2
    escalate_below: Annotated[EscalateBelow, Meta(description="Confidence below which the next tier is asked, too.")] = (
        EscalateBelow()
    )
    cloud_calls_per_agent_day: Annotated[
        Count0 | None,
        Meta(description="Questions an agent may put to hosted models a day (UTC), in each run; null: no bound. Specified."),
    ] = 2
    run_usd: Annotated[
        NotNegative | None, Meta(description="Most a run may cost, USD, for callers that name a run; null: no bound. Specified.")
    ] = 10.0


class TypeCache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a state does not matter to a type of decision, and how long its answers hold."""

    ttl_s: Annotated[
        Positive | None, Meta(description="How long an answer holds, s; left out: `decisions.cache.ttl_s`.")
    ] = None
    ignore: Annotated[
        tuple[str, ...], Meta(description="Fields of the state that do not matter, as `task.id`; `*` stands for any one name.")
    ] = ()
    mask: Annotated[
        tuple[MaskName, ...], Meta(description="What in texts does not matter: dates, times, ids, all numbers.")
    ] = ()
    steps: Annotated[
        dict[str, Positive], Meta(description="Field of the state → how wide the steps are in which it matters.")
    ] = {}
    buckets: Annotated[
        dict[str, tuple[float, ...]], Meta(description="Field of the state → the rising values where a new bucket begins.")
    ] = {}
    per_agent: Annotated[bool, Meta(description="Whether an answer holds only for the agent it was given to.")] = False
    similar: Annotated[
        Share | None,
        Meta(
            description="How alike two states must be, 0 to 1, for one answer to serve both (needs the extra `knowledge`); "
            "numbers, negations, names, tenses and roles must agree in any case. Left out: only equal states."
        ),
    ] = None


class DecisionCache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers that are given again to the same question about the same state."""

    mode: Annotated[
        Literal["off", "declared", "all"],
        Meta(description="Which questions use it: none; those whose type has `cache`; or all of them."),
    ] = "declared"
    ttl_s: Annotated[Positive, Meta(description="How long an answer holds, s. Assumed: a day.")] = 86_400.0
    max_entries: Annotated[
        Count, Meta(description="Most answers to keep; the longest unused and least often used go first. Assumed: some 50 MB.")
    ] = 50_000
    persist: Annotated[
        bool, Meta(description="Whether answers outlive the process, in a file. Takes effect at start.")
    ] = True
    path: Annotated[
        str | None, Meta(description="The file; left out: `$PREFRONTAL_HOME/decisions.db`. Takes effect at start.")
    ] = None


class Batching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Questions about one state that come at the same time are sent to an engine's decision route together."""

    most: Annotated[Count, Meta(description="Most questions of one body. Specified: transformers takes 64.")] = 64
    window_ms: Annotated[
        Annotated[float, Meta(ge=0, le=1000)],
        Meta(description="How long the first waits for others, ms; 0: only for those that are there already. Assumed."),
    ] = 0.0
