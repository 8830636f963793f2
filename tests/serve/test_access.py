"""The gate: who comes in with which key, and what sitting on this machine opens and does not open."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import hmac
import inspect

import pytest

import prefrontal.ledger.keyring as keyring_module
import prefrontal.ledger.keys as keys_module
import prefrontal.serve.access as access
from prefrontal.clock import SystemClock
from prefrontal.config.schema_service import Server
from prefrontal.errors import NotAllowed, NotAuthenticated
from prefrontal.ledger.keyring import KeyRing
from prefrontal.ledger.keys import VirtualKey, digest_of, shown_of
from prefrontal.ledger.treasury import Treasury
from prefrontal.ledger.vault import Audit, MemoryVault
from prefrontal.serve.access import Caller, Gate, check_route

HERE, ELSEWHERE = "127.0.0.1", "192.0.2.7"
SECRET = "sk-pf-made-up-for-this-test"
NOTE = Audit(at_s=0.0, actor="a", action="key.create")
KEYS = "/v1/admin/keys"


def ring() -> KeyRing:
    clock, vault = SystemClock(), MemoryVault()
    return KeyRing(vault=vault, treasury=Treasury(clock=clock, vault=vault), clock=clock)


def virtual(secret: str = SECRET, **fields: object) -> VirtualKey:
    digest = digest_of(secret).hex()
    return VirtualKey(id="key_1", name="n", hash=digest, shown=shown_of(secret), created_s=0.0, **fields)  # type: ignore[arg-type]


def bearer(secret: str) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + secret.encode()}


async def enter(gate: Gate, headers: dict[bytes, bytes], peer: str = HERE, *, admin: bool = False) -> Caller:
    return gate.admit(headers, peer, admin=admin) or await gate.look_up(headers, peer, admin=admin)


async def test_without_any_key_everybody_on_this_machine_is_an_admin() -> None:
    """Others who reach the port may ask, and not administer."""
    gate = Gate(Server(), ring())
    assert await enter(gate, {}) == Caller(trusted=True, admin=True, local=True)
    assert await enter(gate, bearer("whatever an SDK sends")) == Caller(trusted=True, admin=True, local=True)
    assert await enter(gate, {}, ELSEWHERE) == Caller()


async def test_the_first_virtual_key_closes_the_gate_for_good() -> None:
    """From then on a key is asked for, also after it is revoked; who sits here still administers without one."""
    keys = ring()
    gate = Gate(Server(), keys)
    await enter(gate, {})
    await keys.save(virtual(), NOTE)
    with pytest.raises(NotAuthenticated):
        await enter(gate, {})
    assert (await enter(gate, bearer(SECRET))).key_id == "key_1"
    await keys.save(virtual(revoked_s=1.0), NOTE)
    with pytest.raises(NotAuthenticated, match="revoked"):
        await enter(gate, bearer(SECRET))
    with pytest.raises(NotAuthenticated):
        await enter(gate, {})
    assert (await enter(gate, {}, admin=True)).admin
    with pytest.raises(NotAuthenticated):
        await enter(gate, {}, ELSEWHERE, admin=True)


async def test_each_kind_of_key_opens_its_own() -> None:
    """Admin keys administer, plain ones do not, virtual ones carry their grant, expired and made-up ones open nothing."""
    keys = ring()
    gate = Gate(Server(api_keys=("plain",), admin_keys=("boss",)), keys)
    assert (await enter(gate, bearer("boss"))).admin
    plain = await enter(gate, {b"x-api-key": b"plain"})
    assert (plain.admin, plain.grant, len(plain.key_id or "")) == (False, None, 12)
    await keys.save(virtual(models=("m",)), NOTE)
    found = await enter(gate, {b"x-goog-api-key": SECRET.encode()}, ELSEWHERE)
    assert (found.admin, found.trusted, found.grant and found.grant.models) == (False, False, frozenset({"m"}))
    for wrong in ("plain2", SECRET + "x", "sk-pf-", "ü"):
        with pytest.raises(NotAuthenticated):
            await enter(gate, {b"api-key": wrong.encode("latin-1")})
    await keys.save(virtual(expires_s=1.0), NOTE)
    with pytest.raises(NotAuthenticated, match="expired"):
        await enter(gate, bearer(SECRET))
    with pytest.raises(NotAuthenticated):
        await enter(gate, {}, admin=True)  # the configuration has keys: sitting here is not enough


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({b"host": b"127.0.0.1:4123"}, True),
        ({b"host": b"localhost:4123"}, True),
        ({b"host": b"[::1]:4123"}, True),
        ({b"host": b"127.0.0.1:4123", b"origin": b"https://evil.example"}, False),
        ({b"host": b"rebound.example:4123"}, False),
    ],
)
def test_a_page_in_a_browser_does_not_administer(headers: dict[bytes, bytes], allowed: bool) -> None:
    """Neither by a request of its own nor by a name that was made to mean this machine; with an admin key it may."""
    local = Caller(trusted=True, admin=True, local=True)
    check_route(Caller(key_id="digits", trusted=True, admin=True), headers, KEYS)
    if allowed:
        check_route(local, headers, KEYS)
    else:
        with pytest.raises(NotAllowed):
            check_route(local, headers, KEYS)


def test_virtual_keys_use_what_is_their_own() -> None:
    """Models and their own traces, and neither metrics nor admin routes; keys of the configuration use all but these."""
    held = Caller(key_id="key_1", grant=virtual().grant())
    for path in ("/v1/models", "/v1/models/m", "/v1/traces", "/v1/explain"):
        check_route(held, {}, path)
    for path in ("/metrics", "/v1/config/reload", "/v1/engines", KEYS):
        with pytest.raises(NotAllowed):
            check_route(held, {}, path)
    check_route(Caller(key_id="digits"), {}, "/metrics")
    with pytest.raises(NotAllowed):
        check_route(Caller(key_id="digits"), {}, KEYS)


@pytest.mark.parametrize("host", [b"127.0.0.1:4123", b"localhost", b"[::1]:4123", b"gateway:4123", b"app.localhost:4123", b""])
async def test_where_no_key_is_needed_hosts_that_nobody_else_can_own_are_served(host: bytes) -> None:
    """Addresses, names without a dot and names below .localhost cannot be pointed at us by a stranger."""
    assert (await enter(Gate(Server(), ring()), {b"host": host})).trusted


async def test_where_no_key_is_needed_a_page_cannot_point_its_own_name_at_us() -> None:
    """DNS rebinding makes a stranger's page same-origin with us; its Host gives it away. Naming the host lets it in."""
    strange = {b"host": b"evil.example:4123"}
    with pytest.raises(NotAllowed, match=r"evil\.example"):
        await enter(Gate(Server(), ring()), strange)
    assert (await enter(Gate(Server(trusted_hosts=("evil.example",)), ring()), strange)).trusted
    keyed = Gate(Server(api_keys=("sk-1",)), ring())
    assert (await enter(keyed, {**strange, **bearer("sk-1")})).key_id is not None


async def test_keys_are_compared_in_constant_time_with_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only digests are compared, only by the comparison made for it, and as many whichever key matches: time tells nothing."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    gate = Gate(Server(api_keys=("first", "second", "third"), admin_keys=("boss",)), ring())
    counts = {}
    for shown in ("first", "third", "wrong"):
        compared.clear()
        with contextlib.suppress(NotAuthenticated):
            await enter(gate, bearer(shown))
        counts[shown] = len(compared)
        assert all(len(one) == len(other) == hashlib.sha256().digest_size for one, other in compared)
    assert set(counts.values()) == {4}
    compared.clear()
    assert virtual().is_secret(digest_of(SECRET))
    assert not virtual().is_secret(digest_of(SECRET + "x"))
    assert len(compared) == 2


def test_nothing_else_compares_keys() -> None:
    """No module that sees the secret of a caller compares it with an equals sign."""
    seen = {"secret", "shown", "digest", "api_key", "password"}
    wrong = []
    for module in (access, keys_module, keyring_module):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops):
                names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
                wrong += [f"{module.__name__}:{node.lineno}"] if names & seen else []
    assert wrong == []
