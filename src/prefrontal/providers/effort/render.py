"""Effort to request fields: one pure function over the dialect of a model.

The order is always the same: settle the output cap, settle whether the model thinks, write the dialect's operations, list what
must not be sent. Whatever differs from what was asked is said in `notes`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.contracts.effort import Effort, EffortFields, Level
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.wire import Dropped
from prefrontal.providers.effort.dialects import (
    BudgetObjectOp,
    BudgetOp,
    Dialect,
    Dialects,
    EnumOp,
    MessageSuffixOp,
    ToggleOp,
)
from prefrontal.providers.effort.drops import removed
from prefrontal.providers.effort.resolve import always_thinks, asked_level, asked_score, dialect_of, snap


class _Job(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one rendering looks at. `cap`: the output cap in force, `own_cap`: the part of it that is ours to send."""

    effort: Effort
    card: ModelCard
    request: ChatRequest
    dialects: Dialects
    dialect: Dialect
    always_on: bool
    cap: int
    own_cap: int | None
    score: float = 0.0
    level: Level = "none"


def render_effort(
    effort: Effort, card: ModelCard, request: ChatRequest, dialects: Dialects, *, default_cap: int | None
) -> EffortFields:
    """Return the fields that tell `card`'s model to think as hard as `effort` asks.

    default_cap: the output cap in tokens that we set when the caller gave none (None: we set none). A cap the caller gave is
    never changed. An effort of origin ``default`` sends no effort field; fields the model never takes are removed all the same.

    Raises:
        ConfigError: the card names a dialect or level that does not exist, or malformed overrides.
    """
    dialect = dialect_of(card, dialects)
    always_on = always_thinks(card, dialect)
    own_cap = _own_cap(card, request, dialects, dialect, always_on=always_on, default_cap=default_cap)
    cap = request.max_output_tokens or own_cap or card.max_output_tokens or dialects.assumed_cap_tokens
    job = _Job(
        effort=effort,
        card=card,
        request=request,
        dialects=dialects,
        dialect=dialect,
        always_on=always_on,
        cap=cap,
        own_cap=own_cap,
    )
    score, level = asked_score(effort, dialects), asked_level(effort, dialects)
    if effort.origin == "default" or score is None or level is None:
        return _untouched(job)
    job = msgspec.structs.replace(job, score=score, level=level)
    return _steered(job) if dialect.ops else _fixed(job)


def render_for_call(
    effort: Effort, card: ModelCard, request: ChatRequest, dialects: Dialects, *, default_cap: int | None
) -> EffortFields:
    """Do as `render_effort`, but send nothing that only we thought of to a model of which nobody knows whether it thinks.

    The profile's default dialect would be a guess there, and may earn a 400; that nothing was sent is noted.
    """
    if effort.origin == "policy" and _unsure(card, effort) and dialect_of(card, dialects).ops:
        fields = render_effort(Effort(), card, request, dialects, default_cap=default_cap)
        note = Dropped(field="effort", reason=f"Whether {card.id} thinks is not known, and nobody asked: nothing was sent.")
        return msgspec.structs.replace(fields, notes=(*fields.notes, note))
    return render_effort(effort, card, request, dialects, default_cap=default_cap)


def _unsure(card: ModelCard, effort: Effort) -> bool:
    """Whether nothing but the profile's default speaks for a way to steer this model; sending it may earn a 400.

    A model that was caught thinking (its effort was stepped down for it) is one to steer.
    """
    known = card.can("thinking") is not None or card.effort_levels or card.effort_overrides
    return not known and not any(factor.name == "step_down" for factor in effort.factors)


def _own_cap(
    card: ModelCard,
    request: ChatRequest,
    dialects: Dialects,
    dialect: Dialect,
    *,
    always_on: bool,
    default_cap: int | None,
) -> int | None:
    """The output cap we set; None when the caller gave one or there is nothing to set."""
    if request.max_output_tokens is not None:
        return None
    cap = default_cap
    if cap is None and dialect.cap_required:
        cap = dialects.assumed_cap_tokens
    if cap is None:
        return None
    if always_on:
        room = dialects.always_on_cap_tokens
        if card.context_tokens is not None:
            room = min(room, int(card.context_tokens * dialects.always_on_context_share))
        cap = max(cap, room)
    return cap if card.max_output_tokens is None else min(cap, card.max_output_tokens)


def _untouched(job: _Job) -> EffortFields:
    """Nothing asked: the model's own default applies."""
    never = not job.dialect.ops and job.card.can("thinking") is False and not job.always_on
    thinks = True if job.always_on or job.dialect.thinks_by_default else False if never else None
    return EffortFields(
        dialect=job.card.effort_dialect,
        remove=removed(job.request, job.dialect, thinking=thinks is True),
        output_cap_tokens=job.own_cap,
        cap_field=job.dialect.output_cap_field,
        thinking=thinks,
        stream_only=job.dialect.require_stream_when_thinking and thinks is True,
    )


def _fixed(job: _Job) -> EffortFields:
    """No control at all: only the output cap, and a note that says so."""
    thinks = True if job.always_on else False if job.card.can("thinking") is False else None
    kind = "always thinks" if thinks else "does not think" if thinks is False else "offers no control over thinking"
    note = Dropped(
        field=asked_field(job.effort, job.request),
        reason=f"{job.card.id} {kind}: only its output cap can be set.",
    )
    return EffortFields(
        dialect=job.card.effort_dialect,
        remove=removed(job.request, job.dialect, thinking=thinks is True),
        output_cap_tokens=job.own_cap,
        cap_field=job.dialect.output_cap_field,
        thinking=thinks,
        stream_only=job.dialect.require_stream_when_thinking and thinks is True,
        notes=(note,),
    )


def _steered(job: _Job) -> EffortFields:
    """A model with controls: write them."""
    dialect = job.dialect
    notes: list[Dropped] = []
    thinking = _settle_thinking(job, notes)
    level = _settle_level(job, thinking, notes)
    if level is not None:
        thinking = level != "none"  # a model without "none" thinks whatever was asked
    budget = _settle_budget(job, notes) if thinking and _has_budget(dialect) else None
    fields: dict[str, Any] = {}
    suffix: str | None = None
    for op in dialect.ops:
        if isinstance(op, MessageSuffixOp):
            suffix = op.enable if thinking else op.disable
        else:
            _write(fields, op, thinking=thinking, level=level, budget=budget)
    fields |= dialect.static
    if thinking:
        fields |= dialect.static_when_thinking
    _yield_to_caller(fields, job.request, notes)
    return EffortFields(
        dialect=job.card.effort_dialect,
        fields=fields,
        suffix=suffix,
        remove=removed(job.request, dialect, thinking=thinking),
        output_cap_tokens=job.own_cap,
        cap_field=dialect.output_cap_field,
        thinking=thinking,
        level=level,
        budget_tokens=budget,
        stream_only=dialect.require_stream_when_thinking and thinking,
        notes=tuple(notes),
    )


def _has_budget(dialect: Dialect) -> bool:
    return any(isinstance(op, BudgetOp | BudgetObjectOp) for op in dialect.ops)


def _settle_thinking(job: _Job, notes: list[Dropped]) -> bool:
    """Decide whether the model is told to think, and say so when that is not what was asked."""
    dialect = job.dialect
    name = asked_field(job.effort, job.request)
    if job.always_on:
        if job.level == "none":
            notes.append(_note(name, f"{job.card.id} cannot be kept from thinking: its least effort is used."))
        return True
    if job.level == "none" or job.score <= 0.0:
        return False
    if _at_threshold(dialect) and job.score < job.dialects.toggle_enable_at:
        notes.append(
            _note(name, f"{job.card.id} only thinks or does not; effort {job.score:g} is below the threshold and means off.")
        )
        return False
    if _forced_tool(job):
        notes.append(_note(name, f"{job.card.id} cannot think while one tool is forced: thinking is off.", action="dropped"))
        return False
    least = _least_budget(job)
    if least is not None and job.cap - job.dialects.answer_reserve_tokens < least and _exact_budget(job) is None:
        reason = f"the output cap of {job.cap} tokens leaves no room for thinking: thinking is off."
        notes.append(_note(name, reason, action="clamped"))
        return False
    return True


def _at_threshold(dialect: Dialect) -> bool:
    first = dialect.ops[0]
    if isinstance(first, ToggleOp):
        return first.enable_at == "threshold"
    return dialect.binary or isinstance(first, BudgetObjectOp | MessageSuffixOp)


def _forced_tool(job: _Job) -> bool:
    choice = job.request.tool_choice
    forced = choice is not None and choice.mode in ("required", "tool")
    return forced and "tool_choice_forced" in job.dialect.forbid_when_thinking


def _least_budget(job: _Job) -> int | None:
    """The smallest budget that still is thinking; None for a dialect without budgets."""
    if job.dialect.budget is None or not _has_budget(job.dialect):
        return None
    return max(1, job.dialect.budget.min)


def _settle_level(job: _Job, thinking: bool, notes: list[Dropped]) -> Level | None:
    """Return the word to send, or None when no word is sent."""
    dialect = job.dialect
    if not any(isinstance(op, EnumOp) and (thinking or op.when is None) for op in dialect.ops):
        return None
    level = snap("high" if dialect.binary and thinking else job.level if thinking else "none", dialect)
    asked: Level = job.level if thinking or dialect.binary is False else level
    if level != asked and not (job.always_on and asked == "none"):
        what = "only thinks or does not" if dialect.binary else f"has no level {asked}"
        notes.append(_note(asked_field(job.effort, job.request), f"{job.card.id} {what}: {level} is sent."))
    return level


def _exact_budget(job: _Job) -> int | None:
    """The caller's own budget when this effort is exactly what the caller's budget object asked and it fits the model."""
    thinking = job.request.thinking
    tokens = thinking.get("budget_tokens") if thinking and job.effort.origin == "caller" else None
    bounds = job.dialect.budget
    if not isinstance(tokens, int) or bounds is None or job.effort.level is not None:
        return None
    cap = job.request.max_output_tokens or job.dialects.assumed_cap_tokens
    if job.effort.score != job.dialects.score_of_share(tokens / cap):
        return None  # the effort was stepped down since
    fits = bounds.min <= tokens <= bounds.max and (tokens < job.cap or not bounds.below_cap)
    return tokens if fits else None


def _settle_budget(job: _Job, notes: list[Dropped]) -> int | None:
    """Return the thinking tokens to send: a share of the cap, inside the model's range, leaving room for the answer."""
    bounds = job.dialect.budget
    if bounds is None:
        return None
    exact = _exact_budget(job)
    if exact is not None:
        return exact
    wanted = int(job.dialects.share_of(job.score) * job.cap + 1e-9)  # the epsilon undoes binary rounding of exact shares
    room = job.cap - job.dialects.answer_reserve_tokens
    budget = max(bounds.min, min(wanted, room, bounds.max))
    if bounds.below_cap:
        budget = min(budget, job.cap - 1)
    if budget != wanted:
        name = asked_field(job.effort, job.request)
        reason = f"{wanted} thinking tokens were brought into what {job.card.id} takes: {budget}."
        notes.append(_note(name, reason, action="clamped"))
    return budget


def _write(
    fields: dict[str, Any],
    op: EnumOp | ToggleOp | BudgetOp | BudgetObjectOp,
    *,
    thinking: bool,
    level: Level | None,
    budget: int | None,
) -> None:
    """Write one operation's field."""
    match op:
        case EnumOp() if level is not None and (thinking or op.when is None):
            word: Any = op.map[level] if op.map is not None else level
            fields[op.path] = word.upper() if op.case == "upper" and isinstance(word, str) else word
        case ToggleOp():
            fields[op.path] = _copied(op.enable if thinking else op.disable)
        case BudgetOp():
            value = budget if thinking else None if op.when else op.off_value
            if value is not None:
                fields[op.path] = value
                if op.also is not None:
                    fields[op.also] = value
        case BudgetObjectOp():
            fields[op.path] = {**op.enable, op.key: budget} if thinking else dict(op.disable)


def _yield_to_caller(fields: dict[str, Any], request: ChatRequest, notes: list[Dropped]) -> None:
    """A field the caller wrote in the model's own dialect stays as written."""
    if not request.extra:
        return
    for path in [path for path in fields if _present(request.extra, path)]:
        del fields[path]
        notes.append(_note(path, f"the caller set {path} itself; it is sent as given."))


def _present(tree: dict[str, Any], path: str) -> bool:
    node: Any = tree
    for part in path.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


def _copied(value: Any) -> Any:
    """A value of the shared data, safe to hand out."""
    return dict(value) if isinstance(value, dict) else value


def _note(field: str, reason: str, *, action: Literal["dropped", "translated", "clamped"] = "translated") -> Dropped:
    return Dropped(field=field, reason=reason, action=action)


def asked_field(effort: Effort, request: ChatRequest) -> str:
    """Return the name of the field the effort came from, for reports; ``effort`` when it was computed."""
    if effort.origin != "caller":
        return "effort"
    if request.hints.effort is not None:
        return "x_prefrontal.effort"
    if request.reasoning_effort is not None:
        return "reasoning_effort"
    return "thinking" if request.thinking is not None else "effort"
