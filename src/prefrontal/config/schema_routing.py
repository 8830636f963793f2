"""The part of the tree that says how a model is chosen and how hard it should think."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from prefrontal.config.schema_numbers import Count, Positive, Share, Temperature
from prefrontal.config.schema_resilience import HedgeEntry
from prefrontal.contracts.lens import LensName

Prefer = Literal["quality", "cost", "latency", "balanced"]
Philosophy = Literal["conservative", "balanced", "aggressive"]
BUILTIN_POLICIES = ("capability_match", "primary_with_fallback", "round_robin", "cheapest", "fastest")
KNOWN_ROLES = (
    "router",
    "reasoning",
    "reasoning_heavy",
    "coding",
    "coding_large_context",
    "summarization",
    "validation",
    "vision",
    "embedding",
    "decision",
)


class TaskRoute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one type of task asks for. Models named here come first; the policy chooses among them."""

    role: Annotated[str | None, Meta(description="Take the models of this role.")] = None
    models: Annotated[
        tuple[str, ...], Meta(description="Take these models, in this order; before `role` when both are given.")
    ] = ()
    policy: Annotated[str | None, Meta(description="Policy for this type; left out: the channel's, then `routing.policy`.")] = (
        None
    )
    effort: Annotated[Share | None, Meta(description="Effort score for this type, 0 to 1; left out: computed.")] = None


class EffortPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How hard models think when the caller does not say."""

    philosophy: Annotated[
        Philosophy,
        Meta(description="Which set of constants turns a task into a score: conservative spends less, aggressive more."),
    ] = "balanced"
    default: Annotated[
        Share | None,
        Meta(description="Score for `auto` instead of the computed one, 0 to 1; left out: computed."),
    ] = None
    min: Annotated[float, Meta(ge=0, le=1, description="No computed score is below this.")] = 0.0
    max: Annotated[float, Meta(ge=0, le=1, description="No computed score is above this.")] = 1.0
    preference: Annotated[
        float,
        Meta(ge=0.25, le=4, description="Factor on every computed score: 1 neutral, 2 twice as hard. Range assumed."),
    ] = 1.0


class Channel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A way in with defaults of its own: `auto/NAME`, the header `x-prefrontal-channel`, or a key's default."""

    description: Annotated[str, Meta(description="One line for people.")] = ""
    policy: Annotated[str | None, Meta(description="Policy of this channel; left out: `routing.policy`.")] = None
    prefer: Annotated[Prefer | None, Meta(description="What counts most here; left out: `routing.prefer`.")] = None
    effort: Annotated[Share | None, Meta(description="Effort score of this channel, 0 to 1; left out: computed.")] = None
    roles: Annotated[
        tuple[str, ...],
        Meta(description="Only models with one of these roles, as long as at least one model has one; empty: all."),
    ] = ()
    models: Annotated[tuple[str, ...], Meta(description="Only these models; empty: all.")] = ()
    temperature: Annotated[Temperature | None, Meta(description="Sent when the caller gives none and the model takes it.")] = None
    max_output_tokens: Annotated[Count | None, Meta(description="Cap on an answer when the caller gives none, tokens.")] = None
    deadline_s: Annotated[
        Positive | None,
        Meta(description="How soon an answer is wanted, s; makes effort smaller as it nears. Left out: no hurry."),
    ] = None
    reflexes: Annotated[
        bool | None,
        Meta(description="Whether answers without a model are allowed; left out: `routing.reflexes.enabled`."),
    ] = None
    cache: Annotated[
        bool | None,
        Meta(description="Whether its requests use the response cache; false: never; left out: as they and `cache.mode` say."),
    ] = None
    data_class: Annotated[str | None, Meta(description="Class of the data in this channel, of `egress.by_data_class`.")] = None
    knowledge: Annotated[
        tuple[str, ...] | None,
        Meta(description="Engrams its requests are answered from; left out: as the model and `knowledge.default` say."),
    ] = None
    lens: Annotated[
        tuple[LensName, ...],
        Meta(description="Lenses that read its requests to `auto` first; a request may name others, or none with `false`."),
    ] = ()
    hedge: Annotated[
        HedgeEntry | None,
        Meta(description="A second attempt beside a slow first one, for models that say nothing of it themselves."),
    ] = None


class Affinity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keeping a conversation on the model that has its prompt cached."""

    enabled: Annotated[bool, Meta(description="Whether a session prefers the model that answered it last.")] = True
    ttl_s: Annotated[
        float,
        Meta(
            gt=0,
            description="How long a provider's prompt cache is taken to live, s. Specified: 300, the common cache lifetime.",
        ),
    ] = 300.0
    min_gain: Annotated[
        float, Meta(ge=0, le=1, description="A move must raise the candidate's score by at least this share. Assumed.")
    ] = 0.15


class Reflexes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answers that need no model: arithmetic, units, dates, time zones, system metrics."""

    enabled: Annotated[bool, Meta(description="Whether `auto` may answer without a model.")] = True
    tools: Annotated[tuple[str, ...] | None, Meta(description="Which tools may answer; left out: all of them.")] = None
    timezone: Annotated[
        str | None, Meta(description='Time zone of "today" and "now", an IANA name; left out: this machine\'s.')
    ] = None
    with_system_prompt: Annotated[
        bool,
        Meta(description="Whether a request with a system prompt may be answered by a reflex, which does not read it."),
    ] = False


def builtin_channels() -> dict[str, Channel]:
    """Return the channels every configuration has; a file may change or add to them, key by key."""
    return {
        "chat": Channel(description="Conversation: the general defaults."),
        "code": Channel(
            description="Programming: quality first, more thinking.",
            prefer="quality",
            effort=0.6,  # assumed: between the medium and high levels of the common dialects
            roles=("coding", "coding_large_context"),
            reflexes=False,  # code that looks like arithmetic must reach a model
        ),
        "system_health": Channel(
            description="Questions about this machine and this gateway: answered from metrics, else fast and short.",
            prefer="latency",
            effort=0.0,
            max_output_tokens=1024,  # assumed: a status answer is a paragraph
            reflexes=True,
        ),
    }


class Routing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How `model: auto` chooses."""

    policy: Annotated[
        str,
        Meta(description="capability_match, primary_with_fallback, round_robin, cheapest, fastest, or the name of a plug-in."),
    ] = "capability_match"
    prefer: Annotated[Prefer, Meta(description="What counts most among the models that can do the task.")] = "balanced"
    primary: Annotated[
        str | None, Meta(description="First choice of `primary_with_fallback`; left out: the highest priority.")
    ] = None
    fallback: Annotated[
        tuple[str, ...],
        Meta(description="Tried in this order when the chosen model fails: models or `role/NAME`; empty: the policy's order."),
    ] = ()
    task_routing: Annotated[dict[str, TaskRoute], Meta(description="Task type → what it asks for.")] = {}
    effort: Annotated[EffortPolicy, Meta(description="How hard models think when the caller does not say.")] = EffortPolicy()
    channels: Annotated[
        dict[str, Channel],
        Meta(description="Ways in with defaults of their own; `chat`, `code` and `system_health` always exist."),
    ] = msgspec.field(default_factory=builtin_channels)
    affinity: Annotated[Affinity, Meta(description="Keeping a conversation on one model.")] = Affinity()
    reflexes: Annotated[Reflexes, Meta(description="Answers that need no model.")] = Reflexes()
