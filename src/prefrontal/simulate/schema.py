"""What a scenario says: agents, their work, what may go wrong, and the policies under which their decisions are made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from prefrontal.config.schema_decisions import DecisionTypeEntry
from prefrontal.config.schema_numbers import Count, Count0, NotNegative, Positive, Share

Complexity = Literal["low", "medium", "high"]
TimeOfDay = Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Date = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Spread = Annotated[float, Meta(ge=0, le=5)]


class RoleEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One role and how many agents have it."""

    count: Annotated[Count, Meta(description="Agents of this role.")]
    shift: Annotated[str, Meta(description="The shift they work.")]
    skill: Annotated[Positive, Meta(description="Work done per hour of work; 1 is usual.")] = 1.0
    patience_h: Annotated[Positive, Meta(description="Working hours blocked before escalating is considered.")] = 2.0
    messages_per_day: Annotated[NotNegative, Meta(description="Messages that wait for an answer, per agent and day.")] = 2.0
    incidents_per_day: Annotated[
        NotNegative, Meta(description="Novel problems, creative work and negotiations, per agent and day.")
    ] = 0.5


class TaskEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of task. Its length is log-normal."""

    role: Annotated[str, Meta(description="Who does it.")]
    hours: Annotated[Positive, Meta(description="Mean length, working hours.")]
    cv: Annotated[Spread, Meta(description="Coefficient of variation of the length.")] = 0.4
    complexity: Annotated[Complexity, Meta(description="low, medium or high; high ones need an approach.")] = "medium"
    tool: Annotated[str | None, Meta(description="The right tool for it; agents choose one.")] = None
    resource: Annotated[str | None, Meta(description="The shared resource it occupies while it is worked on.")] = None
    review: Annotated[str | None, Meta(description="The role that reviews it.")] = None
    review_h: Annotated[Positive, Meta(description="Length of its review, hours.")] = 1.0
    blockers: Annotated[Share, Meta(description="Share of such tasks that meet a blocker.")] = 0.2
    blocked_h: Annotated[Positive, Meta(description="Mean length of a blocker that nobody does anything about, hours.")] = 6.0


class StepEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One task of a project."""

    task: Annotated[str, Meta(description="The kind of task.")]
    after: Annotated[tuple[str, ...], Meta(description="Steps that must be done before.")] = ()


class ProjectEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of project: tasks with dependencies that come in again and again."""

    every_days: Annotated[Positive, Meta(description="Mean working days between two of them.")]
    cv: Annotated[Spread, Meta(description="Coefficient of variation of that.")] = 0.5
    deadline_days: Annotated[Positive, Meta(description="Working days from arrival to its deadline.")] = 10.0
    urgent: Annotated[Share, Meta(description="Share of them that are urgent.")] = 0.15
    at_start: Annotated[Count0, Meta(description="How many are there when the simulation begins.")] = 1
    steps: Annotated[dict[str, StepEntry], Meta(min_length=1, description="Name → one task.")]


class EngineEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model behaves in virtual time: what the engine `profile` knows of it."""

    latency_ms: Annotated[Positive, Meta(description="Mean time of one answer, ms, without waiting.")]
    cv: Annotated[Spread, Meta(description="Coefficient of variation of that; log-normal.")] = 0.3
    slots: Annotated[Count, Meta(description="Answers it works on at once.")] = 8
    input_tokens: Annotated[Count0, Meta(description="Tokens of a prompt, as billed. Specified: the seed's 2,000.")] = 2000
    output_tokens: Annotated[Count0, Meta(description="Tokens of an answer, as billed. Specified: the seed's 500.")] = 500
    accuracy: Annotated[Share, Meta(description="Share of answers that equal the type's rule. Assumed.")] = 0.9
    sure: Annotated[Share, Meta(description="Mean probability of the answer it gives, when it is right. Assumed.")] = 0.9
    failures: Annotated[Share, Meta(description="Share of calls that fail with status 503.")] = 0.0


class ScriptEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the script of the engine `scripted`: which answer is given where. The first line that fits holds."""

    answer: Annotated[str | bool, Meta(description="The option.")]
    type: Annotated[str | None, Meta(description="Only decisions of this type.")] = None
    where: Annotated[dict[str, Any], Meta(description="Only states with these values.")] = {}
    sure: Annotated[Share, Meta(description="The probability it is given with.")] = 0.9


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One scenario."""

    name: Annotated[str, Meta(min_length=1, description="What reports call it.")]
    extends: Annotated[str | None, Meta(description="A file or a shipped scenario whose settings hold below these.")] = None
    seed: Annotated[Count0, Meta(description="All that is random follows from it.")] = 42
    start: Annotated[Date, Meta(description="The first day; a Saturday or Sunday moves to Monday.")] = "2026-01-05"
    days: Annotated[Count, Meta(description="Working days, Monday to Friday.")] = 5
    tick_minutes: Annotated[Annotated[int, Meta(ge=1, le=240)], Meta(description="Every agent decides so often.")] = 15
    ticks_per_day: Annotated[Annotated[int, Meta(ge=1, le=1440)], Meta(description="Decisions of an agent a day.")] = 32
    shifts: Annotated[dict[str, TimeOfDay], Meta(min_length=1, description="Name → when it begins.")]
    roles: Annotated[dict[str, RoleEntry], Meta(min_length=1, description="Name → a role.")]
    resources: Annotated[dict[str, Count], Meta(description="Name → how many may use it at once.")] = {}
    tools: Annotated[tuple[str, ...], Meta(description="The tools there are to choose from.")] = ()
    tasks: Annotated[dict[str, TaskEntry], Meta(min_length=1, description="Name → a kind of task.")]
    projects: Annotated[dict[str, ProjectEntry], Meta(min_length=1, description="Name → a kind of project.")]
    decisions: Annotated[
        dict[str, DecisionTypeEntry], Meta(description="Decision types that differ from the shipped ones of the same name.")
    ] = {}
    engines: Annotated[dict[str, EngineEntry], Meta(description="Model → how it behaves in virtual time.")] = {}
    script: Annotated[tuple[ScriptEntry, ...], Meta(description="What the engine `scripted` answers; else as rules do.")] = ()
    policy: Annotated[str | None, Meta(description="The policy that holds; left out: the only one.")] = None
    policies: Annotated[dict[str, dict[str, Any]], Meta(description="Name → settings of a gateway: models, decisions, …")] = {}
    settings: Annotated[dict[str, Any], Meta(description="Settings of a gateway that all policies share.")] = {}
