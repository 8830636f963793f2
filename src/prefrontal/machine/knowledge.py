"""Answering from engrams: which ones a request wants, how passages get into its prompt, and whether its answer cites rightly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from prefrontal.chat.blocks import Text
from prefrontal.chat.request import ChatRequest, EngramWish, Message, text_of
from prefrontal.config.check_knowledge import MOST_ENGRAMS
from prefrontal.config.schema import Config
from prefrontal.contracts.access import Grant
from prefrontal.contracts.knowledge import CitationProblem, Found, KnowledgeNote, Wanted
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import CapabilityMissing, InvalidRequest, Overloaded
from prefrontal.knowledge.citations import check_citations
from prefrontal.knowledge.installed import unknown_engram
from prefrontal.machine.context import CallContext
from prefrontal.machine.run import Run
from prefrontal.plan.musts import chats
from prefrontal.plan.tokens import estimate_request
from prefrontal.prompts import template

FIELD = "x_prefrontal.knowledge"
NOTE = "knowledge_note.v1"

LEAST_ROOM = 128
"""Tokens below which no passage is looked for: hardly one would fit with its frame (assumed)."""

ANSWER_ROOM = 1024
"""Tokens of the model's window that are left for the answer when the caller names no cap (assumed)."""

LOOK_S = 20.0
"""How long a request waits for engrams (assumed: a search takes milliseconds, making a lost index anew may take minutes)."""

CHATS = frozenset({"openai", "anthropic", "responses", "ollama", "gemini"})
"""Dialects that have turns; only there passages can be told from the user's own words."""


class Librarian(Protocol):
    """Looks things up in engrams."""

    async def find(self, question: str, wanted: Wanted) -> Found:
        """Return the passages that fit, or none with the reason. Raises NotFound, StoreError, CapabilityMissing."""
        ...


def wished(
    request: ChatRequest, context: CallContext, config: Config, channel: str
) -> tuple[tuple[EngramWish, ...], bool]:
    """Return the engrams a request is to be answered from, and whether its caller named them.

    Where the caller names none the channel's hold, then those of the named model, then `knowledge.default`; of these, the ones
    that the caller's key may not search are left out.
    """
    asked = request.hints.knowledge
    if asked is not None:
        return tuple([EngramWish(name=one) if isinstance(one, str) else one for one in asked]), True
    entry, within = config.models.get(request.model), config.routing.channels.get(channel)
    names = within.knowledge if within is not None else None
    if names is None and entry is not None:
        names = entry.knowledge
    if names is None:
        names = config.knowledge.default
    if not names or request.dialect not in CHATS:
        return (), False
    grant = context.grant
    return tuple([EngramWish(name=name) for name in names if grant is None or grant.sees(name)]), False


def classes_in(wishes: Sequence[EngramWish], config: Config) -> tuple[str, ...]:
    """Return the classes of what the engrams hold: their passages go to whoever answers."""
    known = config.knowledge.engrams
    entries = [known[one.name] for one in wishes if one.name in known]
    return tuple([entry.data_class for entry in entries if entry.data_class is not None])


async def consult(run: Run, librarian: Librarian | None, wishes: tuple[EngramWish, ...], *, asked: bool) -> None:
    """Put what the engrams hold into the run's request, and a note of it into the run. Needs the card of a named model.

    Raises:
        NotFound: no such engram, or not for this key. InvalidRequest: the wish cannot be. Overloaded: it takes too long.
        StoreError, CapabilityMissing.
    """
    if asked:
        _check(run.request, wishes, run.context.grant)
    if librarian is None:
        if asked:
            raise CapabilityMissing("There are no engrams here.", param=FIELD)
        return
    settings = run.world.config.knowledge
    question = question_of(run.request)
    room = _room(run)
    tokens = settings.max_tokens if room is None else min(settings.max_tokens, room)
    if not question or tokens < LEAST_ROOM:
        why = f"The window has room for {max(tokens, 0)} tokens of passages." if question else "There is no question in words."
        run.knowledge = KnowledgeNote(engrams=(), reason=why)
        return
    wanted = Wanted(engrams=wishes, asked=asked, max_tokens=tokens, threshold=settings.threshold)
    clock = run.journal.clock
    within_s = LOOK_S if run.deadline is None else max(0.0, min(LOOK_S, run.deadline - clock.monotonic()))
    try:
        async with clock.timeout(within_s):
            found = await librarian.find(question, wanted)
    except TimeoutError as error:
        why = f"Nothing was found within {within_s:.1f} s; an engram's index may be in the making."
        if asked:
            raise Overloaded(why, retry_after_s=5.0, param=FIELD) from error
        found = Found(note=KnowledgeNote(engrams=(), reason=why))
    run.knowledge, run.words = found.note, found.words
    if found.text:
        run.plain = run.request
        run.request = augmented(run.request, found.text)


def question_of(request: ChatRequest) -> str:
    """Return the words of the last user turn that has any."""
    place = _asking(request.messages)
    return "" if place is None else text_of(request.messages[place]).strip()


def augmented(request: ChatRequest, text: str) -> ChatRequest:
    """Return the request with passages before its question, and a system message that says what they are and are not.

    The system message is always the same, so that what was read before stays cached; the mark is named where it is used.
    """
    messages = list(request.messages)
    at = _asking(messages)
    if at is None:
        return request
    message = messages[at]
    if message.form == "text" and len(message.blocks) == 1:
        blocks = (Text(text=f"{text}\n\n{text_of(message)}"),)
        messages[at] = msgspec.structs.replace(message, blocks=blocks)
    else:
        messages[at] = msgspec.structs.replace(message, blocks=(Text(text=text), *message.blocks), form="parts")
    place = next((n for n, one in enumerate(messages) if one.role not in ("system", "developer")), 0)
    messages.insert(place, Message(role="system", blocks=(Text(text=template(NOTE)),)))
    return msgspec.structs.replace(request, messages=tuple(messages))


def checked(run: Run) -> KnowledgeNote | None:
    """Return the note with what became of the citations in the answer's first choice."""
    note, response = run.knowledge, run.response
    if note is None or not run.words or response is None:
        return note
    check = check_citations(response.text, run.words)
    cited = frozenset(check.cited)
    problems = [
        CitationProblem(problem=one.problem, number=one.number, at=one.at, length=len(one.quote)) for one in check.findings
    ]
    return msgspec.structs.replace(
        note,
        citations=tuple([msgspec.structs.replace(one, cited=one.number in cited) for one in note.citations]),
        holds=check.holds,
        quotes_found=check.quotes_found,
        problems=tuple(problems),
    )


def _asking(messages: Sequence[Message]) -> int | None:
    for place in range(len(messages) - 1, -1, -1):
        if messages[place].role == "user" and text_of(messages[place]).strip():
            return place
    return None


def _check(request: ChatRequest, wishes: tuple[EngramWish, ...], grant: Grant | None) -> None:
    """Raise InvalidRequest for a wish that cannot be, NotFound for an engram that the key may not search."""
    if wishes and request.dialect not in CHATS:
        raise InvalidRequest("Passages go into chats only.", param=FIELD, hint="Ask /v1/chat/completions.")
    if len(wishes) > MOST_ENGRAMS:
        raise InvalidRequest(f"A request is answered from at most {MOST_ENGRAMS} engrams.", param=FIELD)
    names = [one.name for one in wishes]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InvalidRequest(f"The engram '{name}' is named twice.", param=f"{FIELD}[{index}]")
        if grant is not None and not grant.sees(name):
            raise unknown_engram(name)


def _room(run: Run) -> int | None:
    """Return how many tokens the window still holds: the named model's, else the widest there is; None: nobody knows."""
    windows = [card.context_tokens for card in _candidates(run)]
    if not windows or None in windows:
        return None
    widest = max([window for window in windows if window is not None])
    cap = run.request.max_output_tokens
    answer = cap if cap is not None and cap >= 0 else min(ANSWER_ROOM, widest // 4)
    return widest - estimate_request(run.request) - answer


def _candidates(run: Run) -> list[ModelCard]:
    if run.asked is not None and run.asked.card is not None:
        return [run.asked.card]
    return [card for card in run.world.registry.enabled if card.auto and chats(card)]
