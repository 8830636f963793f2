"""Which way each model is told the form of its answer, and what its refusals and its prose teach.

What was learnt lies in the model's state: it is forgotten with the state, when the model behind the name changes, at a reload
that changes something, and after `ttl_s`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from prefrontal.chat.request import ChatRequest
from prefrontal.clock import Clock
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import PrefrontalError, ProviderRejected
from prefrontal.execute.journal import Entry
from prefrontal.execute.learnt import Learnt
from prefrontal.execute.runtime import Runtime
from prefrontal.providers.base import Target
from prefrontal.providers.profile import Profile
from prefrontal.providers.structured import FIELD, PROMPT, methods_for, refuses_form, told, wants_form

PROSE_STRIKES = 2
"""So many answers in a row that are not bare JSON show that the engine ignores the field (specified)."""


FORGET_S = 3600.0
"""How long what was learnt holds unless `ttl_s` is set (assumed: engines are not updated more often)."""


class Shapes:
    """Chooses the way for each call. All of its state is in `runtime`; `ttl_s` may be set at any time."""

    def __init__(
        self, *, runtime: Runtime, profiles: Mapping[str, Profile], clock: Clock
    ) -> None:
        self._runtime = runtime
        self._profiles = profiles
        self._clock = clock
        self.ttl_s = FORGET_S

    def told(self, request: ChatRequest, target: Target, entry: Entry) -> tuple[ChatRequest, Target]:
        """Return what is rendered for this attempt, and note in its entry which way that is."""
        if wants_form(request) is None:
            return request, target
        method = entry.method = self.method(request, target.card)
        return told(request, target, method)

    def method(self, request: ChatRequest, card: ModelCard) -> str:
        """Return the way this model is told the form now."""
        ways = methods_for(request, self._profiles[card.profile], card)
        learnt = self.learnt(card)
        return learnt.method if learnt is not None and learnt.method in ways else ways[0]

    def learnt(self, card: ModelCard) -> Learnt | None:
        """Return what is known of a model, as long as it holds."""
        now = self._clock.monotonic()
        for one in card.deployments or (card,):
            state = self._runtime.find(one.place)
            if state is not None and state.structured is not None and state.structured.until > now:
                return state.structured
        return None

    def after(self, request: ChatRequest, entry: Entry | None, error: PrefrontalError) -> bool:
        """Return whether the same model should be asked again at once, told the form in another way."""
        if entry is None or entry.method is None or wants_form(request) is None:
            return False
        if not isinstance(error, ProviderRejected) or not refuses_form(error):
            return False
        if self.method(request, entry.card) != entry.method:
            return True  # another request has learnt it meanwhile
        return self._move_on(request, entry, "refused")

    def judged(self, request: ChatRequest, entry: Entry | None, *, unformed: bool) -> None:
        """Learn from an answer: `unformed` says that nothing held the model to bare JSON."""
        if entry is None or entry.method is None:
            return
        learnt = self.learnt(entry.card)
        if not unformed:
            if learnt is not None and learnt.strikes:
                self._keep(entry.card, msgspec.structs.replace(learnt, strikes=0))
            return
        if entry.method == PROMPT or self.method(request, entry.card) != entry.method:
            return
        strikes = (learnt.strikes if learnt is not None else 0) + 1
        if strikes < PROSE_STRIKES or not self._move_on(request, entry, "ignored"):
            method, why = (learnt.method, learnt.why) if learnt is not None else (None, None)
            self._keep(entry.card, Learnt(method=method, strikes=strikes, until=self._until(), why=why))

    def shown(self, card: ModelCard, request: ChatRequest | None = None) -> dict[str, Any]:
        """Return how the model would be told a form now, for people: the way, and what it was learnt from."""
        profile = self._profiles[card.profile]
        learnt = self.learnt(card)
        method = learnt.method if learnt is not None and learnt.method is not None else None
        if request is not None:
            method = self.method(request, card)
        elif method is None:
            method = FIELD if profile.structured_output != "none" else PROMPT
        out: dict[str, Any] = {"method": method}
        if method == FIELD:
            out["field"] = profile.structured_output
        if learnt is not None and learnt.method == method:
            out["learnt"] = learnt.why
            out["forgotten_in_s"] = round(learnt.until - self._clock.monotonic(), 1)
        return out

    def _move_on(self, request: ChatRequest, entry: Entry, why: str) -> bool:
        ways = methods_for(request, self._profiles[entry.card.profile], entry.card)
        if entry.method not in ways or ways[-1] == entry.method:
            return False
        following = ways[ways.index(entry.method) + 1]
        self._keep(entry.card, Learnt(method=following, until=self._until(), why=why))
        return True

    def _keep(self, card: ModelCard, learnt: Learnt) -> None:
        self._runtime.state(card).structured = learnt

    def _until(self) -> float:
        return self._clock.monotonic() + self.ttl_s
