"""Ten thousand broken bodies for each dialect: refused with a 4xx or understood, in bounded time and memory, nothing else."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec
import psutil
import pytest

from prefrontal.chat.request import ChatRequest
from prefrontal.clock import Chance
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import PrefrontalError
from prefrontal.providers.anthropic.client import parse_messages_request
from prefrontal.providers.base import Target
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.openai.request import parse_chat_request
from prefrontal.providers.registry import builtin_providers
from prefrontal.providers.responses.request import chat_request, parse_responses_request
from prefrontal.testing import samples
from prefrontal.testing.mutate import Mutator

COUNT = 10_000
SLOWEST_S = 1.0
"""What one body may cost, in CPU seconds (assumed: the slowest seen takes 0.05, and the machine may be busy)."""

GROWTH_BYTES = 24 * 1024 * 1024
"""What the second half may add to the process (assumed: one kept object of 2.5 kB a body would be as much)."""

PATH = re.compile(r"[A-Za-z_$]*([.\[][^\x00-\x1f]*)?")
PARSERS: dict[str, tuple[Callable[[bytes], ChatRequest], tuple[dict[str, Any], ...]]] = {
    "chat": (parse_chat_request, samples.CHAT),
    "responses": (lambda body: chat_request(parse_responses_request(body)), samples.RESPONSES),
    "messages": (parse_messages_request, samples.MESSAGES),
}


def named(param: str | None) -> bool:
    """Whether an error names its field as a path, or none; keys of `x_prefrontal` are the caller's own words."""
    return param is None or param.startswith("x_prefrontal") or PATH.fullmatch(param) is not None


@pytest.fixture
def upstreams() -> Callable[[ChatRequest], None]:
    """A function that renders a request for every wire; what a wire cannot carry is a 4xx too."""
    providers, profiles, effort = builtin_providers(), load_profiles(), EffortFields(dialect="none")
    targets = [
        Target(card=ModelCard(id="m", wire_name="m", profile=name, key="k"), profile=profiles[name], base_url="http://127.0.0.1:1")
        for name in ("openai", "anthropic", "gemini", "ollama")
    ]

    def render(request: ChatRequest) -> None:
        for target in targets:
            try:
                providers.for_profile(target.profile).render_chat(request, target, effort, stream=request.stream)
            except PrefrontalError as error:
                if not 400 <= error.status < 500:
                    raise

    return render


@pytest.mark.parametrize("dialect", PARSERS)
def test_broken_bodies_are_refused_or_understood(dialect: str, upstreams: Callable[[ChatRequest], None]) -> None:
    """Each of 10,000 is a 4xx that may name its field, or a request that every wire can be asked with."""
    parse, good = PARSERS[dialect]
    mutate, understood, slowest, halfway = Mutator(Chance(20261120)), 0, 0.0, 0
    process = psutil.Process()

    def once(body: bytes) -> None:
        nonlocal understood
        try:
            request = parse(body)
        except PrefrontalError as error:
            if (error.status, error.code) != (400, "invalid_request") or not named(error.param):
                raise
            return
        understood += 1
        upstreams(request)

    for number in range(COUNT):
        body = mutate.body(good[number % len(good)])
        before = time.thread_time()
        once(body)
        slowest = max(slowest, time.thread_time() - before)
        if number == COUNT // 2:
            gc.collect()
            halfway = process.memory_info().rss
    gc.collect()
    assert slowest < SLOWEST_S
    assert process.memory_info().rss - halfway < GROWTH_BYTES
    assert COUNT * 0.1 < understood < COUNT * 0.6  # both ways were tried often


@pytest.mark.parametrize("dialect", PARSERS)
def test_the_samples_themselves_are_good(dialect: str, upstreams: Callable[[ChatRequest], None]) -> None:
    """What the mutations start from is understood as it is."""
    parse, good = PARSERS[dialect]
    for sample in good:
        upstreams(parse(msgspec.json.encode(sample)))
