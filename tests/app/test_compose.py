"""What a Python caller may hand over, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from prefrontal.app.compose import compose
from prefrontal.errors import InvalidRequest


@pytest.mark.parametrize("prompt", [5, None, b"hello", {"role": "user"}, {"a"}])
def test_what_is_no_prompt_is_named(prompt: Any) -> None:
    """A value of another type is a clear error with an example, not a TypeError from within."""
    with pytest.raises(InvalidRequest, match="A prompt is a text, a list of messages or a ChatRequest, not ") as refused:
        compose(prompt, {}, stream=False)
    assert (refused.value.param, type(prompt).__name__ in refused.value.message) == ("prompt", True)


@pytest.mark.parametrize(
    ("name", "meant"), [("modle", "model"), ("temprature", "temperature"), ("max_token", "max_tokens"), ("tool", "tools")]
)
def test_a_slip_of_the_pen_is_not_sent_as_a_field(name: str, meant: str) -> None:
    """A name that is nearly a known one is refused with what was probably meant."""
    with pytest.raises(InvalidRequest) as refused:
        compose("hello", {name: 1}, stream=False)
    assert (refused.value.param, f"`{meant}`" in (refused.value.hint or "")) == (name, True)


def test_fields_of_ones_own_are_passed_on() -> None:
    """Unknown fields travel as they are; those in `extra_body` whatever they look like."""
    request = compose("hello", {"mirostat": 2, "top_k": 5, "extra_body": {"modle": "x"}}, stream=False)
    assert request.extra == {"mirostat": 2, "modle": "x"}
    assert (request.model, request.sampling.top_k if request.sampling else None) == ("auto", 5)
    with pytest.raises(InvalidRequest, match="extra_body"):
        compose("hello", {"extra_body": [1]}, stream=False)
