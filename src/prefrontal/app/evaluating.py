"""Puts cases with known answers to models, and says how well each decides."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.contracts.decision import DecisionRequest
from prefrontal.contracts.model import ModelCard
from prefrontal.decisions.asks import Shown, conversation, grammar_request, json_request, reasoning_request
from prefrontal.decisions.prepared import Prepared
from prefrontal.decisions.training.cases import Case
from prefrontal.decisions.training.judged import Report, Trial, report_of, terms_in
from prefrontal.errors import PrefrontalError, UnknownModel
from prefrontal.machine.context import LIBRARY

if TYPE_CHECKING:
    from prefrontal.app.library import Prefrontal

AT_ONCE = 4
"""Cases asked of one model at the same time (assumed: a local engine's slots)."""


async def evaluate(pf: Prefrontal, model: str, cases: Sequence[Case], *, at_once: int = AT_ONCE) -> Report:
    """Return the figures of a model on cases, each asked anew. A failure of the model counts against it.

    Raises:
        UnknownModel. InvalidRequest: there is no case, or the model cannot decide.
    """
    card = pf.registry.cards.get(model)
    if card is None:
        raise UnknownModel(f"There is no model '{model}'.", param="model", hint="`prefrontal models list` shows them.")
    gate = asyncio.Semaphore(max(1, at_once))

    async def one(case: Case) -> Trial:
        async with gate:
            return await _tried(pf, card, case)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(case)) for case in cases]
    return report_of(model, [task.result() for task in tasks])


async def _tried(pf: Prefrontal, card: ModelCard, case: Case) -> Trial:
    types = pf.decisions.types(pf.config.decisions)
    known = types.registered.get(case.question.type or "")
    question = case.question if known is not None else msgspec.structs.replace(case.question, type=None)
    if known is not None and known.question.values != question.values:  # the type has changed since: its old options are asked
        question = msgspec.structs.replace(question, type=None)
    prepared = types.of(question).prepared
    asked = DecisionRequest(model=card.id, state=case.state, questions=(question,), context=case.context, cache=False)
    answer = (await pf.decide_all(asked, LIBRARY, types)).response.answers[0]
    ruled = answer.source == "rule"
    form = await _in_form(pf, card, prepared, case.state)
    return Trial(
        case=case,
        answered=None if ruled else answer.values.index(answer.chosen),
        probabilities=() if ruled else answer.probabilities,
        expectation=None if ruled else answer.expectation,
        form=form,
        terms_found=await _terms(pf, card, prepared, case) if case.terms else None,
    )


async def _in_form(pf: Prefrontal, card: ModelCard, prepared: Prepared, state: str) -> bool:
    """Return whether the model's bare answer, asked for in the strictest way its engine has, is one without mending."""
    shown = Shown(state)
    grammar = pf.profiles[card.profile].label_probabilities == "post_sampling"
    if grammar:
        request = grammar_request(prepared, conversation(prepared, "code", shown, None, None), card.id)
    else:
        request = json_request(prepared, "json", conversation(prepared, "json", shown, None, None), card.id)
    text = await _said(pf, request)
    if text is None:
        return False
    return text.strip() in prepared.codes if grammar else prepared.read("json", text) is not None


async def _terms(pf: Prefrontal, card: ModelCard, prepared: Prepared, case: Case) -> int:
    return terms_in(await _said(pf, reasoning_request(prepared, Shown(case.state), card.id)) or "", case.terms)


async def _said(pf: Prefrontal, request: ChatRequest) -> str | None:
    """Return a model's bare answer; None: it gave none."""
    try:
        answer = await pf.answer(request, LIBRARY)
    except PrefrontalError:
        return None
    return answer.response.text
