"""The calibrators in use, and what they make of an answer. Pure; a set never changes, a newer one takes its place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from prefrontal.contracts.decision import DecisionAnswer
from prefrontal.contracts.outcome import Calibrator, Slot
from prefrontal.decisions.calibration import bucket_of, tempered
from prefrontal.decisions.distribution import confidence, expectation


class Calibration:
    """The active calibrators by slot."""

    def __init__(self, calibrators: Iterable[Calibrator] = ()) -> None:
        self.by_slot = {one.slot: one for one in calibrators if one.active}
        ids = "\n".join(sorted([one.id for one in self.by_slot.values()]))
        self.digest = hashlib.blake2b(ids.encode(), digest_size=8).digest() if ids else b""
        """What stands for the whole set in cache keys: an answer made under one is none under another. Empty: there is none."""

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.by_slot)

    def applied(self, answer: DecisionAnswer) -> DecisionAnswer:
        """Return the answer calibrated, with its probabilities as they came in `raw`; as it is where no calibrator is for it.

        The option chosen stays the same: a temperature keeps the order.
        """
        if not self.by_slot or answer.model is None or answer.source == "rule" or answer.calibrator is not None:
            return answer
        found = self.by_slot.get(slot_of(answer))
        if found is None:
            return answer
        probabilities = tempered(answer.probabilities, found.temperature)
        return msgspec.structs.replace(
            answer,
            raw=answer.probabilities,
            probabilities=probabilities,
            expectation=expectation(answer.kind, probabilities),
            confidence=confidence(answer.kind, probabilities),
            calibrator=found.id,
        )


UNCALIBRATED = Calibration()


def slot_of(answer: DecisionAnswer) -> Slot:
    """Return the slot of an answer that a model gave."""
    return Slot(
        model=answer.model or "",
        prompt_version=answer.prompt_version or "",
        kind=answer.kind,
        bucket=bucket_of(len(answer.values)),
        source=answer.source,
    )
