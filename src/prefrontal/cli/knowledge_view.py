"""Looking at engrams, checking them, clearing them up."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place
from prefrontal.cli.shelf import folder, located, names
from prefrontal.cli.words import moment, size
from prefrontal.clock import Clock
from prefrontal.errors import PrefrontalError

SHOWN_FINDINGS = 50
SHOWN_VERSIONS = 5


def list_engrams(place: Place, screen: Screen, *, as_json: bool) -> None:
    """List the engrams of the home."""
    home = folder(place)
    found = [_entry(home / f"{name}.engram") for name in names(home)]
    if as_json:
        screen.json(found)
    elif not found:
        screen.note(f"There are no engrams in {home}.", "Make one with `prefrontal knowledge ingest FOLDER -e NAME`.")
    else:
        rows = [
            (one["name"], str(one["files"]), str(one["passages"]), size(one["size_bytes"]), one["problem"] or f"{one['version']}")
            for one in found
        ]
        screen.table(("name", "files", "passages", "size", "version"), rows, right=("files", "passages", "size"))


def _entry(path: Path) -> dict[str, Any]:
    from prefrontal.knowledge.store.engram import Engram

    entry: dict[str, Any] = {"name": path.stem, "version": 0, "files": 0, "passages": 0, "size_bytes": path.stat().st_size}
    entry["problem"] = None
    try:
        with Engram(path) as engram:
            root = engram.node()
            entry |= {"version": engram.version, "files": sum(1 for _ in engram.files()), "passages": root.chunks if root else 0}
    except PrefrontalError as error:
        entry["problem"] = error.message
    return entry


def tree(name: str, depth: int, place: Place, screen: Screen, *, as_json: bool) -> None:
    """Show folders with what lies below each."""
    path = located(name, place)
    from prefrontal.knowledge.paths import outermost
    from prefrontal.knowledge.present import printable
    from prefrontal.knowledge.store.engram import Engram
    from prefrontal.knowledge.store.rows import parents

    below: dict[str, list[int]] = {}
    with Engram(path) as engram:
        files = list(engram.files())
        named = {file.path for file in files}
        for file in files:
            for above in parents(outermost(file.path, named)):
                sums = below.setdefault(above, [0, 0, 0])
                for n, value in enumerate((1, file.chunks, file.stat.size)):
                    sums[n] += value
    shown = [one for one in sorted(below, key=lambda one: one.split("/")) if not one or one.count("/") < depth]
    if as_json:
        keys = ("files", "passages", "size_bytes")
        screen.json([{"path": printable(one), **dict(zip(keys, below[one], strict=True))} for one in shown])
        return
    rows = []
    for one in shown:
        label = "  " * (one.count("/") + 1) + printable(one).rsplit("/", 1)[-1] + "/" if one else "."
        number, passages, count = below[one]
        rows.append((label, f"{number:,}", f"{passages:,}", size(count)))
    screen.table(("folder", "files", "passages", "size"), rows, right=("files", "passages", "size"))


def stats(name: str, place: Place, screen: Screen, *, as_json: bool) -> None:
    """Show what an engram holds."""
    path = located(name, place)
    from prefrontal.app.dense import standing
    from prefrontal.knowledge.search.searcher import Searcher

    with Searcher(path) as searcher:
        engram, dense = searcher.engram, standing(searcher)
        shape, versions = engram.meta.shape, engram.versions()
        types: Counter[str] = Counter()
        passages = total = 0
        for file in engram.files():
            types[file.type] += 1
            passages += file.chunks
            total += file.stat.size
        index = sum(one.stat().st_size for one in path.with_suffix(".index").glob("*") if one.is_file())
        found: dict[str, Any] = {
            "engram": path.stem,
            "file": str(path),
            "uid": engram.meta.uid,
            "version": engram.version,
            "oldest_version": max(1, engram.floor()) if versions else 0,
            "created_s": engram.meta.created_s,
            "files": sum(types.values()),
            "passages": passages,
            "content_bytes": total,
            "file_bytes": path.stat().st_size,
            "index_bytes": index,
            "types": dict(types.most_common()),
            "dim": shape.dim,
            "nonzeros": shape.nonzeros,
            "mode": shape.mode,
            "seed": shape.seed,
            "dense": dense,
            "versions": versions[-SHOWN_VERSIONS:],
        }
    if as_json:
        screen.json(found)
        return
    screen.pairs(
        [
            ("engram", f"{found['file']}\n{found['uid']}, made {moment(found['created_s'])}"),
            ("holds", f"{found['files']:,} files, {passages:,} passages, {size(total)}"),
            ("types", ", ".join(f"{count} {kind}" for kind, count in types.most_common()) or "none"),
            ("on disk", f"{size(found['file_bytes'])}, index {size(index)}"),
            ("vectors", f"{shape.dim} dimensions, up to {shape.nonzeros} non-zeros, {shape.mode}"),
            ("dense", "\n".join(_dense(one) for one in dense) or "none"),
            ("versions", "\n".join(_version(one) for one in reversed(found["versions"])) or "none"),
        ]
    )


def _dense(one: dict[str, Any]) -> str:
    known = one["calibration"]
    trust = "not calibrated" if known is None else f"they count {100 * known['weight']:.0f} % beside words"
    missing = f", {one['missing']:,} still missing" if one["missing"] else ""
    return f"{one['encoder']}: {one['passages']:,} passages{missing}, {one['dim']} dimensions, {size(one['size_bytes'])}, {trust}"


def _version(one: Any) -> str:
    return f"{one.number}  {moment(one.at_s)}  {one.kind}: {one.added} added, {one.changed} changed, {one.removed} removed"


def history(name: str, place: Place, screen: Screen, *, as_json: bool) -> None:
    """List versions, the newest first."""
    path = located(name, place)
    from prefrontal.knowledge.store.engram import Engram

    with Engram(path) as engram:
        versions = engram.versions()[::-1]
    if as_json:
        screen.json(versions)
        return
    for one in versions:
        screen.line(_version(one))
    if not versions:
        screen.note(f"Nothing was ever put into {path.stem}.")


def diff(name: str, first: int, second: int, place: Place, screen: Screen, *, as_json: bool) -> None:
    """Show what changed between two versions."""
    path = located(name, place)
    from prefrontal.knowledge.history import diff as compare
    from prefrontal.knowledge.history import distance
    from prefrontal.knowledge.present import printable
    from prefrontal.knowledge.store.engram import Engram

    with Engram(path) as engram:
        found = compare(engram, first, second)
        apart = round(distance(engram, first, second), 6)
    if as_json:
        files = [
            {"path": printable(one.path), "change": one.change, "before": printable(one.before) or None}
            | {"size_before": one.size_before, "size_after": one.size_after}
            for one in found
        ]
        screen.json({"distance": apart, "files": files})
        return
    for one in found:
        was = f" (was {printable(one.before)})" if one.before else ""
        screen.line(f"{one.change:<8} {printable(one.path)}{was}  {size(one.size_before)} → {size(one.size_after)}")
    screen.line(f"{len(found)} files differ; distance {apart:g} (0: the same text, 1: nothing in common)")


def manifest(name: str, out: Path | None, place: Place, screen: Screen, *, version: int | None, as_json: bool) -> None:
    """Write the manifest."""
    path = located(name, place)
    from prefrontal.knowledge.manifest import manifest_json
    from prefrontal.knowledge.store.engram import Engram

    with Engram(path) as engram:
        text = manifest_json(engram, version=version)
    if out is None:
        screen.out.write(text.decode() + "\n")
        screen.out.flush()
        return
    out.write_bytes(text + b"\n")
    if as_json:
        screen.json({"out": str(out), "size_bytes": len(text) + 1})
    else:
        screen.line(f"{out}: {size(len(text) + 1)}")


def verify(name: str, place: Place, screen: Screen, *, as_json: bool) -> int:
    """Check an engram; 1 when something is wrong."""
    path = located(name, place)
    from prefrontal.knowledge.present import printable
    from prefrontal.knowledge.store.engram import Engram
    from prefrontal.knowledge.verify import verify as run

    with Engram(path) as engram:
        done = run(engram)
    findings = [{"where": printable(one.where), "problem": one.problem} for one in done.findings]
    if as_json:
        found = {"files": done.files, "passages": done.chunks, "size_bytes": done.size_bytes}
        screen.json({"sound": done.sound, **found, "findings": findings})
    else:
        for one in findings[:SHOWN_FINDINGS]:
            screen.line(f"{one['where']}: {one['problem']}")
        if len(findings) > SHOWN_FINDINGS:
            screen.line(f"and {len(findings) - SHOWN_FINDINGS} more; --json lists all")
        verdict = "sound" if done.sound else f"{len(findings)} findings"
        screen.line(
            f"{path.stem}: {verdict} ({done.files:,} files of all versions, {done.chunks:,} passages, {size(done.size_bytes)})"
        )
    return 0 if done.sound else 1


def clear(name: str, keep: int, place: Place, screen: Screen, clock: Clock, *, as_json: bool) -> None:
    """Remove what only older versions need."""
    path = located(name, place)
    from prefrontal.knowledge.history import clear as run

    done = run(path, clock=clock, keep=keep)
    if as_json:
        screen.json(done)
    else:
        screen.line(f"{path.stem}: {done.files} old files and {size(done.size_bytes)} removed; versions from {done.floor} remain")
