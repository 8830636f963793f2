"""Searching engrams, and getting files back."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from prefrontal.cli.encoders import Finder, finder
from prefrontal.cli.screen import DIM, Screen
from prefrontal.cli.session import Place
from prefrontal.cli.shelf import located
from prefrontal.cli.words import duration, size
from prefrontal.clock import Clock
from prefrontal.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from prefrontal.knowledge.dense.hybrid import Mode
    from prefrontal.knowledge.search.filters import Filter
    from prefrontal.knowledge.search.searcher import Searcher
    from prefrontal.knowledge.store.rows import ChunkRow

SNIPPET_LINES = 4
SNIPPET_WIDTH = 150
"""How much of a passage is shown; --json has all of it."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a file of queries."""

    id: str | int = msgspec.field(name="_id")
    text: str


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How to search. `exact`: rank exactly; `beam`: look into that many best files only; `phrases`: words as they stand.

    These three go by words. `mode`: by words, by dense vectors of `encoder`, by both, or what fits the engram.
    """

    exact: bool = True
    beam: int | None = None
    phrases: bool = False
    mode: str = "auto"
    encoder: str | None = None

    def checked(self) -> Mode:
        """Return the mode. Raises InvalidRequest for an unknown one, and for vectors together with what goes by words."""
        modes: dict[str, Mode] = {"lexical": "lexical", "dense": "dense", "hybrid": "hybrid", "auto": "auto"}
        if self.mode not in modes:
            raise InvalidRequest(f"--mode is one of {', '.join(modes)}, not {self.mode}.", param="mode")
        plain = self.exact and self.beam is None and not self.phrases
        if not plain and self.mode in ("dense", "hybrid"):
            raise InvalidRequest("--vector-only, --beam and --phrases go by words: use --mode lexical or auto.", param="mode")
        return modes[self.mode] if plain else "lexical"


def search(name: str, query: str, place: Place, screen: Screen, *, k: int, where: Filter, way: Way, as_json: bool) -> None:
    """Show the best passages."""
    path = located(name, place)
    from prefrontal.knowledge.present import shown
    from prefrontal.knowledge.search.searcher import Searcher

    with Searcher(path) as searcher:
        if way.phrases:
            from prefrontal.knowledge.search.phrases import Phrases

            with Phrases(searcher) as phrases:
                hits = phrases.search(query, k=k, where=where)
        elif (mode := way.checked()) == "lexical":
            hits = searcher.search(query, k=k, where=where, exact=way.exact, beam=way.beam)
        else:
            hits = finder(path, way.encoder, mode, place, lambda one: one.search(searcher, query, k=k, where=where))
        found = shown(hits, searcher.engram, path.stem)
        version = searcher.index.version
    _show(found, query, path.stem, version, screen, as_json=as_json)


def similar(name: str, file: str, place: Place, screen: Screen, *, k: int, as_json: bool) -> None:
    """Show the passages most like one."""
    path = located(name, place)
    from prefrontal.knowledge.present import shown
    from prefrontal.knowledge.search.searcher import Searcher
    from prefrontal.knowledge.search.similar import more_like

    with Searcher(path) as searcher:
        found = shown(more_like(searcher, _passage(searcher, file).id, k=k), searcher.engram, path.stem)
        version = searcher.index.version
    _show(found, file, path.stem, version, screen, as_json=as_json)


def duplicates(name: str, place: Place, screen: Screen, *, k: int, least: float, as_json: bool) -> None:
    """Show pairs of passages that are nearly the same."""
    path = located(name, place)
    from prefrontal.knowledge.present import shown
    from prefrontal.knowledge.search.searcher import Searcher
    from prefrontal.knowledge.search.similar import near_duplicates

    with Searcher(path) as searcher:
        twins = near_duplicates(searcher, least=least, k=k)
        pairs = [(twin, shown([twin.first, twin.second], searcher.engram, path.stem)) for twin in twins]
    if as_json:
        screen.json([{"similarity": twin.similarity, "same": twin.same, "passages": both} for twin, both in pairs])
        return
    if not pairs:
        screen.note(f"No passages are that similar (least cosine {least:g}).")
    for twin, (first, second) in pairs:
        screen.line(f"{'same' if twin.same else f'{twin.similarity:.3f}'}  {_where(first)}  {_where(second)}")


def answer_all(
    name: str,
    queries: Path,
    out: Path,
    place: Place,
    screen: Screen,
    clock: Clock,
    *,
    k: int,
    where: Filter,
    way: Way,
    as_json: bool,
) -> None:
    """Write for each query of a file the best files with their scores."""
    path = located(name, place)
    from prefrontal.knowledge.search.searcher import Searcher

    asked, mode = _queries(queries), way.checked()
    began = clock.monotonic()

    def answer(finds: Finder) -> None:
        with Searcher(path) as searcher, out.open("wb") as stream:
            for one in asked:
                if way.exact:
                    results = finds.documents(searcher, one.text, k=k, where=where)
                else:
                    results = searcher.search_documents(one.text, k=k, where=where, exact=False)
                stream.write(msgspec.json.encode({"query_id": str(one.id), "results": results}) + b"\n")

    finder(path, way.encoder, mode, place, answer)
    elapsed_s = clock.monotonic() - began
    if as_json:
        screen.json({"queries": len(asked), "elapsed_s": elapsed_s, "out": str(out)})
    else:
        each = f", {duration(elapsed_s * 1000 / len(asked))} each" if asked else ""
        screen.line(f"{len(asked)} queries in {duration(elapsed_s * 1000)}{each}: {out}")


def extract(
    name: str,
    out: Path,
    place: Place,
    screen: Screen,
    *,
    globs: tuple[str, ...],
    version: int | None,
    replace: bool,
    inside: bool,
    as_json: bool,
) -> int:
    """Write files below `out`; 1 when any was refused."""
    path = located(name, place)
    from prefrontal.knowledge.extract import extract as run
    from prefrontal.knowledge.present import printable
    from prefrontal.knowledge.store.engram import Engram

    with Engram(path) as engram:
        done = run(engram, out, globs=globs, version=version, replace=replace, inside=inside)
    refused = [{"path": printable(one.path), "reason": one.reason} for one in done.refused]
    if as_json:
        paths = [printable(one) for one in done.paths]
        screen.json({"paths": paths, "size_bytes": done.size_bytes, "refused": refused})
    else:
        screen.line(f"{len(done.paths)} files, {size(done.size_bytes)}, in {out}")
        screen.note(*[f"refused {one['path']}: {one['reason']}" for one in refused])
    return 1 if refused else 0


def _queries(file: Path) -> list[Asked]:
    try:
        data = file.read_bytes()
        lines = (gzip.decompress(data) if file.suffix == ".gz" else data).splitlines()
    except (OSError, EOFError) as error:
        raise NotFound(f"{file} cannot be read: {error}.") from error
    found: list[Asked] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(msgspec.json.decode(line, type=Asked))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise InvalidRequest(f"{file}:{number} is no query: {error}.", hint='A line is {"_id": …, "text": …}.') from error
    return found


def _passage(searcher: Searcher, file: str) -> ChunkRow:
    """Return the passage named by a path, or by a path and a line."""
    from prefrontal.knowledge.paths import TEXT_MEMBER

    engram = searcher.engram
    path, _, line = file.rpartition(":")
    path, number = (path, int(line)) if path and line.isdigit() else (file, 1)
    row = engram.file(path)
    if not row.chunks:
        row = engram.file(path + TEXT_MEMBER)
    chunks = engram.chunks(row.id)
    if not chunks:
        raise InvalidRequest(f"{path} has no passages.")
    return next((one for one in chunks if one.line_end >= number), chunks[-1])


def _show(found: list[dict[str, Any]], query: str, name: str, version: int, screen: Screen, *, as_json: bool) -> None:
    if as_json:
        screen.json({"engram": name, "version": version, "query": query, "results": found})
        return
    if not found:
        screen.note("Nothing was found: no passage has a word of the query.")
    for number, one in enumerate(found, 1):
        if number > 1:
            screen.line()
        about = one["symbol"] or one["heading"] or one["title"]
        screen.line(f"{number}. {_where(one)}{f'  {about}' if about else ''}  ({one['score']:.2f})")
        text = [line.strip() for line in one["text"].splitlines() if line.strip()][:SNIPPET_LINES]
        for line in text:
            screen.line("   " + line[:SNIPPET_WIDTH])
        if one["matches"]:
            why = [m["term"] + (f" ({', '.join(m['fields'])})" if m["fields"] else "") for m in one["matches"]]
            screen.line(f"   matched: {', '.join(why)}", DIM)
        if (blend := one.get("blend")) is not None:
            ranks = [f"{way} {blend[f'{way}_rank'] or 'none'}" for way in ("lexical", "dense")]
            screen.line(f"   ranks: {', '.join(ranks)}; vectors count {100 * blend['dense_weight']:.0f} %", DIM)


def _where(one: dict[str, Any]) -> str:
    if one["page"] is not None:
        return f"{one['path']}, page {one['page']}"
    return f"{one['path']}:{one['lines'][0]}-{one['lines'][1]}" if one["lines"] else str(one["path"])
