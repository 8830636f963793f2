"""Outcomes of one process: taking them in, fitting calibrators to them, and letting those be applied."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from prefrontal.clock import Clock
from prefrontal.contracts.decision import DecisionAnswer
from prefrontal.contracts.outcome import REQUEST, Calibrator, Origin, Outcome, Slot
from prefrontal.contracts.record import RequestRecord
from prefrontal.decisions.calibration import MIN_LABELLED, Fit, Labelled, calibrator_of, fit_slot
from prefrontal.decisions.calibrators import Calibration, slot_of
from prefrontal.errors import Conflict, InvalidRequest, NotFound, StoreError
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.ledger.outcomes import FIRST, PAGE, MemoryOutcomes, OutcomeStore, SqliteOutcomes
from prefrontal.ledger.sqlite import SqliteLedger
from prefrontal.ledger.store import Ledger

if TYPE_CHECKING:
    from prefrontal.decisions.decider import Decider

log = logging.getLogger(__name__)

LOOK_S = 60.0
"""How often a running gateway looks for calibrators that others made (assumed: nobody waits for one)."""

SAME = 0.01
"""A temperature that differs by less than this factor from the one in use makes no new version: caches would be lost for it."""

MOST_AT_ONCE = 128
"""Outcomes of one request (specified: as many as a decision request has questions)."""


class OutcomeDraft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An outcome as callers say it.

    question: index or name (None: the only one, or the whole request where it was no decision). label: the right answer by its
    value; option: by its index. model: of a routed request the one that should have been chosen. reward: -1 to 1.
    """

    question: int | str | None = None
    label: str | bool | None = None
    option: int | None = None
    model: str | None = None
    reward: float | None = None
    origin: Origin = "human"


class Calibrated(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of `Outcomes.calibrate` came to: a fit for each slot with labels, and what was made and retired of it."""

    fits: tuple[Fit, ...] = ()
    made: tuple[Calibrator, ...] = ()
    retired: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


class Outcomes:
    """Belongs to one event loop. store None: nothing is recorded, so nothing can turn out."""

    def __init__(self, ledger: Ledger, store: OutcomeStore | None, *, clock: Clock, decider: Decider | None = None) -> None:
        self.ledger = ledger
        self.store = store
        self._clock = clock
        self._decider = decider
        self._looked_s = -math.inf

    async def tell(self, record_id: str, drafts: Sequence[OutcomeDraft], *, key_id: str | None = None) -> list[Outcome]:
        """Keep what turned out about a request, all of it or nothing. key_id: whose request it must be (None: anybody's).

        Raises:
            NotFound: there is no such record, or it is another's. InvalidRequest: a label is no option, a reward out of range,
            nothing is said. Conflict: nothing is recorded here. StoreError.
        """
        if self.store is None:
            raise Conflict("Outcomes belong to records, and none are kept.", hint="Set records.enabled to true.")
        record = await self.ledger.get(record_id)
        if record is None or (key_id is not None and record.key_id != key_id):
            raise NotFound(f"There is no request '{record_id}'.", hint="It may be older than records.retention_days.")
        if not drafts or len(drafts) > MOST_AT_ONCE:
            raise InvalidRequest(f"Give 1 to {MOST_AT_ONCE} outcomes.", param="outcomes")
        found = [outcome_of(draft, record, self._clock.now()) for draft in drafts]
        if len({one.question for one in found}) < len(found):
            raise InvalidRequest("Two outcomes are of the same question.", param="question")
        await self.store.put(found)
        return found

    async def told(self) -> AsyncIterator[tuple[Outcome, RequestRecord]]:
        """Yield every outcome with its record, oldest request first. Raises StoreError."""
        if self.store is None:
            return
        after, record = FIRST, None
        while page := await self.store.page(after, PAGE):
            for outcome in page:
                if record is None or record.id != outcome.record_id:
                    record = await self.ledger.get(outcome.record_id)
                if record is not None:
                    yield outcome, record
            after = (page[-1].record_id, page[-1].question)

    # -- calibrators ---------------------------------------------------------------------------------------------------

    async def calibrate(self, *, least: int = MIN_LABELLED, dry_run: bool = False) -> Calibrated:
        """Fit a calibrator to each slot with enough labels; those that are better on held-out labels are applied at once.

        One in use whose slot has labels enough and gains nothing any more is retired. dry_run: only say what would be done.
        Labels that a model gave are left out: they are no truth. Raises Conflict, StoreError.
        """
        if self.store is None:
            raise Conflict("Outcomes belong to records, and none are kept.", hint="Set records.enabled to true.")
        slots: dict[Slot, list[Labelled]] = {}
        async for outcome, record in self.told():
            labelled = labelled_of(outcome, record)
            if labelled is not None:
                slots.setdefault(labelled[0], []).append(labelled[1])
        known = await self.store.calibrators()
        fits = tuple([fit_slot(slot, slots[slot], least=least) for slot in sorted(slots)])
        made, changed, kept = [], [], []
        for fit in fits:
            versions = [one for one in known if one.slot == fit.slot]
            active = next((one for one in versions if one.active), None)
            if fit.temperature is None:
                continue
            if fit.kept and active is not None and abs(math.log(fit.temperature / active.temperature)) < SAME:
                kept.append(active.id)
                continue
            if active is not None:
                changed.append(msgspec.structs.replace(active, active=False))
            if fit.kept:
                version = 1 + max([one.version for one in versions], default=0)
                made.append(calibrator_of(fit, version, self._clock.now()))
        if not dry_run and (made or changed):
            await self.store.save([*changed, *made])
            await self._load()
        retired = tuple([one.id for one in changed])
        return Calibrated(fits=fits, made=tuple(made), retired=retired, kept=tuple(kept))

    async def look(self) -> None:
        """Apply the calibrators there are, when it is time to look. An unreadable database leaves those in use."""
        now = self._clock.monotonic()
        if self.store is None or self._decider is None or now - self._looked_s < LOOK_S:
            return
        self._looked_s = now
        try:
            await self._load()
        except StoreError as error:
            log.warning("calibrators cannot be read, those in use stay: %s", error)

    async def _load(self) -> None:
        if self._decider is None or self.store is None:
            return
        found = Calibration(await self.store.calibrators())
        if found.digest != self._decider.calibration.digest:
            self._decider.calibrate(found)


def outcomes_in(ledger: Ledger, clock: Clock, decider: Decider | None = None) -> Outcomes:
    """Return the outcomes of an open ledger."""
    return Outcomes(ledger, _store_of(ledger), clock=clock, decider=decider)


def _store_of(ledger: Ledger) -> OutcomeStore | None:
    if isinstance(ledger, SqliteLedger):
        return SqliteOutcomes(ledger)
    if isinstance(ledger, MemoryLedger):
        return MemoryOutcomes(ledger) if ledger.keeps else None
    from prefrontal.app.ledgers import postgres_ledger

    found = postgres_ledger(ledger)
    if found is None:
        return None
    from prefrontal.ledger.postgres.outcomes import PostgresOutcomes

    return PostgresOutcomes(found)


def labelled_of(outcome: Outcome, record: RequestRecord) -> tuple[Slot, Labelled] | None:
    """Return an outcome as something to fit to; None: a model did not answer, or nobody knows the right option."""
    if outcome.option is None or outcome.origin == "model" or not 0 <= outcome.question < len(record.decisions):
        return None
    answer = record.decisions[outcome.question]
    if answer.source == "rule" or answer.model is None or answer.refusal or outcome.option >= len(answer.values):
        return None
    probabilities = answer.probabilities if answer.raw is None else answer.raw
    return slot_of(answer), Labelled(
        probabilities=probabilities, option=outcome.option, key=f"{outcome.record_id}/{outcome.question}"
    )


def outcome_of(draft: OutcomeDraft, record: RequestRecord, now_s: float) -> Outcome:
    """Return an outcome as it is kept. Raises InvalidRequest."""
    if draft.reward is not None and not -1.0 <= draft.reward <= 1.0:  # also what is not a number
        raise InvalidRequest("A reward lies between -1 and 1.", param="reward")
    if draft.label is None and draft.option is None and draft.reward is None and draft.model is None:
        raise InvalidRequest("Say a label, an option, a model or a reward.", param="label")
    known: dict[str, Any] = {"record_id": record.id, "reward": draft.reward, "origin": draft.origin, "at_s": now_s}
    if not record.decisions:
        if draft.label is not None or draft.option is not None or draft.question is not None:
            hint = "Of a routed request say `reward` and `model`."
            raise InvalidRequest(f"The request '{record.id}' made no decision.", param="label", hint=hint)
        return Outcome(question=REQUEST, model=draft.model, **known)
    if draft.model is not None:
        raise InvalidRequest("A decision's outcome has no model.", param="model", hint="Say the right answer as `label`.")
    place = _place(draft.question, record.decisions)
    return Outcome(question=place, option=_option(draft, record.decisions[place]), **known)


def _place(question: int | str | None, answers: Sequence[DecisionAnswer]) -> int:
    if question is None:
        if len(answers) == 1:
            return 0
        raise InvalidRequest(f"The request asked {len(answers)} questions; say which.", param="question")
    if isinstance(question, int):
        if not 0 <= question < len(answers):
            raise InvalidRequest(f"There is no question {question}; the first is 0.", param="question")
        return question
    found = [place for place, answer in enumerate(answers) if question in (answer.name, answer.id)]
    if len(found) != 1:
        what = "There is no question" if not found else "There are several questions"
        raise InvalidRequest(f"{what} '{question}'.", param="question", hint="Its index works too; the first is 0.")
    return found[0]


def _option(draft: OutcomeDraft, answer: DecisionAnswer) -> int | None:
    """Return the index of the right option; None where only a reward is said. Raises InvalidRequest."""
    if draft.option is not None and not 0 <= draft.option < len(answer.values):
        raise InvalidRequest(f"There is no option {draft.option}; there are {len(answer.values)}.", param="option")
    if draft.label is None:
        return draft.option
    label: str | bool = draft.label
    if answer.kind == "yes_no" and isinstance(label, str):
        label = {"yes": True, "no": False}.get(label.strip().casefold(), label)
    found = [place for place, value in enumerate(answer.values) if value == label and type(value) is type(label)]
    if not found:
        hint = "The words of this question were not kept: say `option`, its index." if _wordless(answer) else None
        raise InvalidRequest(f"'{label}' is none of the options.", param="label", hint=hint)
    if draft.option not in (None, found[0]):
        raise InvalidRequest("`label` and `option` are not the same answer.", param="option")
    return found[0]


def _wordless(answer: DecisionAnswer) -> bool:
    return answer.type is None and answer.values == tuple([str(n) for n in range(len(answer.values))])
