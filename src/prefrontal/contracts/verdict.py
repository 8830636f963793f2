"""What a validator says of an answer."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing found: a stable `code`, how bad, where (a path or span), and the sentence for people."""

    code: str
    severity: Literal["info", "warning", "error"]
    where: str = ""
    message: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an answer passes, what was found, and whether asking the same model again with the findings may mend it."""

    passed: bool
    findings: tuple[Finding, ...] = ()
    repairable: bool = False
