"""The configuration as one typed tree. `Config()` is a complete, working default.

Each field carries its meaning, unit and range; a default that is a number names its origin (measured, specified or assumed).
The JSON Schema (`schema.json`) and the reference in the documentation are generated from this tree.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from prefrontal.config.schema_cache import Cache
from prefrontal.config.schema_decisions import Decisions, DecisionTypeEntry
from prefrontal.config.schema_egress import Egress, EgressRule, Fetch
from prefrontal.config.schema_knowledge import EngramEntry, Knowledge
from prefrontal.config.schema_lenses import LensEntry
from prefrontal.config.schema_models import (
    DecisionRouteEntry,
    EffortEntry,
    ModelEntry,
    PriceEntry,
    PriceWindowEntry,
)
from prefrontal.config.schema_money import BudgetEntry, RateEntry
from prefrontal.config.schema_redis import Outage, Redis
from prefrontal.config.schema_resilience import DeploymentEntry, Shedding, TlsEntry
from prefrontal.config.schema_routing import (
    BUILTIN_POLICIES,
    KNOWN_ROLES,
    Affinity,
    Channel,
    EffortPolicy,
    Philosophy,
    Prefer,
    Reflexes,
    Routing,
    TaskRoute,
    builtin_channels,
)
from prefrontal.config.schema_service import (
    Breaker,
    Discovery,
    Engine,
    Limits,
    Logging,
    Opening,
    Records,
    Restart,
    Retries,
    Server,
    Timeouts,
)
from prefrontal.config.schema_store import Store
from prefrontal.config.schema_structured import StructuredOutput
from prefrontal.config.schema_telemetry import Telemetry
from prefrontal.contracts.lens import LensName

__all__ = [
    "BUILTIN_POLICIES",
    "KNOWN_ROLES",
    "Affinity",
    "Breaker",
    "BudgetEntry",
    "Cache",
    "Channel",
    "Config",
    "DecisionRouteEntry",
    "DecisionTypeEntry",
    "Decisions",
    "DeploymentEntry",
    "Discovery",
    "EffortEntry",
    "EffortPolicy",
    "Egress",
    "EgressRule",
    "Engine",
    "EngramEntry",
    "Fetch",
    "Knowledge",
    "LensEntry",
    "Limits",
    "Logging",
    "ModelEntry",
    "Opening",
    "Outage",
    "Philosophy",
    "Prefer",
    "PriceEntry",
    "PriceWindowEntry",
    "RateEntry",
    "Records",
    "Redis",
    "Reflexes",
    "Restart",
    "Retries",
    "Routing",
    "Server",
    "Shedding",
    "Store",
    "StructuredOutput",
    "TaskRoute",
    "Telemetry",
    "Timeouts",
    "TlsEntry",
    "builtin_channels",
]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration."""

    version: Annotated[Literal[1], Meta(description="Version of this file format.")] = 1
    server: Annotated[Server, Meta(description="The HTTP side.")] = Server()
    models: Annotated[dict[str, ModelEntry], Meta(description="Name clients use → the model behind it.")] = {}
    roles: Annotated[
        dict[str, tuple[str, ...]],
        Meta(
            description="Role → the models that fill it, best first. Known: router, reasoning, reasoning_heavy, coding, "
            "coding_large_context, summarization, validation, vision, embedding, decision; others are yours to invent."
        ),
    ] = {}
    routing: Annotated[Routing, Meta(description="How `model: auto` chooses.")] = msgspec.field(default_factory=Routing)
    structured_output: Annotated[StructuredOutput, Meta(description="Answers held to the form that was asked for.")] = (
        StructuredOutput()
    )
    limits: Annotated[Limits, Meta(description="Bounds on work, waiting and money.")] = Limits()
    budgets: Annotated[
        tuple[BudgetEntry, ...],
        Meta(description="What may be spent in a minute, hour, day, week, month or in all, in USD and in tokens."),
    ] = ()
    cache: Annotated[Cache, Meta(description="Giving the same answer to the same request.")] = Cache()
    decisions: Annotated[Decisions, Meta(description="Typed decisions.")] = Decisions()
    lenses: Annotated[
        dict[LensName, LensEntry],
        Meta(description="Lens → how it reads: `task`, `risk`, `domains`. A request or a channel says which are used."),
    ] = {}
    knowledge: Annotated[Knowledge, Meta(description="Engrams that requests are answered from.")] = Knowledge()
    records: Annotated[Records, Meta(description="The record each request leaves.")] = Records()
    store: Annotated[Store, Meta(description="Postgres, for several gateways that act as one.")] = Store()
    redis: Annotated[Redis, Meta(description="Redis or Valkey, for several gateways that act as one.")] = Redis()
    engine: Annotated[Engine, Meta(description="The built-in engine.")] = Engine()
    discovery: Annotated[Discovery, Meta(description="Finding models that no file names.")] = Discovery()
    logging: Annotated[Logging, Meta(description="What is written to stderr.")] = Logging()
    telemetry: Annotated[Telemetry, Meta(description="What an OpenTelemetry collector is told.")] = Telemetry()
    egress: Annotated[Egress, Meta(description="Which hosts may be contacted.")] = Egress()
