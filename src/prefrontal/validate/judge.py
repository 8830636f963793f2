"""One verdict on one answer: the validators that a request needs, over each of its choices."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from prefrontal.chat.blocks import Block, Text
from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import ChatResponse, Choice
from prefrontal.contracts.verdict import Finding, Verdict, verdict_of
from prefrontal.validate.checks import check_format, check_tools
from prefrontal.validate.compiled import Schemas
from prefrontal.validate.plugins import Validator
from prefrontal.validate.schema import asks_for_form, check_form

log = logging.getLogger(__name__)

MAX_FINDINGS = 20
"""Findings kept of one answer (assumed: more help nobody)."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on an answer, and the answer with what could be mended without a model (`mended`: something was)."""

    verdict: Verdict
    response: ChatResponse
    mended: bool = False


class Judge:
    """Holds the validators by name and the compiled schemas. Judging is pure but for that cache."""

    def __init__(self, validators: Mapping[str, Validator] | None = None) -> None:
        self.schemas = Schemas()
        self._validators: dict[str, Validator] = {
            **(validators or {}),
            "format": check_format,
            "tools": lambda request, choice: check_tools(request, choice, self.schemas),
            "schema": lambda request, choice: check_form(request, choice, self.schemas),
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The validators there are, sorted."""
        return tuple(sorted(self._validators))

    def prepare(self, request: ChatRequest) -> None:
        """Compile the schema a request brings along. Raises InvalidRequest when it cannot be used."""
        wanted = request.response_format
        if wanted is not None and wanted.kind == "json_schema" and wanted.schema is not None:
            self.schemas.get(wanted.schema)

    def judge(self, request: ChatRequest, response: ChatResponse, names: tuple[str, ...]) -> Judged:
        """Return the verdict of the validators named, and of the form where the request asks for one.

        A name that no validator has, and a validator of another package that raises, is a warning and fails nothing. Of several
        choices each must pass; where one does not, asking again is no repair, because the others may be good.
        """
        wanted = ("schema", *(name for name in names if name != "schema")) if asks_for_form(request) else names
        findings: list[Finding] = []
        choices: list[Choice] = []
        several = len(response.choices) > 1
        for number, choice in enumerate(response.choices):
            for name in wanted:
                verdict = self._one(name, request, choice)
                findings += _placed(verdict.findings, number) if several else verdict.findings
                if verdict.mended is not None:
                    choice = _with_text(choice, verdict.mended)
            choices.append(choice)
        if not response.choices:
            findings.append(Finding(code="empty", severity="error", message="There is no answer.", repairable=True))
        total = verdict_of(tuple(findings[:MAX_FINDINGS]))
        if several and total.repairable:
            total = msgspec.structs.replace(total, repairable=False)
        changed = any(new is not old for new, old in zip(choices, response.choices, strict=True))
        if changed:
            response = msgspec.structs.replace(response, choices=tuple(choices))
        return Judged(verdict=total, response=response, mended=changed)

    def _one(self, name: str, request: ChatRequest, choice: Choice) -> Verdict:
        validator = self._validators.get(name)
        if validator is None:
            return _unjudged("validator_unknown", f"There is no validator '{name}'.")
        try:
            verdict: object = validator(request, choice)
            if isinstance(verdict, Verdict):
                return _counted(verdict, name)
            said = f"returned {type(verdict).__name__}"
        except Exception as error:  # an edge: validators may come from other packages, and one that trips fails no answer
            log.exception("the validator %s failed", name)
            said = type(error).__name__
        return _unjudged("validator_failed", f"The validator '{name}' failed ({said}).")


def _counted(verdict: Verdict, name: str) -> Verdict:
    """Return a verdict whose findings say that it did not pass, when its validator said so without one."""
    if verdict.passed or any(finding.severity == "error" for finding in verdict.findings):
        return verdict
    told = Finding(code=name, severity="error", message=f"The validator '{name}' refused it.", repairable=verdict.repairable)
    return msgspec.structs.replace(verdict, findings=(*verdict.findings, told))


def _unjudged(code: str, message: str) -> Verdict:
    return Verdict(passed=True, findings=(Finding(code=code, severity="warning", message=message),))


def _placed(findings: tuple[Finding, ...], number: int) -> tuple[Finding, ...]:
    return tuple([msgspec.structs.replace(one, where=f"/choices/{number}{one.where}") for one in findings])


def _with_text(choice: Choice, text: str) -> Choice:
    """Return the choice with one text in place of its texts; what was told of its tokens no longer fits and goes."""
    blocks: list[Block] = []
    placed = False
    for block in choice.blocks:
        if not isinstance(block, Text):
            blocks.append(block)
        elif not placed:
            blocks.append(Text(text=text))
            placed = True
    return msgspec.structs.replace(choice, blocks=tuple(blocks), logprobs=None)
