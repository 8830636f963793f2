"""What comes in the same bytes as an upstream's error, and before it, is not lost: it was said, and it is paid for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prefrontal.contracts.model import ModelCard
from prefrontal.errors import ProviderError
from prefrontal.providers.base import Target
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.registry import builtin_providers


def event(value: dict[str, Any]) -> bytes:
    """Return one server-sent event."""
    return f"event: {value.get('type', 'message')}\ndata: {json.dumps(value)}\n\n".encode()


def delta(text: str) -> bytes:
    """Return a piece of text in the Messages stream."""
    return event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})


STREAMS = {
    "anthropic": (
        event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}) + delta("Hel"),
        delta("lo"),
        event({"type": "error", "error": {"type": "overloaded_error", "message": "Too busy."}}),
    ),
    "gemini": (
        event({"candidates": [{"content": {"parts": [{"text": "Hel"}]}}]}),
        event({"candidates": [{"content": {"parts": [{"text": "lo"}]}}]}),
        event({"error": {"code": 503, "message": "Too busy.", "status": "UNAVAILABLE"}}),
    ),
    "ollama": (
        json.dumps({"model": "m", "message": {"role": "assistant", "content": "Hel"}, "done": False}).encode() + b"\n",
        json.dumps({"model": "m", "message": {"role": "assistant", "content": "lo"}, "done": False}).encode() + b"\n",
        b'{"error":"Too busy."}\n',
    ),
    "openai-compatible": (
        event({"choices": [{"index": 0, "delta": {"content": "Hel"}}]}),
        event({"choices": [{"index": 0, "delta": {"content": "lo"}}]}),
        event({"error": {"message": "Too busy.", "type": "server_error"}}),
    ),
}


@pytest.mark.parametrize("together", [True, False], ids=["one packet", "one by one"])
@pytest.mark.parametrize("profile", STREAMS)
def test_pieces_before_an_error_come_first(profile: str, together: bool) -> None:
    """However the bytes were cut: the text, then the error, at the latest when the stream ends."""
    found = load_profiles()[profile]
    target = Target(card=ModelCard(id="m", profile=profile, wire_name="m", provider="p"), profile=found, base_url="http://x")
    parser = builtin_providers().for_profile(found).stream_parser(target)
    text = ""
    with pytest.raises(ProviderError) as broken:  # noqa: PT012 - the error comes at the next call, whichever that is
        for data in [b"".join(STREAMS[profile])] if together else STREAMS[profile]:
            text += "".join(chunk.text for chunk in parser.feed(data))
        text += "".join(chunk.text for chunk in parser.finish())
    assert text == "Hello"
    assert "Too busy." in broken.value.message
