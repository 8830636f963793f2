"""What holds for every test: an environment of its own, no network but loopback, a time limit, the same chance each time.

With `CI` set, a test that would be skipped fails: there is nothing this suite may leave out without saying so.
"""

from __future__ import annotations

import asyncio
import faulthandler
import ipaddress
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from prefrontal.testing.postgres_server import PostgresServer
from prefrontal.testing.redis_server import RedisServer

LIMIT_S = 60.0
"""Longest a test may take, s; `@pytest.mark.time_limit(S)` sets another (assumed: the slowest takes 10 s on a busy machine)."""

GRACE_S = 30.0
"""How long after its limit a test that does not even notice the alarm ends the process, with the stacks of all threads."""

CI = os.environ.get("CI", "").lower() not in ("", "0", "false", "no")

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT", "TERM", "CI", "LD_LIBRARY_PATH")
"""Variables tests see as they are, beside those that pytest and coverage set themselves."""

RESERVED = (".invalid", ".test", ".example", "example.com", "example.org", "example.net")
"""Names that never resolve or never mean anybody (RFC 2606): asking for one is answered at once, without a question."""

UNROUTED = tuple(ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"))
"""Addresses for documentation (RFC 5737): connecting to one fails at once, without a packet."""


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts a suite in the background has it ignore Ctrl-C, and every process the tests start would too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Guard:
    """Stands before the functions of `socket` that reach other machines, and remembers who tried."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    def install(self) -> None:
        """Replace the functions for the rest of the process."""
        connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

        def guarded_connect(sock: socket.socket, address: Any) -> None:
            self.check(sock, address)
            return connect(sock, address)

        def guarded_connect_ex(sock: socket.socket, address: Any) -> int:
            self.check(sock, address)
            return connect_ex(sock, address)

        def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else host
            if not (name is None or name == "localhost" or is_address(name)):
                if not name.endswith(RESERVED):
                    self.tried.append(f"resolve {name}")
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return getaddrinfo(host, *args, **kwargs)

        socket.socket.connect = guarded_connect  # type: ignore[method-assign]
        socket.socket.connect_ex = guarded_connect_ex  # type: ignore[method-assign]
        socket.getaddrinfo = guarded_getaddrinfo

    def check(self, sock: socket.socket, address: Any) -> None:
        """Return for a loopback address and a path. Raises OSError, and remembers all but the addresses for documentation."""
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return
        host = address[0]
        if host in ("", "localhost", "0.0.0.0", "::"):  # the kernel takes the last two for loopback
            return
        found = ipaddress.ip_address(host.split("%")[0]) if is_address(host) else None
        if found is not None and found.is_loopback:
            return
        if found is None or not any(found.version == net.version and found in net for net in UNROUTED):
            self.tried.append(f"connect {host}")
        raise OSError(101, f"Tests reach nobody but this machine; {host} is another")


def is_address(name: str) -> bool:
    """Return whether a name is an IP address already."""
    try:
        ipaddress.ip_address(name.split("%")[0])
    except ValueError:
        return False
    return True


GUARD = Guard()


def pytest_configure(config: pytest.Config) -> None:
    """Install what holds for the whole process."""
    config.addinivalue_line("markers", f"time_limit(seconds): the test may take so long instead of {LIMIT_S:g} s")
    GUARD.install()
    # a busy machine must not fail a property for its speed; in CI the examples are the same each time
    hypothesis.settings.register_profile("suite", deadline=None, derandomize=CI)
    hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty home and none of the machine's keys; returns the home."""
    home = next_home(tmp_path_factory)
    for name in os.environ:
        if name not in PASSED_ON and not name.startswith(("PYTEST", "PYTHON", "COV", "HYPOTHESIS")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PREFRONTAL_HOME", str(home / "prefrontal"))
    for kind in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(home / kind.lower()))
    return home


def next_home(factory: pytest.TempPathFactory) -> Path:
    """Return a new, empty folder below the run's own; `mktemp` lists all folders each time, which adds up over thousands."""
    homes = factory.getbasetemp() / "homes"
    homes.mkdir(exist_ok=True)
    count = factory.__dict__.setdefault("homes_made", 0)
    factory.__dict__["homes_made"] = count + 1
    home = homes / str(count)
    home.mkdir()
    return home


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Fail a test that tried to reach another machine, even when it swallowed the refusal."""
    before = len(GUARD.tried)
    yield
    tried = GUARD.tried[before:]
    if tried:
        pytest.fail(f"The test tried to reach the network: {', '.join(tried)}.")


@pytest.fixture(autouse=True)
def same_chance() -> None:
    """Seed the module-wide generator; what runs on injected chance is seeded by its test."""
    random.seed(20261120)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Hold the test, its fixtures included, to its time limit."""
    marker = item.get_closest_marker("time_limit")
    limit_s = float(marker.args[0]) if marker else LIMIT_S
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        return (yield)

    def too_long(_number: int, _frame: object) -> None:
        pytest.fail(f"The test took longer than {limit_s:g} s.")

    previous = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    faulthandler.dump_traceback_later(limit_s + GRACE_S, exit=True, file=sys.__stderr__)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """In CI, turn a skipped test into a failed one."""
    report = yield
    return failed_if_skipped(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """In CI, turn a file that skips itself into an error."""
    report = yield
    return failed_if_skipped(report)


def failed_if_skipped(report: Any, *, ci: bool = CI) -> Any:
    """Return the report; in CI a skipped one says that it failed, and why it would have been skipped."""
    if ci and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped, and CI is set: {reason}"
    return report


@pytest.fixture(scope="session")
def ci_rule() -> Callable[..., Any]:
    """The rule that makes a skipped report fail, for the test of the rule."""
    return failed_if_skipped


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """A Redis server of this test process."""
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """The address of an empty Redis."""
    with socket.create_connection(("127.0.0.1", shared_redis.port), timeout=5) as line:
        line.sendall(b"FLUSHALL SYNC\r\n")
        assert line.recv(100) == b"+OK\r\n"
    return shared_redis.url


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis server of one test, to be stopped and started."""
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test process, with one database in its newest form to copy from."""
    from prefrontal.ledger.migrations.runner import move_postgres  # a second to load, which most tests need not pay

    server = PostgresServer()
    try:
        server.start()
        server.sql("CREATE DATABASE newest")
        with ThreadPoolExecutor(1) as thread:  # whoever asks for the server may be inside a loop
            thread.submit(asyncio.run, move_postgres(server.url("newest"))).result()
        yield server
    finally:
        server.close()


@pytest.fixture
def empty_postgres_url(postgres_server: PostgresServer) -> str:
    """The address of a database of one's own, without a table."""
    name = f"empty_{number_of(postgres_server)}"
    postgres_server.sql(f"CREATE DATABASE {name}")
    return postgres_server.url(name)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a database of one's own in its newest form. Emptied and used again: making one takes ten times as long."""
    free: list[str] = postgres_server.__dict__.setdefault("free", [])
    if not free:
        free.append(f"test_{number_of(postgres_server)}")
        postgres_server.sql(f"CREATE DATABASE {free[0]} TEMPLATE newest")
    name = free.pop()
    yield postgres_server.url(name)
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    tables = "records, bodies, responses, charges, keys, audit, books, rate_slots, rate_leases, outcomes, calibrators"
    leave = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
    postgres_server.sql(f"{leave}; TRUNCATE {tables} RESTART IDENTITY", name)
    free.append(name)


def number_of(server: PostgresServer) -> int:
    """Return the next number for a database of this server."""
    count: int = server.__dict__.setdefault("databases_made", 0)
    server.__dict__["databases_made"] = count + 1
    return count
