"""What of a request's words goes into its record, when that is configured; secrets are removed from it."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.config.redact import Redactor, secrets_of
from prefrontal.machine.run import Run

MAX_CHARACTERS = 200_000
"""Longer content is cut in the record (assumed: longer ones are documents, not conversations)."""


def content_of(run: Run) -> dict[str, Any]:
    """Return request and answer as plain data, cut and with secrets removed."""
    keys = [card.key for card in run.world.registry.cards.values() if card.key]  # also those of the environment
    redactor = Redactor([*secrets_of(run.world.config), *keys])
    found: dict[str, Any] = {"messages": _clean(run.request.messages, redactor)}
    if run.decided is not None:  # what was asked about the messages, and by whom: what a model can be taught with later
        asked = {"questions": run.decided.questions, "context": run.decided.context}
        found["decision"] = _clean(asked, redactor)
    if run.response is not None:
        found["choices"] = _clean(run.response.choices, redactor)
    return found


def _clean(value: object, redactor: Redactor) -> Any:
    text = msgspec.json.encode(value).decode()
    if len(text) > MAX_CHARACTERS:
        return redactor.text(text[:MAX_CHARACTERS]) + "…"
    return redactor.value(msgspec.json.decode(text))
