"""Memory over many requests, a tenth of them streams whose client leaves midway.

    python -m bench.soak [--requests 1000000] [--write]       the slope of the memory, with its 95 % interval

Named models, key, rate limit, two budgets and records on, as in the table of `python -m bench`. The first tenth of the run is
left out: pools and caches fill there. What is left should be level.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import math
import os
import pathlib
import shlex
import statistics
import sys
import tempfile
import threading
import time

from bench import gateways as known
from bench.host import cores, describe, missing_packages
from bench.load import bodies, shoot
from bench.measure import say
from bench.mock import Mock
from bench.report import write_between

BEGIN, END = "<!-- soak:begin -->", "<!-- soak:end -->"
PIECE_S = 10.0
LEAVERS = 24
"""Clients at a time that begin a stream and leave: about a tenth of all requests."""
FEW = 6
"""Events such a client waits for, of fifty."""
MOST_MB = 120.0


class Leavers:
    """Clients on a thread of their own that ask for paced streams and close the connection after a few events."""

    def __init__(self, target: known.Target, core: int) -> None:
        self.left = 0
        self.failed = 0
        self._target = target
        self._core = core
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._thread.join(10)

    def _run(self) -> None:
        os.sched_setaffinity(0, {self._core})
        asyncio.run(self._all())

    async def _all(self) -> None:
        await asyncio.gather(*[self._one() for _ in range(LEAVERS)])

    async def _one(self) -> None:
        target = self._target
        body = json.dumps({"model": target.model, "stream": True, "messages": [{"role": "user", "content": "Where is it?"}]})
        lines = [f"POST {target.path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
        lines += [f"content-length: {len(body)}", *[f"{name}: {value}" for name, value in target.headers.items()]]
        data = ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
        while not self._stopping:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
                writer.write(data)
                seen = 0
                while seen < FEW:
                    more = await reader.read(65536)
                    if not more:
                        raise ConnectionError
                    seen += more.count(b"data: ")
                writer.transport.abort()
                self.left += 1
            except OSError:
                self.failed += 1
                await asyncio.sleep(0.1)


def slope(points: list[tuple[int, float]]) -> tuple[float, float]:
    """Return MB per million requests and the half width of its 95 % interval (least squares; the errors taken as independent)."""
    count = len(points)
    x = [n / 1e6 for n, _ in points]
    y = [mb for _, mb in points]
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    rise = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    rest = sum((b - mean_y - rise * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    return rise, 1.96 * math.sqrt(rest / max(1, count - 2) / spread)


def soak(folder: pathlib.Path, requests: int) -> tuple[list[tuple[int, float]], Leavers, int]:
    """Return (requests so far, PSS in MB) after each piece, the leavers, and how many answers were no answer."""
    load_core, core, _ = cores()
    mock = Mock(folder, load_core)
    gateway = None
    try:
        gateway = known.prefrontal(mock, folder, core)
        known.until_answered(gateway, time.perf_counter())
        assert gateway.process is not None
        target = gateway.targets["plain"]
        body_file = bodies(folder, target.model, stream=False)
        leavers = Leavers(gateway.targets["paced"], load_core)
        points, done, bad = [(0, gateway.process.pss_mb())], 0, 0
        while done + leavers.left < requests:
            shot = shoot(
                target.url, body_file, target.headers, connections=64, seconds=PIECE_S, core=load_core, folder=folder
            )
            done += shot.requests
            bad += shot.bad_status + shot.socket_errors
            points.append((done + leavers.left, gateway.process.pss_mb()))
            say(f"soak: {points[-1][1]:.1f} MB after {points[-1][0]:,} requests, {leavers.left:,} of them left midway")
        leavers.stop()
        return points, leavers, bad
    finally:
        if gateway is not None and gateway.process is not None:
            gateway.process.stop()
        mock.stop()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true", help="write the result into docs/benchmarks.md")
    chosen = parser.parse_args()
    lacking = missing_packages()
    if lacking:
        print(f"These Debian packages are missing: {' '.join(lacking)}.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="prefrontal-soak-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        points, leavers, bad = soak(folder, chosen.requests)
    settled = [point for point in points if point[0] >= points[-1][0] / 10]
    rise, half = slope(settled) if len(settled) > 2 else (math.nan, math.nan)
    level = abs(rise) <= half or abs(rise) < 1.0
    last = points[-1]
    section = (
        f"Command: `{shlex.join(['python', '-m', 'bench.soak', *sys.argv[1:]])}`. Machine: {describe()}. "
        f"Date: {datetime.datetime.now(datetime.UTC).date()}.\n\n"
        f"{last[0]:,} requests, {leavers.left:,} of them streams whose client left after {FEW} of 50 events; "
        f"{bad + leavers.failed} answers were no answer. PSS {points[0][1]:.1f} MB at the start, {settled[0][1]:.1f} MB after "
        f"{settled[0][0]:,}, {last[1]:.1f} MB at the end (at most {max(mb for _, mb in points):.1f}; bound {MOST_MB:g}). Slope "
        f"after the first tenth: {rise:+.2f} ± {half:.2f} MB per million requests: {'level' if level else 'NOT level'}.\n"
    )
    print(section)
    if chosen.write:
        write_between(section, pathlib.Path(known.HERE / "docs" / "benchmarks.md"), BEGIN, END)
    return 0 if level and last[1] < MOST_MB and not bad else 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
