"""What a validator says of an answer, and what came of it."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing found: a stable `code`, how bad, where (a JSON pointer into the answer), and the sentence for people.

    repairable: asking the same model again with this sentence may mend it.
    """

    code: str
    severity: Literal["info", "warning", "error"]
    where: str = ""
    message: str = ""
    repairable: bool = False


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an answer passes, what was found, and whether asking the same model again with the findings may mend it.

    mended: the text to put in place of the answer's, where a fault of form could be taken away without a model (None: nothing
    to replace). `passed` speaks of the answer with it.
    """

    passed: bool
    findings: tuple[Finding, ...] = ()
    repairable: bool = False
    mended: str | None = None


PASSED = Verdict(passed=True)


def verdict_of(findings: tuple[Finding, ...], *, mended: str | None = None) -> Verdict:
    """Return the verdict that findings add up to: errors fail it, and it is repairable when each of them is."""
    errors = [finding for finding in findings if finding.severity == "error"]
    repairable = bool(errors) and all(finding.repairable for finding in errors)
    return Verdict(passed=not errors, findings=findings, repairable=repairable, mended=mended)


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """How the validation of one request ended.

    passed: the answer that was given holds. findings: of the last answer. earlier: of the answers before it. mended: fences or
    prose around the JSON were taken away without a model. repairs: calls that asked the same model again. escalations: calls
    that asked the next model of the plan. method: how the last model was told the form (see `providers.structured`).
    """

    passed: bool
    findings: tuple[Finding, ...] = ()
    earlier: tuple[Finding, ...] = ()
    mended: bool = False
    repairs: int = 0
    escalations: int = 0
    method: str | None = None
