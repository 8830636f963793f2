"""Whose address is believed when proxies may stand between."""

from __future__ import annotations

import pytest

from prefrontal.serve.peers import FORWARDED, Peers


def peer(trusted: tuple[str, ...], client: str | None, **headers: str) -> str | None:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Peers(trusted).of({"client": (client, 1) if client else None}, named)


def test_without_proxies_an_address_is_who_connected() -> None:
    """And headers say nothing about it."""
    assert peer((), "127.0.0.1") == "127.0.0.1"
    assert peer((), "192.0.2.7", x_forwarded_for="127.0.0.1") == "192.0.2.7"
    assert peer((), None) is None


@pytest.mark.parametrize("name", [name.decode() for name in FORWARDED])
def test_who_comes_through_a_proxy_on_this_machine_does_not_sit_at_it(name: str) -> None:
    """A proxy here that nobody configured makes strangers look local; what it adds gives it away."""
    assert peer((), "127.0.0.1", **{name: "203.0.113.9"}) is None


def test_a_configured_proxy_is_believed_as_far_as_it_can_know() -> None:
    """The last address that is no proxy of ours counts: those before it are the caller's own words."""
    trusted = ("127.0.0.1", "10.0.0.0/8")
    assert peer(trusted, "127.0.0.1", x_forwarded_for="203.0.113.9") == "203.0.113.9"
    assert peer(trusted, "10.1.1.1", x_forwarded_for="127.0.0.1, 203.0.113.9, 10.2.2.2") == "203.0.113.9"
    assert peer(trusted, "10.1.1.1", x_forwarded_for="127.0.0.1") is None
    assert peer(trusted, "10.1.1.1", x_forwarded_for="::1") is None
    assert peer(trusted, "10.1.1.1", x_forwarded_for="nonsense") is None
    assert peer(trusted, "10.1.1.1", forwarded="for=203.0.113.9") is None
    assert peer(trusted, "192.0.2.7", x_forwarded_for="203.0.113.9") == "192.0.2.7"
