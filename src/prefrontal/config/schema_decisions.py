"""The part of the tree that describes typed decisions: the registered types and what holds for all of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from prefrontal.config.schema_numbers import Count, Positive, Share, Votes
from prefrontal.config.schema_tiers import Batching, DecisionCache, Tiers, TypeCache
from prefrontal.contracts.decision import Kind, Technique, Tier


class DecisionExample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One solved case that models are shown."""

    state: Annotated[Any, Meta(description="The state, as a text or as any other value.")]
    answer: Annotated[str | bool, Meta(description="The right option; of `yes_no` true or false.")]
    reason: Annotated[str | None, Meta(description="Why; shown where the technique is `chain_of_thought`.")] = None


class DecisionTypeEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One type of decision. Requests name it as `x_type`."""

    kind: Annotated[Kind, Meta(description="choice: one of the options; score: a level; yes_no.")] = "choice"
    instructions: Annotated[str, Meta(min_length=1, description="The question, as models are asked it.")]
    options: Annotated[
        tuple[str, ...], Meta(description="The options, or the levels from the lowest to the highest; of `yes_no` left out.")
    ] = ()
    descriptions: Annotated[
        dict[str, str], Meta(description="Option → what it means; of `yes_no` for `yes` and `no` (quote them in YAML).")
    ] = {}
    rule: Annotated[
        str | None,
        Meta(
            description="The answer when no model gives one: a CEL expression over `state`, `agent`, `role`, `signals`, "
            "`creativity`, `multi_agent`, `novel`. It gives an option, true or false, a level's number, or a map of weights."
        ),
    ] = None
    rule_function: Annotated[
        str | None, Meta(description="The same as a Python function, `package.module:name`, called with state and context.")
    ] = None
    samples: Annotated[tuple[Any, ...], Meta(description="States the rule is tried on when the configuration is loaded.")] = ()
    examples: Annotated[tuple[DecisionExample, ...], Meta(description="Solved cases, for the technique `few_shot`.")] = ()
    technique: Annotated[Technique | None, Meta(description="How models are asked; left out: `decisions.technique`.")] = None
    template: Annotated[str | None, Meta(description="Version of the prompts; left out: `decisions.template`.")] = None
    votes: Annotated[Votes | None, Meta(description="Samples that vote; left out: `decisions.votes`.")] = None
    min_label_mass: Annotated[
        Share | None, Meta(description="Below this label mass the rule answers; left out: `decisions.min_label_mass`.")
    ] = None
    deadline_s: Annotated[
        Positive | None, Meta(description="After so long the rule answers, s; left out: `decisions.deadline_s`.")
    ] = None
    models: Annotated[
        tuple[str, ...], Meta(description="Models to ask for `auto`, best first; left out: the tier's, or the role `decision`.")
    ] = ()
    tier: Annotated[
        Tier | None, Meta(description="1 routine, 2 contextual, 3 complex; left out: `decisions.tiers.types`, or `.unknown`.")
    ] = None
    cache: Annotated[TypeCache | None, Meta(description="How its answers are given again; left out: they are not.")] = None


class Decisions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Typed decisions."""

    types: Annotated[dict[str, DecisionTypeEntry], Meta(description="Name → a type of decision.")] = {}
    tiers: Annotated[Tiers, Meta(description="Which models decide what, and what they may cost.")] = Tiers()
    cache: Annotated[DecisionCache, Meta(description="Answers that are given again.")] = DecisionCache()
    batching: Annotated[Batching, Meta(description="Questions that are sent together.")] = Batching()
    deadline_s: Annotated[
        Positive, Meta(description="After so long, from arrival, rules answer what is still open, s. Assumed.")
    ] = 10.0
    technique: Annotated[Technique, Meta(description="How models without a decision route are asked.")] = "constrained"
    template: Annotated[str, Meta(description="Version of the prompts to models without a decision route.")] = "v1"
    votes: Annotated[
        Votes,
        Meta(description="Samples that vote where a model lists no probabilities; 1: it states its own. Assumed."),
    ] = 5
    min_label_mass: Annotated[
        Share,
        Meta(description="A model that gives the options less than this probability is not believed; 0 believes all. Assumed."),
    ] = 0.5
    max_state_bytes: Annotated[
        Count, Meta(description="Largest state, bytes. Specified: the OpenAI dialect's bound on JSON.")
    ] = 262_144
    parallel: Annotated[Count, Meta(description="Questions of one request that are asked at once of one model. Assumed.")] = 8
    without_rule: Annotated[
        Literal["uniform", "error"],
        Meta(
            description="What a question without a rule gets when no model answers: equal probabilities with confidence 0, "
            "or the error."
        ),
    ] = "uniform"
