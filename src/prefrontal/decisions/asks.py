"""The chat requests by which a prepared question is asked on each rung, and how their answers combine. Pure."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.blocks import Image
from prefrontal.chat.request import ChatRequest, Message, ResponseFormat, Sampling
from prefrontal.chat.response import ChatResponse
from prefrontal.decisions.distribution import averaged, from_votes, stated
from prefrontal.decisions.ladder import TOP_LOGPROBS, Rung
from prefrontal.decisions.prepared import CODES, Prepared, Read
from prefrontal.decisions.reading import Reading, read_logprobs
from prefrontal.decisions.wording import Form
from prefrontal.errors import CapabilityMissing, ProviderMisbehaved

JSON_TOKENS = 48
"""Output cap of an answer in JSON (assumed: such an answer has about 15 tokens, and schemas allow spaces)."""

TWO_STAGE = "two_stage"
"""Why an answer is degraded that had more options than codes: only the most probable group was asked in detail."""

MOST: dict[Rung, int] = {"grammar": len(CODES), "logprobs": TOP_LOGPROBS, "votes": len(CODES), "self_report": len(CODES)}
"""Options that one question may have on each rung."""

LIFT = 50.0
"""How far codes are lifted, as a logarithm: e⁵⁰ beats any other token, and 32-bit logits still hold 5 digits (assumed)."""

_NO_THINKING: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}}


class Shown:
    """The state as the models of one request are shown it."""

    def __init__(self, text: str, images: tuple[Image, ...] = ()) -> None:
        self.text = text
        self.images = images


def conversation(
    prepared: Prepared, form: Form, shown: Shown, order: tuple[int, ...] | None, reasons: str | None
) -> tuple[Message, ...]:
    """Return the messages that ask for an answer in `form`, after its reasons where there are any."""
    if reasons is None:
        return prepared.messages(form, shown.text, shown.images, order)
    return prepared.concluding(prepared.reasoning(shown.text, shown.images), reasons, form)


def reasoning_request(prepared: Prepared, shown: Shown, model: str) -> ChatRequest:
    """Return the request for reasons."""
    cap = prepared.wording.reason_tokens
    messages = prepared.reasoning(shown.text, shown.images)
    return ChatRequest(
        model=model, messages=messages, max_output_tokens=cap, cap_field="max_tokens", sampling=Sampling(temperature=0.0)
    )


def grammar_request(prepared: Prepared, messages: tuple[Message, ...], model: str) -> ChatRequest:
    """Return the request for one code under a grammar, its probabilities listed after sampling.

    Every sampler that would change the distribution is switched off. llama.cpp applies the grammar only when the first token it
    draws breaks it, so the codes are lifted above all other tokens, each by the same amount: that leaves the proportions among
    them as they are, and the list holds the codes whichever token is drawn first.
    """
    count = len(prepared.codes)
    lifted = [[code, LIFT] for code in prepared.codes]
    return ChatRequest(
        model=model,
        messages=messages,
        max_output_tokens=1,
        cap_field="max_tokens",
        sampling=Sampling(temperature=1.0, top_p=1.0, top_k=0, min_p=0.0, logprobs=True, top_logprobs=count),
        extra={"grammar": prepared.grammar, "logit_bias": lifted, "post_sampling_probs": True, **_NO_THINKING},
    )


def logprobs_request(messages: tuple[Message, ...], model: str) -> ChatRequest:
    """Return the request for one code, with the log-probabilities of the likeliest tokens."""
    return ChatRequest(
        model=model,
        messages=messages,
        max_output_tokens=1,
        cap_field="max_tokens",
        sampling=Sampling(temperature=1.0, top_p=1.0, logprobs=True, top_logprobs=TOP_LOGPROBS),
    )


def json_request(prepared: Prepared, form: Form, messages: tuple[Message, ...], model: str) -> ChatRequest:
    """Return the request for an answer in JSON."""
    return ChatRequest(
        model=model,
        messages=messages,
        max_output_tokens=JSON_TOKENS,
        cap_field="max_tokens",
        sampling=Sampling(temperature=1.0 if form == "json" else 0.0),
        response_format=ResponseFormat(kind="json_schema", name="decision", schema=prepared.schema(form), strict=True),
    )


def orders(prepared: Prepared, votes: int) -> list[tuple[int, ...]]:
    """Return the order of the options for each vote: turned on by equal steps, every other one backwards.

    Each option so stands at the front, in the middle and at the end about equally often.
    """
    plain, count = prepared.order, len(prepared.order)
    found = []
    for vote in range(votes):
        at = vote * count // votes
        turned = plain[at:] + plain[:at]
        found.append(turned[::-1] if vote % 2 else turned)
    return found


def reading_of(prepared: Prepared, answer: ChatResponse) -> Reading:
    """Return the distribution in a chat answer with log-probabilities.

    Raises:
        CapabilityMissing: it lists none, so this engine does not give any. ProviderMisbehaved: none of them is an option.
    """
    choice = answer.choices[0] if answer.choices else None
    reading = read_logprobs(prepared, choice.logprobs if choice is not None else None)
    if reading is None:
        raise CapabilityMissing("The engine lists no log-probabilities.", param="logprobs")
    return reading


def declined(answer: ChatResponse) -> bool:
    """Return whether the model refused to answer."""
    choice = answer.choices[0] if answer.choices else None
    return choice is not None and (bool(choice.refusal) or choice.finish_reason in ("refusal", "content_filter"))


def reading_of_votes(prepared: Prepared, votes: list[Read]) -> Reading:
    """Return the shares of the votes. Raises ProviderMisbehaved when there is none."""
    if not votes:
        raise ProviderMisbehaved("No sample of the model was an answer.")
    counts = [0] * len(prepared.order)
    for vote in votes:
        counts[vote.index] += 1
    return Reading(probabilities=from_votes(counts), source="votes")


def reading_of_statement(prepared: Prepared, said: Read) -> Reading:
    """Return the distribution that a stated answer and confidence mean."""
    sure = 1.0 if said.confidence is None else said.confidence
    return Reading(
        probabilities=stated(len(prepared.order), said.index, sure), source="self_report", upstream_confidence=said.confidence
    )


def joined(size: int, count: int, outer: Reading, best: int, inner: Reading) -> Reading:
    """Return the distribution over `count` options in groups of `size`: `inner` within group `best`, evenly within the others."""
    found: list[float] = []
    for group, share in enumerate(outer.probabilities):
        members = min(size, count - group * size)
        within = inner.probabilities if group == best else (1.0 / members,) * members
        found.extend([share * part for part in within])
    masses = [one.label_mass for one in (outer, inner) if one.label_mass is not None]
    return Reading(
        probabilities=averaged([found]),
        source=inner.source,
        label_mass=min(masses) if masses else None,
        degraded=TWO_STAGE,
    )
