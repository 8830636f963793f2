"""Models that a key in the environment gives access to."""

from __future__ import annotations

import msgspec
import pytest

from prefrontal.execute.discovery.environment import adhoc_card, environment_cards, environment_keys

SECRET = "sk-very-secret-0123456789"


@pytest.fixture
def having(sources):
    """Return the tables with an environment."""
    return lambda **env: msgspec.structs.replace(sources, env=env)


def test_each_key_offers_the_models_of_its_provider_and_no_others(having):
    """OpenAI's key gives OpenAI's models with their listed price, context, key and address."""
    cards = environment_cards(having(OPENAI_API_KEY=SECRET))
    by_id = {card.id: card for card in cards}
    assert {"gpt-5.1", "gpt-5.6"} <= set(by_id)
    assert {card.profile for card in cards} == {"openai"}
    card = by_id["gpt-5.1"]
    assert (card.key, card.base_url, card.wire_name) == (SECRET, "https://api.openai.com/v1", "gpt-5.1")
    assert (card.price.input_usd, card.price.origin, card.origin) == (1.25, "facts", "discovered")
    assert (card.auto, card.enabled, card.self_hosted, card.context_tokens) == (True, True, False, 272_000)


@pytest.mark.parametrize(
    ("variable", "profile", "model"),
    [
        ("ANTHROPIC_API_KEY", "anthropic", "claude-opus-5"),
        ("GEMINI_API_KEY", "gemini", "gemini-2.5-pro"),
        ("GOOGLE_API_KEY", "gemini", "gemini-3.5-flash"),
        ("DEEPSEEK_API_KEY", "deepseek", "deepseek-v4-pro"),
        ("MOONSHOT_API_KEY", "moonshot", "kimi-k2.6"),
        ("MISTRAL_API_KEY", "mistral", "devstral-medium-latest"),
        ("XAI_API_KEY", "xai", "grok-4.3"),
        ("GROQ_API_KEY", "groq", "openai/gpt-oss-120b"),
        ("DASHSCOPE_API_KEY", "dashscope", "qwen3-next-80b-a3b-instruct"),
    ],
)
def test_the_usual_variables_lead_to_names_the_provider_knows(having, variable, profile, model):
    """The name sent is the provider's own, not the catalogue's, and leads to facts and an address."""
    cards = {card.id: card for card in environment_cards(having(**{variable: SECRET}))}
    assert model in cards
    assert all(card.profile == profile and card.price.input_usd and card.context_tokens for card in cards.values())
    assert all(card.base_url and card.base_url.startswith("https://") for card in cards.values())


def test_names_that_only_a_price_list_uses_are_not_offered(having):
    """A route such as `gemini/gemini-gemma-2-9b-it` names nothing that the provider would answer to."""
    assert all("gemma" not in card.id for card in environment_cards(having(GEMINI_API_KEY=SECRET)))


@pytest.mark.parametrize("value", ["", "   ", "\n"])
def test_an_empty_variable_is_no_key(having, value):
    """A variable that is set to nothing offers nothing and is not reported; the next one of the provider counts."""
    sources = having(OPENAI_API_KEY=value, GEMINI_API_KEY=value, GOOGLE_API_KEY="g")
    assert [key.variable for key in environment_keys(sources)] == ["GOOGLE_API_KEY"]
    assert {card.key for card in environment_cards(sources)} == {"g"}


def test_models_whose_route_has_ended_are_left_out(having):
    """The listed end of a model's route is honoured from that day on."""
    sources = having(ANTHROPIC_API_KEY=SECRET)
    before = {card.id for card in environment_cards(sources, today="2026-11-29")}
    after = {card.id for card in environment_cards(sources, today="2026-11-30")}
    assert before - after == {"claude-sonnet-4-5"}


def test_the_key_shows_nowhere(having):
    """Neither the cards nor what is said to people contain it."""
    sources = having(OPENAI_API_KEY=SECRET, ANTHROPIC_API_KEY=SECRET)
    cards = [*environment_cards(sources), adhoc_card("openai/gpt-next", sources)]
    assert all(card.key == SECRET for card in cards)
    shown = f"{cards!r} {cards} {environment_keys(sources)!r} {msgspec.json.encode(environment_keys(sources))!r}"
    assert SECRET not in shown
    assert "gpt-5.1" in shown


def test_the_keys_of_local_engines_offer_nothing_by_themselves(having):
    """A key for vLLM or Ollama belongs to a server that probes find."""
    sources = having(VLLM_API_KEY=SECRET, OLLAMA_API_KEY=SECRET, LM_API_TOKEN=SECRET)
    assert (environment_cards(sources), environment_keys(sources)) == ((), ())


@pytest.mark.parametrize(
    ("variable", "url", "expected"),
    [
        ("OPENAI_BASE_URL", "https://proxy.example/openai/v1", "https://proxy.example/openai/v1/chat/completions"),
        ("OPENAI_BASE_URL", "https://proxy.example", "https://proxy.example/v1/chat/completions"),
        ("OPENAI_BASE_URL", "https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions"),
        ("ANTHROPIC_BASE_URL", "https://proxy.example", "https://proxy.example/v1/messages"),
        ("ANTHROPIC_BASE_URL", "https://proxy.example/claude", "https://proxy.example/claude/v1/messages"),
        ("ANTHROPIC_BASE_URL", "https://proxy.example/claude/v1", "https://proxy.example/claude/v1/messages"),
        ("GOOGLE_GEMINI_BASE_URL", "https://g.example", "https://g.example/v1beta/models/{model}:generateContent"),
    ],
)
def test_a_base_url_is_read_as_the_providers_sdk_reads_it(having, variable, url, expected):
    """OpenAI's includes the version's path, Anthropic's and Google's do not; the key goes there."""
    sources = having(**{variable: url, variable.replace("GOOGLE_", "").replace("BASE_URL", "API_KEY"): SECRET})
    cards = environment_cards(sources)
    assert {card.base_url + sources.profiles[card.profile].paths.chat for card in cards} == {expected}
    assert {card.key for card in cards} == {SECRET}


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:4123/v1", "http://localhost:8000/v1", "http://[::1]:1/v1", "not a url", "ftp://x"]
)
def test_a_base_url_on_this_machine_or_none_at_all_keeps_the_key_home(having, url):
    """Such a key belongs to that server, which may be ourselves: it is neither looped back nor sent to the provider."""
    sources = having(OPENAI_API_KEY=SECRET, OPENAI_BASE_URL=url)
    assert environment_cards(sources) == ()
    assert adhoc_card("openai/gpt-5.1", sources) is None
    (found,) = environment_keys(sources)
    assert (found.variable, found.models) == ("OPENAI_API_KEY", ())
    assert found.note.startswith("OPENAI_BASE_URL ")


def test_a_base_url_of_another_provider_offers_that_providers_models(having):
    """OPENAI_BASE_URL=api.deepseek.com is how many call DeepSeek; on a wire it does not speak nothing is offered."""
    cards = environment_cards(having(OPENAI_API_KEY=SECRET, OPENAI_BASE_URL="https://api.deepseek.com/v1"))
    assert {(card.profile, card.base_url, card.key) for card in cards} == {("deepseek", "https://api.deepseek.com/v1", SECRET)}
    other = having(ANTHROPIC_API_KEY=SECRET, ANTHROPIC_BASE_URL="https://api.deepseek.com/anthropic")
    assert environment_cards(other) == ()
    assert "DeepSeek" in environment_keys(other)[0].note


def test_a_model_nobody_knows_can_be_named_with_its_provider(having):
    """`provider/model` works with the provider's key alone; it stays out of `auto`, and known facts still apply."""
    sources = having(OPENAI_API_KEY=SECRET, GEMINI_API_KEY="g", OPENROUTER_API_KEY="r")
    card = adhoc_card("openai/gpt-9-next", sources)
    assert (card.id, card.wire_name, card.profile, card.key) == ("openai/gpt-9-next", "gpt-9-next", "openai", SECRET)
    assert (card.auto, card.enabled, card.price.input_usd, card.origin) == (False, True, None, "discovered")
    assert adhoc_card("openai/gpt-5.1", sources).price.input_usd == 1.25
    assert adhoc_card("google/gemini-9", sources).profile == "gemini"
    routed = adhoc_card("openrouter/anthropic/claude-opus-5", sources)
    assert (routed.profile, routed.wire_name, routed.key) == ("openrouter", "anthropic/claude-opus-5", "r")


@pytest.mark.parametrize(
    "name",
    [
        "gpt-5.1",
        "anthropic/claude-opus-5",
        "nobody/model",
        "openai/",
        "openai/a b",
        "openai/../../admin",
        "openai/x?key=1",
        "ollama/qwen3",
        "openai/" + "x" * 300,
    ],
)
def test_names_without_a_key_or_unfit_for_an_address_give_no_card(having, name):
    """No provider, no key, or characters that could change the request's address: nothing."""
    assert adhoc_card(name, having(OPENAI_API_KEY=SECRET, OLLAMA_API_KEY="o")) is None
