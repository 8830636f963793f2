"""The way to Redis: TLS, passwords, what goes wrong with either, and bytes by name."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from prefrontal.clock import SystemClock
from prefrontal.errors import ConfigError, StoreError
from prefrontal.ledger.redis_blobs import RedisBlobs
from prefrontal.ledger.redis_link import RedisAway, RedisLink, RedisSettings
from prefrontal.testing.redis_server import RedisServer


@asynccontextmanager
async def linked(url: str, **settings: Any) -> AsyncIterator[RedisLink]:
    link = RedisLink(RedisSettings(url=url, **{"timeout_s": 1.0, "retry_s": 0.05, **settings}), clock=SystemClock())
    try:
        await link.start()
        yield link
    finally:
        await link.aclose()


async def test_commands_of_one_moment_share_a_round_trip_and_keep_their_order(redis_url: str) -> None:
    """Whoever asks at the same time gets the answer to its own command, in the order of asking."""
    async with linked(redis_url) as link:
        answers = await asyncio.gather(*[link.ask("INCR", link.key("n")) for _ in range(1000)])
        assert answers == list(range(1, 1001))


async def test_a_waiter_that_goes_away_disturbs_nobody(redis_url: str) -> None:
    """Cancelling one request does not mix up the answers of the others."""
    async with linked(redis_url) as link:
        asked = [asyncio.create_task(link.ask("ECHO", str(number))) for number in range(20)]
        await asyncio.sleep(0)
        for task in asked[::2]:
            task.cancel()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert found[1::2] == [str(number).encode() for number in range(1, 20, 2)]
        assert await link.ask("ECHO", "next") == b"next"


async def test_installations_with_other_prefixes_do_not_meet(redis_url: str) -> None:
    """Two installations on one server have their own keys; all keys of one share a hash tag."""
    async with linked(redis_url, prefix="one") as one, linked(redis_url, prefix="two") as two:
        await one.ask("SET", one.key("a"), "1")
        assert await two.ask("GET", two.key("a")) is None
        assert one.key("rate", "n") == "{one}:rate:n"


async def test_a_password_opens_and_is_in_no_message(caplog: pytest.LogCaptureFixture) -> None:
    """With the right one it works; with a wrong one the link stays down, says why, and does not say the password."""
    server = RedisServer("--requirepass", "correct-horse")
    try:
        server.start()
        address = f"127.0.0.1:{server.port}/0"
        async with linked(f"redis://:correct-horse@{address}") as link:
            assert link.up
        with caplog.at_level(logging.DEBUG):
            async with linked(f"redis://:battery-staple@{address}") as link:
                assert not link.up
                assert "password" in (link.status().error or "").lower()
        assert "battery-staple" not in caplog.text
    finally:
        server.close()


async def test_tls_is_checked(tmp_path: Path) -> None:
    """An authority of one's own is trusted where it is named, refused where not, and ignored where nothing is verified."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    files = {"--tls-cert-file": "cert.pem", "--tls-key-file": "key.pem", "--tls-ca-cert-file": "ca.pem"}
    arguments = [word for name, file in files.items() for word in (name, str(tmp_path / file))]
    server = RedisServer("--tls-port", str(port), "--tls-auth-clients", "no", *arguments)
    url = f"rediss://127.0.0.1:{port}/0"
    try:
        server.start()
        async with linked(url, ca_file=str(tmp_path / "ca.pem")) as link:
            assert await link.ask("PING") == b"PONG"
        async with linked(url, verify=False) as link:
            assert await link.ask("PING") == b"PONG"
        async with linked(url) as link:
            assert not link.up
            assert "certificate" in (link.status().error or "").lower()
    finally:
        server.close()


def test_without_the_library_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigError, match=r"prefrontal\[redis\]"):
        RedisLink(RedisSettings(url="redis://127.0.0.1/0"), clock=SystemClock())


def test_another_kind_of_address_is_refused_without_its_password() -> None:
    """A URL of something else is a wrong setting."""
    with pytest.raises(ConfigError) as caught:
        RedisLink(RedisSettings(url="amqp://user:hunter22@127.0.0.1/0"), clock=SystemClock())
    assert "hunter22" not in str(caught.value)


async def test_a_server_that_refuses_to_write_is_away(own_redis: RedisServer) -> None:
    """One that is full answers, and is no help; when it takes writes again it is back."""
    async with linked(own_redis.url) as link:
        await link.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await link.ask("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(RedisAway, match="memory"):
            await link.ask("SET", link.key("a"), "1")
        assert not link.up
        with socket.create_connection(("127.0.0.1", own_redis.port), timeout=5) as line:
            line.sendall(b"CONFIG SET maxmemory 0\r\n")
            assert line.recv(100) == b"+OK\r\n"
        for _ in range(300):
            await asyncio.sleep(0.01)
            if link.up:
                break
        assert await link.ask("SET", link.key("a"), "1") == b"OK"


async def test_blobs_are_kept_for_a_while_and_within_a_bound(redis_url: str) -> None:
    """What is set is found by every gateway until it is deleted or its time is over; what is too large is not kept."""
    async with linked(redis_url) as one, linked(redis_url) as two:
        here, there = RedisBlobs(one, max_bytes=100), RedisBlobs(two, max_bytes=100)
        blob = bytes(range(100))
        assert await here.set("a", blob, 60.0)
        assert await there.get("a") == blob
        left_s = await there.ttl_s("a")
        assert left_s is not None
        assert 59 < left_s <= 60
        assert await there.delete("a")
        assert not await here.delete("a")
        assert await here.get("a") is None
        assert await here.ttl_s("a") is None
        assert not await here.set("b", bytes(101), 60.0)
        assert await here.get("b") is None
        assert await here.set("c", b"x", 0.05)
        await asyncio.sleep(0.1)
        assert await here.get("c") is None


async def test_blobs_say_that_they_cannot_be_reached(own_redis: RedisServer) -> None:
    """A cache can go on without them."""
    async with linked(own_redis.url) as link:
        blobs = RedisBlobs(link)
        own_redis.stop()
        with pytest.raises(StoreError, match="cannot be reached"):
            await blobs.get("a")
