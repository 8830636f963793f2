"""A profile: the conventions of one engine or hosted API on top of a wire. Data, read from ``data/profiles.yaml``."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from prefrontal.contracts.decision import DecisionDialect

StructuredField = Literal[
    "response_format",
    "structured_outputs",
    "json_schema",
    "grammar",
    "format",
    "output_config",
    "gemini",
    "json_object_only",
    "none",
]
Evidence = Literal["verified", "secondary", "unverified"]


class Auth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the key travels: header `header` with `prefix` before the key. `env`: variables a newcomer's key may lie in."""

    header: str = "authorization"
    prefix: str = "Bearer "
    env: tuple[str, ...] = ()
    required: bool = False


class Paths(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Paths below the base URL (``{model}`` is replaced). None: the engine has no such route.

    `root` paths start at the host, not at the base URL; they are written with a leading ``//``.
    """

    chat: str = "/chat/completions"
    stream: str | None = None
    completions: str | None = None
    embeddings: str | None = "/embeddings"
    models: str | None = "/models"
    health: str | None = None
    count_tokens: str | None = None
    probe: str | None = None
    load: str | None = None
    unload: str | None = None


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The conventions of one engine.

    wire: which translator speaks it (openai, anthropic, gemini, ollama, or one from an entry point).
    reasoning_out: where assistant turns carry reasoning back (``reasoning_content``, ``reasoning``,
    ``mistral_chunks``, ``none``).
    reasoning_back: when it must be sent back: never, tool_turns, always.
    usage_shape: special accounting (``xai``: reasoning outside completion; ``deepseek``: cache hit fields; ``groq``; ``none`` …).
    structured_output: how a JSON schema is honoured (response_format, structured_outputs, json_schema, grammar, format,
    output_config, gemini, json_object_only, none). structured_fallback: other fields and ways to try, in order, when that one is
    refused or ignored (see `providers.structured`).
    output_cap_field: default name of the cap. drop: fields never sent, with the reason.
    rename: fields this engine knows by another name. drop_message: fields of messages never sent, with the reason.
    think_tags: how tags in the text are read (``reasoning.py``): ``off``, ``opened`` (``<think>`` at the start),
    ``unopened`` (also a closing tag alone, for models that always think).
    keep_signatures: whether thought signatures go along with tool calls (Gemini's OpenAI-compatible form; others reject them).
    load_shape: what the body of a load or unload call looks like (``model``, ``instance``, ``sleep``).
    effort_dialect: default when the model's facts name none. self_hosted: no money per call. ports: where local probes look.
    window_bound_tokens: an engine that gives each request the window we ask for is not asked for more unless a file says so.
    decision_dialect: the dialect of its own route for typed decisions (None: none is known). label_probabilities: whether chat
    answers list the probabilities of single tokens, after a grammar (``post_sampling``) or before, on the ``openai`` wire.
    deadline_header: the header this engine takes for the milliseconds that the caller still waits.
    error_shape: openai, flat, tgi, ollama, anthropic, gemini. evidence / source: how sure, and from where.
    """

    name: str = ""
    title: str
    wire: str
    provider: str
    base_url: str | None = None
    ports: tuple[int, ...] = ()
    auth: Auth = Auth()
    headers: dict[str, str] = {}
    paths: Paths = Paths()
    effort_dialect: str = "fixed"
    reasoning_out: Literal["reasoning_content", "reasoning", "mistral_chunks", "none"] = "none"
    reasoning_back: Literal["never", "tool_turns", "always"] = "never"
    usage_shape: str = "openai"
    stream_usage: bool = True
    structured_output: StructuredField = "response_format"
    structured_fallback: tuple[str, ...] = ("tool", "prompt")
    output_cap_field: str = "max_tokens"
    developer_role: bool = False
    tool_choice_required: bool = True
    drop: dict[str, str] = {}
    rename: dict[str, str] = {}
    drop_message: dict[str, str] = {}
    keep_signatures: bool = False
    think_tags: Literal["off", "opened", "unopened"] = "opened"
    static: dict[str, Any] = {}
    error_shape: str = "openai"
    count_shape: str | None = None
    probe_shape: str | None = None
    load_shape: str | None = None
    count_tokens: bool = False
    self_hosted: bool = False
    window_bound_tokens: int | None = None
    capabilities: dict[str, Any] = {}
    decision_dialect: DecisionDialect | None = None
    label_probabilities: Literal["post_sampling", "logprobs", "none"] = "logprobs"
    rate_limit_headers: str | None = None
    deadline_header: str | None = None
    evidence: Evidence = "unverified"
    source: str = ""
