"""Validation on a request's way: is there anything to hold the answer to, what to do when it does not hold, and the last word.

The ladder: what can be mended without a model is; then the same model is asked again, with its answer and what is wrong with it;
then, where that is configured, the next model of the plan; then the request fails.
"""

from __future__ import annotations

import msgspec

from prefrontal.chat.collect import Collector
from prefrontal.chat.response import ChatResponse, Chunk
from prefrontal.contracts.verdict import Validation
from prefrontal.errors import PrefrontalError, StructuredOutputInvalid
from prefrontal.execute.call import Call
from prefrontal.machine.checking import Check
from prefrontal.machine.parts import Parts
from prefrontal.machine.run import Run
from prefrontal.machine.states import State
from prefrontal.validate.judge import Judged
from prefrontal.validate.repair import repair_request
from prefrontal.validate.schema import UNFORMED, asks_for_form

MAX_ANSWER_SHOWN = 20_000
"""Characters of a bad answer that its caller is shown (assumed: enough to see what is wrong)."""


def begin(run: Run, parts: Parts) -> Check | None:
    """Return what the answer is held to, or None. Raises InvalidRequest when the schema of the request cannot be used."""
    settings = run.world.config.structured_output
    if run.request.response_format is None and not settings.validators:
        return None
    form = settings.validate and asks_for_form(run.request)
    if not form and not settings.validators:
        return None
    if form:
        parts.judge.prepare(run.request)
    return Check(settings.validators)


def judge(run: Run, parts: Parts, response: ChatResponse) -> Judged:
    """Judge an answer, note it, and let what it shows of the engine be learnt."""
    check = run.check
    assert check is not None
    request = run.request
    if not run.world.config.structured_output.validate and request.response_format is not None:
        request = msgspec.structs.replace(request, response_format=None)
    judged = parts.judge.judge(request, response, check.names)
    check.raw = response.text
    entry = run.journal.last()
    if entry is not None and not judged.verdict.passed:
        entry.mark = StructuredOutputInvalid.code
    codes = {finding.code for finding in judged.verdict.findings}
    if request.response_format is not None and codes.isdisjoint(_NO_EVIDENCE):
        parts.executor.shapes.judged(run.request, entry, unformed=not codes.isdisjoint(UNFORMED))
    findings = judged.verdict.findings
    check.result = Validation(
        passed=judged.verdict.passed,
        findings=findings,
        earlier=check.earlier,
        mended=judged.mended,
        repairs=check.repairs,
        escalations=check.escalations,
        method=None if entry is None else entry.method,
    )
    return judged


_NO_EVIDENCE = frozenset({"truncated", "refused", "empty"})
"""Findings of answers that say nothing of whether the engine honours the field."""


def step(run: Run, parts: Parts) -> State:
    """Judge the whole answer and return what comes next: SYNTHESIS, or LLM_CALL with what `run.check` says.

    Raises:
        StructuredOutputInvalid: it does not hold, and nothing is left to try.
    """
    check, response = run.check, run.response
    assert check is not None
    assert response is not None
    judged = judge(run, parts, response)
    if judged.verdict.passed:
        run.response = _with_all_usage(run, judged.response)
        return State.SYNTHESIS
    findings = judged.verdict.findings
    settings = run.world.config.structured_output
    here = next((n for n, card in enumerate(run.cards) if card.id == run.model), len(run.cards) - 1)
    if judged.verdict.repairable and check.repairs < settings.repairs and not _is_over(run, parts) and run.cards:
        check.repairs += 1
        check.earlier = (*check.earlier, *findings)
        check.request = repair_request(run.request, response, findings)
        check.cards, check.reason = (run.cards[here],), "repair"
        return State.LLM_CALL
    return next_model(run, parts) or _fail(run)


def next_model(run: Run, parts: Parts, error: PrefrontalError | None = None) -> State | None:
    """Return LLM_CALL when the next model of the plan is to be asked; None: there is none, or it is not wanted.

    error: why the repair could not be made.
    """
    check = run.check
    assert check is not None
    settings = run.world.config.structured_output
    here = next((n for n, card in enumerate(run.cards) if card.id == run.model), len(run.cards) - 1)
    rest = run.cards[here + 1 :]
    if not settings.escalate or not rest or not run.request.hints.fallback or _is_over(run, parts):
        return None
    if error is None and check.result is not None:
        check.earlier = (*check.earlier, *check.result.findings)
    check.escalations += 1
    check.request, check.cards, check.reason = run.request, rest, "escalation"
    return State.LLM_CALL


async def ask_again(run: Run, parts: Parts, call: Call) -> State:
    """Make the call that the step before wanted, and return VALIDATION.

    When it cannot be made (no money, no time, the model gone) the next model is asked where that is configured.

    Raises:
        StructuredOutputInvalid: the answer that was there does not hold, and no better one could be had.
    """
    check = run.check
    assert check is not None
    assert check.request is not None
    again = msgspec.structs.replace(call, request=check.request, cards=check.cards or run.cards, reason=check.reason)
    try:
        run.response, card = await parts.executor.complete(again, run.journal)
    except PrefrontalError as error:
        following = next_model(run, parts, error) if check.reason == "repair" else None
        if following is None:
            raise failure(run, error) from error
        return await ask_again(run, parts, call)
    run.model = card.id
    return State.VALIDATION


def failure(run: Run, cause: PrefrontalError | None = None) -> StructuredOutputInvalid:
    """Return the error that says what is wrong with the answer. Its `details` hold the answer, for the caller alone."""
    check = run.check
    assert check is not None
    result = check.result or Validation(passed=False)
    errors = [finding for finding in (result.findings or check.earlier) if finding.severity == "error"]
    told = [f"at {one.where}: {one.message}" if one.where else one.message for one in errors[:3]]
    more = f" And {len(errors) - 3} more." if len(errors) > 3 else ""
    again = " It was asked again in vain." if check.repairs and cause is None else ""
    hint = "Raise the output cap." if any(one.code == "truncated" for one in errors) else None
    details = {
        "findings": [msgspec.to_builtins(finding) for finding in (*result.earlier, *result.findings)],
        "answer": check.raw[:MAX_ANSWER_SHOWN],
        "repairs": check.repairs,
        "escalations": check.escalations,
    }
    if cause is not None:
        details["repair_failed"] = cause.code
    entry = run.journal.last()
    return StructuredOutputInvalid(
        f"The answer of model '{run.model}' is not in the form that was asked for. {' '.join(told)}{more}{again}",
        model=run.model,
        provider=None if entry is None else entry.card.provider or entry.card.profile,
        param=None if run.request.response_format is None else "response_format",
        hint=hint,
        details=details,
    )


def _fail(run: Run) -> State:
    raise failure(run)


def _is_over(run: Run, parts: Parts) -> bool:
    return run.deadline is not None and parts.clock.monotonic() >= run.deadline


def _with_all_usage(run: Run, response: ChatResponse) -> ChatResponse:
    """Return the answer with the tokens of every round."""
    check = run.check
    if check is None or not (check.repairs or check.escalations):
        return response
    return msgspec.structs.replace(response, usage=run.journal.usage())


class Watch:
    """Judges a stream when it has been passed on: collects it, and at its end says whether it holds."""

    def __init__(self, run: Run, parts: Parts) -> None:
        self._run = run
        self._parts = parts
        self._collector = Collector()

    def see(self, chunks: list[Chunk]) -> None:
        """Take what is passed on."""
        for chunk in chunks:
            self._collector.add(chunk)

    def end(self) -> StructuredOutputInvalid | None:
        """Return the error to end the stream with, or None; the record and the last chunk have the verdict.

        What stood around the JSON was passed on already, so here it is a fault.
        """
        judged = judge(self._run, self._parts, self._collector.response())
        check = self._run.check
        assert check is not None
        assert check.result is not None
        if judged.mended:
            worse = tuple(
                [
                    msgspec.structs.replace(one, severity="error") if one.code in UNFORMED else one
                    for one in judged.verdict.findings
                ]
            )
            check.result = msgspec.structs.replace(check.result, passed=False, mended=False, findings=worse)
        return None if check.result.passed else failure(self._run)
