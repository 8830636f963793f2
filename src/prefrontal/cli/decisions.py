"""`prefrontal decisions outcome` and `calibrate`: in the database of this machine, or an outcome through a gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from prefrontal.cli.locate import gateway, url_of
from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place, loaded
from prefrontal.clock import Clock
from prefrontal.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from prefrontal.app.outcomes import Calibrated, Outcomes
    from prefrontal.config.schema import Config
    from prefrontal.ledger.store import Ledger


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An outcome as the command line says it."""

    label: str | None = None
    option: int | None = None
    question: str | None = None
    model: str | None = None
    reward: float | None = None
    origin: str = "human"

    def fields(self) -> dict[str, Any]:
        """Return what was said, the question as a number where it is one."""
        found = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        if self.question is not None and self.question.isdigit():
            found["question"] = int(self.question)
        return found


class Desk(msgspec.Struct, frozen=True):
    """The database of this machine: configuration, ledger and outcomes."""

    config: Config
    ledger: Ledger
    outcomes: Outcomes


@asynccontextmanager
async def desk(place: Place, clock: Clock) -> AsyncIterator[Desk]:
    """Yield the records of this machine with their outcomes. Raises ConfigError, StoreError."""
    from prefrontal.app.ledgers import open_ledger
    from prefrontal.app.outcomes import outcomes_in

    config = loaded(place).config
    if not config.records.enabled:
        raise ConfigError("`records.enabled: false` keeps nothing", path="records.enabled")
    ledger = await open_ledger(config, place.env, clock)
    try:
        yield Desk(config, ledger, outcomes_in(ledger, clock))
    finally:
        await ledger.aclose()


async def tell(trace: str, told: Told, place: Place, screen: Screen, clock: Clock, *, url: str | None, as_json: bool) -> None:
    """Keep one outcome. Raises PrefrontalError."""
    if url_of(url, place):
        async with gateway(url, place, clock) as remote:
            found = await remote.post(f"/v1/decisions/{trace}/outcome", told.fields())
        shown: dict[str, Any] = found["data"][0]
    else:
        from prefrontal.app.outcomes import OutcomeDraft

        async with desk(place, clock) as here:
            draft = msgspec.convert(told.fields(), OutcomeDraft)
            shown = msgspec.to_builtins((await here.outcomes.tell(trace, [draft]))[0])
    if as_json:
        screen.json(shown)
    else:
        screen.note(f"Kept with {trace}.")


async def calibrate(
    place: Place, screen: Screen, clock: Clock, *, least: int, report: Path | None, dry_run: bool, as_json: bool
) -> None:
    """Fit calibrators and show what came of it. Raises PrefrontalError."""
    from prefrontal.decisions.reliability import report_page

    async with desk(place, clock) as here:
        found = await here.outcomes.calibrate(least=least, dry_run=dry_run)
    if report is not None:
        _write(report, report_page(found.fits, [one.id for one in found.made]))
    if as_json:
        screen.json({"dry_run": dry_run, **msgspec.to_builtins(found)})
        return
    _show(found, screen)
    did = "would be made" if dry_run else "made"
    screen.note(f"{len(found.made)} calibrators {did}, {len(found.kept)} stay, {len(found.retired)} are replaced or retired.")
    if report is not None:
        screen.note(f"The report is {report}.")


def _show(found: Calibrated, screen: Screen) -> None:
    rows = []
    for fit in found.fits:
        before, after = fit.before, fit.after
        pairs = [("–", "–")] * 3
        if before is not None and after is not None:
            pairs = [(f"{old:.3f}", f"{new:.3f}") for old, new in ((before.nll, after.nll), (before.ece, after.ece))]
            pairs.append((f"{before.sure_wrong}/{before.sure}", f"{after.sure_wrong}/{after.sure}"))
        told = [f"{old} → {new}" if old != "–" else "–" for old, new in pairs]
        temperature = "–" if fit.temperature is None else f"{fit.temperature:.2f}"
        accuracy = "–" if before is None else f"{before.accuracy:.3f}"
        rows.append((fit.slot.text, str(fit.labelled), temperature, accuracy, *told, "yes" if fit.kept else f"no: {fit.why}"))
    if rows:
        screen.table(("slot", "labels", "T", "accuracy", "NLL", "ECE", "wrong ≥ 0.9", "kept"), rows, right=("labels", "T"))
    else:
        screen.note("No decision that a model made has a labelled outcome yet.")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{file} cannot be written: {error.strerror or error}.") from None
