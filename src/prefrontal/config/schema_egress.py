"""The part of the tree that says which hosts may be contacted, by whom and with what."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from prefrontal.config.schema_numbers import Count, Positive
from prefrontal.contracts.reach import EgressMode


class EgressRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which hosts the requests of one class or one key may reach; it narrows what holds for all and never widens it."""

    mode: Annotated[EgressMode, Meta(description="`open`, `local_only` (this machine) or `allow` (this machine and `allow`).")]
    allow: Annotated[tuple[str, ...], Meta(description='Hosts for `mode: allow`; "*.example.com" for subdomains.')] = ()


class Fetch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Images and files that a request names by URL are fetched here for engines of your own, which get the bytes."""

    enabled: Annotated[bool, Meta(description="False refuses such requests where the bytes would be needed.")] = True
    max_bytes: Annotated[
        Count, Meta(description="Largest image or file, bytes. Assumed: 20 MB, the common vendors' limit.")
    ] = 20_000_000
    timeout_s: Annotated[Positive, Meta(description="Longest time for one of them, redirects included, s. Assumed.")] = 10.0
    redirects: Annotated[int, Meta(ge=0, le=10, description="Redirects followed, each checked like the first. Assumed.")] = 3
    private_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Hosts that may be fetched from although their addresses are private or this machine's; "
            '"*.example.com" for subdomains.'
        ),
    ] = ()


class Egress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which hosts may be contacted. Every rule that applies to a request has to permit a host."""

    mode: Annotated[
        EgressMode | None,
        Meta(
            description="`open`: any host; `local_only`: this machine and nothing else; `allow`: this machine and the hosts of "
            "`allow`. Left out: `allow` when that is given, else `open`."
        ),
    ] = None
    allow: Annotated[
        tuple[str, ...] | None,
        Meta(description='Hosts that may be called, "*.example.com" for subdomains; loopback always may; left out: all.'),
    ] = None
    by_data_class: Annotated[
        dict[str, EgressRule],
        Meta(description="Class of data → the hosts it may reach. Requests, channels and keys name classes."),
    ] = {}
    by_key: Annotated[dict[str, EgressRule], Meta(description="Key (name or id) → the hosts its requests may reach.")] = {}
    data_class: Annotated[str | None, Meta(description="The class of requests for which nobody names one.")] = None
    fetch: Annotated[Fetch, Meta(description="Fetching images and files that requests name by URL.")] = Fetch()
