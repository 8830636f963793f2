"""Everything Prefrontal can do, as a library. HTTP and the command line are thin layers over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from prefrontal.app.compose import Prompt, compose
from prefrontal.app.decisions import DecidedItem, Decision, DecisionDesk, DecisionItem, PreparedItem, decision_of, grouped
from prefrontal.app.engine_memory import EngineMemory
from prefrontal.app.knowledge import Knowledge
from prefrontal.app.money import Money
from prefrontal.app.outcomes import outcomes_in
from prefrontal.app.reply import Piece, Reply, pieces_of
from prefrontal.app.sink import Sink
from prefrontal.app.telemetry.worker import TelemetryWorker
from prefrontal.chat.embeddings import EmbeddingsRequest
from prefrontal.chat.request import ChatRequest
from prefrontal.clock import Chance, Clock
from prefrontal.config.home import Home
from prefrontal.config.registry import Registry
from prefrontal.config.reload import ConfigHolder, ConfigStatus, Current
from prefrontal.config.schema import Config
from prefrontal.contracts.access import Grant
from prefrontal.contracts.decision import DecisionRequest, Value
from prefrontal.decisions.decider import Decider
from prefrontal.decisions.typed import Ask
from prefrontal.decisions.types import Types
from prefrontal.errors import PrefrontalError
from prefrontal.execute.count import TokenCount, TokenCounter
from prefrontal.execute.discovery.watch import Discovery
from prefrontal.execute.engine.supervisor import EngineSupervisor
from prefrontal.execute.lease import ENGINE_API
from prefrontal.execute.runtime import Runtime
from prefrontal.ledger.conversations import Conversations, MemoryConversations
from prefrontal.ledger.store import Ledger
from prefrontal.machine.context import LIBRARY, CallContext, World
from prefrontal.machine.decide import Decided, decide
from prefrontal.machine.decide_many import decide_group
from prefrontal.machine.embed import Embedded, embed
from prefrontal.machine.machine import Answer, Explanation, Machine
from prefrontal.machine.stream import AnswerStream
from prefrontal.providers.profile import Profile

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from prefrontal.app.replicas import Replicas

T = TypeVar("T")

MAX_VIEWS = 1000
"""Lists of models, of different keys, that are remembered (assumed)."""


class Prefrontal:
    """The executive: everything it can do, as a library. Made by `open`; belongs to one event loop."""

    def __init__(
        self,
        *,
        machine: Machine,
        holder: ConfigHolder[Registry],
        ledger: Ledger,
        runtime: Runtime,
        engines: EngineSupervisor,
        discovery: Discovery,
        home: Home,
        sink: Sink,
        own_ports: set[int],
        counter: TokenCounter,
        money: Money,
        desk: DecisionDesk,
        knowledge: Knowledge,
        profiles: Mapping[str, Profile],
    ) -> None:
        self.machine = machine
        self.holder = holder
        self.ledger = ledger
        self.runtime = runtime
        self.engines = engines
        self.discovery = discovery
        self.home = home
        self.observers = sink.observers
        self.own_ports = own_ports
        self.counter = counter
        self.money = money
        self.decisions = desk
        self.profiles = profiles
        self.decider = Decider(executor=machine.parts.executor, clock=self.clock, profiles=profiles)
        self.outcomes = desk.outcomes = outcomes_in(ledger, self.clock, self.decider)
        self._views: dict[frozenset[str], World] = {}
        self._world: tuple[Current[Registry], World] | None = None
        self.knowledge = knowledge
        knowledge.vectors.encoders.attach(self.embeddings)
        self.telemetry: TelemetryWorker | None = None
        self.engine_memory: EngineMemory | None = None
        self.replicas: Replicas | None = None
        self.conversations: Conversations = MemoryConversations()  # `open` puts those on disk in its place

    @property
    def clock(self) -> Clock:
        """The clock everything here uses."""
        return self.machine.parts.clock

    @property
    def chance(self) -> Chance:
        """The source of identifiers and jitter."""
        return self.machine.parts.chance

    @property
    def config(self) -> Config:
        """The configuration in use."""
        return self.holder.current.config

    @property
    def registry(self) -> Registry:
        """The models in use."""
        return self.holder.current.registry

    def world(self, grant: Grant | None = None) -> World:
        """Return the generation that a request starting now keeps to its end, with the models that exist for its key."""
        current = self.holder.current
        if self._world is None or self._world[0] is not current:
            self._world = (current, World(config=current.config, registry=current.registry, hash=current.hash))
            self._views.clear()
        whole = self._world[1]
        if grant is None or grant.models is None:
            return whole
        view = self._views.get(grant.models)
        if view is None:
            if len(self._views) >= MAX_VIEWS:
                self._views.clear()
            registry = current.registry.only(grant.models)
            view = self._views[grant.models] = msgspec.structs.replace(whole, registry=registry, models=grant.models)
        return view

    # -- for people ----------------------------------------------------------------------------------------------------

    async def chat(self, prompt: Prompt, **options: Any) -> Reply:
        """Return the answer to a question, a list of messages, or a request.

        Options are fields of the OpenAI chat dialect; `model` defaults to ``auto``, `x_prefrontal` holds hints.

        Raises:
            PrefrontalError: see `prefrontal.errors`; the record of the failure is written first.
        """
        answer = await self.answer(compose(prompt, options, stream=False), LIBRARY)
        return Reply(response=answer.response, record=answer.record)

    async def stream(self, prompt: Prompt, **options: Any) -> AsyncIterator[Piece]:
        """Yield the answer piece by piece: thinking, content, tool; the last piece is ``end`` with the record.

        Leaving the loop early cancels the upstream. Raises like `chat`; also inside the stream when the upstream breaks off.
        """
        source = await self.open_stream(compose(prompt, options, stream=True), LIBRARY)
        try:
            while chunks := await source.read():
                for chunk in chunks:
                    for piece in pieces_of(chunk):
                        yield piece
            yield Piece(kind="end", record=source.record)
        finally:
            await source.aclose()

    async def gather(self, prompts: Iterable[Prompt], *, concurrency: int = 16, **options: Any) -> list[Reply | PrefrontalError]:
        """Return the answers in the order of the prompts; an error stands in the place of its answer.

        concurrency: how many run at once (16 is assumed).
        """
        gate = asyncio.Semaphore(concurrency)

        async def one(prompt: Prompt) -> Reply | PrefrontalError:
            async with gate:
                try:
                    return await self.chat(prompt, **options)
                except PrefrontalError as error:
                    return error

        return list(await asyncio.gather(*[one(prompt) for prompt in prompts]))

    async def explain(self, prompt: Prompt, **options: Any) -> Explanation:
        """Return what would be done with a prompt, and why, without calling anything."""
        return await self.machine.explain(compose(prompt, options, stream=False), LIBRARY, self.world())

    async def embed(self, texts: Sequence[str], *, model: str = "auto", dimensions: int | None = None) -> Embedded:
        """Return one vector a text, in order. Raises like `chat`."""
        request = EmbeddingsRequest(model=model, inputs=tuple(texts), dimensions=dimensions)
        return await self.embeddings(request, LIBRARY)

    @overload
    async def decide(self, question: Ask[T], state: Any, **options: Any) -> T: ...
    @overload
    async def decide(self, question: str, state: Any, **options: Any) -> Value: ...
    @overload
    async def decide(self, question: TypeForm[T], state: Any, **options: Any) -> T: ...
    async def decide(self, question: Any, state: Any, **options: Any) -> Any:
        """Return the answer to a question about a state: a text, anything that is JSON, or a list of messages.

        question: an `Enum`, a `Literal` or `bool` type, an `Ask` of one of them, or the name of a registered type; the answer is
        of that type. options: as of `weigh`, which also returns probabilities, confidence and source.

        Raises:
            PrefrontalError: the question or the state is wrong. Models that fail are no error: then the rule answers.
        """
        return (await self.weigh(question, state, **options)).value

    @overload
    async def weigh(self, question: Ask[T], state: Any, **options: Any) -> Decision[T]: ...
    @overload
    async def weigh(self, question: str, state: Any, **options: Any) -> Decision[Value]: ...
    @overload
    async def weigh(self, question: TypeForm[T], state: Any, **options: Any) -> Decision[T]: ...
    async def weigh(self, question: Any, state: Any, **options: Any) -> Decision[Any]:
        """Return a decision with its whole distribution; see `decide`.

        options: `model`, `context` (a `DecisionContext`), `deadline_s`, `cache`, `session`.
        """
        request, form, types = self.decisions.request(question, state, self.config.decisions, **options)
        done = await self.decide_all(request, LIBRARY, types)
        return decision_of(done.response.answers[0], form, done.record)

    async def decide_many(self, items: Iterable[DecisionItem], *, concurrency: int = 64, **options: Any) -> list[DecidedItem]:
        """Return many decisions in the items' order; an error stands in the place of its decision.

        Made for simulations and pipelines: a group of items shares one record and one trace, what the cache holds is answered at
        once, and `concurrency` others run at a time (64 is assumed: what engines batch). options: as of `weigh` but for `context`
        and `tier`, which each item has; `run` names whose budget pays.

        Raises:
            PrefrontalError: none of them may be made: no room, a limit, a wrong run.
        """
        found: list[DecidedItem] = []
        settings = self.config.decisions
        for group in grouped(items):
            prepared = [self.decisions.prepared(item, settings, **options) for item in group]
            found += await self._decided(prepared, concurrency)
        return found

    async def _decided(self, prepared: Sequence[PreparedItem | PrefrontalError], concurrency: int) -> list[DecidedItem]:
        asked = [one for one in prepared if not isinstance(one, PrefrontalError)]
        if not asked:
            return [one for one in prepared if isinstance(one, PrefrontalError)]
        self.ledger.admit()
        done = await decide_group(
            self.machine,
            self.decider,
            [one.types for one in asked],
            [one.request for one in asked],
            LIBRARY,
            self.world(),
            concurrency=concurrency,
        )
        answers = iter(done.answers)
        return [one if isinstance(one, PrefrontalError) else one.decision(next(answers), done.record) for one in prepared]

    async def count_tokens(self, prompt: Prompt, *, model: str = "auto", **options: Any) -> TokenCount:
        """Return the input tokens of a prompt for a model: counted by its engine where that can, else estimated.

        ``auto`` counts for the model that would be chosen. Raises like `explain`.
        """
        return await self.count(compose(prompt, {"model": model, **options}, stream=False), LIBRARY)

    # -- for the edges -------------------------------------------------------------------------------------------------

    async def answer(self, request: ChatRequest, context: CallContext) -> Answer:
        """Answer a parsed request. Raises PrefrontalError; Overloaded before anything is called when records cannot be kept."""
        self.ledger.admit()
        return await self.machine.answer(request, context, self.world(context.grant))

    async def open_stream(self, request: ChatRequest, context: CallContext) -> AnswerStream:
        """Open a streamed answer; raises like `answer`. Close it."""
        self.ledger.admit()
        return await self.machine.stream(request, context, self.world(context.grant))

    async def embeddings(self, request: EmbeddingsRequest, context: CallContext) -> Embedded:
        """Make embeddings; raises like `answer`."""
        self.ledger.admit()
        return await embed(self.machine, request, context, self.world(context.grant))

    async def decide_all(self, request: DecisionRequest, context: CallContext, types: Types | None = None) -> Decided:
        """Answer every question of a parsed request; raises like `answer`."""
        self.ledger.admit()
        await self.outcomes.look()
        world = self.world(context.grant)
        known = types or self.decisions.types(world.config.decisions)
        return await decide(self.machine, self.decider, known, request, context, world)

    async def count(self, request: ChatRequest, context: CallContext) -> TokenCount:
        """Count the input tokens of a parsed request; see `count_tokens`."""
        world = self.world(context.grant)
        found = await self.machine.explain(request, context, world)
        if found.plan.model is None:
            return TokenCount(input_tokens=0, source="engine", model=f"reflex/{found.plan.tool}")
        card = found.run.cards[0]  # which need not be in the registry: `provider/model` by a key alone
        base_url = card.base_url
        if base_url is None:
            running = {status.model_id: status for status in self.engines.status()}.get(card.id)
            if running is not None and running.state == "ready":
                base_url = f"http://127.0.0.1:{running.port}{ENGINE_API}"
        return await self.counter.count(found.run.request, card, base_url, reach=found.run.reach)

    def status(self) -> ConfigStatus:
        """Return how the configuration stands."""
        return self.holder.status()
