"""Looking a question up in several engrams at once. Runs on a thread; imported with the first question only."""

from __future__ import annotations

from contextlib import ExitStack

from prefrontal.config.schema_knowledge import Knowledge as Settings
from prefrontal.contracts.knowledge import CitedPassage, EngramUse, Found, KnowledgeNote, Wanted, Words
from prefrontal.errors import NotFound, StoreError
from prefrontal.knowledge.cache import EngramCache
from prefrontal.knowledge.context import Citation, Shelf, context
from prefrontal.knowledge.present import printable
from prefrontal.knowledge.read.origin import Origins
from prefrontal.knowledge.read.readers import installed_readers
from prefrontal.knowledge.search.filters import Filter


def passages(cache: EngramCache, question: str, wanted: Wanted, settings: Settings, *, key: bytes) -> Found:
    """Return the passages for a question that fit, or none with the reason.

    key: makes the mark that delimits them. An engram that the configuration names and that cannot be used is left out and said.
    Raises NotFound, StoreError for one that the caller named.
    """
    uses: dict[str, EngramUse] = {}
    shelves: list[Shelf] = []
    with ExitStack() as stack:
        for wish in sorted(wanted.engrams, key=lambda one: one.name):  # always in one order, so no two requests wait in a ring
            try:
                searcher = stack.enter_context(cache.using(wish.name))
            except (NotFound, StoreError) as error:
                if wanted.asked:
                    raise
                uses[wish.name] = EngramUse(name=wish.name, problem=error.message.replace(f"{cache.folder}/", ""))
                continue
            uses[wish.name] = EngramUse(name=wish.name, version=searcher.index.version)
            narrowed = ("scope", "paths", "exclude", "types", "tags", "symbols")
            where = Filter(**{name: getattr(wish, name) for name in narrowed})
            entry = settings.engrams.get(wish.name)
            limit = entry.threshold if entry is not None else None
            shelves.append(Shelf(name=wish.name, searcher=searcher, weight=wish.weight, where=where, threshold=limit))
        asked = tuple([uses[wish.name] for wish in wanted.engrams])
        if not shelves:
            return Found(note=KnowledgeNote(engrams=asked, reason="No engram could be used."))
        made = context(question, shelves, max_tokens=wanted.max_tokens, threshold=wanted.threshold, key=key)
        origins = {shelf.name: Origins(shelf.searcher.engram, installed_readers()) for shelf in shelves}
        engrams = {shelf.name: shelf.searcher.engram for shelf in shelves}
        cited = tuple(
            [_cited(one, origins[one.engram], engrams[one.engram].file(one.path).sha256.hex()) for one in made.citations]
        )
    note = KnowledgeNote(
        engrams=asked,
        evidence=round(made.evidence, 4),
        threshold=round(made.threshold, 4),
        tokens=made.tokens,
        reason=made.reason,
        citations=cited,
    )
    return Found(note=note, text=made.text, words=tuple([Words(number=one.number, text=one.text) for one in made.citations]))


def _cited(one: Citation, origins: Origins, file_sha256: str) -> CitedPassage:
    origin = origins.of(one.path, file_sha256, one.heading, (one.line_start, one.line_end))
    lines: tuple[int, int] | None = (one.line_start, one.line_end)
    if origin is not None:
        found = (origin.line_start, origin.line_end)
        lines = (found[0], found[1]) if found[0] is not None and found[1] is not None else None
    return CitedPassage(
        number=one.number,
        engram=one.engram,
        path=printable(origin.path if origin is not None else one.path),
        lines=lines,
        page=origin.page if origin is not None else None,
        file=printable(one.path),
        bytes=(one.byte_start, one.byte_end),
        version=one.version,
        sha256=one.sha256,
    )
