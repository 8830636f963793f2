"""`prefrontal explain`: what would be done with a prompt, and why, readable."""

from __future__ import annotations

from typing import Any

from prefrontal.cli.ask import Question, asker, messages_of, options_of
from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place
from prefrontal.cli.words import money
from prefrontal.clock import Clock


async def explain(question: Question, place: Place, screen: Screen, clock: Clock, *, url: str | None, as_json: bool) -> None:
    """Show the plan for a question; nothing is called. Raises PrefrontalError when there is no plan, saying why."""
    async with asker(place, url, clock) as who:
        found = await who.explain(messages_of(question), options_of(question))
    if as_json:
        screen.json(found)
    else:
        show_explanation(found, screen)


def show_explanation(found: dict[str, Any], screen: Screen) -> None:
    """Show an explanation as the HTTP API gives it."""
    effort = found.get("effort") or {}
    rows = [("answered by", _who(found)), ("effort", _effort(effort)), ("task", _task(found.get("assessment")))]
    if found.get("path") == "model":
        rows += [
            ("policy", f"{found.get('policy')}, channel {found.get('channel')}"),
            ("then", ", ".join(found.get("fallbacks") or ()) or "no other model would be tried"),
            ("estimate", _estimate(found.get("estimate") or {})),  # a named model is not estimated
        ]
    screen.pairs([(name, value) for name, value in rows if value])
    _show_factors(effort.get("factors") or (), screen)
    reasons = found.get("reasons") or ()
    if reasons:
        screen.line("\nWhy")
        for reason in reasons:
            screen.line(f"  {reason['rule']}: {reason['effect']}")
    candidates = found.get("candidates") or ()
    if candidates:
        screen.line("\nCandidates")
        screen.table(("model", "score", "outcome", "score made of"), [_row(item) for item in candidates], right=("score",))


def _who(found: dict[str, Any]) -> str:
    if found.get("path") == "tool":
        return f"{found.get('tool')}, a reflex: no model is needed"
    return f"the model {found.get('model')}"


def _effort(effort: dict[str, Any]) -> str:
    score, level, origin = effort.get("score"), effort.get("level"), effort.get("origin", "default")
    if score is None and level is None:
        return "the model's own default"
    shown = " ".join(([f"{score:.2f}"] if score is not None else []) + ([f"({level})"] if level else []))
    return f"{shown}, {'as you asked' if origin == 'caller' else 'computed' if origin == 'policy' else origin}"


def _show_factors(factors: Any, screen: Screen) -> None:
    if factors:
        screen.line("\nEffort is the product of")
        screen.table(
            ("factor", "value", "because"),
            [(item["name"], f"{item['value']:.2f}", item["reason"]) for item in factors],
            right=("value",),
        )


def _task(assessment: dict[str, Any] | None) -> str:
    if assessment is None:
        return ""
    needs = assessment.get("needs") or {}
    words = [name.replace("_", " ") for name, value in needs.items() if value is True]
    words += list(needs.get("custom") or ())
    tokens = (needs.get("input_tokens") or 0) + (needs.get("output_tokens") or 0)
    if tokens:
        words.append(f"{tokens:,} tokens of context")
    text = f"{assessment['task_type'].replace('_', ' ')} (sure to {assessment['confidence']:.0%})"
    text += f", complexity {assessment['complexity']:.2f}"
    return f"{text}\nneeds {', '.join(words)}" if words else text


def _estimate(estimate: dict[str, Any]) -> str:
    if not estimate.get("input_tokens") and not estimate.get("output_tokens"):
        return ""
    return (
        f"{estimate.get('input_tokens', 0):,} tokens in, up to {estimate.get('output_tokens', 0):,} out, "
        f"{money(estimate.get('cost_usd'))}"
    )


def _row(candidate: dict[str, Any]) -> tuple[str, str, str, str]:
    parts = ", ".join(f"{name} {value:+.2f}" for name, value in (candidate.get("parts") or {}).items())
    score = f"{candidate['score']:.2f}" if candidate.get("eligible") else "-"
    return candidate["model"], score, candidate.get("lost") or "chosen", parts
