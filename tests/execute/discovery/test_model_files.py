"""GGUF files as models: cards, engine settings, memory."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from prefrontal.config.cards import build_card
from prefrontal.config.schema import Engine, ModelEntry
from prefrontal.execute.discovery.files import (
    ALL_LAYERS,
    arch_of,
    context_for,
    found_in_files,
    memory_of,
    scan_files,
    spec_of,
    specs_of,
)
from prefrontal.execute.engine.header import ModelHeader, read_header
from prefrontal.execute.engine.spec import spec_for
from prefrontal.providers.facts import Arch
from prefrontal.providers.memory import GIB
from prefrontal.testing.gguf import build_embedding, build_rules

HEADER = ModelHeader(
    architecture="llama",
    name=None,
    context_tokens=131_072,
    embedding_length=4096,
    parameter_count=8_030_000_000,
    file_bytes=5 * GIB,
    chat_template=None,
    pooling_type=None,
    file_type=15,
    layers=32,
    kv_heads=8,
    head_dim=128,
)
LLAMA_8B = Arch(layers=32, kv_heads=8, head_dim=128)


@pytest.fixture
def folder(sources) -> Path:
    """A models folder with a chat model, an embedding model, a broken file and one that is no model."""
    found = sources.models_dir
    found.mkdir()
    build_rules(found / "rules.gguf", {"login": "C"}, default="A", context_length=4096)
    build_embedding(found / "vectors.gguf", dimensions=32)
    (found / "broken.gguf").write_bytes(b"GGUF and then nothing")
    (found / "notes.txt").write_text("no model")
    return found


def test_the_folders_models_become_cards_of_the_built_in_engine(folder, sources):
    """Name, file, context and kind come from the file; the broken one is named and hurts nobody."""
    scan = scan_files(folder, Engine(), sources)
    chat, vectors = scan.cards
    assert (chat.id, chat.local_path, chat.base_url, chat.profile) == ("rules", str(folder / "rules.gguf"), None, "llamacpp")
    assert (chat.self_hosted, chat.price.input_usd, chat.origin, chat.context_tokens) == (True, 0.0, "discovered", 4096)
    assert (chat.can("chat"), chat.can("embedding")) == (True, False)
    assert (vectors.id, vectors.can("chat"), vectors.can("embedding")) == ("vectors", False, True)
    assert [(Path(problem.path).name, problem.message) for problem in scan.problems] == [
        ("broken.gguf", scan.problems[0].message)
    ]
    assert "not a usable GGUF" in scan.problems[0].message


def test_a_relative_folder_gives_absolute_paths(folder, sources, monkeypatch):
    """The engine is a child with a working directory of its own."""
    monkeypatch.chdir(folder.parent)
    relative = msgspec.structs.replace(sources, models_dir=Path(folder.name))
    scan = scan_files(Path(folder.name), Engine(), relative)
    assert {model.card.local_path for model in scan.models} == {str(folder / "rules.gguf"), str(folder / "vectors.gguf")}
    assert all(model.card.local_path == model.spec.path for model in scan.models)


def test_a_file_is_known_by_its_name(sources):
    """A quantised file is the model it is named after: licence, strengths, thinking, and the dialect of llama.cpp."""
    sources.models_dir.mkdir()
    build_rules(sources.models_dir / "Qwen3-4B-Q4_K_M.gguf", {"login": "C"}, default="A")
    (card,) = scan_files(sources.models_dir, Engine(), sources).cards
    assert (card.id, card.licence, card.effort_dialect) == ("Qwen3-4B-Q4_K_M", "Apache-2.0", "llamacpp")


def test_the_engines_settings_reach_card_and_spec(folder, sources):
    """Slots bound the model's concurrency, the context is what is loaded, threads and idle time are the engine's."""
    engine = Engine(slots=2, context_tokens=1024, threads=3, http_threads=99, idle_s=60.0)
    chat = scan_files(folder, engine, sources).models[0]
    assert (chat.card.max_concurrency, chat.card.context_tokens) == (2, 1024)
    assert (chat.spec.slots, chat.spec.context_tokens, chat.spec.threads) == (2, 1024, 3)
    assert (chat.spec.http_threads, chat.spec.idle_s) == (99, 60.0)
    never = scan_files(folder, msgspec.structs.replace(engine, idle_s=0.0, context_tokens=999_999), sources).models[0]
    assert (never.spec.idle_s, never.card.context_tokens) == (None, 4096)


def test_an_entrys_own_settings_win_over_the_engines(folder):
    """What the registry says of one model is the last word; -1 layers are all, pinned is never idle."""
    base = spec_for(folder / "rules.gguf")
    entry = ModelEntry(path="rules.gguf", slots=7, context_tokens=512, gpu_layers=-1, idle_s=5.0)
    card = _card_of(folder, "mine", context=4096)
    spec = spec_of(card, Engine(slots=2, threads=3), entry=entry, base=base, connections=200)
    assert (spec.model_id, spec.slots, spec.context_tokens, spec.gpu_layers, spec.idle_s) == ("mine", 7, 512, ALL_LAYERS, 5.0)
    assert spec.http_threads == 201
    pinned = spec_of(card, Engine(), entry=ModelEntry(path="rules.gguf", pinned=True, gpu_layers=0), base=base)
    assert (pinned.pinned, pinned.idle_s, pinned.gpu_layers, pinned.context_tokens) == (True, None, 0, 4096)


def test_every_local_card_of_a_registry_gets_its_engine_by_the_name_requests_use(folder, sources):
    """Renamed cards lease by their new name, embedding models keep their mode, a missing file is reported."""
    scan = scan_files(folder, Engine(), sources)
    renamed = msgspec.structs.replace(scan.models[0].card, id="llamacpp/rules")
    gone = _card_of(folder, "gone", file="gone.gguf")
    hosted = msgspec.structs.replace(renamed, id="far", local_path=None, base_url="https://x.example")
    configured = _card_of(folder, "embedder", file="vectors.gguf")
    specs, problems = specs_of([renamed, gone, hosted, configured], {}, Engine(), known=scan.models)
    assert [(spec.model_id, spec.embedding) for spec in specs] == [("llamacpp/rules", False), ("embedder", True)]
    assert [problem.path for problem in problems] == [gone.local_path]


def test_configured_files_tell_what_they_are(folder, sources):
    """The registry's `path` entries get context and kind from their headers, by their own settings; others are left alone."""
    models = {
        "mine": ModelEntry(path="rules.gguf", context_tokens=600),
        "vec": ModelEntry(path=str(folder / "vectors.gguf")),
        "gone": ModelEntry(path="gone.gguf"),
        "far": ModelEntry(profile="openai"),
    }
    told = found_in_files(models, Engine(slots=1), sources)
    assert set(told) == {"mine", "vec"}
    assert (told["mine"].context_tokens, told["mine"].capabilities["chat"].value) == (600, True)
    assert told["vec"].capabilities["embedding"].value is True


def test_a_file_neither_sees_nor_hears(folder, sources):
    """The engine is started without a projector, so it says no to both; the registry's own word goes above that."""
    told = found_in_files({"mine": ModelEntry(path="rules.gguf")}, Engine(), sources)["mine"]
    assert [told.capabilities[name].value for name in ("vision", "audio")] == [False, False]
    assert build_card("mine", ModelEntry(path="rules.gguf"), sources, found=told).can("vision") is False
    vouched = ModelEntry(path="rules.gguf", capabilities={"vision": True})
    assert build_card("mine", vouched, sources, found=told).can("vision") is True


def test_memory_is_file_and_cache_of_every_slot_and_some_room(folder):
    """For an 8B model at 8,192 tokens the cache is 1 GiB a slot; without a shape it is a share of the file."""
    one = memory_of(HEADER, LLAMA_8B, 8192, 1)
    four = memory_of(HEADER, LLAMA_8B, 8192, 4)
    assert 6.4 * GIB < one < 6.7 * GIB
    assert four - one >= 3 * GIB
    assert memory_of(HEADER, None, 8192, 1) == memory_of(HEADER, None, 8192, 4) < one + GIB


def test_the_shape_of_the_cache_comes_from_the_header(folder):
    """Layers and heads as llama.cpp has them; a header without them gives none."""
    assert arch_of(HEADER) == LLAMA_8B
    assert arch_of(msgspec.structs.replace(HEADER, kv_heads=None)) is None
    built = arch_of(read_header(folder / "rules.gguf"))
    assert built is not None
    assert built.layers > 0
    assert built.head_dim > 0


@pytest.mark.parametrize(
    ("asked", "memory_gib", "slots", "expected"),
    [
        (None, None, 4, 8192),
        (None, 64, 1, 32_768),
        (None, 64, 4, 32_768),
        (None, 32, 4, 16_384),
        (None, 16, 4, 4096),
        (None, 8, 4, 2048),
        (65_536, 8, 4, 65_536),
        (999_999, None, 1, 131_072),
    ],
)
def test_the_context_taken_is_what_is_asked_or_what_memory_allows(asked, memory_gib, slots, expected):
    """More memory gives more context, more slots less, never more than the model's own; a setting is obeyed."""
    memory = None if memory_gib is None else memory_gib * GIB
    assert context_for(HEADER, LLAMA_8B, asked, slots=slots, memory_bytes=memory) == expected


def test_a_missing_folder_holds_no_models(sources):
    """A fresh home is no error."""
    scan = scan_files(sources.models_dir, Engine(), sources)
    assert (scan.models, scan.problems) == ((), ())


def _card_of(folder: Path, name: str, *, file: str = "rules.gguf", context: int | None = None):
    from prefrontal.contracts.model import ModelCard

    return ModelCard(
        id=name, wire_name=name, profile="llamacpp", local_path=str(folder / file), context_tokens=context, self_hosted=True
    )
