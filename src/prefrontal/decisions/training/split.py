"""Which cases are trained on and which judge: by agent and by time, so that nothing of the test was seen. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from prefrontal.decisions.training.cases import TRUTHS, Case

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")

SHARE = 0.2
"""Share of the agents, and of the time, that is held out (assumed: the usual fifth)."""

EARLY_TEST = "early cases of agents held out for the test"
NO_TRUTH = "labels of models in the time, or of the agents, held out"


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """The parts, and why cases are in none of them. cut_s: when the held-out time begins (None: there are no cases)."""

    parts: dict[Part, tuple[Case, ...]]
    left_out: dict[str, int]
    cut_s: float | None
    test_groups: int
    groups: int


def split(cases: Sequence[Case], share: float = SHARE) -> Split:
    """Return the cases in parts. share: in (0, 1).

    Trained on are the early cases of most agents. The test has later cases of the other agents, so it shares neither an agent
    nor a time with what is trained on; with one agent it is later only. Validation has later cases of agents trained on. Labels
    that models gave, and synthetic cases, are trained on or left out: nothing is ever judged by them.
    """
    timed = sorted([case.at_s for case in cases if case.origin in TRUTHS])
    groups = sorted({case.group for case in cases if case.origin in TRUTHS}, key=_digest)
    held = frozenset(groups[: max(1, round(share * len(groups)))] if len(groups) > 1 else ())
    cut_s = timed[min(len(timed) - 1, int(len(timed) * (1.0 - share)))] if timed else None
    parts: dict[Part, list[Case]] = {part: [] for part in PARTS}
    left_out: dict[str, int] = {}
    for case in cases:
        part, why = _part(case, held, cut_s, alone=len(groups) < 2)
        if part is not None:
            parts[part].append(case)
        else:
            left_out[why] = left_out.get(why, 0) + 1
    return Split(
        parts={part: tuple(found) for part, found in parts.items()},
        left_out=left_out,
        cut_s=cut_s,
        test_groups=len(held),
        groups=len(groups),
    )


def _part(case: Case, held: frozenset[str], cut_s: float | None, *, alone: bool) -> tuple[Part | None, str]:
    if case.origin == "synthetic":
        return "train", ""
    late = cut_s is not None and case.at_s >= cut_s
    if case.origin not in TRUTHS:
        return (None, NO_TRUTH) if late or case.group in held else ("train", "")
    if case.group in held:
        return ("test", "") if late else (None, EARLY_TEST)
    if not late:
        return "train", ""
    return ("test" if alone else "validation"), ""


def _digest(group: str) -> str:
    return hashlib.blake2b(group.encode(), digest_size=8).hexdigest()
