"""From a request to an :class:`~prefrontal.contracts.assessment.Assessment`, by rules alone."""

from __future__ import annotations

from typing import Final

from prefrontal.assess.complexity import Factors, complexity
from prefrontal.assess.language import detect_language
from prefrontal.assess.needs import Content, derive_needs, read_content
from prefrontal.assess.rules import Rules
from prefrontal.assess.task import TaskReading, read_task
from prefrontal.assess.text import TextView, read_text, read_words
from prefrontal.chat.request import ChatRequest, last_user_text, text_of
from prefrontal.contracts.assessment import Assessment

FRAMING_CHARS: Final = 600
"""A system prompt up to this long counts as part of the request (assumed: "You translate what the user sends" does, an
agent's handbook, which speaks of everything, does not)."""

FOLLOW_UP_CHARS: Final = 40
"""A last message shorter than this is read together with the user's message before it (assumed: "now in Java")."""

SYMBOL_FACTS: Final = frozenset({"latex", "formulas", "code_fence", "code_line", "stack_trace"})
"""Facts that count as symbols in the complexity score."""


def assess(request: ChatRequest, *, input_tokens: int, rules: Rules) -> Assessment:
    """Read a request: task type, complexity, needs, and how sure the task type is.

    Pure: the same request gives the same assessment. Never raises on any text. A long text is read at its two ends.

    Args:
        request: the request, in the neutral vocabulary.
        input_tokens: its size in tokens, counted or estimated by the caller, at least 0.
        rules: the tables of :func:`prefrontal.assess.rules.load_rules`.

    Returns:
        An assessment with ``origin="rules"``. ``confidence`` is the measured share of prompts on which a decision as clear
        as this one was right; ``signals`` are the rules that spoke for the task type, strongest first.
    """
    view = read_text(_request_text(request))
    content = read_content(request)
    language = detect_language(view.sample, frozenset(view.ask), rules.languages)
    facts = content.facts
    if language is not None and language != "en":
        facts |= {"not_english"}
    if not view.words:
        facts |= {"no_text"}
    reading = read_task(view, facts, rules, _framing(request))
    score = round(complexity(_factors(request, view, reading, content)), 4)
    return Assessment(
        task_type=reading.task_type,
        complexity=score,
        needs=derive_needs(
            request,
            content,
            task_type=reading.task_type,
            complexity=score,
            input_tokens=input_tokens,
            language=language,
        ),
        confidence=round(reading.confidence, 4),
        origin="rules",
        signals=reading.signals,
    )


def _request_text(request: ChatRequest) -> str:
    """The last user message, with the one before it when the last is too short to stand alone."""
    text = last_user_text(request)
    if len(text) >= FOLLOW_UP_CHARS or len(request.messages) < 3:
        return text
    users = [message for message in request.messages if message.role == "user"]
    if len(users) < 2:
        return text
    return f"{text_of(users[-2])}\n{text}"


def _framing(request: ChatRequest) -> tuple[str, ...]:
    first = request.messages[0] if request.messages else None
    if first is None or first.role not in ("system", "developer"):
        return ()
    text = text_of(first)
    return read_words(text) if len(text) <= FRAMING_CHARS else ()


def _factors(request: ChatRequest, view: TextView, reading: TaskReading, content: Content) -> Factors:
    counts = reading.counts
    return Factors(
        task_type=reading.task_type,
        n_chars=view.n_chars,
        numbers=view.numbers,
        hard_words=counts.get("hard_word", 0),
        constraints=counts.get("constraint", 0),
        formal_terms=counts.get("math_term", 0) + counts.get("physics_term", 0) + counts.get("logic_term", 0),
        steps=counts.get("multi_step", 0),
        questions=view.sample.count("?"),
        symbols=not view.facts.isdisjoint(SYMBOL_FACTS),
        earlier_turns=max(0, len(request.messages) - 1),
        tools=len(request.tools) if content.tools else 0,
        easy_words=counts.get("easy_word", 0),
    )
