"""The dialect file itself: complete, consistent, documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefrontal.providers.effort import Dialects, load_dialects
from prefrontal.providers.effort.dialects import LADDER, BudgetObjectOp, BudgetOp, EnumOp

DOCS = Path(__file__).parents[3] / "docs" / "effort.md"


def test_each_load_gives_its_own_equal_object() -> None:
    """There is no module state to be shared."""
    first, second = load_dialects(), load_dialects()
    assert first == second
    assert first is not second


def test_every_dialect_is_marked_with_its_evidence(dialects: Dialects) -> None:
    """A dialect without a status or a source is a guess."""
    assert len(dialects.dialects) == 20
    for dialect in dialects.dialects.values():
        assert dialect.status in {"verified", "secondary", "unverified"}
        assert len(dialect.evidence) > 20


def test_every_dialect_is_consistent(dialects: Dialects) -> None:
    """Levels belong to words, budgets to ranges, aliases lead to levels, spellings cover the levels."""
    for name, dialect in dialects.dialects.items():
        enums = [op for op in dialect.ops if isinstance(op, EnumOp)]
        budgets = [op for op in dialect.ops if isinstance(op, BudgetOp | BudgetObjectOp)]
        assert bool(enums) == bool(dialect.levels), name
        assert bool(budgets) == (dialect.budget is not None), name
        assert set(dialect.alias.values()) <= set(dialect.levels), name
        assert not set(dialect.alias) & set(dialect.levels), name
        assert dialect.default_level is None or dialect.default_level in dialect.levels, name
        for op in enums:
            assert op.map is None or set(dialect.levels) <= set(op.map), name
        if dialect.budget is not None:
            assert 0 <= dialect.budget.min < dialect.budget.max, name


def test_words_and_scores_agree(dialects: Dialects) -> None:
    """Thresholds ascend to 1, and each word's score lies in its own band."""
    bounds = [step.max for step in dialects.score_to_level]
    assert bounds == sorted(bounds)
    assert bounds[-1] == 1.0
    assert [step.level for step in dialects.score_to_level] == list(LADDER) == list(dialects.ladder)
    assert all(dialects.level_of(dialects.score_of(level)) == level for level in LADDER)


@pytest.mark.parametrize(("score", "share"), [(0, 0), (0.1, 0.1), (0.2, 0.15), (0.3, 0.2), (0.5, 0.5), (0.8, 0.8), (1, 0.95)])
def test_the_budget_share_follows_its_anchors_and_back(score: float, share: float, dialects: Dialects) -> None:
    """Piecewise linear through the documented percentages, and invertible."""
    assert dialects.share_of(score) == pytest.approx(share)
    assert dialects.score_of_share(share) == pytest.approx(score)


def test_every_dialect_is_documented(dialects: Dialects) -> None:
    """The page lists each dialect with its status as the data says it."""
    rows = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    documented = {row.split("`")[1]: row for row in rows}
    for name, dialect in dialects.dialects.items():
        assert name in documented, name
        assert documented[name].rstrip().endswith(f"| {dialect.status} |"), name
