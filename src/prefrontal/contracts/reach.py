"""Where the words of a request may go: rules about hosts, and the one check that everything asks. Pure.

A reach only ever narrows: every rule in it has to agree, so nothing a caller says opens what an operator closed.
"""

from __future__ import annotations

import ipaddress
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from prefrontal.contracts.model import ModelCard

EgressMode = Literal["open", "local_only", "allow"]
"""``open``: any host. ``local_only``: this machine and nothing else. ``allow``: this machine and the hosts listed."""


class HostRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. hosts: what ``allow`` lists, ``*.example.com`` for subdomains. why: whose rule it is, for people."""

    mode: EgressMode
    hosts: tuple[str, ...] = ()
    why: str = "egress"

    def permits(self, host: str) -> bool:
        """Return whether `host` may be contacted; this machine always may."""
        return self.mode == "open" or is_loopback(host) or (self.mode == "allow" and is_listed(host, self.hosts))


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """The rules one request is under."""

    rules: tuple[HostRule, ...]

    def refusal(self, url: str | None) -> str | None:
        """Return which rule keeps a request away from the host of `url`, as words; None: none does. None is our own engine."""
        if url is None:
            return None
        host = host_of(url)
        for rule in self.rules:
            if not rule.permits(host):
                return refused(host, rule)
        return None


def url_for(reach: Reach, card: ModelCard) -> str | None:
    """Return the address by which a model may be judged: of its first deployment that is within reach, else its own."""
    return next((one.base_url for one in card.deployments if reach.refusal(one.base_url) is None), card.base_url)


def refused(host: str, rule: HostRule) -> str:
    """Return why `rule` keeps everybody from `host`, as words."""
    what = "allows this machine only" if rule.mode == "local_only" else "does not list it"
    return f"the host '{host}' may not be contacted: {rule.why} {what}"


def host_of(url: str) -> str:
    """Return the host a URL names, lower case; empty when it names none or is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str | None) -> bool:
    """Return whether an address or name is this machine and can be reached from nowhere else; None is not."""
    if host is None:
        return False
    if host in ("127.0.0.1", "::1") or host.lower() == "localhost":  # the common answers without parsing
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_listed(host: str, hosts: tuple[str, ...]) -> bool:
    """Return whether a host is in a list, in any case of letters; ``*.example.com`` means subdomains and not the name itself."""
    name = host.lower().rstrip(".")
    return any(name == rule or (rule.startswith("*.") and name.endswith(rule[1:])) for rule in map(str.lower, hosts))
