"""The part of the tree that says how the process runs: server, limits, records, engine, discovery, logging."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from prefrontal.config.schema_money import RateEntry
from prefrontal.config.schema_numbers import Count, Positive, Window
from prefrontal.config.schema_resilience import Shedding


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP side. Host, port and the limits on bodies and connections take effect at start."""

    host: Annotated[str, Meta(description="Address to listen on. Anything but loopback needs an API key.")] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="Port; the next free one is taken when it is in use. 0: any free one.")
    ] = 4123
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="Processes that serve together on one port and one database. Taken at start. Assumed: 1.",
        ),
    ] = 1
    cors_origins: Annotated[
        tuple[str, ...],
        Meta(description='Origins whose pages may call the API from a browser; "*" for all; empty: none.'),
    ] = ()
    max_body_bytes: Annotated[
        int, Meta(ge=1024, description="Largest request body, bytes. Assumed: 32 MiB holds several images as base64.")
    ] = 33_554_432
    max_header_bytes: Annotated[int, Meta(ge=1024, description="Largest request head, bytes. Assumed: 64 KiB.")] = 65_536
    idle_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            description="Idle connections are closed after this, s. Assumed: 75, longer than the common proxies' 60.",
        ),
    ] = 75.0
    head_timeout_s: Annotated[
        Positive, Meta(description="How long the head of a request may take to arrive, s. Assumed: it is a packet or a few.")
    ] = 30.0
    body_timeout_s: Annotated[
        Positive, Meta(description="How long a request body may take, s. Assumed: 32 MiB at a megabit a second.")
    ] = 300.0
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses or networks of proxies whose `x-forwarded-for` is believed, such as `10.0.0.0/8`. Whoever "
            "comes with such headers from elsewhere is never taken to sit at this machine."
        ),
    ] = ()
    drain_s: Annotated[
        float,
        Meta(
            ge=0,
            description="At SIGTERM running requests get so long to finish, s. Assumed: 30, the usual grace period of a pod.",
        ),
    ] = 30.0
    api_keys: Annotated[
        tuple[str, ...],
        Meta(
            description="Callers must show one of these, as `${NAME}`; `$PREFRONTAL_API_KEY` comes first. Empty: no key needed."
        ),
    ] = ()
    admin_keys: Annotated[
        tuple[str, ...],
        Meta(description="Keys that may also use admin routes and read system metrics from elsewhere, as `${NAME}`."),
    ] = ()
    trusted_hosts: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Values of the Host header to accept, against DNS rebinding; left out: any where a key is needed, else "
            "addresses and names without a dot."
        ),
    ] = None


class Retries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Trying the same model again after a failure that may pass."""

    attempts: Annotated[int, Meta(ge=1, le=10, description="Calls to one model in all, the first included. Assumed.")] = 3
    base_s: Annotated[float, Meta(ge=0, description="First wait, s; doubles each time, with jitter. Assumed.")] = 0.25
    max_s: Annotated[
        float, Meta(ge=0, description="Longest wait, s; an upstream that asks for more is not waited for. Assumed.")
    ] = 8.0


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long an upstream may take, stage by stage."""

    connect_s: Annotated[float, Meta(gt=0, description="Until connected, s. Assumed.")] = 5.0
    first_token_s: Annotated[
        float,
        Meta(
            gt=0,
            description="Until the first byte of the answer, s. Assumed: a thinking model on a slow machine needs minutes.",
        ),
    ] = 300.0
    between_tokens_s: Annotated[float, Meta(gt=0, description="Between two pieces of a stream, s. Assumed.")] = 60.0
    total_s: Annotated[
        float, Meta(gt=0, description="For a whole answer, s; streams end by their own limits. Specified: 600, as the SDKs.")
    ] = 600.0


class Breaker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Leaving a failing model alone for a while."""

    failures: Annotated[int, Meta(ge=1, description="Failures within the window that open the breaker. Assumed.")] = 5
    window_s: Annotated[float, Meta(gt=0, description="Length of the window, s. Assumed.")] = 30.0
    open_s: Annotated[float, Meta(gt=0, description="How long the model rests before one call may try it, s. Assumed.")] = 15.0
    probe: Annotated[
        bool, Meta(description="Whether a resting model's upstream is asked for its list of models, which costs nothing.")
    ] = True
    probe_s: Annotated[float, Meta(gt=0, description="How often a resting upstream is asked, s. Assumed.")] = 5.0
    probe_timeout_s: Annotated[float, Meta(gt=0, description="How long its answer may take, s. Assumed.")] = 2.0


class Opening(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The start of a stream is held back until its first real token, so that a failure there can still fall back."""

    max_chunks: Annotated[int, Meta(ge=1, description="Pieces held at most. Specified: 64.")] = 64
    max_bytes: Annotated[int, Meta(ge=1024, description="Bytes held at most. Specified: 256 KiB.")] = 262_144


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on work, waiting and money."""

    concurrency: Annotated[int, Meta(ge=1, description="Requests in progress in the whole process. Assumed.")] = 1024
    concurrency_per_model: Annotated[
        int, Meta(ge=1, description="Requests at once to one model that names no number itself. Assumed.")
    ] = 64
    queue_per_model: Annotated[
        int, Meta(ge=0, description="Requests that may wait for one model; more get 429 with retry-after. Assumed.")
    ] = 256
    retries: Annotated[Retries, Meta(description="Trying the same model again.")] = Retries()
    timeouts: Annotated[Timeouts, Meta(description="How long an upstream may take.")] = Timeouts()
    breaker: Annotated[Breaker, Meta(description="Leaving a failing model alone.")] = Breaker()
    opening: Annotated[Opening, Meta(description="Holding the start of a stream.")] = Opening()
    shedding: Annotated[Shedding, Meta(description="Waiting and refusing when there is more work than room.")] = Shedding()
    rates: Annotated[
        tuple[RateEntry, ...],
        Meta(description="Requests, tokens and requests at once, by key, team, tag, model, role or for all together."),
    ] = ()
    discovered_spend_usd_per_day: Annotated[
        float,
        Meta(ge=0, description="USD a UTC day for all models found only through a key in the environment. Specified: 1."),
    ] = 1.0


class Records(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The record each request leaves in the database."""

    enabled: Annotated[bool, Meta(description="Whether records are written.")] = True
    content: Annotated[
        bool, Meta(description="Whether prompts and answers are stored too; secrets are removed from them in any case.")
    ] = False
    queue_size: Annotated[
        int, Meta(ge=16, description="Records waiting to be written; near the bound new work gets 503. Assumed.")
    ] = 10_000
    retention_days: Annotated[Positive | None, Meta(description="Older records are deleted, days; left out: kept for ever.")] = (
        None
    )
    path: Annotated[
        str | None,
        Meta(description="The database file; left out: `$PREFRONTAL_HOME/prefrontal.db`. Takes effect at start."),
    ] = None
    user_key: Annotated[
        str | None,
        Meta(
            description="The secret that people's pseudonyms are made with, as `${NAME}`, the same for all replicas; left out: "
            "`$PREFRONTAL_HOME/user.key`, made at the first use. Takes effect at start."
        ),
    ] = None
    responses_days: Annotated[
        Positive, Meta(description="Stored responses are kept so long, days. Specified: 30, as OpenAI's API. Read at start.")
    ] = 30.0
    responses_max_bytes: Annotated[
        Count, Meta(description="Bytes of stored responses in all; beyond them the oldest go. Assumed: 512 MiB. Read at start.")
    ] = 536_870_912


class Restart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Starting a crashed engine again."""

    attempts: Annotated[int, Meta(ge=0, description="Quick crashes in a row before it is left down for a while. Assumed.")] = 5
    quick_s: Annotated[
        float,
        Meta(
            gt=0,
            description="A crash is quick when the engine served for less than this, s; a longer life clears the count. Assumed.",
        ),
    ] = 60.0
    base_s: Annotated[float, Meta(ge=0, description="First wait, s; doubles each time. Assumed.")] = 0.2
    max_s: Annotated[float, Meta(gt=0, description="Longest wait, s. Assumed.")] = 30.0


class Engine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The built-in engine (llama.cpp), one child process a model."""

    models_dir: Annotated[str | None, Meta(description="Folder of GGUF files; left out: `$PREFRONTAL_HOME/models`.")] = None
    auto_start: Annotated[
        bool, Meta(description="Whether a request may start an engine; false: only `prefrontal models load`.")
    ] = True
    slots: Annotated[int, Meta(ge=1, le=256, description="Answers at once in one engine. Assumed.")] = 4
    context_tokens: Annotated[
        Window | None,
        Meta(
            description="Context window to load with, tokens; left out: the model's own, as far as memory allows.",
        ),
    ] = None
    threads: Annotated[Count | None, Meta(description="Threads that compute; left out: the machine's physical cores.")] = None
    http_threads: Annotated[
        Count | None,
        Meta(description="Threads that serve HTTP; left out: enough for every slot and the health probe."),
    ] = None
    idle_s: Annotated[float, Meta(ge=0, description="An engine without requests is stopped after this, s; 0 never. Assumed.")] = (
        900.0
    )
    start_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            description="An engine that is not ready after this is given up, s. Assumed: a large file on a slow disk.",
        ),
    ] = 180.0
    restart: Annotated[Restart, Meta(description="Starting a crashed engine again.")] = Restart()


class Discovery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Finding models that no file names: local servers, keys in the environment, GGUF files."""

    enabled: Annotated[bool | None, Meta(description="Whether to look; left out: only when the file names no model.")] = None
    ports: Annotated[
        dict[str, tuple[int, ...]] | None,
        Meta(description="Profile → local ports to probe; left out: those of the profiles."),
    ] = None
    env_keys: Annotated[bool, Meta(description="Whether providers whose key lies in the environment are offered.")] = True
    interval_s: Annotated[float, Meta(gt=0, description="Local servers are looked for again after this, s. Assumed.")] = 30.0
    timeout_s: Annotated[float, Meta(gt=0, description="One probe may take so long, s. Assumed: they are local.")] = 1.0


class Logging(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written to stderr."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least severe lines to write.")] = "info"
    format: Annotated[Literal["text", "json"], Meta(description="Lines for people or for machines.")] = "text"
