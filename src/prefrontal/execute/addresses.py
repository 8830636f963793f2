"""Which addresses a URL that a stranger wrote may lead to. Pure."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
"""Prefixes under which IPv4 addresses are reached from IPv6 (specified: RFC 6052, RFC 8215)."""

_CLOSED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host, this network
        "100.64.0.0/10",  # behind carriers, and the metadata service of one cloud
        "169.254.0.0/16",  # link-local, and the metadata services of most clouds
        "192.0.0.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",  # benchmarks
        "240.0.0.0/4",
        "168.63.129.16/32",  # a cloud's own agent, in public space
        "fec0::/10",  # site-local
        "2001::/32",  # Teredo carries any IPv4 address
        "2001:db8::/32",
    )
)
"""Ranges that are closed whatever the Python of the day calls global."""


def is_public(host: str, *, unless_name: bool = False) -> bool:
    """Return whether an address is one of the open internet. A name is not an address: then `unless_name` is the answer."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return unless_name
    return _public(address)


def _public(address: Address) -> bool:
    inner = embedded(address)
    if inner is not None:
        return _public(inner)
    if any(address.version == net.version and address in net for net in _CLOSED):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def embedded(address: Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for: mapped, compatible, 6to4 or NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    number = int(address)
    if any(address in net for net in _NAT64) or 1 < number < 2**32:  # the latter is the form ::a.b.c.d
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    return None


def is_disguised(host: str) -> bool:
    """Return whether a host is a number in a form that only some programs take for an address: decimal, octal, hex, shortened."""
    last = host.rstrip(".").rpartition(".")[2]
    numeric = last.isdigit() or last.lower().startswith("0x")
    if not numeric or ":" in host:
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False
