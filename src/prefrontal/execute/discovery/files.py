"""GGUF files: what they say about themselves as cards, and the settings their engines run with.

`scan_files` looks through the models folder; `found_in_files` and `specs_of` do the same for models that the registry names by
`path`. Reading headers blocks on the disk, some milliseconds a file; the rest is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from prefrontal.config.cards import Sources, build_card
from prefrontal.config.check import LOCAL_PROFILE, gguf_path
from prefrontal.config.schema import Engine, ModelEntry
from prefrontal.contracts.model import Capability, ModelCard
from prefrontal.errors import ConfigError
from prefrontal.execute.discovery.naming import without_chat
from prefrontal.execute.engine.header import ModelHeader, read_header
from prefrontal.execute.engine.spec import DEFAULT_CONTEXT_TOKENS, DEFAULT_HTTP_THREADS, EngineSpec, scan_models, spec_for
from prefrontal.providers.base import Found
from prefrontal.providers.facts import Arch, ModelFact
from prefrontal.providers.memory import OVERHEAD_MAX_BYTES, OVERHEAD_MIN_BYTES, OVERHEAD_SHARE, cache_bytes

CACHE_SHARE = 0.25
"""Attention cache as a share of the weights where the file does not say its shape. Assumed."""
MEMORY_SHARE = 0.5
"""One engine may take this share of the machine's memory by itself choosing a longer context. Assumed."""
MAX_OWN_CONTEXT_TOKENS = 32_768
"""Longest context taken unasked. Assumed: few requests need more, and the cache of every slot is paid for at the start."""
MIN_CONTEXT_TOKENS = 2048
"""Shortest context taken for want of memory. Assumed: below it common prompts do not fit."""
ALL_LAYERS = 999
"""Layers on the accelerator when all are asked for. Assumed: more than any model has."""


class FileModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the folder: its card, and how its engine is started."""

    card: ModelCard
    spec: EngineSpec


class FileProblem(msgspec.Struct, frozen=True, kw_only=True):
    """A file that cannot be used, and why, in one sentence."""

    path: str
    message: str


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What a models folder holds."""

    models: tuple[FileModel, ...] = ()
    problems: tuple[FileProblem, ...] = ()

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """The cards, ordered by id."""
        return tuple(model.card for model in self.models)


def scan_files(folder: Path, engine: Engine, sources: Sources, *, memory_bytes: int | None = None) -> Scan:
    """Return the models in `folder`, ready to be served with the settings `engine`. Blocks on the disk.

    memory_bytes: of the machine; None: not known, then a context of 8,192 tokens is taken at most unless a setting says more.
    """
    problems: list[FileProblem] = []
    models = []
    for spec in scan_models(
        folder.absolute(), lambda path, error: problems.append(FileProblem(path=str(path), message=error.message))
    ):
        try:
            header = read_header(spec.path)
        except ConfigError as error:  # it changed between two looks
            problems.append(FileProblem(path=spec.path, message=error.message))
            continue
        models.append(_file_model(spec, header, engine, sources, memory_bytes))
    return Scan(models=tuple(models), problems=tuple(problems))


def _file_model(spec: EngineSpec, header: ModelHeader, engine: Engine, sources: Sources, memory_bytes: int | None) -> FileModel:
    fact = sources.facts.match(spec.model_id, LOCAL_PROFILE)
    found = found_in_header(spec.model_id, header, engine, fact, memory_bytes=memory_bytes)
    entry = ModelEntry(profile=LOCAL_PROFILE, path=spec.path, memory=found.size_bytes, concurrency=engine.slots)
    card = without_chat(build_card(spec.model_id, entry, sources, found=found, origin="discovered"))
    return FileModel(card=card, spec=spec_of(card, engine, base=spec))


def found_in_files(
    models: Mapping[str, ModelEntry], engine: Engine, sources: Sources, *, memory_bytes: int | None = None
) -> dict[str, Found]:
    """Return what the files of the registry's `path` entries say, by name: `build_registry` takes it as `probed`.

    Blocks on the disk. A file that cannot be read is left out: its engine will say what is wrong with it.
    """
    told: dict[str, Found] = {}
    for name, entry in models.items():
        if entry.path is None:
            continue
        try:
            header = read_header(gguf_path(entry.path, sources.models_dir))
        except ConfigError:
            continue
        fact = sources.facts.match(entry.facts or entry.model or entry.path, LOCAL_PROFILE)
        slots = entry.slots or engine.slots
        asked = entry.context_tokens or engine.context_tokens
        settings = msgspec.structs.replace(engine, slots=slots, context_tokens=asked)
        told[name] = found_in_header(name, header, settings, fact, memory_bytes=memory_bytes)
    return told


def found_in_header(
    name: str, header: ModelHeader, engine: Engine, fact: ModelFact | None, *, memory_bytes: int | None = None
) -> Found:
    """Return what a header tells: the context it will be loaded with, what it can do, and as `size_bytes` its memory. Pure."""
    arch = (fact.arch if fact else None) or arch_of(header)
    context = context_for(header, arch, engine.context_tokens, slots=engine.slots, memory_bytes=memory_bytes)
    said: dict[str, bool] = {"embedding": header.is_embedding, "chat": not header.is_embedding}
    said.update(vision=False, audio=False)  # these need a projector, a file of its own, which no engine is started with
    template = header.chat_template or ""
    if "tools" in template:
        said["tools"] = True
    if "enable_thinking" in template:
        said["thinking"] = True
    return Found(
        id=name,
        context_tokens=context,
        capabilities={word: Capability(value=value, origin="engine") for word, value in said.items()},
        size_bytes=memory_of(header, arch, context, engine.slots),
        loaded=False,
    )


def context_for(header: ModelHeader, arch: Arch | None, asked: int | None, *, slots: int, memory_bytes: int | None) -> int:
    """Return the context to load with, tokens: what is asked for, else what fits the memory; never more than the model's own.

    Without a number asked for: the longest of own, 32,768, 16,384 … 2,048 whose weights and cache take at most half of the
    memory. When the memory or the shape of the cache is not known: 8,192.
    """
    own = header.context_tokens or DEFAULT_CONTEXT_TOKENS
    if asked is not None:
        return min(asked, own) if header.context_tokens else asked
    if memory_bytes is None or arch is None:
        return max(1, min(own, DEFAULT_CONTEXT_TOKENS))
    offer = min(own, MAX_OWN_CONTEXT_TOKENS)
    while offer > MIN_CONTEXT_TOKENS and memory_of(header, arch, offer, slots) > memory_bytes * MEMORY_SHARE:
        offer = max(MIN_CONTEXT_TOKENS, offer // 2)
    return max(1, offer)


def memory_of(header: ModelHeader, arch: Arch | None, context_tokens: int, slots: int) -> int:
    """Return the bytes a loaded model takes: the file, the cache of every slot, and working space."""
    weights = header.file_bytes
    cache = int(weights * CACHE_SHARE) if arch is None else cache_bytes(arch, context_tokens) * slots
    overhead = min(OVERHEAD_MAX_BYTES, max(OVERHEAD_MIN_BYTES, int((weights + cache) * OVERHEAD_SHARE)))
    return weights + cache + overhead


def arch_of(header: ModelHeader) -> Arch | None:
    """Return the shape of the attention cache as the header has it; None when it does not say.

    Windows and latent attention are not read: for such models this is more than they take.
    """
    if not header.layers or not header.kv_heads or not header.head_dim:
        return None
    return Arch(layers=header.layers, kv_heads=header.kv_heads, head_dim=header.head_dim)


def specs_of(
    cards: Iterable[ModelCard],
    entries: Mapping[str, ModelEntry],
    engine: Engine,
    *,
    known: Iterable[FileModel] = (),
    connections: int = 0,
) -> tuple[list[EngineSpec], list[FileProblem]]:
    """Return the settings of every card with a local file, by the id it goes by in the registry, and the files that are broken.

    entries: the registry's `models`. known: files whose header was read already. connections: how many the gateway keeps open
    to one engine. Blocks on the disk for files that are not in `known`.
    """
    bases = {model.spec.path: model.spec for model in known}
    specs, problems = [], []
    for card in cards:
        if card.local_path is None:
            continue
        try:
            base = bases.get(card.local_path) or spec_for(card.local_path)
            specs.append(spec_of(card, engine, entry=entries.get(card.id), base=base, connections=connections))
        except ConfigError as error:
            problems.append(FileProblem(path=card.local_path, message=error.message))
    return specs, problems


def spec_of(
    card: ModelCard, engine: Engine, *, base: EngineSpec, entry: ModelEntry | None = None, connections: int = 0
) -> EngineSpec:
    """Return how the engine of `card` is started: `base` as `spec_for` read it, then `engine`, then the model's own entry. Pure.

    The model id is the card's, by which requests lease the engine. `idle_s` 0 means never, as does `pinned`.
    """
    own = entry or ModelEntry()
    slots = own.slots or engine.slots
    idle_s = engine.idle_s if own.idle_s is None else own.idle_s
    return msgspec.structs.replace(
        base,
        model_id=card.id,
        context_tokens=own.context_tokens or card.context_tokens or engine.context_tokens or base.context_tokens,
        slots=slots,
        threads=engine.threads or 0,
        http_threads=engine.http_threads or max(DEFAULT_HTTP_THREADS, connections + 1, slots + 1),
        gpu_layers=ALL_LAYERS if own.gpu_layers == -1 else own.gpu_layers,
        pinned=own.pinned,
        idle_s=None if own.pinned or idle_s == 0 else idle_s,
    )
