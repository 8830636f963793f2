"""POST /v1/decisions/{id}/outcome: what turned out to be right about an answer."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.app.library import Prefrontal
from prefrontal.app.outcomes import OutcomeDraft
from prefrontal.contracts.outcome import REQUEST, Outcome
from prefrontal.errors import InvalidRequest
from prefrontal.machine.context import CallContext


class Drafts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several at once."""

    outcomes: tuple[OutcomeDraft, ...]


async def keep_outcomes(pf: Prefrontal, record_id: str, body: bytes, context: CallContext) -> dict[str, Any]:
    """Keep one outcome or several, and return them. A virtual key tells of its own requests. Raises PrefrontalError."""
    several = _read(body)
    drafts = several.outcomes if isinstance(several, Drafts) else (several,)
    key_id = None if context.grant is None else context.key_id
    found = await pf.outcomes.tell(record_id, drafts, key_id=key_id)
    return {"object": "list", "data": [shown(one) for one in found]}


def shown(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as callers see it."""
    fields = msgspec.to_builtins(outcome)
    fields["question"] = None if outcome.question == REQUEST else outcome.question
    return {"object": "outcome", **{name: value for name, value in fields.items() if value is not None}}


def _read(body: bytes) -> OutcomeDraft | Drafts:
    try:
        plain = msgspec.json.decode(body)
        if isinstance(plain, dict) and "outcomes" in plain:
            return msgspec.convert(plain, Drafts)
        return msgspec.convert(plain, OutcomeDraft)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise InvalidRequest(f"The body is wrong: {message}.", param=path.strip("`.") or None) from error
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from error
