"""Reads a request through lenses before it is planned: which ones, by which models, and where their answers go."""

from __future__ import annotations

import asyncio

import msgspec

from prefrontal.assess.assessor import assess
from prefrontal.chat.blocks import Text
from prefrontal.chat.request import ChatRequest, Message, text_of
from prefrontal.config.schema_lenses import PRESETS, LensEntry
from prefrontal.contracts.lens import LensName, LensReading
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.reach import url_for
from prefrontal.contracts.record import RequestRecord
from prefrontal.decisions.lenses.lens import Seen, note_words, told_of, without_notes
from prefrontal.decisions.lenses.reader import NO_TEXT, NOT_ASKED, CacheUse, Reader, Reading
from prefrontal.decisions.lenses.shipped import LENSES, lens_named
from prefrontal.errors import InvalidRequest
from prefrontal.execute.call import Call
from prefrontal.machine.knowledge import CHATS
from prefrontal.machine.parts import Parts
from prefrontal.machine.run import Run
from prefrontal.plan.lenses import refined
from prefrontal.plan.musts import chats
from prefrontal.plan.tokens import estimate_request
from prefrontal.prompts import filled

STATE = "lens_state.v1"
ROLES = ("decision", "router")
"""Roles whose models read where nothing names one."""

MOST_MODELS = 3
"""Models that one lens asks one after another (assumed: its deadline is over after that)."""

PLAIN = LensEntry()


def wanted(wish: str | tuple[str, ...] | bool | None, default: tuple[LensName, ...]) -> tuple[LensName, ...]:
    """Return the lenses that read a request: those it names, else `default`. Raises InvalidRequest for one that is not there."""
    if wish is False:
        return ()
    if wish is None or wish is True:
        return default
    names = tuple([lens_named(name) for name in ((wish,) if isinstance(wish, str) else wish)])
    if len(set(names)) < len(names):
        raise InvalidRequest("A lens is named twice.", param="x_prefrontal.lens")
    return names


async def read(run: Run, parts: Parts, reader: Reader, *, ask: bool = True) -> None:
    """Let the lenses of a run read it, all at once; put what they see into its assessment and its prompt.

    ask: False only puts the formulas there, as an explanation calls nobody.
    """
    if run.assessment is None:  # the request names its model
        run.assessment = assess(run.given, input_tokens=estimate_request(run.request), rules=parts.rules)
    seen = _seen(run)
    asked = run.request.hints.lens is not None
    if not ask or not seen.text.strip():
        finding = NOT_ASKED if not ask else NO_TEXT
        readings = tuple([reader.unread(LENSES[name], seen, finding, asked=asked) for name in run.lenses])
    else:
        readings = await _all(run, parts, reader, seen, asked=asked)
    run.assessment = refined(run.assessment, readings)
    entries = run.world.config.lenses
    told = [one for one, name in zip(readings, run.lenses, strict=True) if entries.get(name, PLAIN).tell]
    if told and seen.text.strip() and run.request.dialect in CHATS:
        run.plain = run.plain or run.request
        run.request = informed(run.request, told)


async def _all(run: Run, parts: Parts, reader: Reader, seen: Seen, *, asked: bool) -> tuple[LensReading, ...]:
    call = Call(
        request=run.request,
        cards=(),
        effort=run.effort,
        limits=run.world.config.limits,
        deadline=run.deadline,
        purse=run.purse,
        trace=run.propagation(always=parts.tracing),
        reach=run.reach,
        who=run.context.key_id,
        priority=run.priority,
    )
    under_way = []
    for name in run.lenses:
        entry = run.world.config.lenses.get(name, PLAIN)
        under_way.append(
            Reading(
                lens=LENSES[name],
                entry=entry,
                seen=seen,
                cards=_cards(run, entry),
                call=call,
                journal=run.journal.branch(),
                who=run.context.key_id or "",
                use=_use(run, entry),
                asked=asked,
            )
        )
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(reader.read(one)) for one in under_way]
    finally:
        run.journal.waited_s += max([one.journal.waited_s for one in under_way])  # they wait beside each other
    return tuple([task.result() for task in tasks])


def _seen(run: Run) -> Seen:
    """Return what lenses look at: the user's words, without passages that engrams added."""
    assert run.assessment is not None
    said = [text_of(one) for one in run.given.messages if one.role == "user"]
    said = [text for text in said if text.strip()]
    return Seen(text=said[-1] if said else "", before=said[-2] if len(said) > 1 else "", assessment=run.assessment)


def _use(run: Run, entry: LensEntry) -> CacheUse:
    """Return whether to look and whether to keep; a request that wants no cached answer wants no cached reading."""
    wish = run.request.hints.cache or run.context.cache
    return entry.cache and wish not in ("bypass", "refresh"), entry.cache and wish not in ("bypass", "no-store")


def _cards(run: Run, entry: LensEntry) -> tuple[ModelCard, ...]:
    """Return the models that read, best first: the one that is named, else of the preset's tiers, else of a role, else any."""
    registry, config = run.world.registry, run.world.config
    found: list[ModelCard] = []
    if entry.model is not None:
        found = _named(run, entry.model)
    else:
        tiers = config.decisions.tiers
        for tier in PRESETS[entry.preset].tiers:
            for name in getattr(tiers, tier):
                found += _named(run, name)
        for role in ROLES:
            found = found or list(registry.role(role))
        found = found or sorted([card for card in registry.enabled if card.auto and chats(card)], key=_dearness)[:1]
    if entry.secondary is not None:
        found = [*found[: MOST_MODELS - 1], *_named(run, entry.secondary)]
    reach = run.reach
    unique = {card.id: card for card in found if reach is None or reach.refusal(url_for(reach, card)) is None}
    return tuple(unique.values())[:MOST_MODELS]


def _named(run: Run, name: str) -> list[ModelCard]:
    registry = run.world.registry
    if name.startswith("role/"):
        return list(registry.role(name.removeprefix("role/")))
    card = registry.cards.get(name)
    return [card] if card is not None and card.enabled else []


def _dearness(card: ModelCard) -> tuple[float, int, str]:
    price = card.price.output_usd
    unknown = 0.0 if card.self_hosted else float("inf")
    return unknown if price is None else price, card.memory_bytes or 0, card.id


def informed(request: ChatRequest, readings: list[LensReading]) -> ChatRequest:
    """Return the request with what lenses saw before its last question, and a system message that says what that is.

    The system message is always the same and stands where the caller's end, so what was read before stays cached.
    """
    lines = "\n".join([filled(STATE, state=told_of(one.name, one.state)) for one in readings])
    messages = list(request.messages)
    at = max([place for place, one in enumerate(messages) if one.role == "user" and text_of(one).strip()])
    message = messages[at]
    if message.form == "text" and len(message.blocks) == 1:
        blocks = (Text(text=f"{lines}\n\n{text_of(message)}"),)
        messages[at] = msgspec.structs.replace(message, blocks=blocks)
    else:
        messages[at] = msgspec.structs.replace(message, blocks=(Text(text=lines), *message.blocks), form="parts")
    place = next((n for n, one in enumerate(messages) if one.role not in ("system", "developer")), 0)
    messages.insert(place, Message(role="system", blocks=(Text(text=note_words()),)))
    return msgspec.structs.replace(request, messages=tuple(messages))


def discreet(record: RequestRecord) -> RequestRecord:
    """Return the record without the words that lenses' models chose: those of the caller may be among them."""
    assessment = record.assessment
    if assessment is None:
        return record
    lens = tuple([msgspec.structs.replace(one, state=without_notes(one.state), detail=None) for one in assessment.lens])
    return msgspec.structs.replace(record, assessment=msgspec.structs.replace(assessment, lens=lens))
