"""`prefrontal serve`: the gateway, and what people are told when it starts."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from prefrontal import __version__
from prefrontal.cli.lines import RequestLines
from prefrontal.cli.logs import Logs
from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place, builder
from prefrontal.cli.words import money

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from prefrontal.app.build import Builder
    from prefrontal.app.crew.channel import Post
    from prefrontal.app.library import Prefrontal
    from prefrontal.config.schema import Config
    from prefrontal.contracts.model import ModelCard
    from prefrontal.serve.crew import Orders

log = logging.getLogger(__name__)

LOOKING_S = 3.0
"""The greeting waits so long for the first look at the local ports (assumed: a probe takes a second at most)."""

POLL_S = 0.02


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    """What the greeting is made of. `spend_usd` None: no model was found through a key. `models` counts by origin."""

    url: str
    models: dict[str, int]
    folder: str
    config_file: str | None = None
    spend_usd: float | None = None
    key_needed: bool = False
    notes: tuple[str, ...] = ()

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What was found, as names and values."""
        total = sum(self.models.values())
        found = "; ".join(f"{count} {origin}" for origin, count in self.models.items())
        rows = [
            ("config", self.config_file or "no file: everything is discovered"),
            ("models", f"{total}: {found}" if total else "none found; `prefrontal doctor` says how to get one"),
            ("folder", f"{self.folder} (put .gguf files here)"),
        ]
        if self.spend_usd is not None:
            limit = f"at most {money(self.spend_usd)} a day for models found only through a key in the environment"
            rows.append(("spending", f"{limit}, until a file says otherwise"))
        rows += [("note", note) for note in self.notes]
        return rows

    @property
    def lines(self) -> list[str]:
        """The greeting, line by line."""
        key = 'os.environ["PREFRONTAL_API_KEY"]' if self.key_needed else '"unused"'
        shown = [f"Prefrontal {__version__} is ready."]
        shown += [f"  {name.ljust(8)}  {value}" for name, value in self.facts]
        return [
            *shown,
            "  use it    from openai import OpenAI",
            f'            client = OpenAI(base_url="{self.url}/v1", api_key={key})',
            '            client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "17.5% of 2,340?"}])',
            "  Sums, units, dates and time zones are answered by `auto` even without any model. Ctrl-C stops.",
        ]


def origin_of(card: ModelCard) -> str:
    """Return where a model comes from, in words."""
    if card.origin != "discovered":
        return "from the configuration"
    if card.local_path is not None:
        return "from GGUF files"
    return "on local servers" if card.self_hosted else "through keys in the environment"


def greeting_of(pf: Prefrontal, url: str) -> Greeting:
    """Return the greeting for what is known now."""
    enabled = pf.registry.enabled
    status = pf.status()
    keyed = any(card.origin == "discovered" and not card.self_hosted for card in enabled)
    return Greeting(
        url=url,
        models=dict(Counter(origin_of(card) for card in enabled)),
        folder=str(folder_of(pf)),
        config_file=status.file,
        spend_usd=pf.config.limits.discovered_spend_usd_per_day if keyed else None,
        key_needed=bool(pf.config.server.api_keys or pf.config.server.admin_keys),
        notes=(
            *[f"{note.model}: {note.message}" for note in pf.registry.notes],
            *[f"{problem.path}: {problem.message}" for problem in pf.discovery.findings.files.problems],
            # a missing model file is among the registry's notes, which know when it has come
            *[warning.text for warning in status.warnings if warning.rule != "missing_file"],
        ),
    )


def folder_of(pf: Prefrontal) -> Path:
    """Return the folder people put model files into."""
    from prefrontal.config.load import models_dir

    return models_dir(pf.config, {"PREFRONTAL_HOME": str(pf.home.root)})


def make_folder(folder: Path) -> None:
    """Make the models folder, so that the greeting's advice can be followed; one that cannot be made is said."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("the models folder %s cannot be made: %s", folder, error.strerror)


def serve(place: Place, flags: dict[str, Any], screen: Screen) -> None:
    """Serve until SIGTERM or SIGINT. The first line on stdout is the address; everything for people goes to stderr.

    Raises:
        ConfigError, StoreError: before anything listens.
    """
    tables = builder(place)
    config = tables.load(place.config, flags).config
    logs = Logs(screen.err)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            if config.server.workers > 1:
                runner.run(_lead(place, flags, config, screen, logs))
            else:
                runner.run(_serve(place, flags, screen, logs, tables=tables))
    finally:
        logs.close()


def work(place: Place, orders: Orders, screen: Screen) -> None:
    """Serve as one of several workers, until SIGTERM or the end of standard input. Raises like `serve`."""
    logs = Logs(screen.err)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(place, orders.flags, screen, logs, post=orders.post))
    finally:
        logs.close()


async def _lead(place: Place, flags: dict[str, Any], config: Config, screen: Screen, logs: Logs) -> None:
    """Start the workers and keep them running."""
    from prefrontal.clock import SystemClock
    from prefrontal.config.redact import Redactor, secrets_of
    from prefrontal.serve.crew import Crew

    settings = config.logging
    logs.configure(level=settings.level, form=settings.format, redactor=Redactor(secrets_of(config)))

    def say(line: str) -> None:
        screen.line(line)
        screen.out.flush()

    named = None if place.config is None else str(place.config)
    await Crew(config.server, config=named, flags=flags, clock=SystemClock(), say=say).run()


async def _serve(
    place: Place, flags: dict[str, Any], screen: Screen, logs: Logs, *, post: Post | None = None, tables: Builder | None = None
) -> None:
    import prefrontal.serve.server as server

    said: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    def say(line: str) -> None:
        said.append(line)
        screen.line(line)
        screen.out.flush()

    lines = RequestLines(logs.write, asyncio.get_running_loop().call_later)

    def greet(pf: Prefrontal, _say: Callable[[str], None]) -> None:
        _configure(pf, logs, lines)
        pf.observers.append(lines.observe)
        make_folder(folder_of(pf))
        pf.holder.listen(lambda _old, _new, _changes: _configure(pf, logs, lines))
        if post is not None and post.index != 0:  # one greets for all
            return
        tasks.append(asyncio.get_running_loop().create_task(_greet(pf, said[0], screen), name="greeting"))

    try:
        await server.serve(place.config, env=place.env, flags=flags, say=say, greet=greet, post=post, builder=tables)
    finally:
        lines.flush()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _configure(pf: Prefrontal, logs: Logs, lines: RequestLines) -> None:
    from prefrontal.config.redact import Redactor, secrets_of

    keys = [card.key for card in pf.registry.cards.values() if card.key]
    redactor = Redactor([*secrets_of(pf.config), *keys])
    settings = pf.config.logging
    logs.configure(level=settings.level, form=settings.format, redactor=redactor)
    lines.configure(enabled=settings.level in ("debug", "info"), form=settings.format, redactor=redactor)


async def _greet(pf: Prefrontal, url: str, screen: Screen) -> None:
    """Tell what was found, once the first look at the local ports is over."""
    until = pf.clock.monotonic() + LOOKING_S
    while not pf.discovery.findings.rounds and pf.clock.monotonic() < until:
        await pf.clock.sleep(POLL_S)
    greeting = greeting_of(pf, url)
    if pf.config.logging.format == "json":  # stderr is for machines then
        for name, value in greeting.facts:
            log.info("%s: %s", name, value)
    else:
        screen.note(*greeting.lines)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
