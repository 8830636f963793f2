"""Builds the rooms of one process from its configuration, and what must be closed again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import msgspec
import psutil

from prefrontal.app.caching import open_cache
from prefrontal.app.decisions import DecisionDesk
from prefrontal.app.engine_memory import EngineMemory, Nvml
from prefrontal.app.engines import Lender, OnDemand, own_engines
from prefrontal.app.fetching import open_fetcher
from prefrontal.app.judging import apply_forms, open_judge
from prefrontal.app.knowledge import Knowledge
from prefrontal.app.ledgers import open_ledger
from prefrontal.app.library import Prefrontal
from prefrontal.app.limits import apply_limits, keep_probing, runtime_of
from prefrontal.app.money import Money
from prefrontal.app.privacy import people_in
from prefrontal.app.pseudonyms import KEY_FILE, Pseudonyms
from prefrontal.app.remembering import open_recall
from prefrontal.app.sink import Sink
from prefrontal.app.spending import spent_today
from prefrontal.app.stores import roles_in, stores_of
from prefrontal.app.telemetry.opening import open_telemetry
from prefrontal.app.telemetry.worker import TelemetryWorker
from prefrontal.app.vitals import VitalSigns
from prefrontal.app.zone import machine_zone
from prefrontal.assess.rules import load_rules
from prefrontal.clock import Chance, Clock
from prefrontal.config import schema
from prefrontal.config.cards import Sources
from prefrontal.config.changes import Change
from prefrontal.config.check import Known, named_files
from prefrontal.config.home import find_home
from prefrontal.config.load import Loaded, config_hash, load, load_text, models_dir
from prefrontal.config.registry import Registry, build_registry
from prefrontal.config.reload import ConfigHolder, Current
from prefrontal.config.schema import Config
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import StoreError
from prefrontal.execute.attempt import Attempter
from prefrontal.execute.count import TokenCounter
from prefrontal.execute.discovery.configured import ConfiguredProbe
from prefrontal.execute.discovery.environment import adhoc_card
from prefrontal.execute.discovery.files import found_in_files, specs_of
from prefrontal.execute.discovery.watch import Discovery
from prefrontal.execute.door import Door
from prefrontal.execute.egress import egress_guard
from prefrontal.execute.engine.supervisor import EngineSupervisor
from prefrontal.execute.executor import Executor
from prefrontal.execute.meter import SpendMeter
from prefrontal.execute.runtime import Runtime
from prefrontal.execute.sessions import Sessions
from prefrontal.execute.transport import MAX_CONNECTIONS, Transport, open_transport
from prefrontal.execute.turns import Turns
from prefrontal.ledger.store import Expiring, Ledger
from prefrontal.machine.machine import Machine
from prefrontal.machine.parts import Parts
from prefrontal.plan.plugins import discover_policies
from prefrontal.plan.policies import Policy, builtin_policies
from prefrontal.providers.base import Found
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.effort import load_dialects
from prefrontal.providers.facts import load_facts
from prefrontal.providers.registry import Providers, builtin_providers, discover_providers
from prefrontal.reflex.host import PsutilHost
from prefrontal.reflex.tools import installed_reflexes

log = logging.getLogger(__name__)

Source = str | Path | Mapping[str, Any] | Config | None
Closer = Callable[[], Awaitable[object]]


class Builder:
    """Knows the environment and the shipped tables; makes a `Prefrontal`. Reading tables takes about 50 ms (measured)."""

    def __init__(self, *, env: Mapping[str, str], cwd: Path | None, clock: Clock, chance: Chance) -> None:
        self.env = env
        self.cwd = cwd
        self.clock = clock
        self.chance = chance
        self.home = find_home(env)
        self.dialects = load_dialects()
        self.profiles = load_profiles()
        self.facts = load_facts()
        self.policies = _policies()
        self.discovered: tuple[ModelCard, ...] = ()
        self.probed: dict[str, Found] = {}
        self.closers: list[Closer] = []
        self.lent_engines: Lender | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.host = PsutilHost()
        self.people = Pseudonyms(key=None, file=self.home.root / KEY_FILE)
        self.desk = DecisionDesk()
        self.knowledge = Knowledge(self.home.engrams, clock=clock, chance=chance)
        self.memory_bytes = psutil.virtual_memory().total

    # -- configuration -------------------------------------------------------------------------------------------------

    def known(self) -> Known:
        """Return what settings may refer to."""
        return Known(profiles=self.profiles, policies=tuple(self.policies), dialects=tuple(self.dialects.dialects), tools=None)

    def load(self, source: Source, flags: Mapping[str, Any] | None) -> Loaded:
        """Return the configuration of `source`. Raises ConfigError."""
        if isinstance(source, Config):
            return Loaded(config=source, hash=config_hash(source))
        if isinstance(source, Mapping):
            text = msgspec.json.encode(source).decode()  # JSON is YAML
            return load_text(text, env=self.env, known=self.known(), flags=flags)
        return load(env=self.env, known=self.known(), flag=source, flags=flags, cwd=self.cwd)

    def sources(self, config: Config) -> Sources:
        """Return what cards are built from."""
        return Sources(
            profiles=self.profiles,
            facts=self.facts,
            dialects=self.dialects,
            env=self.env,
            models_dir=models_dir(config, self.env),
        )

    def registry(self, config: Config) -> Registry:
        """Return the registry of a tree, with what was discovered by now. Raises ConfigError.

        Reads the headers of GGUF files that the tree names, some milliseconds each.
        """
        self.desk.types(config.decisions)  # a wrong rule is told here
        sources = self.sources(config)
        in_files = found_in_files(config.models, config.engine, sources, memory_bytes=self.memory_bytes)
        files = named_files(config.models, sources.models_dir)
        missing = {name: file for name, file in files.items() if not file.is_file()}
        probed = {**self.probed, **in_files}
        return build_registry(config, sources, discovered=self.discovered, probed=probed, missing=missing)

    # -- the rooms -----------------------------------------------------------------------------------------------------

    async def build(
        self, loaded: Loaded, reload_from: Callable[[], Loaded], *, transport: Transport | None, ledger: Ledger | None
    ) -> Prefrontal:
        """Return the whole; `closers` has what closes it, in order, also after an error. Raises ConfigError, StoreError."""
        closers = self.closers
        holder: ConfigHolder[Registry] = ConfigHolder(loaded, build=self.registry, load=reload_from, clock=self.clock)
        config = loaded.config
        self.people = people_in(config, self.home)
        if ledger is None:
            ledger = await open_ledger(config, self.env, self.clock)
            closers.append(ledger.aclose)
        if transport is None:
            most = max(MAX_CONNECTIONS, config.limits.concurrency)  # what may run at once may all go to one upstream
            guard = egress_guard(lambda: holder.current.config.egress)
            transport = open_transport(clock=self.clock, allow=guard, max_connections=most)
            closers.append(transport.aclose)
        engines = await (self.lent_engines or own_engines)(config, self.clock, self.chance)
        closers.append(engines.close)
        limits = config.limits
        runtime = runtime_of(limits, self.clock)
        meter = SpendMeter(limits.discovered_spend_usd_per_day)
        sink = Sink(ledger)
        money = Money(stores=stores_of(config, ledger, self.clock), clock=self.clock, chance=self.chance)
        providers = self._providers()
        vitals = VitalSigns(clock=self.clock, runtime=runtime, host=self.host)
        vitals.start()
        closers.append(vitals.close)
        sink.observers.append(vitals.observe)
        telemetry = self._telemetry(holder, sink, closers)
        tracing = telemetry is not None and config.telemetry.propagate
        machine = self._machine(holder, transport, providers, engines, runtime, meter, sink, vitals, money, tracing=tracing)
        pf_ports: set[int] = set()
        discovery = self._discovery(holder, transport, providers, pf_ports)
        closers.append(discovery.close)
        pf = Prefrontal(
            machine=machine,
            holder=holder,
            ledger=ledger,
            runtime=runtime,
            engines=engines,
            discovery=discovery,
            home=self.home,
            sink=sink,
            own_ports=pf_ports,
            counter=TokenCounter(transport=transport, providers=providers, profiles=self.profiles, runtime=runtime),
            money=money,
            desk=self.desk,
            knowledge=self.knowledge,
            profiles=self.profiles,
        )
        pf.decider.recall = open_recall(holder, closers, env=self.env, home=self.home, clock=self.clock)
        closers.append(pf.knowledge.aclose)
        self._background(self.knowledge.configure(config.knowledge))
        pf.telemetry = telemetry
        pf.engine_memory = self._engine_memory(engines, closers)
        discovery.on_change = lambda cards: self._discovered(pf, cards)
        probe = ConfiguredProbe(transport=transport, providers=providers, profiles=self.profiles)
        holder.listen(lambda _old, new, changes: self._reloaded(pf, meter, probe, new, changes))
        closers.append(self._end_tasks)
        await money.configure(config, *roles_in(holder))
        self._background(money.treasury.keep())
        self._background(keep_probing(transport, providers, self.profiles, holder, runtime, self.clock))
        self._background(self._ask_engines(pf, probe, holder.current))
        self._sync_engines(pf, holder.current)
        meter.seed(await spent_today(ledger, holder.current.registry, self.clock.now()), self.clock.now())
        return pf

    def _discovery(
        self, holder: ConfigHolder[Registry], transport: Transport, providers: Providers, own_ports: set[int]
    ) -> Discovery:
        """Return what looks for models; it is started later."""
        config = holder.current.config
        return Discovery(
            transport=transport,
            providers=providers,
            sources=self.sources(config),
            clock=self.clock,
            settings=_discovery_of(config),
            engine=config.engine,
            named_files=lambda: named_files(holder.current.config.models, models_dir(holder.current.config, self.env)).values(),
            own_ports=lambda: frozenset(own_ports),
            memory_bytes=self.memory_bytes,
        )

    def _engine_memory(self, engines: EngineSupervisor, closers: list[Closer]) -> EngineMemory:
        """Begin to measure the local engines."""
        memory = EngineMemory(engines.status, clock=self.clock, accelerators=Nvml())
        memory.start()
        closers.append(memory.close)
        return memory

    def _telemetry(self, holder: ConfigHolder[Registry], sink: Sink, closers: list[Closer]) -> TelemetryWorker | None:
        """Let a collector hear of finished requests, where one is configured."""
        telemetry = open_telemetry(
            holder.current.config.telemetry,
            self.env,
            card_of=lambda model: holder.current.registry.cards.get(model),
            allow=egress_guard(lambda: holder.current.config.egress),
            clock=self.clock,
        )
        if telemetry is not None:
            sink.observers.append(telemetry.observe)
            closers.append(telemetry.close)
        return telemetry

    def _providers(self) -> Providers:
        found = discover_providers()
        for broken in found.broken:
            log.warning("provider plug-in %s (%s) left out: %s", broken.name, broken.target, broken.reason)
        return builtin_providers().plus(found.by_wire)

    def _machine(
        self,
        holder: ConfigHolder[Registry],
        transport: Transport,
        providers: Providers,
        engines: EngineSupervisor,
        runtime: Runtime,
        meter: SpendMeter,
        sink: Sink,
        vitals: VitalSigns,
        money: Money,
        *, tracing: bool,
    ) -> Machine:
        attempter = Attempter(
            transport=transport,
            providers=providers,
            profiles=self.profiles,
            dialects=self.dialects,
            runtime=runtime,
            clock=self.clock,
            engines=OnDemand(engines, lambda: holder.current.config.engine.auto_start),
            fetcher=open_fetcher(self.clock, lambda: holder.current.config.egress),
        )
        machine = Machine(
            Parts(
                executor=Executor(attempter=attempter, clock=self.clock, chance=self.chance),
                reflexes=installed_reflexes(host=self.host, gateway=vitals),
                rules=load_rules(),
                policies=self.policies,
                adhoc=lambda name: adhoc_card(name, self.sources(holder.current.config)),
                dialects=self.dialects,
                runtime=runtime,
                sessions=Sessions(), turns=Turns(),
                meter=meter,
                clock=self.clock,
                chance=self.chance,
                ready=engines.ready,
                sink=sink,
                tracing=tracing,
                timezone=machine_zone(self.env),
                librarian=self.knowledge,
                door=Door(holder.current.config.limits, self.clock),
                treasury=money.treasury,
                users=self.people.all_of,
                judge=open_judge(),
                cache=open_cache(holder, self.closers, env=self.env, home=self.home, clock=self.clock),
            )
        )
        apply_forms(holder.current.config, machine.parts)
        return machine

    # -- while it runs -------------------------------------------------------------------------------------------------

    def _discovered(self, pf: Prefrontal, cards: tuple[ModelCard, ...]) -> None:
        """Take in what discovery found: a new registry under the same configuration."""
        self.discovered = cards
        pf.holder.rebuild()

    def _reloaded(
        self,
        pf: Prefrontal,
        meter: SpendMeter,
        probe: ConfiguredProbe,
        new: Current[Registry],
        changes: tuple[Change, ...],
    ) -> None:
        """Apply a new generation to what lives longer than one: bounds of queues, the spend limit, engines, discovery."""
        limits = new.config.limits
        meter.limit_usd = limits.discovered_spend_usd_per_day
        if isinstance(pf.ledger, Expiring):
            pf.ledger.retention_days = new.config.records.retention_days
        apply_limits(pf, changed=bool(changes))
        pf.discovery.configure(_discovery_of(new.config), new.config.engine, models_dir(new.config, self.env))
        self._sync_engines(pf, new)
        apply_forms(new.config, pf.machine.parts, changed=bool(changes))
        if changes:
            self._background(self.knowledge.configure(new.config.knowledge))
            pf.decider.capabilities.forget()
            self._background(self._ask_engines(pf, probe, new))
            self._background(self._budget(pf, new.config))

    def _sync_engines(self, pf: Prefrontal, current: Current[Registry]) -> None:
        """Tell the supervisor which local models there are now; those that are gone stop in the background."""
        known = pf.discovery.findings.files.models
        specs, problems = specs_of(
            current.registry.enabled, current.config.models, current.config.engine, known=known, connections=MAX_CONNECTIONS
        )
        for problem in problems:
            log.warning("left out %s: %s", problem.path, problem.message)
        wanted = {spec.model_id for spec in specs}
        for status in pf.engines.status():
            if status.model_id not in wanted:
                self._background(pf.engines.remove(status.model_id))
        for spec in specs:
            pf.engines.add(spec)
        pf.engines.start_pinned()

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside everything else; it is cancelled when the process closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("work in the background failed", exc_info=error)

    async def _end_tasks(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask_engines(self, pf: Prefrontal, probe: ConfiguredProbe, current: Current[Registry]) -> None:
        """Learn from the engines of configured models; what is new makes a new registry."""
        cards = [card for card in current.registry.enabled if card.origin == "config"]
        found = await probe.probe(cards, timeout_s=current.config.discovery.timeout_s)
        if found and {**self.probed, **found} != self.probed:
            self.probed = {**self.probed, **found}
            pf.holder.rebuild()

    async def _budget(self, pf: Prefrontal, config: Config) -> None:
        """Let new budgets and limits hold, once what they need to know is added up."""
        try:
            await pf.money.configure(config, *roles_in(pf.holder))
        except StoreError as error:
            log.error("the budgets of the new configuration do not hold yet: %s", error)


def _policies() -> dict[str, Policy]:
    """Return the shipped policies and those of other packages; a broken plug-in is said and left out."""
    found = discover_policies()
    for broken in found.broken:
        log.warning("policy plug-in %s (%s) left out: %s", broken.name, broken.target, broken.reason)
    return {**builtin_policies(), **found.by_name}


def _discovery_of(config: Config) -> schema.Discovery:
    """Return the settings of discovery with the open question answered: by default only when the file names no model."""
    settings = config.discovery
    if settings.enabled is None:
        return msgspec.structs.replace(settings, enabled=not config.models)
    return settings
