"""`prefrontal explain`: what would be done with a prompt, and why, readable."""

from __future__ import annotations

from collections.abc import Sequence
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
    effort, model = found.get("effort") or {}, found.get("path") == "model"
    rows = [("answered by", _who(found)), ("task", _task(found.get("assessment"), with_needs=model))]
    if model:
        rows += [
            ("effort", _effort(effort)),
            ("sent for it", _sent(found.get("effort_sent") or {})),
            ("deployment", _place(found.get("deployment"))),
            ("form", _form(found.get("structured_output"))),
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
    _show_candidates(found.get("candidates") or (), screen)


def _show_candidates(candidates: Sequence[dict[str, Any]], screen: Screen) -> None:
    """Show a row a model with its score and its parts; when all are out for the same reason, one line says so."""
    if not candidates:
        return
    same = {item.get("lost") for item in candidates}
    if len(same) == 1 and len(candidates) > 1:
        screen.line(f"\nCandidates\n  all {len(candidates)} models: {same.pop()}")
        return
    parts = list(dict.fromkeys(name for item in candidates for name in item.get("parts") or ()))
    screen.line("\nCandidates")
    screen.table(("model", "score", *parts, "outcome"), [_row(item, parts) for item in candidates], right=("score", *parts))


def _who(found: dict[str, Any]) -> str:
    if found.get("path") == "tool":
        return f"{found.get('tool')}, a reflex: no model is needed"
    return f"the model {found.get('model')}"


def _effort(effort: dict[str, Any]) -> str:
    score, level, origin = effort.get("score"), effort.get("level"), effort.get("origin", "default")
    if score is None and level is None:
        return "the model's own default"
    shown = " ".join(([f"{score:.2f}"] if score is not None else []) + ([f"({level})"] if level else []))
    computed = "computed" if effort.get("factors") else "set by the configuration"
    return f"{shown}, {'as you asked' if origin == 'caller' else computed if origin == 'policy' else origin}"


def _sent(told: dict[str, Any]) -> str:
    """Return what the model would be told of the effort; nothing to say of a gateway that does not say."""
    if not told:
        return ""
    words = [f"{name}={value}" for name, value in (told.get("fields") or {}).items()]
    if told.get("suffix"):
        words.append(f"'{told['suffix']}' behind the prompt")
    notes = " ".join(note["reason"] for note in told.get("notes") or ())
    return " ".join(filter(None, [", ".join(words) or "nothing.", notes]))


def _place(place: dict[str, Any] | None) -> str:
    """Return which deployment would be asked and why; nothing for a model that has one."""
    if not place:
        return ""
    return f"{place['name'] or 'none'} ({place['reason']})"


def _form(form: dict[str, Any] | None) -> str:
    """Return how the model would be told the form of its answer; nothing for a request that asks for none."""
    if not form:
        return ""
    way = f"the field {form['field']}" if form["method"] == "field" else form["method"]
    learnt = form.get("learnt")
    return way if learnt is None else f"{way}, because its own field was {learnt}; forgotten in {form['forgotten_in_s']:.0f} s"


def _show_factors(factors: Any, screen: Screen) -> None:
    if len(factors) > 1:  # a single one is told by the reason
        screen.line("\nEffort is the product of")
        screen.table(
            ("factor", "value", "because"),
            [(item["name"], f"{item['value']:.2f}", item["reason"]) for item in factors],
            right=("value",),
        )


def _task(assessment: dict[str, Any] | None, *, with_needs: bool) -> str:
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
    return f"{text}\nneeds {', '.join(words)}" if words and with_needs else text


def _estimate(estimate: dict[str, Any]) -> str:
    if not estimate.get("input_tokens") and not estimate.get("output_tokens"):
        return ""
    return (
        f"{estimate.get('input_tokens', 0):,} tokens in, up to {estimate.get('output_tokens', 0):,} out, "
        f"{money(estimate.get('cost_usd'))}"
    )


def _row(candidate: dict[str, Any], parts: Sequence[str]) -> tuple[str, ...]:
    own = candidate.get("parts") or {}
    score = f"{candidate['score']:.2f}" if candidate.get("eligible") else "-"
    shown = [f"{own[name]:.2f}" if name in own else "-" for name in parts]
    return candidate["model"], score, *shown, candidate.get("lost") or "chosen"
