"""Fetches what a request names by URL, as somebody who trusts neither the URL nor the server behind it.

Every address of the host is checked before one is connected to, and exactly a checked one is connected to, so that a name cannot
mean something else the second time it is asked for. Each hop of a redirect is checked like the first.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from prefrontal.chat.blocks import File, Image
from prefrontal.chat.request import ChatRequest
from prefrontal.clock import Clock
from prefrontal.config.schema_egress import Fetch
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.reach import Reach, is_listed
from prefrontal.errors import InvalidRequest, PayloadTooLarge
from prefrontal.execute.addresses import is_disguised, is_public
from prefrontal.execute.egress import check_reach
from prefrontal.execute.media import Fetched, check_opaque, fetches_itself, named_by_url, texts_only, with_bytes
from prefrontal.execute.transport.base import Egress
from prefrontal.execute.transport.names import LocalNames, result
from prefrontal.providers.profile import Profile

MAX_URL = 8192
"""Longest URL that is fetched, in characters (assumed: servers refuse longer ones)."""

MAX_FETCHES = 32
"""Most images and files by URL in one request (assumed: vendors take a few tens)."""

AT_ONCE = 4
"""How many of one request are fetched at a time (assumed)."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})

FILE_TYPES = frozenset({"application/pdf", "application/json", "text/plain", "text/markdown", "text/csv", "text/html"})
"""What a file may be (specified: what the vendors' file parts take)."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
)

Resolve = Callable[[str, int], Awaitable[list[tuple[int, str]]]]
"""From a host and port to its addresses, each with its family; raises OSError."""


async def system_addresses(host: str, port: int) -> list[tuple[int, str]]:
    """Ask the system for the addresses of a host. Raises OSError."""
    found = await LocalNames().resolve(host, port, socket.AF_UNSPEC)
    return [(one["family"], one["host"]) for one in found]


class Fetcher:
    """Fetches images and files of requests, for engines that must not. One per process; opens nothing before it is used.

    `allow` is the hook of the rules that hold for everything, `settings` the bounds that hold now.
    """

    def __init__(
        self, *, clock: Clock, allow: Egress, settings: Callable[[], Fetch], resolve: Resolve = system_addresses
    ) -> None:
        self._clock = clock
        self._allow = allow
        self._settings = settings
        self._resolve = resolve

    async def inlined(
        self, request: ChatRequest, card: ModelCard, profile: Profile, reach: Reach | None, kept: dict[str, Fetched]
    ) -> ChatRequest:
        """Return the request as the model's engine may have it: with bytes where it names URLs, for engines of one's own.

        kept: what was fetched for this request before, by URL; more is added.

        Raises:
            InvalidRequest: a URL is not to be fetched or gave nothing usable. PayloadTooLarge. EgressDenied. CapabilityMissing:
            a part of an unknown kind has an address.
        """
        if texts_only(request) or not fetches_itself(card, profile):
            return request
        check_opaque(request, card.id)
        wanted = named_by_url(request)
        if not wanted:
            return request
        await self._fetch_all({block.url: block for block in wanted if block.url not in kept}, card, reach, kept)
        return with_bytes(request, kept)

    async def _fetch_all(
        self, wanted: dict[str | None, Image | File], card: ModelCard, reach: Reach | None, kept: dict[str, Fetched]
    ) -> None:
        settings = self._settings()
        if wanted and not settings.enabled:
            raise InvalidRequest(
                f"'{card.id}' takes bytes, and images and files by URL are not fetched here.",
                param="messages",
                hint="Send them as data URLs, or set egress.fetch.enabled.",
            )
        if len(wanted) > MAX_FETCHES:
            raise InvalidRequest(f"More than {MAX_FETCHES} images and files by URL are not fetched.", param="messages")
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(url: str, block: Image | File) -> None:
            async with gate:
                kept[url] = await self.fetch(url, image=isinstance(block, Image), reach=reach)

        ended = await asyncio.gather(*[one(url or "", block) for url, block in wanted.items()], return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error

    async def fetch(self, text: str, *, image: bool, reach: Reach | None = None) -> Fetched:
        """Return what lies behind a URL. Raises as `inlined` does."""
        settings = self._settings()
        url = _parsed(text)
        try:
            async with self._clock.timeout(settings.timeout_s):
                return await self._follow(url, image, reach, settings)
        except TimeoutError as error:
            raise _refused(url, f"it took longer than {settings.timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _refused(url, f"it could not be read ({type(error).__name__})") from error

    async def _follow(self, url: URL, image: bool, reach: Reach | None, settings: Fetch) -> Fetched:
        for _ in range(settings.redirects + 1):
            addresses = await self._checked(url, reach, settings)
            found = await self._get(url, addresses, image, settings)
            if isinstance(found, Fetched):
                return found
            url = _parsed(str(url.join(URL(found))))
        raise _refused(url, f"it redirects more than {settings.redirects} times")

    async def _checked(self, url: URL, reach: Reach | None, settings: Fetch) -> list[tuple[int, str]]:
        """Return the addresses that may be connected to for `url`. Raises InvalidRequest, EgressDenied."""
        host = (url.raw_host or "").rstrip(".")
        self._allow(str(url))
        check_reach(reach, str(url))
        if is_disguised(host):
            raise _refused(url, "its host is a number in disguise")
        listed = is_listed(host, settings.private_hosts)
        if not listed and not is_public(host, unless_name=True):
            raise _private(url)
        addresses = await self._resolve(host, url.port or 0)
        if not listed and not all(is_public(address) for _, address in addresses):
            raise _private(url)
        return addresses

    async def _get(self, url: URL, addresses: list[tuple[int, str]], image: bool, settings: Fetch) -> Fetched | str:
        """Return the bytes, or where it redirects to."""
        connector = aiohttp.TCPConnector(resolver=_Pinned(addresses), use_dns_cache=False, force_close=True)
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"accept": "image/*" if image else "*/*", "accept-encoding": "identity", "user-agent": "prefrontal"},
            ) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status in REDIRECTS and "location" in response.headers:
                return response.headers["location"]
            if response.status != 200:
                raise _refused(url, f"its server answered {response.status}")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise _refused(url, "it came compressed although plain bytes were asked for")
            data = await _body(response, url, settings)
            return Fetched(data=data, media_type=_kind(url, data, response.content_type, image))


async def _body(response: aiohttp.ClientResponse, url: URL, settings: Fetch) -> bytes:
    """Return the body. Raises PayloadTooLarge as soon as it is known to be."""
    declared = response.content_length
    if declared is not None and declared > settings.max_bytes:
        raise _too_large(url, settings)
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > settings.max_bytes:
            raise _too_large(url, settings)
    return bytes(data)


class _Pinned(AbstractResolver):
    """Gives the addresses that were checked, whatever it is asked."""

    def __init__(self, addresses: list[tuple[int, str]]) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        return [result(host, address, port, kind) for kind, address in self._addresses]

    async def close(self) -> None:
        """Nothing to close."""


def _parsed(text: str) -> URL:
    """Return the URL as the client reads it, so that what is checked is what is connected to. Raises InvalidRequest."""
    if len(text) > MAX_URL:
        raise InvalidRequest(f"A URL of more than {MAX_URL} characters is not fetched.", param="messages")
    try:
        url = URL(text)
        ports = url.port
    except ValueError as error:
        raise _refused(text, "it is no URL") from error
    if url.scheme not in ("http", "https"):
        raise _refused(text, "only http and https are fetched")
    if not url.raw_host or ports is None:
        raise _refused(text, "it names no host")
    if url.user is not None or url.password is not None:
        raise _refused(text, "it carries a user name")
    return url


def _kind(url: URL, data: bytes, declared: str, image: bool) -> str:
    """Return the media type, by the first bytes where they tell. Raises InvalidRequest for what is not wanted."""
    found = next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)
    if found is None and data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        found = "image/webp"
    kind = found or declared.partition(";")[0].strip().lower()
    if not (
        kind.startswith("image/") and kind != "image/svg+xml" if image else kind in FILE_TYPES or kind.startswith("image/")
    ):
        raise _refused(url, f"it is '{kind}', which is no {'image' if image else 'file a model reads'}")
    return kind


def _shown(url: URL | str) -> str:
    """Return what of a URL an error may show: scheme and host, for paths and queries can hold keys."""
    if isinstance(url, str):
        return "the URL"
    return f"{url.scheme}://{url.raw_host}" if url.raw_host else "the URL"


def _refused(url: URL | str, why: str) -> InvalidRequest:
    return InvalidRequest(f"What a part names by URL ({_shown(url)}) was not fetched: {why}.", param="messages")


def _private(url: URL) -> InvalidRequest:
    error = _refused(url, "its host is not on the open internet")
    error.hint = "egress.fetch.private_hosts lists hosts of yours that may be fetched from."
    return error


def _too_large(url: URL, settings: Fetch) -> PayloadTooLarge:
    text = f"What a part names by URL ({_shown(url)}) is larger than {settings.max_bytes} bytes."
    return PayloadTooLarge(text, param="messages", hint="egress.fetch.max_bytes sets the limit.")
