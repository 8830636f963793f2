"""An explanation as plain data, the same for HTTP and the command line."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.contracts.effort import EffortFields
from prefrontal.machine.machine import Explanation
from prefrontal.machine.run import knowledge_shown
from prefrontal.plan.balance import Chosen


def _told(fields: EffortFields) -> dict[str, Any]:
    """Return what the model would be told: fields of the request, words behind the prompt, and what was left out or changed."""
    return {
        "dialect": fields.dialect,
        "fields": fields.fields,
        "suffix": fields.suffix,
        "notes": [msgspec.to_builtins(note) for note in fields.notes],
    }


def _place(choice: Chosen) -> dict[str, Any]:
    """Return the deployment that would be asked, why, and why not each of the others."""
    return {
        "name": choice.name,
        "reason": choice.reason,
        "others": [{"name": name, "why_not": why} for name, why in choice.others],
    }


def explanation(found: Explanation) -> dict[str, Any]:
    """Return plan and assessment: path, model, effort, reasons, and every candidate with why it lost."""
    run, plan = found.run, found.plan
    return {
        "object": "explanation",
        "requested_model": run.request.model,
        "path": plan.path,
        "model": plan.model,
        "tool": plan.tool,
        "channel": plan.channel,
        "policy": plan.policy,
        "effort": msgspec.to_builtins(plan.effort),
        "effort_sent": None if found.told is None else _told(found.told),
        "structured_output": found.form,
        "deployment": None if found.place is None else _place(found.place),
        "fallbacks": list(plan.fallbacks),
        "estimate": msgspec.to_builtins(plan.estimate),
        "reasons": [msgspec.to_builtins(reason) for reason in plan.reasons],
        "candidates": [msgspec.to_builtins(candidate) for candidate in plan.candidates],
        "assessment": None if run.assessment is None else msgspec.to_builtins(run.assessment),
        "states": list(run.states),
        **({} if run.knowledge is None else knowledge_shown(run.knowledge)),
    }
