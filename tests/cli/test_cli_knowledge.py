"""`prefrontal knowledge`: from a folder to an answer with its place, and back to files."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own."""
    monkeypatch.setenv("PREFRONTAL_HOME", str(folder / "home"))
    return folder / "home"


@pytest.fixture
def docs(folder: Path) -> Path:
    """A folder with prose, code, a page and a picture."""
    docs = folder / "docs"
    (docs / "src").mkdir(parents=True)
    (docs / "pumps.md").write_text("# Pumps\n\nGrease the seal of the pump each spring.\n\n# Valves\n\nClose the valve slowly.\n")
    (docs / "src" / "ice.py").write_text("def glacier(depth):\n    return depth * 2\n")
    (docs / "page.html").write_text("<h1>Turbines</h1>\n<p>Blades wear out.</p>")
    (docs / "picture.png").write_bytes(b"\x89PNG\x00\x00")
    for path in docs.rglob("*.*"):
        os.utime(path, (1e9, 1e9))  # files changed just now are read again
    return docs


@pytest.fixture
def demo(run: Run, home: Path, docs: Path) -> Path:
    """The engram `demo` of that folder."""
    assert run("knowledge", "ingest", "docs", "-e", "demo").exit_code == 0
    return home / "engrams" / "demo.engram"


def test_ingest_says_what_it_did(run: Run, home: Path, docs: Path) -> None:
    """Files, passages and rate go to stdout; what was left out to stderr; a second run changes nothing."""
    result = run("knowledge", "ingest", "docs", "-e", "demo")
    assert result.stdout.startswith("demo: version 1, 4 files added, 0 changed, 0 removed, 0 unchanged\n")
    assert "passages/s" in result.stdout
    assert result.stderr == "left out: 1 binary\n"
    again = json.loads(run("knowledge", "ingest", "docs", "-e", "demo", "--json").stdout)
    assert (again["version"], again["added"], again["unchanged"]) == (1, 0, 3)
    assert [(one["path"], one["reason"]) for one in again["skipped"]] == [("picture.png", "binary")]


def test_search_shows_place_passage_and_reason(run: Run, demo: Path) -> None:
    """A result is path, lines, what it is called, the text, and the words that matched."""
    lines = run("knowledge", "search", "demo", "grease the seal", "-k", "1").stdout.splitlines()
    assert lines[0].startswith("1. pumps.md:1-4  Pumps  (")
    assert "   Grease the seal of the pump each spring." in lines
    assert lines[-1] == "   matched: greas, seal"
    assert run("knowledge", "search", "demo", "zzzz").stderr.startswith("Nothing was found")


def test_search_as_json_has_citations(run: Run, demo: Path) -> None:
    """--json has everything, with the bytes that were found."""
    found = json.loads(run("knowledge", "search", "demo", "blades", "--json").stdout)
    (result,) = found["results"]
    assert (found["engram"], found["version"]) == ("demo", 1)
    assert (result["path"], result["lines"], result["type"]) == ("page.html", [1, 2], "html")
    assert result["citation"]["file"] == "page.html!/text"
    assert result["matches"][0]["term"] == "blade"


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        ([], {"pumps.md", "src/ice.py"}),
        (["--glob", "*.py"], {"src/ice.py"}),
        (["--scope", "src"], {"src/ice.py"}),
        (["--type", "markdown"], {"pumps.md"}),
        (["--symbol", "glac*"], {"src/ice.py"}),
        (["--tag", "none"], set()),
    ],
)
def test_filters_narrow_the_search(options: list[str], paths: set[str], run: Run, demo: Path) -> None:
    """Each filter leaves what it names."""
    found = json.loads(run("knowledge", "search", "demo", "glacier valve", *options, "--json").stdout)
    assert {one["path"] for one in found["results"]} == paths


def test_update_takes_in_what_changed(run: Run, demo: Path, docs: Path) -> None:
    """A changed file, a new one and a lost one make one version, and gc lets the old one go."""
    (docs / "pumps.md").write_text("# Pumps\n\nOil the bearing.\n")
    (docs / "new.txt").write_text("fresh")
    (docs / "page.html").unlink()
    assert run("knowledge", "update", "demo").stdout.startswith("demo: version 2, 1 files added, 1 changed, 2 removed")
    assert "pumps.md" in run("knowledge", "search", "demo", "bearing").stdout
    assert [line.split()[0] for line in run("knowledge", "history", "demo").stdout.splitlines()] == ["2", "1"]
    assert [one["number"] for one in json.loads(run("knowledge", "history", "demo", "--json").stdout)] == [2, 1]
    changes = json.loads(run("knowledge", "diff", "demo", "1", "2", "--json").stdout)
    expected = [("new.txt", "added"), ("page.html", "removed"), ("page.html!/text", "removed"), ("pumps.md", "changed")]
    assert [(one["path"], one["change"]) for one in changes["files"]] == expected
    assert 0 < changes["distance"] < 1
    assert "changed  pumps.md" in run("knowledge", "diff", "demo", "1", "2").stdout
    assert run("knowledge", "diff", "demo", "1", "9").exit_code == 1
    assert "versions from 2 remain" in run("knowledge", "gc", "demo").stdout
    assert json.loads(run("knowledge", "gc", "demo", "--json").stdout)["files"] == 0


def test_extract_gives_the_files_back(run: Run, demo: Path, docs: Path, folder: Path) -> None:
    """Bit for bit; what stands in the way is refused, listed, and exit status 1."""
    assert run("knowledge", "extract", "demo", "-o", "out").stdout.startswith("3 files, ")
    for name in ("pumps.md", "src/ice.py", "page.html"):
        assert (folder / "out" / name).read_bytes() == (docs / name).read_bytes()
    again = run("knowledge", "extract", "demo", "-o", "out", "-g", "*.md")
    assert (again.exit_code, again.stderr) == (1, "refused pumps.md: a file of that name is there\n")
    assert run("knowledge", "extract", "demo", "-o", "out", "-g", "*.md", "--replace").exit_code == 0
    inside = json.loads(run("knowledge", "extract", "demo", "-o", "more", "--inside", "--json").stdout)
    assert "page.html!/text" in inside["paths"]


def test_looking_at_an_engram(run: Run, demo: Path, folder: Path) -> None:
    """list, stats, tree, manifest and verify agree on what is there."""
    assert run("knowledge", "list").stdout.splitlines()[1].split()[:3] == ["demo", "4", "4"]
    stats = json.loads(run("knowledge", "stats", "demo", "--json").stdout)
    assert (stats["files"], stats["passages"], stats["dim"], stats["mode"]) == (4, 4, 65536, "int8")
    assert "4 files, 4 passages" in run("knowledge", "stats", "demo").stdout
    tree = json.loads(run("knowledge", "tree", "demo", "--json").stdout)
    assert [(one["path"], one["files"]) for one in tree] == [("", 4), ("src", 1)]
    assert "  src/" in run("knowledge", "tree", "demo").stdout
    manifest = json.loads(run("knowledge", "manifest", "demo").stdout)
    assert [one["path"] for one in manifest["files"]] == ["page.html", "page.html!/text", "pumps.md", "src/ice.py"]
    assert run("knowledge", "manifest", "demo", "-o", "m.json").exit_code == 0
    assert json.loads((folder / "m.json").read_bytes()) == manifest
    assert run("knowledge", "verify", "demo").stdout.startswith("demo: sound (4 files")


def test_verify_finds_damage(run: Run, demo: Path) -> None:
    """A byte that was changed is found, named, and exit status 1."""
    import sqlite3

    with sqlite3.connect(demo) as database:
        database.execute("UPDATE file SET sha256 = zeroblob(32) WHERE path = 'pumps.md'")
    database.close()
    result = run("knowledge", "verify", "demo")
    assert result.exit_code == 1
    assert "pumps.md: the bytes do not have the file's hash" in result.stdout
    assert json.loads(run("knowledge", "verify", "demo", "--json").stdout)["sound"] is False


def test_similar_and_duplicates(run: Run, home: Path, folder: Path) -> None:
    """More like a passage, and passages that are the same."""
    text = "The seal of the pump must be greased each spring, and the rotor cleaned, before the season of rain begins again.\n"
    (folder / "d").mkdir()
    for name in ("a", "b"):
        (folder / "d" / f"{name}.txt").write_text(text)
    (folder / "d" / "c.txt").write_text("Nothing here is about machines of any kind, only of poems that nobody reads aloud.\n")
    run("knowledge", "ingest", "d", "-e", "twins")
    assert run("knowledge", "similar", "twins", "a.txt:1", "-k", "1").stdout.startswith("1. b.txt:1-1")
    assert run("knowledge", "similar", "twins", "--duplicates").stdout == "same  a.txt:1-1  b.txt:1-1\n"
    pairs = json.loads(run("knowledge", "similar", "twins", "--duplicates", "--json").stdout)
    assert [one["path"] for one in pairs[0]["passages"]] == ["a.txt", "b.txt"]
    assert run("knowledge", "similar", "twins").exit_code == 2


def test_a_corpus_is_taken_in_and_judged(run: Run, home: Path, folder: Path) -> None:
    """JSON lines under their own field names; queries are answered by document ids, one line each."""
    rows = [{"key": "d1", "body": "pumps and seals"}, {"key": "d2", "body": "glaciers and ice"}]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    taken = run("knowledge", "ingest", "-e", "set", "--jsonl", "corpus.jsonl", "--id-field", "key", "--text-field", "body")
    assert "2 files added" in taken.stdout
    (folder / "q.jsonl").write_text('{"_id": "q1", "text": "ice"}\n{"_id": 2, "text": "zzz"}\n')
    assert run("knowledge", "search", "set", "--queries", "q.jsonl", "--run", "run.jsonl").stdout.startswith("2 queries in ")
    first, second = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    assert (first["query_id"], first["results"][0][0]) == ("q1", "d2")
    assert isinstance(first["results"][0][1], float)
    assert second == {"query_id": "2", "results": []}


def test_packed_corpora_are_unpacked(run: Run, home: Path, folder: Path) -> None:
    """A corpus and queries may be gzip files; a broken one is said to be."""
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(b'{"_id": "d1", "text": "ice"}\n'))
    (folder / "q.jsonl.gz").write_bytes(gzip.compress(b'{"_id": "q1", "text": "ice"}\n'))
    (folder / "bad.jsonl.gz").write_bytes(b"no gzip")
    assert run("knowledge", "ingest", "-e", "set", "--jsonl", "c.jsonl.gz").exit_code == 0
    assert run("knowledge", "search", "set", "--queries", "q.jsonl.gz", "--run", "run.jsonl").exit_code == 0
    assert json.loads((folder / "run.jsonl").read_text())["results"][0][0] == "d1"
    bad = run("knowledge", "ingest", "-e", "set", "--jsonl", "bad.jsonl.gz")
    assert (bad.exit_code, "is no gzip file" in bad.stderr) == (1, True)


def test_other_ways_to_search(run: Run, demo: Path) -> None:
    """Phrases must stand as they are written; a beam looks into the best files only; vectors alone find things too."""
    for query, count in (('"seal of the pump"', 1), ('"pump of the seal"', 0), ("greas*", 1), ("seal glacier", 0)):
        found = json.loads(run("knowledge", "search", "demo", query, "--phrases", "--json").stdout)
        assert len(found["results"]) == count, query
    for option in (["--beam", "1"], ["--vector-only"]):
        found = json.loads(run("knowledge", "search", "demo", "glacier", *option, "--json").stdout)
        assert found["results"][0]["path"] == "src/ice.py"


def test_one_document_may_be_piped(run: Run, home: Path) -> None:
    """- takes a document from the pipe, under the name given with --prefix."""
    assert run("knowledge", "ingest", "-", "-e", "notes", "--prefix", "today.md", input="# Today\n\nIt rained.\n").exit_code == 0
    assert run("knowledge", "search", "notes", "rained").stdout.startswith("1. today.md:1-3")


def test_an_engram_may_lie_anywhere(run: Run, home: Path, docs: Path, folder: Path) -> None:
    """A path is taken as it is, and the shape of the vectors can be chosen."""
    made = run("knowledge", "ingest", "docs", "-e", "./here.engram", "--ternary", "--dim", "10000", "--nonzeros", "100")
    assert made.exit_code == 0
    stats = json.loads(run("knowledge", "stats", "./here.engram", "--json").stdout)
    assert (stats["mode"], stats["dim"], stats["nonzeros"]) == ("ternary", 10000, 100)
    assert run("knowledge", "list").stderr.startswith("There are no engrams")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "nope", "x"], "There is no engram 'nope'."),
        (["search", "demo", "x", "-g", "["], None),
        (["update", "nope"], "There is no engram 'nope'."),
        (["search", "../demo", "x"], "The file of an engram ends in .engram"),
        (["search", "a b", "x"], "cannot be the name of an engram"),
        (["ingest", "-e", "new"], "Nothing was named to take in."),
        (["ingest", "missing", "-e", "new"], "There is no file or folder missing."),
        (["ingest", "docs", "-e", "new", "--dim", "7"], "dim must lie between"),
        (["extract", "demo", "-o", "out", "--version", "9"], "has versions up to 1, not 9"),
        (["similar", "demo", "nope.md"], "has no file 'nope.md'"),
        (["search", "demo", "--queries", "missing.jsonl", "--run", "r"], "missing.jsonl cannot be read"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], said: str | None, run: Run, demo: Path) -> None:
    """What is wrong is said on stderr with exit status 1, and as one document with --json."""
    result = run("knowledge", *arguments)
    if said is None:
        assert "Traceback" not in result.stderr
        return
    assert (result.exit_code, said in result.stderr) == (1, True), result.stderr
    assert said in json.loads(run("knowledge", *arguments, "--json").stdout)["error"]["message"]


def test_nothing_is_left_of_an_ingest_that_could_not_begin(run: Run, demo: Path) -> None:
    """A folder that is not there makes no engram."""
    run("knowledge", "ingest", "missing", "-e", "new")
    assert not demo.with_name("new.engram").exists()


@pytest.mark.parametrize(
    "arguments", [["search", "demo"], ["search", "demo", "--queries", "x"], ["search", "demo", "q", "--run", "r"]]
)
def test_a_search_needs_a_query(arguments: list[str], run: Run, demo: Path) -> None:
    """Neither a query nor a file of them, or half of both, is a wrong command line."""
    assert run("knowledge", *arguments).exit_code == 2


@pytest.mark.parametrize(
    "arguments", [["list"], ["ingest", "docs", "-e", "x"], ["search", "x", "y"], ["stats", "x"], ["verify", "x"], ["gc", "x"]]
)
def test_without_the_extra_the_command_that_helps_is_named(
    arguments: list[str], run: Run, home: Path, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stack trace: what is missing, and how to get it."""
    from prefrontal.knowledge import installed

    monkeypatch.setattr(installed, "find_spec", lambda name: None if name == "numpy" else sys)
    result = run("knowledge", *arguments)
    assert result.exit_code == 1
    assert result.stderr == (
        "error: Engrams need libraries that are not installed: numpy.\nhint: pip install 'prefrontal[knowledge]'\n"
    )


def test_progress_is_shown_on_a_terminal_only(screen_of: Callable[..., Any], home: Path, docs: Path, folder: Path) -> None:
    """A line that is written anew, and gone at the end; a pipe gets none."""
    from prefrontal.cli.knowledge_ingest import Taking, ingest
    from prefrontal.cli.session import Place
    from prefrontal.testing.clock import FakeClock

    for tty in (True, False):
        screen, _, err = screen_of(tty=tty)
        taking = Taking(engram=f"e{tty}", folders=("docs",))
        ingest(taking, Place(env={"PREFRONTAL_HOME": str(home)}), screen, FakeClock(), as_json=False)
        assert ("passages/s" in err.getvalue()) is tty
        assert err.getvalue().endswith("left out: 1 binary\n")
