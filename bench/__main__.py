"""Measures what the gateway costs, beside nginx, a bare pass-through, and other gateways where they are installed.

    python -m bench [--rounds 3] [--seconds 4] [--write]           the table; --write puts it into docs/benchmarks.md
    python -m bench --only prefrontal,bare --quick                 a first look
    python -m bench --memory 200000                                also the memory after so many requests
    python -m bench --install                                      also the size of a fresh installation (needs an index)

The gateway under test has one core to itself, load and mock the other. All traffic stays on the loopback; every load ends
after its seconds. `python -m bench.peers` installs LiteLLM and Portkey.
"""

from __future__ import annotations

import argparse
import pathlib
import shlex
import sys
import tempfile
import time

from bench import gateways as known
from bench import measure, peers
from bench.host import cores, missing_packages
from bench.mock import Mock
from bench.report import Once, Report, write

DOCUMENT = known.HERE / "docs" / "benchmarks.md"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one load")
    parser.add_argument("--quick", action="store_true", help="one round of two seconds")
    parser.add_argument("--only", default="", help="gateways, comma-separated; direct is always measured")
    parser.add_argument("--no-peers", action="store_true", help="leave LiteLLM and Portkey out")
    parser.add_argument("--memory", type=int, default=0, metavar="REQUESTS", help="also measure memory after so many requests")
    parser.add_argument("--install", action="store_true", help="also measure the size of a fresh installation")
    parser.add_argument("--write", action="store_true", help="write the table into docs/benchmarks.md")
    return parser.parse_args()


def start_all(
    mock: Mock, folder: pathlib.Path, core: int, only: set[str], with_peers: bool, notes: list[str]
) -> list[known.Gateway]:
    started: list[known.Gateway] = []
    for starter in known.available(with_peers=with_peers):
        name = starter.__name__.replace("_", " ")
        if only and name not in only | {"direct"}:
            continue
        begun = time.perf_counter()
        gateway = starter(mock, folder, core)
        started.append(gateway)
        try:
            known.until_answered(gateway, begun)
            notes += known.check(gateway)
        except SystemExit as failed:
            if name not in ("litellm", "portkey"):
                stop_all(started)
                raise
            notes.append(f"{gateway.name} did not start: {str(failed)[:300]}.")
            stop_all([started.pop()])
            continue
        measure.say(f"{gateway.name} {gateway.version}: first answer after {gateway.start_s:.2f} s")
    return started


def stop_all(gateways: list[known.Gateway]) -> None:
    for gateway in gateways:
        if gateway.process is not None:
            gateway.process.stop()


def run(chosen: argparse.Namespace, folder: pathlib.Path) -> Report:
    load_core, core, apart = cores()
    once, notes = Once(), []
    if not apart:
        notes.append("There is one core only, so load and gateway share it.")
    if not chosen.no_peers:
        notes += [f"{name} is not installed (`make bench-peers`)." for name, there in _peers().items() if not there]
    mock = Mock(folder, load_core)
    started: list[known.Gateway] = []
    try:
        once.import_s = measure.import_s()
        once.start_s = measure.first_reflex_s(folder, core)
        only = {name.strip() for name in chosen.only.split(",") if name.strip()}
        started = start_all(mock, folder, core, only, not chosen.no_peers, notes)
        rounds = measure.Rounds(started, mock, folder, load_core, 2.0 if chosen.quick else chosen.seconds)
        rounds.warm()
        for number in range(1 if chosen.quick else chosen.rounds):
            rounds.run(number)
        for gateway in started:
            if "watched" in gateway.targets:
                once.leaving_ms[gateway.name] = measure.leaving_ms(gateway, mock)
        if chosen.memory:
            ours = next(g for g in started if g.name == "prefrontal")
            once.memory = measure.memory(ours, chosen.memory, folder, load_core)
    finally:
        stop_all(started)
        mock.stop()
    for gateway in started:
        if gateway.name.startswith("prefrontal"):
            count = known.records(folder, gateway.name)
            once.records.append(f"Records that {gateway.name} has left on disk: {count:,}.")
    if chosen.install:
        once.install_mb = measure.install_mb(folder)
    return Report(started, rounds.results, once, notes)


def _peers() -> dict[str, bool]:
    return {"LiteLLM": peers.litellm_command() is not None, "Portkey": peers.portkey_command() is not None}


def main() -> int:
    chosen = options()
    lacking = missing_packages()
    if lacking:
        print(f"These Debian packages are missing: {' '.join(lacking)} (apt-get install {' '.join(lacking)}).", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="prefrontal-bench-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)  # nginx's worker is another user when started by root
        report = run(chosen, folder)
    section = report.markdown(shlex.join(["python", "-m", "bench", *sys.argv[1:]]))
    print(section)
    if chosen.write:
        write(section, DOCUMENT)
    return 0 if all(held for *_, held in report.verdicts()) else 1


if __name__ == "__main__":
    sys.exit(main())
