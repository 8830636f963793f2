"""What is generated from the tree is current, the examples are valid, and every setting is read by somebody."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml

from prefrontal.cli.pull import parse_wanted
from prefrontal.config.cards import Sources
from prefrontal.config.check import Known
from prefrontal.config.load import Loaded, load_text
from prefrontal.config.reference import inserted, json_schema, leaves, shipped_schema
from prefrontal.config.registry import build_registry
from prefrontal.config.schema import BUILTIN_POLICIES, Config, builtin_channels
from prefrontal.config.sizes import parse_size
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.effort.dialects import load_dialects
from prefrontal.providers.facts import load_facts
from prefrontal.providers.memory import BITS_PER_WEIGHT, memory_bytes

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
REGENERATE = "run: python -m prefrontal.config.reference docs/configuration.md src/prefrontal/config/schema.json"
PROFILES, FACTS, DIALECTS = load_profiles(), load_facts(), load_dialects()
KNOWN = Known(profiles=PROFILES, policies=BUILTIN_POLICIES, dialects=tuple(DIALECTS.dialects), facts=FACTS.ids)
VALIDATOR = jsonschema_rs.validator_for(json.loads(shipped_schema()))


def load_example(file: Path, home: Path) -> Loaded:
    """Load an example on a machine that has its files and no keys."""
    folder = home / "models"
    folder.mkdir(parents=True, exist_ok=True)
    for entry in yaml.safe_load(file.read_text())["models"].values():
        if "path" in entry:
            (folder / entry["path"]).touch()
    return load_text(file.read_text(), env={"PREFRONTAL_HOME": str(home)}, known=KNOWN, file=file)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_commands_of_an_example_fetch_its_files(file: Path, tmp_path: Path) -> None:
    """Each `models pull` line is one the command takes, together they fetch every file, and before that the example loads."""
    pulled = re.findall(r"^#   prefrontal models pull (.+)$", file.read_text(), re.MULTILINE)
    named = {parse_wanted(line).which for line in pulled}
    loaded = load_text(file.read_text(), env={"PREFRONTAL_HOME": str(tmp_path)}, known=KNOWN, file=file)
    assert named == {entry.path for entry in loaded.config.models.values() if entry.path and entry.enabled}


def test_the_shipped_schema_is_current() -> None:
    """schema.json is what the tree generates."""
    assert shipped_schema() == json_schema(), REGENERATE


def test_the_documented_reference_is_current() -> None:
    """The reference in docs/configuration.md is what the tree generates."""
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert page == inserted(page), REGENERATE


def test_every_setting_says_what_it_means() -> None:
    """Each leaf has a description that ends like a sentence."""
    silent = [path for path, struct, name in leaves() if not (_description(struct, name) or "").endswith(".")]
    assert silent == []


def test_every_number_by_default_names_its_origin() -> None:
    """A default that is a measured, specified or assumed number says which; 0, 1 and plain factors explain themselves."""
    unexplained = []
    for path, struct, name in leaves():
        default = next(field.default for field in msgspec.structs.fields(struct) if field.name == name)
        if isinstance(default, int | float) and not isinstance(default, bool) and default not in (0, 1):
            text = _description(struct, name)
            if not re.search(r"[Mm]easured|[Ss]pecified|[Aa]ssumed", text):
                unexplained.append(path)
    assert unexplained == ["server.port"]  # the product's own number


def _description(struct: type[msgspec.Struct], name: str) -> str:
    hints = __import__("typing").get_type_hints(struct, include_extras=True)
    return next((meta.description for meta in getattr(hints[name], "__metadata__", ()) if meta.description), "")


def test_the_schema_refuses_what_the_loader_refuses() -> None:
    """An editor with the schema sees unknown keys and ranges too."""
    assert VALIDATOR.is_valid({"server": {"port": 5000}, "models": {"m": {"profile": "openai"}}})
    wrong: list[dict[str, Any]] = [{"servr": {}}, {"server": {"port": 70000}}, {"models": {"m": {"price": {"input_usd": -1}}}}]
    assert [VALIDATOR.is_valid(tree) for tree in wrong] == [False, False, False]


@pytest.mark.parametrize("file", EXAMPLES, ids=[file.stem for file in EXAMPLES])
def test_examples_are_valid_and_load_without_a_warning(file: Path, tmp_path: Path) -> None:
    """Each example satisfies the shipped schema, the loader and the registry with the shipped profiles and facts."""
    VALIDATOR.validate(yaml.safe_load(file.read_text()))
    loaded = load_example(file, tmp_path)
    assert loaded.warnings == ()
    sources = Sources(profiles=PROFILES, facts=FACTS, dialects=DIALECTS, models_dir=tmp_path / "models")
    assert set(build_registry(loaded.config, sources).cards) == set(loaded.config.models)


@pytest.mark.parametrize("file", EXAMPLES, ids=[file.stem for file in EXAMPLES])
def test_models_in_examples_are_known_to_the_facts(file: Path, tmp_path: Path) -> None:
    """No example relies on a model nobody knows anything about."""
    config = load_example(file, tmp_path).config
    unknown = [
        name
        for name, entry in config.models.items()
        if FACTS.match(entry.model or entry.path or name, entry.profile or "llamacpp") is None
    ]
    assert unknown == []


@pytest.mark.parametrize(("name", "room_gib"), [("cpu-laptop", 12), ("one-gpu", 24), ("mac-128gb", 96)])
def test_local_examples_fit_their_machine(name: str, room_gib: float, tmp_path: Path) -> None:
    """The stated memory is what the formula gives, and what is loaded at once fits into the machine."""
    config = load_example(ROOT / "examples" / f"{name}.yaml", tmp_path).config
    total = 0
    for model, entry in config.models.items():
        if entry.path is None or entry.memory is None or entry.context_tokens is None:
            continue
        fact = FACTS.match(entry.path, "llamacpp")
        assert fact is not None
        assert fact.context_tokens is not None
        assert entry.context_tokens <= fact.context_tokens
        needed = memory_bytes(fact, bits_per_weight=BITS_PER_WEIGHT["q4_k_m"], context_tokens=entry.context_tokens)
        assert needed == pytest.approx(parse_size(entry.memory), rel=0.02), model
        if entry.enabled and not (name == "one-gpu" and entry.gpu_layers == 0):
            total += parse_size(entry.memory)
    assert 0 < total <= room_gib * 2**30


def test_the_hosted_example_serves_with_any_one_key(tmp_path: Path) -> None:
    """A newcomer with one key has working models; the others say which variable they miss."""
    config = load_example(ROOT / "examples" / "hosted-only.yaml", tmp_path).config
    for variable in ("MOONSHOT_API_KEY", "DEEPSEEK_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        registry = build_registry(config, Sources(profiles=PROFILES, facts=FACTS, dialects=DIALECTS, env={variable: "k-123456"}))
        assert registry.enabled
        assert len(registry.enabled) + len(registry.notes) == len(config.models)
        assert all(card.price.input_usd and card.context_tokens and card.effort_dialect for card in registry.enabled)


WAITING = {
    "engine.auto_start",
    "engine.restart.quick_s",
    "logging.level",
    "logging.format",
}
"""Settings whose reader is still to be written. To become empty: a setting without a reader is a promise that is not kept."""


def test_every_setting_is_read_by_some_code() -> None:
    """Each leaf is read in a module that knows its struct or its parent; one without a reader fails here."""
    modules = list(_modules())
    unread = set()
    for path, struct, name in leaves():
        parents = [part.removesuffix("[]") for part in path.split(".")[:-1] if part != "NAME"]
        near = {parents[-1], parents[-1].removesuffix("s")} if parents else set()  # `channels`, and the `channel` taken from it
        if path != "version" and not any(
            name in attrs and (struct.__name__ in names or near & attrs) for attrs, names in modules
        ):
            unread.add(path)
    assert unread <= WAITING


def _modules() -> Iterator[tuple[set[str], set[str]]]:
    """Yield the attributes each module loads (or may pass to getattr), and the names it knows, without schema and checks."""
    for file in (ROOT / "src" / "prefrontal").rglob("*.py"):
        if file.parent.name == "config" and file.name.startswith(("schema", "reference", "import_litellm", "check")):
            continue
        nodes = list(ast.walk(ast.parse(file.read_text())))
        attrs = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
        attrs |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        names |= {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
        yield attrs, names


def test_the_builtin_channels_are_complete() -> None:
    """The default tree has the three channels people are promised."""
    assert list(Config().routing.channels) == ["chat", "code", "system_health"] == list(builtin_channels())
