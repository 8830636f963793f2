"""The golden table: the fields each model is sent equal what was written by hand from the reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefrontal.chat.request import ChatRequest
from prefrontal.contracts.effort import Effort
from prefrontal.contracts.model import ModelCard
from prefrontal.providers.effort import Dialects, render_effort

GOLDEN = yaml.safe_load(Path(__file__).with_name("golden.yaml").read_text(encoding="utf-8"))

ROWS = [
    pytest.param(row, score, row["sent"][i], (row.get("suffix") or [None] * 5)[i], id=f"{row['name']}@{row['profile']}-{score}")
    for row in GOLDEN["models"]
    for i, score in enumerate(GOLDEN["efforts"])
]


@pytest.mark.parametrize(("row", "score", "sent", "suffix"), ROWS)
def test_a_model_is_sent_exactly_the_golden_fields(
    row: dict[str, Any],
    score: float,
    sent: dict[str, Any],
    suffix: str | None,
    card_of: Callable[..., ModelCard],
    nested: Callable[..., dict[str, Any]],
    dialects: Dialects,
) -> None:
    """Name, profile and score alone lead to the fields of the table, no more and no fewer."""
    request = ChatRequest(model=row["name"], messages=(), max_output_tokens=GOLDEN["cap"])
    card = card_of(row["name"], row["profile"], row.get("dialect"))
    rendered = render_effort(Effort(score=score, origin="policy"), card, request, dialects, default_cap=None)
    assert nested(rendered.fields) == sent
    assert rendered.suffix == suffix


def test_the_golden_table_covers_every_dialect(card_of: Callable[..., ModelCard], dialects: Dialects) -> None:
    """A dialect nobody wrote down by hand is not proven."""
    covered = {card_of(row["name"], row["profile"], row.get("dialect")).effort_dialect for row in GOLDEN["models"]}
    assert covered == set(dialects.dialects)
