"""Engrams kept open: bounded, shared between threads, and never older than their file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from prefrontal.errors import NotFound, StoreError
from prefrontal.knowledge import cache as cache_room
from prefrontal.knowledge.cache import EngramCache
from prefrontal.knowledge.ingest.run import ingest_bytes
from prefrontal.testing.clock import FakeClock

Make = Callable[..., Path]


@pytest.fixture
def cache(make: Make, clock: FakeClock) -> EngramCache:
    """Three engrams, each with a word of its own."""
    for name in ("a", "b", "c"):
        ingest_bytes(make(name=name), f"{name}.txt", f"word{name} shared".encode(), clock=clock)
    return EngramCache(make(name="empty").parent)


def ask(cache: EngramCache, name: str, question: str) -> list[str]:
    with cache.using(name) as searcher:
        return [hit.path for hit in searcher.search(question)]


def test_engrams_are_found_by_name(cache: EngramCache) -> None:
    """Each answers for itself; what no engram is called is not found, and no path leads elsewhere."""
    assert cache.names() == ["a", "b", "c", "empty"]
    assert ask(cache, "a", "worda") == ["a.txt"]
    assert ask(cache, "b", "worda") == []
    for name in ("nope", "../a", "", "a/b", "a.engram", "x" * 200):
        with pytest.raises(NotFound):
            ask(cache, name, "x")
    assert EngramCache(cache.folder / "missing").names() == []
    cache.close()


def test_the_one_asked_longest_ago_goes_first(cache: EngramCache) -> None:
    """Beyond the bound engrams are closed, but never the one in use; a closed one opens again."""
    small = EngramCache(cache.folder, most_bytes=9_000_000)
    for name in ("a", "b", "a", "c"):
        ask(small, name, "shared")
    assert small.opened == ("a", "c")
    tiny = EngramCache(cache.folder, most_bytes=1)
    with tiny.using("a") as searcher:
        assert ask(tiny, "b", "wordb") == ["b.txt"]
        assert tiny.opened == ("b",)
        assert [hit.path for hit in searcher.search("worda")] == ["a.txt"]
    assert ask(tiny, "a", "worda") == ["a.txt"]
    small.close()
    tiny.close()


def test_it_follows_its_files(cache: EngramCache, make: Make, clock: FakeClock) -> None:
    """New versions are seen; a file that was replaced is opened again; one that is gone is not found."""
    assert ask(cache, "a", "later") == []
    ingest_bytes(cache.folder / "a.engram", "later.txt", b"later", clock=clock)
    assert ask(cache, "a", "later") == ["later.txt"]
    for part in cache.folder.glob("a.engram*"):  # SQLite's files beside it belong to it
        part.unlink()
    (cache.folder / "b.engram").replace(cache.folder / "a.engram")
    assert ask(cache, "a", "wordb") == ["b.txt"]
    (cache.folder / "a.engram").unlink()
    with pytest.raises(NotFound):
        ask(cache, "a", "wordb")
    assert cache.opened == ()


def test_a_damaged_engram_hurts_no_other(cache: EngramCache) -> None:
    """A file that is no engram is said to be none each time, and is not kept."""
    (cache.folder / "bad.engram").write_bytes(b"not a database at all, but long enough to look like a file" * 50)
    for _ in range(2):
        with pytest.raises(StoreError):
            ask(cache, "bad", "x")
    assert ask(cache, "a", "worda") == ["a.txt"]
    cache.close()


def test_an_engram_that_opens_slowly_holds_up_no_other(cache: EngramCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening may mean making an index; meanwhile other engrams answer."""
    opening, go = threading.Event(), threading.Event()
    ready = cache_room._Open.ready

    def slow(self: cache_room._Open) -> object:
        if self.path.name == "a.engram":
            opening.set()
            go.wait(10)
        return ready(self)

    monkeypatch.setattr(cache_room._Open, "ready", slow)
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(ask(cache, "a", "worda")))
    thread.start()
    assert opening.wait(10)
    assert ask(cache, "b", "wordb") == ["b.txt"]
    assert found == []
    go.set()
    thread.join(10)
    assert found == ["a.txt"]
    cache.close()


def test_many_threads_ask_at_once(cache: EngramCache) -> None:
    """Threads share engrams without mixing answers, also while engrams come and go."""
    small = EngramCache(cache.folder, most_bytes=1)
    wrong: list[str] = []

    def work(name: str) -> None:
        wrong.extend(name for _ in range(20) if ask(small, name, f"word{name}") != [f"{name}.txt"])

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcabc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    small.close()
    assert small.opened == ()
