"""Who may be answered from the cache, and which answers are worth keeping."""

from __future__ import annotations

from typing import Any

import pytest

from prefrontal.chat.blocks import Refusal, Text, ToolCall
from prefrontal.chat.request import ChatRequest, Message, ResponseFormat, Sampling, Tool
from prefrontal.chat.response import ChatResponse, Choice
from prefrontal.config.schema_cache import Cache
from prefrontal.contracts.access import Grant
from prefrontal.contracts.money import Payer
from prefrontal.plan.caching import CacheChoice, choose_cache, tenant_of, unkept

ASKED = ChatRequest(model="m", messages=(Message(role="user", blocks=(Text(text="hello"),)),))
BOTH = CacheChoice(look=True, keep=True)


def choose(settings: Cache | None = None, request: ChatRequest = ASKED, **fields: Any) -> CacheChoice | None:
    known: dict[str, Any] = {"wish": None, "grant": None, "channel": None, "model": None, **fields}
    return choose_cache(settings or Cache(), request, **known)


def test_nobody_is_served_from_a_cache_they_did_not_ask_for() -> None:
    """By default nothing is looked up or kept, and nothing is said of it."""
    assert choose() is None
    assert choose(Cache(mode="off")) is None
    assert choose(grant=Grant(cache=None)) is None


@pytest.mark.parametrize(
    "fields", [{"wish": "use"}, {"grant": Grant(cache=True)}, {"channel": True}, {"model": True}, {"settings": Cache(mode="all")}]
)
def test_a_request_a_key_a_channel_a_model_or_the_configuration_may_ask(fields: dict[str, Any]) -> None:
    """Each of them alone is enough."""
    assert choose(fields.pop("settings", None), **fields) == BOTH


@pytest.mark.parametrize(
    ("fields", "who"), [({"grant": Grant(cache=False)}, "key"), ({"channel": False}, "channel"), ({"model": False}, "model")]
)
def test_a_no_of_the_operator_holds_against_a_yes_of_the_request(fields: dict[str, Any], who: str) -> None:
    """And the request that asked is told who declined; one that did not ask hears nothing."""
    found = choose(Cache(mode="all"), wish="use", **fields)
    assert found == CacheChoice(reason=f"the {who} declines")
    assert choose(Cache(mode="all"), **fields) is None
    assert choose(Cache(mode="off"), wish="use") == CacheChoice(reason="it is switched off")


def test_the_words_of_a_request() -> None:
    """`use` looks and keeps, refresh only keeps, no-store only looks, bypass does neither whoever else asks."""
    assert choose(wish="refresh") == CacheChoice(keep=True)
    assert choose(wish="no-store") == CacheChoice(look=True)
    assert choose(Cache(mode="all"), wish="bypass", model=True) == CacheChoice(reason="the request declines")


def test_what_is_drawn_by_lot_or_from_outside_is_not_kept_without_asking() -> None:
    """A temperature above 0 asks for variety, a search for news; whoever asks for the cache itself knows what it gets."""
    warm = ChatRequest(model="m", messages=ASKED.messages, sampling=Sampling(temperature=0.7))
    cold = ChatRequest(model="m", messages=ASKED.messages, sampling=Sampling(temperature=0.0))
    searching = ChatRequest(model="m", messages=ASKED.messages, tools=(Tool(name="web", kind="web_search"),))
    looking = ChatRequest(model="m", messages=ASKED.messages, extra={"web_search_options": {"x": 1}})
    everyone = Cache(mode="all")
    assert choose(everyone, cold) == BOTH
    for request in (warm, searching, looking):
        found = choose(everyone, request)
        assert found is not None
        assert (found.look, found.keep) == (False, False)
        assert found.reason
        assert choose(everyone, request, wish="use") == BOTH
    assert choose(Cache(mode="all", sampled=True), warm) == BOTH


def test_keys_whose_content_is_not_stored_are_left_alone() -> None:
    """Not even when they ask, unless the configuration allows it for them."""
    private = Grant(store_content=False, cache=True)
    assert choose(wish="use", grant=private) == CacheChoice(reason="content of this key is not stored")
    assert choose(Cache(private_keys=True), grant=private) == BOTH


def of(finish: str | None = "stop", *blocks: Any) -> ChatResponse:
    return ChatResponse(choices=(Choice(blocks=blocks or (Text(text="hi"),), finish_reason=finish),))  # type: ignore[arg-type]


@pytest.mark.parametrize("finish", ["length", "content_filter", "refusal", "pause", "error", None])
def test_an_answer_that_is_not_whole_is_not_kept(finish: str | None) -> None:
    """Cut off, filtered, refused, paused, broken, or ended without a word."""
    assert unkept(ASKED, of(finish)) is not None


def test_refusals_nothing_and_broken_json_are_not_kept() -> None:
    """Whole answers and calls of tools are; one bad choice of several is enough against."""
    assert unkept(ASKED, of()) is None
    assert unkept(ASKED, of("tool_calls", ToolCall(id="c", name="n", arguments="{}"))) is None
    assert unkept(ASKED, of("stop", Refusal(text="no"))) == "the model refused"
    assert unkept(ASKED, ChatResponse()) == "the answer is empty"
    assert unkept(ASKED, ChatResponse(choices=(Choice(finish_reason="stop"),))) == "the answer is empty"
    both = ChatResponse(choices=(*of().choices, *of("length").choices))
    assert unkept(ASKED, both) is not None
    formed = ChatRequest(model="m", messages=ASKED.messages, response_format=ResponseFormat(kind="json_object"))
    assert unkept(formed, of("stop", Text(text='{"a": 1}'))) is None
    assert unkept(formed, of("stop", Text(text="no JSON"))) is not None


def test_who_shares_answers() -> None:
    """Each key alone; or the keys of a team, and those without one alone; or all. Those without a key are one."""
    red = Grant(payer=Payer(key_id="k", team="red"))
    names = {scope: tenant_of(Cache(scope=scope), "k", red) for scope in ("key", "team", "all")}  # type: ignore[arg-type]
    assert names == {"key": "key:k", "team": "team:red", "all": "all"}
    assert tenant_of(Cache(scope="team"), "k", Grant(payer=Payer(key_id="k"))) == "key:k"
    assert tenant_of(Cache(), None, None) == "key:"
    assert len({tenant_of(Cache(scope="team"), "team:red", None), names["team"]}) == 2
