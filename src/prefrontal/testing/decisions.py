"""A scripted engine for typed decisions, without sockets: on its own route, by log-probabilities, in JSON, or in prose.

    transport = ScriptedDecisions(lambda put: {"billing": 0.9, "tech": 0.1}, clock=clock)
    async with prefrontal.open(scripted_config({"m": {"profile": "llamacpp"}}), transport=transport, clock=clock) as pf:
        assert await pf.decide(Literal["billing", "tech"], "I was charged twice") == "billing"

Requests are rendered and answers parsed by the code that serves. The engine reads options from the question as it was asked, so
it answers any wording of ours whose options stand one a line, ``A) label``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from prefrontal.clock import Clock
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import ProviderUnreachable
from prefrontal.execute.transport.base import SYSTEM_TRUST, Timeouts, TlsOptions, WireStream
from prefrontal.execute.transport.faults import timed_out

_OPTION = re.compile(r"^([A-Za-z])\) (.*)$", re.MULTILINE)
_LIKELIEST = 20


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """One question as it was put. labels: its options as words, in the order shown; `true` and `false` or `yes` and `no`.

    id: its key on the native route (None: it came by chat). asked: the instructions, or the whole system message.
    """

    model: str
    state: str
    asked: str
    labels: tuple[str, ...]
    id: str | None = None


Told = Mapping[str, float] | str | int
"""What the engine says: weights by label; a text in place of an answer; or the HTTP status of a failure, 0 for no connection."""


class ScriptedDecisions:
    """A `Transport`. `native`: it has the route ``/systemone``. `logprobs`: chat answers list them.

    mass: probability its chat answers give to the options as a whole. delay_s: on `clock`, before each answer. All may be changed
    between requests. `bodies` holds every request as (path, JSON), in order.
    """

    def __init__(
        self,
        script: Callable[[Put], Told],
        *,
        clock: Clock,
        native: bool = True,
        logprobs: bool = True,
        mass: float = 1.0,
        delay_s: float = 0.0,
    ) -> None:
        self.script = script
        self.native = native
        self.logprobs = logprobs
        self.mass = mass
        self.delay_s = delay_s
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self._clock = clock

    async def send(self, request: WireRequest, timeouts: Timeouts, *, tls: TlsOptions = SYSTEM_TRUST) -> WireResponse:
        """Answer one request; see `Transport.send`."""
        if request.method != "POST":
            return _failure(404, "a scripted engine has nothing to tell of itself")
        path = "/" + request.url.rpartition("/")[2]
        body = msgspec.json.decode(request.body) if request.body else {}
        self.bodies.append((path, body))
        if self.delay_s:
            try:
                async with self._clock.timeout(timeouts.total_s):
                    await self._clock.sleep(self.delay_s)
            except TimeoutError as error:
                raise timed_out(request.url, "total", timeouts.total_s) from error
        if path == "/systemone":
            return self._systemone(body) if self.native else _failure(501, "This model is not a decision model")
        return self._chat(body)

    async def open(self, request: WireRequest, timeouts: Timeouts, *, tls: TlsOptions = SYSTEM_TRUST) -> WireStream:
        """Refuse: decisions are not streamed."""
        raise ProviderUnreachable("a scripted engine for decisions does not stream")

    async def aclose(self) -> None:
        """Do nothing."""

    # -- the native route ----------------------------------------------------------------------------------------------

    def _systemone(self, body: dict[str, Any]) -> WireResponse:
        state = body["state"] if isinstance(body["state"], str) else msgspec.json.encode(body["state"]).decode()
        answers: dict[str, Any] = {}
        for id, question in body["questions"].items():  # noqa: A001 - the dialect's word
            criteria, kind = question.get("criteria"), question["type"]
            labels = ("true", "false") if kind == "noul" else tuple(criteria)
            put = Put(model=body["model"], state=state, asked=question["instructions"], labels=labels, id=id)
            told = self.script(put)
            if isinstance(told, int):
                return _failure(told, "scripted failure")
            if isinstance(told, str):
                return _answered({"model": body["model"], "answers": {id: told}})
            shares = _shares(told, labels)
            names = [str(n) for n in range(len(labels))] if kind == "score" else list(labels)
            by_name = dict(zip(names, shares, strict=True))
            if kind == "noul":
                answers[id] = {"type": "noul", "noul": shares[0]}
            elif kind == "score":
                level = sum(n * share for n, share in enumerate(shares))
                answers[id] = {"type": "score", "score": level, "probabilities": by_name, "confidence": 0.5}
            else:
                answers[id] = {"type": "choice", "choice": names[0], "probabilities": by_name, "confidence": 0.5}
        usage = {"input_tokens": len(state) // 4 + 10 * len(answers), "output_tokens": 0}
        return _answered({"model": body["model"], "answers": answers, "usage": usage})

    # -- chat ----------------------------------------------------------------------------------------------------------

    def _chat(self, body: dict[str, Any]) -> WireResponse:
        messages = body["messages"]
        system = next((m["content"] for m in messages if m["role"] == "system"), "")
        shown = [m["content"] for m in messages if m["role"] == "user"]
        state = shown[-1] if isinstance(shown[-1], str) else shown[-1][0]["text"]
        found = _OPTION.findall(system)
        labels = tuple([words.partition(": ")[0] for _, words in found])
        told = self.script(Put(model=body["model"], state=state, asked=system, labels=labels))
        if isinstance(told, int):
            return _failure(told, "scripted failure")
        if isinstance(told, str):
            return _completion(body, told, None)
        codes, shares = [code for code, _ in found], _shares(told, labels)
        best = codes[shares.index(max(shares))]
        if "response_format" in body or not body.get("logprobs"):
            said: dict[str, Any] = {"answer": best}
            if '"confidence"' in system:
                said["confidence"] = max(shares)
            return _completion(body, msgspec.json.encode(said).decode(), None)
        if not self.logprobs:
            return _completion(body, best, None)
        pairs = sorted(zip(shares, codes, strict=True), reverse=True)
        if body.get("post_sampling_probs"):
            listed = [{"token": code, "prob": share} for share, code in pairs]
            return _completion(body, best, {"content": [{"token": best, "prob": max(shares), "top_probs": listed}]})
        seen = [(share * self.mass, code) for share, code in pairs if share > 0] + [(1 - self.mass, "The")] * (self.mass < 1)
        logs = [{"token": token, "logprob": math.log(share)} for share, token in sorted(seen, reverse=True)[:_LIKELIEST]]
        return _completion(body, best, {"content": [{**logs[0], "top_logprobs": logs}]})


def _shares(told: Mapping[str, float], labels: tuple[str, ...]) -> list[float]:
    same = {"true": "yes", "false": "no", "yes": "true", "no": "false"}
    weights = [float(told.get(label, told.get(same.get(label, label), 0.0))) for label in labels]
    total = sum(weights)
    return [weight / total for weight in weights] if total else [1 / len(labels)] * len(labels)


def _completion(body: dict[str, Any], text: str, logprobs: dict[str, Any] | None) -> WireResponse:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}
    words = sum(len(str(m["content"])) for m in body["messages"]) // 4
    usage = {"prompt_tokens": words, "completion_tokens": 1, "total_tokens": words + 1}
    told = {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice], "usage": usage}
    return _answered(told)


def _answered(value: Any) -> WireResponse:
    return WireResponse(status=200, headers={}, body=msgspec.json.encode(value))


def _failure(status: int, message: str) -> WireResponse:
    if status == 0:
        raise ProviderUnreachable("connection refused (scripted)", details={"reason": "refused"})
    told = {"error": {"code": status, "message": message, "type": "scripted_error"}}
    return WireResponse(status=status, headers={}, body=msgspec.json.encode(told))
