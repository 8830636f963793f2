"""Ten thousand broken streams for the event reader and for each upstream: only a `ProviderError`, in bounded time and memory."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable

import psutil
import pytest

from prefrontal.chat.collect import Collector
from prefrontal.clock import Chance
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.wire import WireResponse
from prefrontal.errors import ProviderError
from prefrontal.providers.anthropic.client_response import render_messages_error
from prefrontal.providers.base import Target
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.openai.client_stream import ChatStreamRenderer
from prefrontal.providers.registry import builtin_providers
from prefrontal.providers.sse import Event, SSEDecoder
from prefrontal.testing.mutate import Mutator
from prefrontal.testing.streams import WIRES, StreamMutator, everything

COUNT = 10_000
SLOWEST_S = 1.0
GROWTH_BYTES = 24 * 1024 * 1024
BOUND = 4096


def target_for(profile: str) -> Target:
    """A model behind a shipped profile."""
    found = load_profiles()[profile]
    card = ModelCard(id="m", wire_name="m", profile=profile, key="sk-up")
    return Target(card=card, profile=found, base_url=found.base_url or "http://127.0.0.1:1")


def survive(count: int, once: Callable[[], bool]) -> int:
    """Do something often; return how often it was true. Fails when one time takes long or the process grows."""
    process, good, slowest, halfway = psutil.Process(), 0, 0.0, 0
    for number in range(count):
        before = time.thread_time()
        good += once()
        slowest = max(slowest, time.thread_time() - before)
        if number == count // 2:
            gc.collect()
            halfway = process.memory_info().rss
    gc.collect()
    assert slowest < SLOWEST_S
    assert process.memory_info().rss - halfway < GROWTH_BYTES
    return good


@pytest.mark.parametrize("profile", WIRES)
def test_broken_streams_end_in_an_answer_or_a_provider_error(profile: str) -> None:
    """However a stream is broken and cut, its chunks can be collected and shown, or the upstream is blamed."""
    target, chance = target_for(profile), Chance(20261120)
    provider = builtin_providers().for_profile(target.profile)
    streams = StreamMutator(chance, [event.data for event in WIRES[profile].events(everything())])

    def once() -> bool:
        parser, collector = provider.stream_parser(target), Collector()
        shown = ChatStreamRenderer(id="chatcmpl-1", model="m", created_s=1, include_usage=True)
        try:
            for piece in streams.mutate.cut(streams.stream()):
                for chunk in parser.feed(piece):
                    collector.add(chunk)
                    shown.render(chunk)
            for chunk in parser.finish():
                collector.add(chunk)
        except ProviderError:
            return False
        collector.response()
        return True

    count = COUNT // 4 if profile == "llamacpp" else COUNT  # the same parser as OpenAI's, with thinking in tags
    assert count * 0.1 < survive(count, once) < count * 0.95


@pytest.mark.parametrize("profile", WIRES)
def test_broken_answers_and_errors_blame_the_upstream(profile: str) -> None:
    """A whole answer that is broken is an answer or a provider error, and as an error body always a classified one."""
    target, chance = target_for(profile), Chance(7)
    provider = builtin_providers().for_profile(target.profile)
    mutate, wire = Mutator(chance), WIRES[profile]
    good = json.loads(wire.body(everything()))
    bad = json.loads(wire.error(429, "Slow down."))

    def once() -> bool:
        headers = {"retry-after": chance.choice(["1", "soon", "nan", "-1", "1e400", "9" * 30])}
        fault = provider.parse_error(WireResponse(status=429, headers=headers, body=mutate.body(bad)), target)
        assert isinstance(fault, ProviderError)
        json.dumps(render_messages_error(fault, None))
        try:
            provider.parse_chat(WireResponse(status=200, headers={}, body=mutate.body(good)), target)
        except ProviderError:
            return False
        return True

    assert survive(1500, once) > 0


def test_the_event_reader_takes_any_bytes_however_they_are_cut() -> None:
    """Broken bytes give the same events in pieces as in one go, or are too long in both; memory stays under the bound."""
    chance = Chance(20261120)
    mutate = Mutator(chance)
    events = b'event: a\ndata: {"x": 1}\n\n: note\r\ndata: two\rdata: lines\r\r\xef\xbb\xbfid: 7\nerror: {"e": 1}\n\ndata\n\nx\n'

    def read(pieces: list[bytes]) -> list[Event] | None:
        decoder = SSEDecoder(BOUND)
        try:
            found = [event for piece in pieces for event in decoder.feed(piece)]
            return [*found, *decoder.finish()]
        except ProviderError:
            return None

    def once() -> bool:
        data = mutate.raw(events * chance.choice((1, 3, 30)))
        whole = read([data])
        assert read(mutate.cut(data)) == whole
        return whole is not None

    assert survive(COUNT, once) > COUNT * 0.5
