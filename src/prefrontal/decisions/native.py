"""Questions asked on an engine's own decision route: one request, many answers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from prefrontal.contracts.decision import DecisionRequest, Question
from prefrontal.contracts.model import DecisionWire
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.decisions.ladder import says_unable
from prefrontal.decisions.wire.upstream import UPSTREAMS
from prefrontal.errors import CapabilityMissing, PrefrontalError
from prefrontal.execute.exchange import Exchanged
from prefrontal.execute.guarded import upstream_error
from prefrontal.providers.base import Provider, Target
from prefrontal.providers.common import object_of, wire_request

MAX_REFUSAL_BYTES = 2000
"""How much of a refusal is searched for its reason (assumed: the reason stands at the front)."""


def numbered(questions: Sequence[Question]) -> list[Question]:
    """Return questions of several requests under keys of their own, as theirs may be the same."""
    return [msgspec.structs.replace(question, id=str(number)) for number, question in enumerate(questions)]


class NativeExchange:
    """Questions of one request in one body of a dialect."""

    def __init__(self, request: DecisionRequest, questions: Sequence[Question], wire: DecisionWire) -> None:
        assert wire.dialect is not None
        self._request = request
        self._questions = questions
        self._wire = wire
        self._upstream = UPSTREAMS[wire.dialect]

    def render(self, provider: Provider, target: Target) -> WireRequest:
        """See `Exchange.render`."""
        body = self._upstream.render(self._request, self._questions, target.card.wire_name)
        body.update(target.card.extra_body or {})
        return wire_request(target, self._wire.path or self._upstream.path, body)

    def refused(self, provider: Provider, reply: WireResponse, target: Target) -> PrefrontalError:
        """Return CapabilityMissing for an engine without the route, or not for this model; else what its wire says."""
        words = reply.body[:MAX_REFUSAL_BYTES].decode("utf-8", "replace")
        if says_unable(reply.status, words):
            return CapabilityMissing(f"'{target.card.id}' has no route for decisions ({reply.status}).", param="model")
        return upstream_error(provider, reply, target)

    def parse(self, provider: Provider, reply: WireResponse, target: Target) -> Exchanged:
        """Return the readings in the questions' order. Raises ProviderMisbehaved."""
        raw = object_of(reply, target, "the decision")
        readings, usage = self._upstream.parse(raw, self._questions)
        return Exchanged(answer=readings, usage=usage, model=str(raw.get("model") or "") or None)
