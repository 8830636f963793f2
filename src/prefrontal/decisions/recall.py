"""Answers out of the cache, and into it: what of a request need not be asked, and what of its answers will be given again."""

from __future__ import annotations

import asyncio
from hashlib import blake2b
from typing import Protocol

import msgspec

from prefrontal.contracts.decision import DecisionAnswer
from prefrontal.contracts.model import ModelCard
from prefrontal.decisions.memo import Memo
from prefrontal.decisions.work import Asked, Place, Work

REVISION = 1
"""Of what is asked of models for one and the same question; counted up when that changes, so old answers are left."""


class Likeness(Protocol):
    """Finds the answer of a state that means the same. `room` holds what must be equal in any case."""

    def find(self, room: bytes, state: object, least: float) -> str | None:
        """Return the name of the most alike entry, at least `least` alike, that no guard objects to."""
        ...

    def add(self, room: bytes, state: object, name: str) -> None:
        """Let an entry be found."""
        ...

    def forget(self, name: str) -> None:
        """An entry is gone."""
        ...


class Recall:
    """The cache as a request sees it."""

    def __init__(self, memo: Memo, likeness: Likeness | None = None) -> None:
        self.memo = memo
        self.likeness = likeness
        self.revision = b""
        """What every answer depends on beside its request: the calibrators in use."""
        if likeness is not None:
            memo.on_evict = likeness.forget

    def known(self, work: Work) -> DecisionAnswer | None:
        """Return the answer of a request with one question, if this process holds it; nothing is waited for."""
        if len(work.asked) != 1 or not self.memo.ready:
            return None
        place = self._places(work).get(work.asked[0].question.index)
        for name in () if place is None else place.names:
            found = self.memo.find(name, work.tenant)
            if found is not None:
                return again(found, work.asked[0])
        return None

    async def begin(self, work: Work) -> Recalled:
        """Answer what is known already; what somebody else is asking right now is `held` in the work."""
        recalled = Recalled(self)
        places = self._places(work)
        if places and not self.memo.ready:
            await self.memo.open()
        led: set[str] = set()
        for index, place in places.items():
            found = await self._found(work, place)
            if found is not None:
                work.outcomes[index] = again(found[0], place.one, similar=found[1])
                continue
            first = place.names[0]
            flying = None if first in led else self.memo.join(first)
            if flying is not None:
                recalled.followed[index] = (place, flying)
                work.held.add(index)
                continue
            self.memo.miss += 1
            recalled.places[index] = place if first in led else msgspec.structs.replace(place, leads=True)
            led.add(first)
        return recalled

    def _places(self, work: Work) -> dict[int, Place]:
        """Return where the answers lie of those questions that may be answered from the cache; worked out once."""
        if work.places is not None:
            return work.places
        work.places = {}
        mode = self.memo.settings.mode
        if work.request.cache and mode != "off":
            for one in work.asked:
                if (one.type.cache is None and mode != "all") or (work.private and one.type.name is None):
                    continue
                cards = work.first_cards(one)
                if cards:
                    work.places[one.question.index] = self._place(work, one, cards)
        return work.places

    async def _found(self, work: Work, place: Place) -> tuple[DecisionAnswer, bool] | None:
        for name in place.names:
            found = await self.memo.look(name, work.tenant)
            if found is not None:
                return found, False
        rules = place.one.type.cache
        if self.likeness is None or rules is None or rules.similar is None:
            return None
        like = self.likeness.find(place.room, work.request.state, rules.similar)
        found = None if like is None else self.memo.find(like, work.tenant)
        if found is None:
            return None
        self.memo.hit -= 1
        self.memo.similar += 1
        return found, True

    def _place(self, work: Work, one: Asked, cards: tuple[ModelCard, ...]) -> Place:
        request, type_ = work.request, one.type
        per_agent = type_.cache is not None and type_.cache.per_agent
        agent = request.context.agent if per_agent else None
        images = [one.image for one in request.media]
        fixed = (REVISION, request.context.role, agent, request.instructions, images, request.data_class)
        room = type_.signature + self.revision + _digest(msgspec.json.encode(fixed))
        if work.ways is not None:
            room += work.ways.digest
        if cards[0].decisions is not None and cards[0].decisions.joint:  # an answer depends on what is asked with it
            room += _digest(b"".join([other.type.signature for other in work.asked]) + str(one.question.index).encode())
        body = room + type_.normal.canonical(request.state)
        names = tuple([self.memo.name(work.tenant, card, body) for card in cards])
        return Place(one=one, names=names, cards=cards, room=_digest(room + names[0][:16].encode()))


class Recalled:
    """What became of one request's questions in the cache. Call `end` once, whatever happens."""

    def __init__(self, recall: Recall) -> None:
        self._recall = recall
        self.places: dict[int, Place] = {}
        self.followed: dict[int, tuple[Place, asyncio.Future[DecisionAnswer | None]]] = {}

    async def follow(self, work: Work) -> bool:
        """Wait for what others ask; return whether something is left to be asked after all."""
        left = False
        for index, (place, flying) in self.followed.items():
            answer = await asyncio.shield(flying)
            work.held.discard(index)
            if answer is None:
                left = True
                self.places[index] = place
            else:
                self._recall.memo.shared += 1
                self._recall.memo.saved_usd += answer.cost_usd or 0.0
                work.outcomes[index] = again(answer, place.one)
        self.followed = {}
        return left

    def end(self, work: Work) -> None:
        """Keep what is worth it, and tell those who wait."""
        for index in self.followed:
            work.held.discard(index)
        self.land(work)

    def land(self, work: Work) -> None:
        """Do so for what was asked until now; before anybody is waited for, or two requests might wait for each other."""
        memo, places = self._recall.memo, self.places
        self.places = {}
        for index, place in places.items():
            outcome = work.outcomes.get(index)
            answer = outcome if isinstance(outcome, DecisionAnswer) and worth_keeping(outcome) else None
            if answer is not None:
                self._keep(work, place, answer)
            if place.leads:
                memo.land(place.names[0], answer)

    def _keep(self, work: Work, place: Place, answer: DecisionAnswer) -> None:
        name = place.names[0]
        for own, card in zip(place.names, place.cards, strict=True):
            if card.id == answer.model:
                name = own
        rules = place.one.type.cache
        self._recall.memo.keep(name, work.tenant, answer, None if rules is None else rules.ttl_s)
        likeness = self._recall.likeness
        if likeness is not None and rules is not None and rules.similar is not None:
            likeness.add(place.room, work.request.state, name)


def again(answer: DecisionAnswer, one: Asked, *, similar: bool = False) -> DecisionAnswer:
    """Return a kept answer as the answer to this question: nothing was asked for it, and it costs nothing."""
    question = one.question
    return msgspec.structs.replace(
        answer, index=question.index, id=question.id, name=question.name, cached=True, similar=similar, attempts=0, cost_usd=0.0
    )


def worth_keeping(answer: DecisionAnswer) -> bool:
    """Return whether an answer is what the models asked for would say again."""
    return answer.source != "rule" and answer.fallback is None and answer.degraded_by is None and not answer.refusal


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()
