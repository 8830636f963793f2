"""Tables and bounds from results."""

from __future__ import annotations

import datetime
import pathlib
import statistics

import msgspec

from bench.gateways import Gateway
from bench.host import describe
from bench.measure import Result

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
NAMED = {"auto": "prefrontal auto"}


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A bound holds when the figure or its ratio to bare holds: machines differ by a factor of two, ratios hardly."""

    text: str
    gateway: str
    scenario: str
    most_ms: float
    most_ratio: float


BOUNDS = (
    Bound(text="named model", gateway="prefrontal", scenario="plain64", most_ms=0.15, most_ratio=3.3),
    Bound(text="`auto` over five models", gateway="prefrontal auto", scenario="plain64", most_ms=0.40, most_ratio=9.0),
    Bound(text="paced stream of 50 events", gateway="prefrontal", scenario="paced16", most_ms=2.5, most_ratio=1.3),
    Bound(text="stream of 50 events in one piece", gateway="prefrontal", scenario="burst16", most_ms=0.0, most_ratio=2.0),
)
MOST_START_S = 1.5
MOST_IMPORT_S = 0.5
MOST_PSS_MB = 120.0
MOST_ADDED_MS = 0.5
MOST_P99 = 3.0
MOST_LEAVING_MS = 50.0
LEFT_OUT_MS = 8000.0
"""What a leaving that was not seen counts as: the time it was waited for."""
MOST_INSTALL_MB = 150.0


class Once(msgspec.Struct, kw_only=True):
    """What is measured once, where it was measured."""

    start_s: list[float] = []
    import_s: list[float] = []
    install_mb: float | None = None
    memory: list[tuple[int, float]] = []
    records: list[str] = []
    leaving_ms: dict[str, list[float | None]] = {}


class Report:
    """Everything of one run, and its tables in Markdown."""

    def __init__(self, gateways: list[Gateway], results: list[Result], once: Once, notes: list[str]) -> None:
        self._gateways = gateways
        self._results = results
        self._once = once
        self._notes = notes

    def values(self, gateway: str, scenario: str) -> list[Result]:
        return [r for r in self._results if r.gateway == gateway and r.scenario == scenario]

    def lowest(self, gateway: str, scenario: str) -> float | None:
        found = [r.cpu_ms for r in self.values(gateway, scenario)]
        return min(found) if found else None

    def ratio(self, gateway: str, scenario: str, base: str) -> float | None:
        mine, other = self.lowest(gateway, scenario), self.lowest(base, scenario)
        return mine / other if mine and other else None

    def markdown(self, command: str) -> str:
        """Return the whole section."""
        others = [r.other_cores for r in self._results] or [0.0]
        head = (
            f"Command: `{command}`. Machine: {describe()}; other processes used {statistics.median(others):.2f} cores in the "
            f"median run, {max(others):.2f} at most. Date: {datetime.datetime.now(datetime.UTC).date()}.\n"
        )
        versions = ", ".join(f"{g.name} {g.version}".strip() for g in self._gateways if g.version)
        parts = [head, f"Versions: {versions}.\n", self._whole(), self._streams(), self._leaving(), self._verdicts()]
        if self._notes:
            parts.append("Left out: " + " ".join(self._notes) + "\n")
        return "\n".join(parts)

    def _whole(self) -> str:
        rows = [
            "Whole answers. CPU of the gateway's process tree, milliseconds per request, lowest / median round:\n",
            "| gateway | 64 connections | x bare | x nginx | requests/s | 1 connection | p50 added, µs | p99 added, µs |",
            "|---|---|---|---|---|---|---|---|",
        ]
        base = self._least("direct", "p50_us"), self._least("direct", "p99_us")
        for gateway in self._gateways:
            name = gateway.name
            if name == "direct" or not self.values(name, "plain64"):
                continue
            rate = max(r.shot.per_s for r in self.values(name, "plain64"))
            rows.append(
                f"| {name} | {self._cell(name, 'plain64')} | {_times(self.ratio(name, 'plain64', 'bare'))} | "
                f"{_times(self.ratio(name, 'plain64', 'nginx'))} | {rate:,.0f} | {self._cell(name, 'plain1')} | "
                f"{self._least(name, 'p50_us') - base[0]:,} | {self._least(name, 'p99_us') - base[1]:,} |"
            )
        fastest = max((r.shot.per_s for r in self.values("direct", "plain64")), default=0.0)
        rows.append(
            f"\nThe mock alone answers {fastest:,.0f} requests/s; over one connection: p50 {base[0]} µs, p99 {base[1]} µs."
        )
        return "\n".join(rows) + "\n"

    def _streams(self) -> str:
        rows = [
            "Streams of 50 events, 16 at a time, milliseconds of CPU per stream:\n",
            "| gateway | in one piece | x bare | one event each 5 ms | x bare | x nginx |",
            "|---|---|---|---|---|---|",
        ]
        for gateway in self._gateways:
            name = gateway.name
            if name != "direct" and (self.values(name, "burst16") or self.values(name, "paced16")):
                rows.append(
                    f"| {name} | {self._cell(name, 'burst16')} | {_times(self.ratio(name, 'burst16', 'bare'))} | "
                    f"{self._cell(name, 'paced16')} | {_times(self.ratio(name, 'paced16', 'bare'))} | "
                    f"{_times(self.ratio(name, 'paced16', 'nginx'))} |"
                )
        return "\n".join(rows) + "\n"

    def verdicts(self) -> list[tuple[str, str, str, bool]]:
        """Return (what, measured, bound, held)."""
        found = []
        for bound in BOUNDS:
            figure, ratio = self.lowest(bound.gateway, bound.scenario), self.ratio(bound.gateway, bound.scenario, "bare")
            if figure is not None:
                held = figure <= bound.most_ms or (ratio is not None and ratio <= bound.most_ratio)
                most = f"{bound.most_ms:g} ms or {bound.most_ratio:g}x" if bound.most_ms else f"{bound.most_ratio:g}x"
                found.append((bound.text, f"{figure:.3f} ms, {_times(ratio)} bare", most, held))
        found += self._latencies()
        once = self._once
        if once.start_s:
            seconds = statistics.median(once.start_s)
            found.append(("start to first answer", f"{seconds:.2f} s", f"{MOST_START_S} s", seconds < MOST_START_S))
        if once.import_s:
            seconds = statistics.median(once.import_s)
            found.append(("`import prefrontal`", f"{seconds:.3f} s", f"{MOST_IMPORT_S} s", seconds < MOST_IMPORT_S))
        if once.memory:
            count, pss = once.memory[-1]
            found.append((f"memory (PSS) after {count:,} requests", f"{pss:.1f} MB", f"{MOST_PSS_MB:g} MB", pss < MOST_PSS_MB))
        if once.install_mb is not None:
            size = once.install_mb
            found.append(("size of the core installation", f"{size:.0f} MB", f"{MOST_INSTALL_MB:g} MB", size < MOST_INSTALL_MB))
        bad = sum(r.shot.bad_status + r.shot.socket_errors for r in self._results)
        found.append(("answers that were not 2xx, and broken connections", str(bad), "0", not bad))
        return found

    def _latencies(self) -> list[tuple[str, str, str, bool]]:
        """What a request of a named model waits for, with everything on."""
        found = []
        if self.values("prefrontal", "plain1") and self.values("direct", "plain1"):
            added = (self._least("prefrontal", "p50_us") - self._least("direct", "p50_us")) / 1000.0
            found.append(("p50 added, one connection", f"{added:.2f} ms", f"{MOST_ADDED_MS:g} ms", added <= MOST_ADDED_MS))
        tails = [r.shot.p99_us / max(1, r.shot.p50_us) for r in self.values("prefrontal", "plain64")]
        if tails:
            tail = statistics.median(tails)
            found.append(("p99 over 64 connections, as a multiple of p50", f"{tail:.1f}", f"{MOST_P99:g}", tail <= MOST_P99))
        left = self._once.leaving_ms.get("prefrontal")
        if left:
            worst = max(LEFT_OUT_MS if value is None else value for value in left)
            held = worst < MOST_LEAVING_MS
            found.append(("a client that leaves is seen upstream", f"{worst:.1f} ms at most", f"{MOST_LEAVING_MS:g} ms", held))
        return found

    def _leaving(self) -> str:
        rows = ["| gateway | a client leaves in mid-stream: the upstream sees it after, median / most |", "|---|---|"]
        for name, values in self._once.leaving_ms.items():
            seen = sorted(value for value in values if value is not None)
            text = f"{statistics.median(seen):.1f} / {seen[-1]:.1f} ms" if seen else "–"
            missed = len(values) - len(seen)
            rows.append(f"| {name} | {text}{f'; not within 8 s in {missed} of {len(values)}' if missed else ''} |")
        return "\n".join(rows) + "\n" if self._once.leaving_ms else ""

    def _verdicts(self) -> str:
        rows = ["| bound | measured | at most | |", "|---|---|---|---|"]
        rows += [f"| {a} | {b} | {c} | {'PASS' if ok else 'FAIL'} |" for a, b, c, ok in self.verdicts()]
        starts = [f"{g.name} {g.start_s:.2f} s" for g in self._gateways if g.start_s is not None and g.name != "direct"]
        rows.append("\nFrom the start of the process to the first forwarded answer: " + ", ".join(starts) + ".")
        if self._once.memory:
            rows.append("PSS while it ran: " + ", ".join(f"{p:.1f} MB after {n:,}" for n, p in self._once.memory) + ".")
        rows += self._once.records
        return "\n".join(rows) + "\n"

    def _cell(self, gateway: str, scenario: str) -> str:
        found = [r.cpu_ms for r in self.values(gateway, scenario)]
        return f"{min(found):.3f} / {statistics.median(found):.3f}" if found else "–"

    def _least(self, gateway: str, field: str) -> int:
        return min((getattr(r.shot, field) for r in self.values(gateway, "plain1")), default=0)


def write(section: str, path: pathlib.Path) -> None:
    """Put the section between the markers of a document, at its end when it has none."""
    write_between(section, path, BEGIN, END)


def write_between(section: str, path: pathlib.Path, begin: str, end: str) -> None:
    """Put a section between two markers of a document, at its end when they are missing."""
    text = path.read_text()
    block = f"{begin}\n{section.strip()}\n{end}"
    if begin in text and end in text:
        before, rest = text.split(begin, 1)
        text = before + block + rest.split(end, 1)[1]
    else:
        text = text.rstrip() + f"\n\n{block}\n"
    path.write_text(text)


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.1f}x"
