"""The list of models for clients that speak Anthropic's dialect: those that send ``anthropic-version``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from prefrontal.errors import InvalidRequest

VERSION = "anthropic-version"
MOST = 1000
"""Largest page (specified by that API)."""


def model_info(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry of our list in that form; what it has beyond it stays."""
    made = datetime.fromtimestamp(entry["created"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    known = {"type": "model", "id": entry["id"], "display_name": entry["id"], "created_at": made}
    return {**known, **{key: value for key, value in entry.items() if key not in ("id", "object", "created")}}


def model_page(listed: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of our list in that form: all models, unless `limit`, `after_id` or `before_id` say less.

    Raises:
        InvalidRequest: `limit` is no number from 1 to 1000.
    """
    found = [model_info(entry) for entry in listed["data"]]
    names = [entry["id"] for entry in found]
    after, before = query.get("after_id"), query.get("before_id")
    if after in names:
        found = found[names.index(after) + 1 :]
    elif before in names:
        found = found[: names.index(before)]
    limit = _limit(query.get("limit"))
    page = found if limit is None else found[-limit:] if before in names and after not in names else found[:limit]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    return {"data": page, "has_more": len(page) < len(found), "first_id": first, "last_id": last}


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 4 or not 1 <= int(text) <= MOST:
        raise InvalidRequest(f"'{text[:20]}' is no number from 1 to {MOST}.", param="limit")
    return int(text)
