"""Stored content holds no key, wherever the key came from."""

from __future__ import annotations

from pathlib import Path

import pytest

import prefrontal
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import PrefrontalError
from prefrontal.execute.transport.base import SYSTEM_TRUST, Timeouts, TlsOptions, WireStream
from prefrontal.ledger.store import RecordFilter

KEY = "plainwordsthatareakey"


class Refusing:
    """Calls every request wrong."""

    async def send(self, request: WireRequest, timeouts: Timeouts, *, tls: TlsOptions = SYSTEM_TRUST) -> WireResponse:
        return WireResponse(status=400, headers={}, body=b"{}")

    async def open(self, request: WireRequest, timeouts: Timeouts, *, tls: TlsOptions = SYSTEM_TRUST) -> WireStream:
        raise AssertionError("nothing is streamed here")

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_a_key_of_the_environment_is_not_stored_with_what_was_said(tmp_path: Path) -> None:
    """A person pastes the key, which has no known shape and stands in no file, into a prompt; the words around it are kept."""
    models = {"m": {"profile": "groq", "model": "llama-x"}}
    config = {"discovery": {"enabled": False}, "models": models, "records": {"content": True}}
    env = {"PREFRONTAL_HOME": str(tmp_path), "GROQ_API_KEY": KEY}
    async with prefrontal.open(config, env=env, transport=Refusing()) as pf:
        with pytest.raises(PrefrontalError):
            await pf.chat(f"Why does {KEY} not work?", model="m")
        (listed,) = await pf.ledger.find(RecordFilter())
        record = await pf.ledger.get(listed.id)
    assert record is not None
    assert "Why does [redacted] not work?" in str(record.content)
    assert KEY not in str(record.content)
