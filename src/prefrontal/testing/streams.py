"""One answer with everything in it, as every upstream writes it; and what becomes of it on a bad line."""

from __future__ import annotations

import json
from collections.abc import Mapping

from prefrontal.clock import Chance
from prefrontal.testing.answers import Answer, Asked, ScriptedCall, Spoken, speak
from prefrontal.testing.mock_openai import OpenAIWire
from prefrontal.testing.mock_vendors import AnthropicWire, GeminiWire, OllamaWire
from prefrontal.testing.mock_wire import Wire
from prefrontal.testing.mutate import Mutator

WIRES: Mapping[str, Wire] = {
    "openai": OpenAIWire(),
    "llamacpp": OpenAIWire("tags"),
    "anthropic": AnthropicWire(),
    "gemini": GeminiWire(),
    "ollama": OllamaWire(),
}
"""Who writes what a profile's upstream sends."""


def everything() -> Spoken:
    """Return an answer with thinking, text, two calls and counts."""
    first = ScriptedCall(name="weather", arguments={"city": "Oslo"})
    calls = (first, ScriptedCall(name="time", arguments={"a": [1]}, id="call_2"))
    answer = Answer(text="It rains.", reasoning="Let me see.", tool_calls=calls, cached_tokens=2)
    return speak(answer, Asked(model="m", text="x", stream=True, prompt_words=3))


class StreamMutator:
    """Breaks streams made of `events`: most often the JSON inside one, else their order, else bytes."""

    def __init__(self, chance: Chance, events: list[bytes]) -> None:
        self.mutate = Mutator(chance)
        self._chance = chance
        self._events = events

    def stream(self) -> bytes:
        """Return one broken stream."""
        events = list(self._events)
        at, other = (int(self._chance.random() * len(events)) for _ in range(2))
        match int(self._chance.random() * 8):
            case 0:
                return self.mutate.raw(b"".join(events))
            case 1:
                events[at], events[other] = events[other], events[at]
            case 2:
                del events[at]
            case _:
                events[at] = self._inside(events[at])
        return b"".join(events)

    def _inside(self, event: bytes) -> bytes:
        start, end = event.find(b"{"), event.rfind(b"}") + 1
        if start < 0:
            return self.mutate.raw(event)
        return event[:start] + self.mutate.body(json.loads(event[start:end])) + event[end:]
