"""What disqualifies a model, and what the caller is told when all are."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from prefrontal.chat.request import Hints
from prefrontal.config.schema_routing import Channel
from prefrontal.contracts.model import Capability, ModelCard
from prefrontal.contracts.runtime import ModelRuntime
from prefrontal.errors import CapabilityMissing, ContextTooLong, NoModelAvailable
from prefrontal.plan.inputs import PlanInputs
from prefrontal.plan.musts import ruled_out, too_small
from prefrontal.plan.planner import make_plan
from prefrontal.plan.policies import builtin_policies

Card = Callable[..., ModelCard]
Snapshot = Callable[..., PlanInputs]


def chosen(inputs: PlanInputs) -> str | None:
    return make_plan(inputs, builtin_policies()).model


@pytest.mark.parametrize("need", ["vision", "audio", "files"])
def test_what_a_model_must_be_known_for(card: Card, snapshot: Snapshot, need: str) -> None:
    """Neither a model that cannot nor one nobody vouches for is sent images, sound or files."""
    inputs = snapshot(**{need: True})
    assert ruled_out(card("a", can=("chat", need)), inputs) is None
    assert "as far as is known" in (ruled_out(card("a"), inputs) or "")
    assert "as far as is known" not in (ruled_out(card("a", cannot=(need,)), inputs) or "as far as is known")


@pytest.mark.parametrize("need", ["tools", "structured_output"])
def test_what_an_unknown_model_is_trusted_with(card: Card, snapshot: Snapshot, need: str) -> None:
    """Tools and structured output go to a model nobody knows about, not to one known to lack them."""
    inputs = snapshot(**{need: True})
    assert ruled_out(card("a"), inputs) is None
    assert ruled_out(card("a", cannot=(need,)), inputs) is not None


def test_thinking_disqualifies_only_when_it_is_demanded(card: Card, snapshot: Snapshot) -> None:
    """A task that would profit from thinking takes any model; a caller who demands it does not."""
    assert ruled_out(card("a", cannot=("thinking",)), snapshot(thinking=True)) is None
    assert ruled_out(card("a", cannot=("thinking",)), snapshot(must_think=True)) is not None
    assert ruled_out(card("a"), snapshot(must_think=True)) is not None
    assert ruled_out(card("a", can=("chat", "thinking")), snapshot(must_think=True)) is None


def test_a_capability_the_code_does_not_know_can_be_declared_and_demanded(card: Card, snapshot: Snapshot) -> None:
    """A name of the operator's own decides who serves."""
    cards = (card("a", quality=1.0), card("b", can=("chat", "legal-de")))
    assert chosen(snapshot(*cards)) == "a"
    inputs = snapshot(*cards, hints=Hints(needs=("legal-de",)))
    assert chosen(inputs) == "b"
    assert ruled_out(cards[0], inputs) == "it does not declare 'legal-de'"


def test_an_embedding_model_does_not_chat(card: Card, snapshot: Snapshot) -> None:
    """A model whose engine says that it embeds, and not that it chats, is left out of conversations and serves embeddings."""
    told = {"embedding": Capability(value=True, origin="engine")}
    model = msgspec.structs.replace(card("e"), capabilities=told)
    assert ruled_out(model, snapshot()) == "it does not chat"
    assert ruled_out(model, snapshot(embedding=True)) is None
    assert ruled_out(card("both", can=("chat", "embedding")), snapshot()) is None


def test_a_file_that_adds_embedding_takes_nothing_away(card: Card, snapshot: Snapshot) -> None:
    """Who writes `embedding: true` of a chat model keeps it; `chat: false`, the role or the name say that it is only that."""
    assert ruled_out(card("qwen3", can=("embedding",)), snapshot()) is None
    assert ruled_out(card("qwen3", can=("embedding",), cannot=("chat",)), snapshot()) == "it does not chat"
    assert ruled_out(card("e", can=("embedding",), roles=("embedding",)), snapshot()) == "it does not chat"
    assert ruled_out(card("nomic-embed-text", can=("embedding",)), snapshot()) == "it does not chat"


def test_the_window_holds_input_and_answer(card: Card, snapshot: Snapshot) -> None:
    """The caller's cap counts in full, an answer of unknown length with at most a quarter of the window."""
    needs = snapshot(input_tokens=700, output_tokens=900).assessment.needs
    small = card("a", context_tokens=1000)
    assert too_small(small, needs, None) is None
    assert "700 tokens of input and 301" in (too_small(small, needs, 301) or "")
    assert too_small(small, needs, 300) is None
    assert too_small(card("a", context_tokens=1000, max_output_tokens=100), needs, 5000) is None
    assert too_small(card("a"), needs, 10**9) is None


def test_an_input_a_little_over_every_window_is_tried(card: Card, snapshot: Snapshot) -> None:
    """Tokens are estimated, so the engine has the last word; far over is refused here."""
    model = card("a", context_tokens=1000)
    found = make_plan(snapshot(model, input_tokens=1050, output_tokens=100), builtin_policies())
    assert found.model == "a"
    assert "a little too long" in {r.rule: r.effect for r in found.reasons}["context"]
    with pytest.raises(ContextTooLong):
        chosen(snapshot(model, input_tokens=1500))


def test_a_long_input_goes_to_the_model_it_fits(card: Card, snapshot: Snapshot) -> None:
    """A better model with a small window loses, and is told by how much."""
    cards = (card("small", quality=1.0, context_tokens=4000), card("large", context_tokens=100_000))
    found = make_plan(snapshot(*cards, input_tokens=9000), builtin_policies())
    assert found.model == "large"
    assert "do not fit its window of 4,000" in (found.candidates[1].lost or "")


def test_too_long_says_the_largest_window_and_who_could_take_it(card: Card, snapshot: Snapshot) -> None:
    """Models outside the role that could take the input are named, smallest sufficient window first."""
    cards = (
        card("a", context_tokens=1000, roles=("r",)),
        card("b", context_tokens=2000, roles=("r",)),
        card("huge", context_tokens=1_000_000),
        card("wide", context_tokens=100_000),
    )
    with pytest.raises(ContextTooLong) as caught:
        chosen(snapshot(*cards, role="r", input_tokens=50_000))
    error = caught.value
    assert error.param == "messages"
    assert "2000 ('b')" in error.message
    assert error.details["models"] == ["wide", "huge"]
    assert error.details["input_tokens"] == 50_000
    assert "wide, huge" in (error.hint or "")


def test_too_long_is_said_of_the_models_that_can_do_the_rest(card: Card, snapshot: Snapshot) -> None:
    """A large window does not help a model that reads no images."""
    cards = (card("eyes", can=("chat", "vision"), context_tokens=1000), card("blind", context_tokens=1_000_000))
    with pytest.raises(ContextTooLong) as caught:
        chosen(snapshot(*cards, vision=True, input_tokens=50_000))
    assert caught.value.details["models"] == []


@pytest.mark.parametrize(
    ("need", "param"),
    [("vision", "messages"), ("tools", "tools"), ("structured_output", "response_format")],
)
def test_a_missing_capability_names_the_field_that_asks_for_it(card: Card, snapshot: Snapshot, need: str, param: str) -> None:
    """The client learns which part of its request no model can serve."""
    with pytest.raises(CapabilityMissing) as caught:
        chosen(snapshot(card("a", cannot=(need,)), **{need: True}))
    assert caught.value.param == param
    assert caught.value.details["capability"] == need
    assert need in caught.value.message


def test_a_missing_capability_names_models_outside_the_role_that_have_it(card: Card, snapshot: Snapshot) -> None:
    """The hint says who could, when somebody could."""
    cards = (card("a", roles=("r",)), card("eyes", can=("chat", "vision")))
    with pytest.raises(CapabilityMissing) as caught:
        chosen(snapshot(*cards, role="r", vision=True))
    assert "eyes" in (caught.value.hint or "")


def test_capabilities_no_single_model_has_together_are_all_named(card: Card, snapshot: Snapshot) -> None:
    """Each is had by some model, none has both."""
    cards = (card("eyes", can=("chat", "vision")), card("ears", can=("chat", "audio")))
    with pytest.raises(CapabilityMissing, match="vision, audio"):
        chosen(snapshot(*cards, vision=True, audio=True))


def test_no_model_at_all_says_how_to_get_one(snapshot: Snapshot) -> None:
    """An empty registry is answered with what to do."""
    with pytest.raises(NoModelAvailable, match="No model is configured") as caught:
        chosen(snapshot())
    assert "doctor" in (caught.value.hint or "")


def test_a_role_nobody_has_is_named(card: Card, snapshot: Snapshot) -> None:
    """The message says which role, and why each model is out."""
    with pytest.raises(NoModelAvailable, match="role 'vision'") as caught:
        chosen(snapshot(card("a"), role="vision"))
    assert caught.value.details["reasons"] == {"a": "it does not have the role 'vision'"}


def test_a_channel_or_registry_out_of_service_is_said(card: Card, snapshot: Snapshot) -> None:
    """Two ways to have no usable model, two messages."""
    with pytest.raises(NoModelAvailable, match="The channel 'code'"):
        chosen(snapshot(card("a"), channel=Channel(models=("gone",)), channel_name="code"))
    with pytest.raises(NoModelAvailable, match="in service"):
        chosen(snapshot(card("a", enabled=False)))


def test_trouble_that_passes_asks_to_come_back(card: Card, snapshot: Snapshot) -> None:
    """An open breaker gives a retry-after and the reason; a cost limit gives none, but says what to raise."""
    with pytest.raises(NoModelAvailable, match="failed repeatedly") as caught:
        chosen(snapshot(card("a"), runtime={"a": ModelRuntime(open=True)}))
    assert caught.value.retry_after_s
    with pytest.raises(NoModelAvailable, match="may cost") as dear:
        chosen(snapshot(card("a", usd=1000.0), hints=Hints(max_cost_usd=0.0001)))
    assert dear.value.retry_after_s is None
    assert "max_cost_usd" in (dear.value.hint or "")
