"""Rules for the code that the linter does not know: where errors may be caught broadly, and that nothing global changes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "prefrontal"

BROAD = {
    "app/knowledge_jobs.py": (1, "an ingest's edge: it ends with a word in its state, whatever happened to it"),
    "app/sink.py": (1, "whoever counts an answer must not take it from its caller"),
    "app/telemetry/worker.py": (1, "the telemetry thread's edge: whatever a collector does, the next requests are sent"),
    "cli/edge.py": (1, "the command line's edge: a bug becomes a message"),
    "cli/hub.py": (1, "the hub's client lets through the errors of its HTTP library, which change with its version"),
    "config/reload.py": (2, "a listener must not stop the others; whatever is wrong with a new tree, the last good one stays"),
    "config/watch.py": (1, "a task that must outlive one failed reload"),
    "execute/discovery/visit.py": (2, "a plug-in provider may fail in any way while it reads a server's answer"),
    "execute/discovery/watch.py": (2, "a task that must outlive one failed round, and foreign callbacks"),
    "execute/guarded.py": (2, "a plug-in provider may fail in any way while it translates"),
    "knowledge/dense/pieces.py": (1, "the tokenizers library raises plain Exceptions for files it cannot read"),
    "knowledge/read/readers.py": (1, "readers of other packages may fail to load in any way"),
    "knowledge/read/reading.py": (1, "readers of other packages, and libraries for foreign formats, may fail in any way"),
    "ledger/writer.py": (1, "the writing thread's edge: whatever happens, the records stay and are tried again"),
    "plan/plugins.py": (1, "loading an entry point runs foreign code"),
    "plan/ranking.py": (1, "a plug-in policy may fail in any way; a shipped one stands in"),
    "providers/registry.py": (1, "loading an entry point runs foreign code"),
    "decisions/rules.py": (2, "a rule is somebody else's code; equal probabilities answer in its place, with a finding"),
    "reflex/tools.py": (4, "a plug-in tool may fail in any way; a model answers instead"),
    "serve/chat.py": (1, "a bug inside a stream must still end it as the dialect says"),
    "serve/site.py": (1, "the HTTP edge: a bug becomes an error without its insides"),
    "validate/judge.py": (1, "a plug-in validator may fail in any way; the answer is not failed for it"),
    "validate/plugins.py": (1, "loading an entry point runs foreign code"),
    "testing/http_server.py": (1, "the mock's edge: a bug in a test's handler must not hang its client"),
    "testing/provider_contract.py": (1, "the suite reports whatever a provider under test raises"),
    "testing/scripted.py": (1, "a wrong script of a test is told to the reader instead of hanging it"),
}
"""File → (handlers, why). A handler that ends by raising again is not counted. The list may only shrink."""

CACHED = {
    "decisions/lenses/cues.py": "the words of the package, which do not change while the process runs",
    "decisions/wording.py": "the texts of the package, which do not change while the process runs",
    "config/decode.py": "the fields of a struct, which do not change while the process runs",
    "prompts/__init__.py": "the texts of the package, which do not change while the process runs",
    "knowledge/read/readers.py": "the readers of the installed packages, which do not change while the process runs",
    "knowledge/ingest/run.py": "the encoder of a worker process, which serves one ingest and ends with it",
}
"""Files that keep results of pure functions for the life of the process, and of what."""

MUTATORS = frozenset(
    ("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update")
)
MUTABLE_CALLS = frozenset(("dict", "list", "set", "defaultdict", "deque", "OrderedDict", "Counter", "WeakKeyDictionary"))
MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


def trees() -> Iterator[tuple[str, ast.Module]]:
    """Yield the path below the package and the syntax tree of each source file."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text())


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Return whether a handler takes everything and keeps it."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    named = {node.id for node in caught if isinstance(node, ast.Name)}
    last = handler.body[-1]
    raises_again = isinstance(last, ast.Raise) and last.exc is None
    return (handler.type is None or bool(named & {"Exception", "BaseException"})) and not raises_again


def test_everything_is_caught_at_listed_edges_only() -> None:
    """`except Exception` without raising again stands where foreign code or a process's edge is."""
    found: dict[str, int] = {}
    for name, tree in trees():
        count = sum(isinstance(node, ast.ExceptHandler) and is_broad(node) for node in ast.walk(tree))
        if count:
            found[name] = count
    assert {name: count for name, count in found.items() if count > BROAD.get(name, (0, ""))[0]} == {}
    assert set(BROAD) <= set(found), "take files out of the list that catch nothing broadly any more"


def module_mutables(tree: ast.Module) -> dict[str, ast.expr]:
    """Return the names that a module binds to something that can change."""
    found = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        value = getattr(node, "value", None)
        called = value.func if isinstance(value, ast.Call) else None
        name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
        if isinstance(value, MUTABLE) or name in MUTABLE_CALLS:
            found.update({target.id: value for target in targets if isinstance(target, ast.Name)})
    return found


def changes_of(tree: ast.Module, names: set[str]) -> Iterator[str]:
    """Yield each place inside a function that changes one of the module's names."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        own = {argument.arg for argument in ast.walk(function) if isinstance(argument, ast.arg)}
        own |= {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        outer = names - own
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                yield f"line {node.lineno}: global {', '.join(node.names)}"
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
                if name_of(node.func.value) in outer:
                    yield f"line {node.lineno}: {name_of(node.func.value)}.{node.func.attr}"
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del) and name_of(node.value) in outer:
                yield f"line {node.lineno}: {name_of(node.value)}[…]"


def name_of(node: ast.expr) -> str | None:
    """Return the name an expression is, if it is just a name."""
    return node.id if isinstance(node, ast.Name) else None


def test_module_level_tables_are_constants() -> None:
    """What a module binds to a list, dict or set is named like a constant."""
    found = [
        f"{name}: {bound}"
        for name, tree in trees()
        for bound in module_mutables(tree)
        if bound != bound.upper() and bound != "__all__"
    ]
    assert found == []


def test_no_function_changes_its_module() -> None:
    """No function changes a name of its module: state lives in objects that somebody owns."""
    found = [f"{name} {change}" for name, tree in trees() for change in changes_of(tree, set(module_mutables(tree)))]
    assert found == []


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("X = []\ndef f():\n    X.append(1)", True),
        ("X = {}\ndef f():\n    X['a'] = 1", True),
        ("X = 1\ndef f():\n    global X\n    X = 2", True),
        ("X = []\ndef f(X):\n    X.append(1)", False),
        ("X = []\ndef f():\n    return X", False),
    ],
)
def test_the_rule_sees_what_it_should(code: str, changed: bool) -> None:
    """A change of a module's name is found, a change of a parameter of that name is not."""
    tree = ast.parse(code)
    assert bool(list(changes_of(tree, set(module_mutables(tree))))) == changed


def test_results_are_kept_for_the_life_of_the_process_in_listed_places_only() -> None:
    """A cache on a function is state of the module, so it stands in a list with what it keeps."""
    found = set()
    for name, tree in trees():
        for node in ast.walk(tree):
            for decorator in getattr(node, "decorator_list", []):
                if re.match(r"(functools\.)?(lru_cache|cache)\b", ast.unparse(decorator)):
                    found.add(name)
    assert found == set(CACHED)


def test_no_work_is_left_for_later_in_the_code() -> None:
    """No source file promises something for later."""
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")
    assert [name for name, _ in trees() if marks.search((SOURCE / name).read_text())] == []
