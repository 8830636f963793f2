"""What a small model says of a request before the large one is chosen: a lens, and what follows from it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

LensSource = Literal["model", "fallback", "cache"]
"""Who read the request: a model now, the lens's formula, or a model some time ago."""

LensName = Literal["task", "risk", "domains"]
LENS_NAMES: tuple[LensName, ...] = LensName.__args__  # type: ignore[attr-defined]  # typing offers no typed accessor

LENS_CALL = "lens"
"""Reason of an attempt that was made for a lens, and not for the answer."""


class LensEffects(msgspec.Struct, frozen=True, kw_only=True):
    """What a reading changes in the plan; None: nothing.

    task_type: one of `TASK_TYPES`. complexity, risk: [0, 1]. thinking: whether the task gains from it. long_answer: room is kept
    for one. integration: [0, 1], how much of the request lies between domains.
    """

    task_type: str | None = None
    complexity: float | None = None
    thinking: bool | None = None
    long_answer: bool = False
    risk: float | None = None
    integration: float | None = None


class LensReading(msgspec.Struct, frozen=True, kw_only=True):
    """What one lens saw. `state` is plain data in the form of the lens, `summary` one line of it without words of the caller.

    latency_ms: what it took, waiting included. attempts: calls made. finding: the code of what went wrong where the formula had
    to answer (None: nothing), `detail` in words. asked: the caller named the lens, so the answer shows it.
    """

    name: str
    version: str
    state: dict[str, Any]
    summary: str
    effects: LensEffects = LensEffects()
    source: LensSource
    model: str | None = None
    latency_ms: float = 0.0
    attempts: int = 0
    finding: str | None = None
    detail: str | None = None
    asked: bool = False
