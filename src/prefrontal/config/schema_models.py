"""The part of the tree that describes models: what a registry entry may say about each one."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from prefrontal.config.schema_numbers import Count, Count0, Layers, NotNegative, Positive, Share, Slots
from prefrontal.config.schema_resilience import DeploymentEntry, HedgeEntry, TlsEntry
from prefrontal.contracts.decision import DecisionDialect
from prefrontal.contracts.effort import Level
from prefrontal.contracts.resilience import Balance

Usd = NotNegative | None  # per million tokens; 0 is free, None is unknown


class PriceWindowEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices that hold between two times of day (UTC). A window that ends before it starts goes over midnight."""

    start: Annotated[
        str,
        Meta(
            pattern=r"^\d{1,2}:\d{2}$",
            description='Start, "HH:MM" UTC, included. Quote it: other YAML tools read 08:30 as a number.',
        ),
    ] = msgspec.field(name="from")
    end: Annotated[str, Meta(pattern=r"^\d{1,2}:\d{2}$", description='End, "HH:MM" UTC, excluded. Quote it.')] = msgspec.field(
        name="to"
    )
    input_usd: Annotated[Usd, Meta(description="Uncached input inside the window.")] = None
    output_usd: Annotated[Usd, Meta(description="Output, thinking included, inside the window.")] = None
    cache_read_usd: Annotated[Usd, Meta(description="Input read from the provider's cache inside the window.")] = None
    cache_write_usd: Annotated[Usd, Meta(description="Input written to the provider's cache inside the window.")] = None


class PriceEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model costs, in USD per million tokens. Left out: the shipped facts apply; 0 means free."""

    input_usd: Annotated[Usd, Meta(description="Uncached input.")] = None
    output_usd: Annotated[Usd, Meta(description="Output, thinking included.")] = None
    cache_read_usd: Annotated[Usd, Meta(description="Input read from the provider's cache.")] = None
    cache_write_usd: Annotated[Usd, Meta(description="Input written to the provider's cache.")] = None
    windows: Annotated[
        tuple[PriceWindowEntry, ...],
        Meta(description="Other prices at times of day, such as an off-peak discount; the first that fits wins."),
    ] = ()


class EffortEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this model is told to think harder, where the profile and the shipped facts are wrong or silent."""

    dialect: Annotated[str | None, Meta(description="Name of an effort dialect; left out: from the facts, then the profile.")] = (
        None
    )
    levels: Annotated[
        tuple[Level, ...], Meta(description="The levels the model takes, weakest first; empty: the dialect's own.")
    ] = ()
    alias: Annotated[
        dict[Level, Level], Meta(description="Level as asked → level as sent, for engines that name them differently.")
    ] = {}
    budget_min_tokens: Annotated[Count0 | None, Meta(description="Smallest thinking budget to send, tokens.")] = None
    budget_max_tokens: Annotated[Count | None, Meta(description="Largest thinking budget to send, tokens.")] = None
    template_key: Annotated[
        str | None, Meta(description="Name of the chat template's switch, such as `enable_thinking` or `thinking`.")
    ] = None


class DecisionRouteEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The route by which an engine answers typed decisions itself."""

    dialect: Annotated[
        DecisionDialect | None,
        Meta(description="Which of the dialects it speaks; they share paths, so nothing is guessed. Null: it has no such route."),
    ]
    path: Annotated[
        str | None, Meta(description="Where it lies below the endpoint; left out: `/systemone` or `/decisions`, by the dialect.")
    ] = None
    joint: Annotated[
        bool, Meta(description="Its prompt holds all questions of a request, so that answers depend on each other.")
    ] = False


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model that can be called. The key in `models` is the name clients use."""

    profile: Annotated[
        str | None,
        Meta(description="Whose conventions apply: openai, anthropic, ollama, vllm, … Left out only for `path`."),
    ] = None
    endpoint: Annotated[
        str | None,
        Meta(description="Base URL, such as `http://127.0.0.1:8000/v1`; without a path the profile's is added."),
    ] = None
    key: Annotated[
        str | None,
        Meta(description="The provider's secret, as `${NAME}` of an environment variable; left out: the profile's variables."),
    ] = None
    keys: Annotated[
        tuple[str, ...],
        Meta(description="Several secrets of the provider instead of one `key`: each is balanced, and rested by itself."),
    ] = ()
    deployments: Annotated[
        tuple[DeploymentEntry, ...],
        Meta(description="Several places that serve this one model; left out: `endpoint` and `key` are the only one."),
    ] = ()
    balance: Annotated[
        Balance,
        Meta(description="Which deployment is asked: the one with the least work, the least expected wait, or by weight alone."),
    ] = "least_outstanding"
    hedge: Annotated[
        HedgeEntry | None, Meta(description="A second attempt beside a slow first one; left out: none (a channel may ask).")
    ] = None
    model: Annotated[str | None, Meta(description="The name the engine knows it by; left out: the entry's own name.")] = None
    path: Annotated[
        str | None,
        Meta(description="A GGUF file to run on the built-in engine; relative paths start at `engine.models_dir`."),
    ] = None
    capabilities: Annotated[
        dict[str, Any],
        Meta(
            description="What it can do: thinking, tools, vision, audio, files, structured_output, embedding, chat, "
            "or any other name; true, false or a value."
        ),
    ] = {}
    context_tokens: Annotated[Count | None, Meta(description="Context window, tokens, input and output together.")] = None
    max_output_tokens: Annotated[Count | None, Meta(description="Longest answer the model gives, tokens.")] = None
    price: Annotated[
        PriceEntry | None, Meta(description="What it costs; left out: the shipped facts, or free when self-hosted.")
    ] = None
    roles: Annotated[tuple[str, ...], Meta(description="Roles this model fills, in addition to the `roles` table.")] = ()
    strengths: Annotated[
        tuple[str, ...], Meta(description="Task types it is good at; `capability_match` prefers it for these.")
    ] = ()
    weaknesses: Annotated[
        tuple[str, ...], Meta(description="Task types it is bad at; `capability_match` avoids it for these.")
    ] = ()
    priority: Annotated[int, Meta(ge=-1000, le=1000, description="Higher wins between models that are otherwise equal.")] = 0
    tags: Annotated[tuple[str, ...], Meta(description="Free words to find and group models by.")] = ()
    memory: Annotated[
        int | str | None,
        Meta(description='Memory it needs when loaded: bytes, or "6GiB" / "6 GB"; left out: from the file.'),
    ] = None
    enabled: Annotated[
        bool, Meta(description="False takes it out of service: it cannot be called and its key may be missing.")
    ] = True
    auto: Annotated[bool, Meta(description="False keeps it out of `model: auto`; it can still be named.")] = True
    latency_ms: Annotated[
        Positive | None, Meta(description="Typical time to the first token, ms, until it has been measured.")
    ] = None
    quality: Annotated[Share | None, Meta(description="How good its answers are, 0 to 1, as you judge it.")] = None
    effort: Annotated[EffortEntry | None, Meta(description="Corrections to how thinking is controlled.")] = None
    concurrency: Annotated[Count | None, Meta(description="Requests at once; left out: `limits.concurrency_per_model`.")] = None
    queue: Annotated[Count0 | None, Meta(description="Requests that may wait; left out: `limits.queue_per_model`.")] = None
    timeout_s: Annotated[
        Positive | None, Meta(description="Longest one call may take, s; left out: `limits.timeouts.total_s`.")
    ] = None
    headers: Annotated[dict[str, str], Meta(description="Extra headers for every call; values may use `${NAME}`.")] = {}
    tls: Annotated[
        TlsEntry | None,
        Meta(description="How the endpoint's certificate is checked; left out: the system's authorities."),
    ] = None
    decisions: Annotated[
        DecisionRouteEntry | None,
        Meta(description="Its own route for typed decisions; left out: what its profile says."),
    ] = None
    cache: Annotated[
        bool | None,
        Meta(description="Whether requests to it use the response cache; false: never; left out: as they and `cache.mode` say."),
    ] = None
    knowledge: Annotated[
        tuple[str, ...] | None,
        Meta(description="Engrams that requests naming this model are answered from; left out: `knowledge.default`."),
    ] = None
    extra_body: Annotated[dict[str, Any] | None, Meta(description="Fields added to every request body as they are.")] = None
    licence: Annotated[str | None, Meta(description="The weights' licence, shown in `/v1/models`.")] = None
    version: Annotated[str | None, Meta(description="The model's version, shown in `/v1/models`.")] = None
    facts: Annotated[
        str | None, Meta(description="Id of the shipped facts to use, when the wire name does not lead to them.")
    ] = None
    slots: Annotated[Slots | None, Meta(description="Built-in engine: answers at once; left out: `engine.slots`.")] = None
    gpu_layers: Annotated[
        Layers | None,
        Meta(description="Built-in engine: layers on the GPU; 0 none, -1 all; left out: the engine decides."),
    ] = None
    pinned: Annotated[bool, Meta(description="Built-in engine: started at once and never unloaded for being idle.")] = False
    idle_s: Annotated[
        NotNegative | None,
        Meta(
            description="Built-in engine: unloaded after so long without a request, s; 0 never; left out: `engine.idle_s`.",
        ),
    ] = None
