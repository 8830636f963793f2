"""`prefrontal doctor`: what was found, what is missing, and the one command that mends each thing."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from prefrontal.cli import checks
from prefrontal.cli.checks import Check
from prefrontal.cli.remote import LOOK, Gateway
from prefrontal.cli.screen import BOLD, DIM, Screen
from prefrontal.cli.session import Place, builder, opened
from prefrontal.clock import Clock
from prefrontal.config.home import expand_user, find_home
from prefrontal.config.load import Loaded, models_dir
from prefrontal.config.schema import Config
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.wire import WireRequest
from prefrontal.errors import ConfigError, PrefrontalError
from prefrontal.execute.egress import egress_guard
from prefrontal.execute.transport import TlsOptions, open_transport
from prefrontal.ledger.migrations import HEAD

if TYPE_CHECKING:
    from prefrontal.app.library import Prefrontal
    from prefrontal.execute.discovery.watch import Findings

NO_MODEL = 3
"""Exit status when no model could answer."""

FIRST_MODEL = "prefrontal models pull Qwen/Qwen3-0.6B-GGUF"
"""A small model that runs on every machine, as the way to a first answer."""

_MARKS = {"ok": "ok", "note": "note", "missing": "-", "wrong": "WRONG"}


async def doctor(place: Place, screen: Screen, clock: Clock, *, as_json: bool) -> int:
    """Look, report, and return the exit status: 0 when a model could answer a request, else 3."""
    configured, loaded = configuration(place)
    config = loaded.config if loaded else Config()
    found: list[Check] = [checks.program(), checks.home(find_home(place.env).root), configured]
    usable: list[ModelCard] = []
    try:
        async with opened(place if loaded else Place(env=_plain(place)), records=False) as pf:
            found += keys(pf.discovery.findings, config)
            found.append(servers(pf.discovery.findings))
            found.append(files(pf.discovery.findings, models_dir(config, place.env)))
            found.append(checks.local_engine())
            usable, unreachable = await _usable(pf)
            found += unreachable
    except PrefrontalError as error:
        found.append(Check(name="models", state="wrong", found=error.text))
    found.append(checks.port(config, gateway=await _gateway_at(config, clock)))
    found.append(await _database(config, place, clock))
    found.append(checks.zones())
    found.append(verdict(usable, place, broken=loaded is None))
    answers = bool(usable) and loaded is not None
    if as_json:
        screen.json({"ok": answers, "models": [card.id for card in usable], "checks": found})
    else:
        show(found, screen)
    return 0 if answers else NO_MODEL


def configuration(place: Place) -> tuple[Check, Loaded | None]:
    """Return how the configuration stands, and the tree when it can be used."""
    try:
        loaded = builder(place).load(place.config, None)
    except ConfigError as error:
        problems = str(error).splitlines()
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return Check(name="configuration", state="wrong", found=problems[0] + more, mend=_check_command(place)), None
    if loaded.file is None:
        return Check(name="configuration", state="ok", found="no file: everything is discovered"), loaded
    text = f"{loaded.file}, {len(loaded.config.models)} models"
    if loaded.warnings:
        text += ", doubtful settings"
        return Check(name="configuration", state="note", found=text, mend=_check_command(place)), loaded
    return Check(name="configuration", state="ok", found=text), loaded


def keys(findings: Findings, config: Config) -> list[Check]:
    """Return the keys that lie in the environment, by the names of their variables."""
    if not findings.keys:
        if config.models:
            return []
        found = "none in the environment: hosted models are not offered"
        return [Check(name="provider keys", state="missing", found=found, mend="export OPENAI_API_KEY=…")]
    limit = config.limits.discovered_spend_usd_per_day
    shown = []
    for key in findings.keys:
        what = f"{key.variable}: {len(key.models)} models, at most ${limit:g} a day in all"
        shown.append(Check(name="provider key", state="note" if key.note else "ok", found=key.note or what))
    return shown


def servers(findings: Findings) -> Check:
    """Return the model servers that answer on this machine."""
    if not findings.seen:
        return Check(name="local servers", state="missing", found="none answers at the usual ports", mend="ollama serve")
    said = [
        f"{server.profile or 'something'} at {server.base_url}: {server.state}"
        + (f", {len(server.models)} models" if server.models else "")
        + (f" ({server.detail})" if server.detail else "")
        for server in findings.seen
    ]
    good = any(server.state == "ready" for server in findings.seen)
    return Check(name="local servers", state="ok" if good else "note", found="\n".join(said))


def files(findings: Findings, folder: Path) -> Check:
    """Return the GGUF files of the models folder, and those that cannot be used."""
    problems = [f"{Path(problem.path).name}: {problem.message}" for problem in findings.files.problems]
    names = [model.card.id for model in findings.files.models]
    if problems:
        said = "\n".join([f"{folder}: {', '.join(names) or 'no usable file'}", *problems])
        return Check(name="model files", state="wrong", found=said, mend=f"rm {findings.files.problems[0].path}")
    if not names:
        return Check(name="model files", state="missing", found=f"no .gguf file in {folder}", mend=FIRST_MODEL)
    return Check(name="model files", state="ok", found=f"{folder}: {', '.join(names)}")


def verdict(usable: list[ModelCard], place: Place, *, broken: bool) -> Check:
    """Return the answer to the question people come with."""
    if broken:
        return Check(name="verdict", state="wrong", found="`serve` refuses this configuration", mend=_check_command(place))
    if not usable:
        found = "no model could answer; sums, units, dates and time zones are answered all the same"
        return Check(name="verdict", state="wrong", found=found, mend=FIRST_MODEL)
    names = ", ".join(card.id for card in usable[:5]) + (f" and {len(usable) - 5} more" if len(usable) > 5 else "")
    return Check(name="verdict", state="ok", found=f"a request can be answered by {names}")


def show(found: Iterable[Check], screen: Screen) -> None:
    """Show the checks, one below the other, each with its remedy."""
    for check in found:
        first, *more = check.found.split("\n")
        screen.line(f"{_MARKS[check.state].ljust(5)}  {check.name.ljust(14)}  {first}", BOLD if check.state == "wrong" else "")
        for line in more:
            screen.line(f"{' ' * 23}{line}")
        if check.mend:
            screen.line(f"{' ' * 23}mend it: {check.mend}", DIM if check.state != "wrong" else "")


async def _usable(pf: Prefrontal) -> tuple[list[ModelCard], list[Check]]:
    """Return the models that could answer a chat now, and what is wrong with others.

    Our own machine's servers are asked whether they answer; hosted ones are taken at their key's word.
    """
    runnable = importlib.util.find_spec("xllamacpp") is not None
    usable, wrong = [], [Check(name="model", state="missing", found=f"{n.model}: {n.message}") for n in pf.registry.notes]
    alive: dict[str, bool] = {}
    for card in pf.registry.enabled:
        if card.can("chat") is False:
            continue
        if card.local_path is not None:
            if not os.path.isfile(card.local_path):  # noqa: ASYNC240 - a look at a local disk, in a command of its own
                wrong.append(Check(name="model", state="wrong", found=f"{card.id}: {card.local_path} does not exist"))
            elif runnable:
                usable.append(card)
            continue
        base = card.base_url or ""
        if card.self_hosted and card.origin != "discovered":
            if base not in alive:
                alive[base] = await _answers(pf, base)
            if not alive[base]:
                wrong.append(Check(name="model", state="wrong", found=f"{card.id}: nothing answers at {base}"))
                continue
        usable.append(card)
    return usable, wrong


async def _answers(pf: Prefrontal, url: str) -> bool:
    """Return whether anything answers. No key is sent, so whose certificate it is does not matter."""
    transport = open_transport(clock=pf.clock, allow=egress_guard(lambda: pf.config.egress))
    try:
        await transport.send(WireRequest(method="GET", url=url), LOOK, tls=TlsOptions(verify=False))
    except PrefrontalError:
        return False
    finally:
        await transport.aclose()
    return True


async def _gateway_at(config: Config, clock: Clock) -> bool:
    if not config.server.port:
        return False
    host = config.server.host
    host = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host  # noqa: S104 - compared, not bound
    gateway = Gateway(f"http://{host}:{config.server.port}", clock=clock)
    try:
        return await gateway.is_prefrontal()
    finally:
        await gateway.aclose()


async def _database(config: Config, place: Place, clock: Clock) -> Check:
    """Return whether the records can be read, in the file or on Postgres."""
    if config.store.url is None:
        path = config.records.path
        return checks.database(expand_user(path, place.env) if path else find_home(place.env).database)
    from prefrontal.cli.ledger import postgres_format

    try:
        where, found = await postgres_format(config, clock)
    except PrefrontalError as error:
        mend = error.hint if isinstance(error, ConfigError) else None
        return Check(name="database", state="wrong", found=error.message, mend=mend)
    if found > HEAD:
        return Check(name="database", state="wrong", found=f"{where} has format {found}; this program knows up to {HEAD}")
    made = "tables are made at the first start" if found == 0 else f"format {found}"
    return Check(name="database", state="ok", found=f"Postgres at {where}, {made}")


def _check_command(place: Place) -> str:
    return f"prefrontal config check {place.config}" if place.config else "prefrontal config check"


def _plain(place: Place) -> dict[str, str]:
    """Return the environment without settings of ours, to look around although the configuration is broken."""
    return {name: value for name, value in place.env.items() if not name.startswith("PREFRONTAL_")} | {
        name: place.env[name] for name in ("PREFRONTAL_HOME",) if name in place.env
    }
