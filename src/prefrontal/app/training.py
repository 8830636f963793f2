"""Gathers cases from the ledger, and writes them with their card."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec

from prefrontal import __version__
from prefrontal.app.outcomes import Outcomes
from prefrontal.clock import Clock
from prefrontal.config.redact import Redactor
from prefrontal.contracts.decision import Question
from prefrontal.contracts.outcome import REQUEST
from prefrontal.decisions.prepared import Prepared
from prefrontal.decisions.training.card import Export, data_card
from prefrontal.decisions.training.cases import Case, Skipped, decision_case, merged, router_case, taught_by
from prefrontal.decisions.training.rows import RowFormat, line_of, row_of
from prefrontal.decisions.training.split import PARTS, SHARE, Split, split
from prefrontal.decisions.types import Types
from prefrontal.decisions.wording import Form
from prefrontal.errors import Conflict, InvalidRequest
from prefrontal.ledger.store import RecordFilter
from prefrontal.ledger.vault import Audit, Vault

CaseKind = Literal["decision", "router"]

CARD = "README.md"
LISTED = 1000
"""Records looked through at once for what larger models answered."""

LEAST_SURE = 0.8
"""Confidence from which on a larger model's answer is taken as a label (assumed: half a model's answers, few of them wrong)."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to export.

    teachers: models, or ``tier:N`` and above, whose answers label what has no outcome. synthetic: accepted cases to add.
    share: of agents and of time that is held out. answer_form: of the answers in chats and preferences.
    """

    kind: CaseKind = "decision"
    format: RowFormat = "chat"
    answer_form: Form = "code"
    teachers: tuple[str, ...] = ()
    least_sure: float = LEAST_SURE
    synthetic: tuple[Case, ...] = ()
    share: float = SHARE


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: lines by part, and why records are not among them."""

    folder: str
    rows: dict[str, int]
    skipped: dict[str, int]
    repeated: int
    disputed: int


class Trainer:
    """Reads one ledger. types: how questions are asked now, which is how they are written."""

    def __init__(self, outcomes: Outcomes, types: Types, redactor: Redactor, *, vault: Vault, clock: Clock) -> None:
        self._outcomes = outcomes
        self._types = types
        self._redactor = redactor
        self._vault = vault
        self._clock = clock

    async def export(self, wanted: Wanted, folder: Path, actor: str, *, force: bool = False) -> Exported:
        """Write train.jsonl, validation.jsonl, test.jsonl and the card; readable for nobody else on this machine.

        Raises:
            Conflict: the folder has files in it and `force` was not said. InvalidRequest: there is no case. StoreError, OSError.
        """
        if not 0.0 < wanted.share < 1.0:
            raise InvalidRequest("The share held out lies between 0 and 1.", param="share")
        _check_room(folder, force=force)
        cases, skipped = await self.gather(wanted)
        several = merged([*cases, *wanted.synthetic])
        if not several.cases:
            why = "; ".join([f"{count} × {why}" for why, count in sorted(skipped.items())]) or "no outcome was told"
            hint = "records.content keeps what was asked."
            raise InvalidRequest(f"There is nothing to export: {why}.", param="kind", hint=hint)
        parts = split(several.cases, wanted.share)
        rows = self._write(folder, parts, wanted)
        skipped_now = dict(sorted(skipped.items()))
        export = Export(
            kind=wanted.kind,
            format=wanted.format,
            made_s=self._clock.now(),
            version=__version__,
            rows=rows,
            skipped=skipped_now,
            repeated=several.repeated,
            disputed=several.disputed,
            teachers=wanted.teachers,
            synthetic=bool(wanted.synthetic),
        )
        _write_private(folder / CARD, data_card(export, parts).encode())
        details = ", ".join([f"{part}: {count}" for part, count in rows.items()])
        note = Audit(at_s=self._clock.now(), actor=actor, action="export_cases", target=wanted.kind, details=details)
        await self._vault.note(note)
        return Exported(folder=str(folder), rows=rows, skipped=skipped_now, repeated=several.repeated, disputed=several.disputed)

    async def gather(self, wanted: Wanted) -> tuple[list[Case], Counter[str]]:
        """Return the cases there are, with secrets removed, and how many records give none, by reason. Raises StoreError."""
        cases: list[Case] = []
        skipped: Counter[str] = Counter()
        told: set[tuple[str, int]] = set()
        async for outcome, record in self._outcomes.told():
            routed = outcome.question == REQUEST
            if routed != (wanted.kind == "router") or (not routed and outcome.question >= len(record.decisions)):
                continue
            told.add((record.id, outcome.question))
            if outcome.origin == "model" and not wanted.teachers:
                skipped["labels of models, which were not asked for"] += 1
                continue
            found = router_case(record, outcome) if routed else decision_case(record, outcome.question, outcome)
            _sort(found, cases, skipped)
        if wanted.teachers and wanted.kind == "decision":
            await self._taught(wanted, told, cases, skipped)
        return [self._clean(case) for case in cases], skipped

    async def _taught(self, wanted: Wanted, told: set[tuple[str, int]], cases: list[Case], skipped: Counter[str]) -> None:
        """Add what larger models answered and nobody has said an outcome of."""
        before: str | None = None
        while page := await self._outcomes.ledger.find(RecordFilter(limit=LISTED, before=before)):
            before = page[-1].id
            for listed in page:
                places = [
                    place
                    for place, answer in enumerate(listed.decisions)
                    if (listed.id, place) not in told and taught_by(answer, wanted.teachers, wanted.least_sure)
                ]
                record = await self._outcomes.ledger.get(listed.id) if places else None
                for place in places if record is not None else ():
                    assert record is not None
                    _sort(decision_case(record, place, None), cases, skipped)

    def _clean(self, case: Case) -> Case:
        """Return a case with secrets removed from all its words, with those known today too."""
        text, question = self._redactor.text, case.question
        if question.type is None and case.router is None:
            options = tuple(
                [
                    msgspec.structs.replace(
                        one,
                        value=text(one.value) if isinstance(one.value, str) else one.value,
                        description=None if one.description is None else text(one.description),
                    )
                    for one in question.options
                ]
            )
            question = msgspec.structs.replace(question, instructions=text(question.instructions), options=options)
        return msgspec.structs.replace(case, state=text(case.state), question=question)

    def _prepared(self, question: Question) -> Prepared:
        return self._types.of(question).prepared

    def _write(self, folder: Path, parts: Split, wanted: Wanted) -> dict[str, int]:
        folder.mkdir(parents=True, exist_ok=True)
        rows: dict[str, int] = {}
        for part in PARTS:
            cases = parts.parts[part]
            found = [row_of(case, wanted.format, self._prepared, wanted.answer_form) for case in cases]
            lines = [line_of(row) for row in found if row is not None]
            _write_private(folder / f"{part}.jsonl", b"".join(lines))
            rows[part] = len(lines)
        return rows


def _check_room(folder: Path, *, force: bool) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise Conflict(f"{folder} is not empty.", hint="Name another folder, or say --force.")


def _sort(found: Case | Skipped, cases: list[Case], skipped: Counter[str]) -> None:
    if isinstance(found, Case):
        cases.append(found)
    else:
        skipped[found.why] += 1


def _write_private(file: Path, data: bytes) -> None:
    """Write a file that nobody else on the machine can read; a reader never sees half of it."""
    part = file.with_name(f".{file.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(data)
    part.replace(file)

