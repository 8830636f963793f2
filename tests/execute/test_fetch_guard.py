"""Fetching what a stranger's URL names: which addresses are refused, and that exactly a checked address is connected to."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from prefrontal.chat.blocks import Audio, File, Image, Opaque, Text, ToolResult
from prefrontal.chat.request import ChatRequest, Message
from prefrontal.clock import SystemClock
from prefrontal.config.schema_egress import Egress, Fetch
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.reach import HostRule, Reach
from prefrontal.errors import CapabilityMissing, EgressDenied, InvalidRequest, PayloadTooLarge, PrefrontalError
from prefrontal.execute.addresses import is_disguised, is_public
from prefrontal.execute.egress import egress_guard
from prefrontal.execute.fetch import Fetcher
from prefrontal.execute.media import fetches_itself
from prefrontal.providers.catalogue import load_profiles
from prefrontal.testing.http_server import HttpServer, Recorded, Reply

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
PROFILES = load_profiles()
NEAR = ModelCard(id="near", wire_name="near", profile="vllm", base_url="http://127.0.0.1:8000/v1", self_hosted=True)
FAR = ModelCard(id="far", wire_name="far", profile="openai", base_url="https://api.openai.com/v1")

CLOSED = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "198.18.0.1",
    "192.0.0.192",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
]


@pytest.mark.parametrize("address", CLOSED)
def test_addresses_that_are_not_of_the_open_internet_are_closed(address: str) -> None:
    """Loopback, private, link-local, metadata, reserved, and the IPv6 forms that stand for such IPv4 addresses."""
    assert is_public(address) is False


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_the_open_internet_are_open(address: str) -> None:
    """Also in the forms that stand for an open IPv4 address."""
    assert is_public(address) is True


@pytest.mark.parametrize(
    "host", ["2130706433", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "127.1", "127.0.1", "1.2.3.4.5", "08.8.8.8"]
)
def test_numbers_that_some_programs_take_for_addresses_are_disguises(host: str) -> None:
    """Decimal, octal, hexadecimal and shortened forms; names and real addresses are none."""
    assert is_disguised(host)
    assert not any(is_disguised(plain) for plain in ("8.8.8.8", "example.com", "::1", "0x.example.com", "1e100.net"))


class Names:
    """A resolver under the test's control; what it answers may change from call to call."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[tuple[int, str]]:
        self.asked.append(host)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, one) for one in addresses]


def fetcher(names: Names | None = None, *, egress: Egress | None = None, **settings: Any) -> Fetcher:
    rules = egress or Egress()
    options: dict[str, Any] = {} if names is None else {"resolve": names}
    return Fetcher(
        clock=SystemClock(),
        allow=egress_guard(lambda: rules),
        settings=lambda: Fetch(**{"timeout_s": 5, **settings}),
        **options,
    )


Site = dict[str, tuple[int, dict[str, str], bytes]]


@asynccontextmanager
async def serving(site: Site) -> AsyncIterator[tuple[str, list[Recorded]]]:
    """Serve fixed answers by path on loopback; yield the port's host and what was asked."""

    async def answer(asked: Recorded, reply: Reply) -> None:
        status, headers, body = site[asked.path.partition("?")[0]]
        reply.whole(status, headers, body)

    server = HttpServer(answer, clock=SystemClock())
    await server.start(0)
    try:
        yield f"127.0.0.1:{server.port}", server.requests
    finally:
        await server.stop()


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.com/a", "gopher://example.com/", "data:text/plain,x", "//example.com/a", "a.png", "http://",
        "http://user:password@example.com/", "http://127.0.0.1/", "http://[::1]/", "http://[::ffff:169.254.169.254]/latest/meta-data",
        "http://2130706433/", "http://0177.0.0.1/", "http://127.1/", "http://0/", "http://127.0.0.1./", "http://\uff11\uff12\uff17.0.0.1/",
        "http://%31%32%37.0.0.1/", "http://" + "a" * 9000,
    ],
)  # fmt: skip
async def test_urls_that_lead_elsewhere_than_the_open_internet_are_refused(url: str) -> None:
    """Whatever the spelling; nothing is asked of a resolver that could answer something harmful later."""
    names = Names(["127.0.0.1"])
    with pytest.raises(InvalidRequest) as caught:
        await fetcher(names).fetch(url, image=True)
    assert "password" not in caught.value.text


async def test_a_name_with_one_closed_address_among_open_ones_is_refused() -> None:
    """A resolver that mixes them would otherwise be drawn until it hits."""
    with pytest.raises(InvalidRequest, match="open internet"):
        await fetcher(Names(["93.184.216.34", "10.0.0.1"])).fetch("http://mixed.example/a.png", image=True)


async def test_the_address_that_was_checked_is_the_one_connected_to() -> None:
    """A name that means something else the second time it is asked for is not asked a second time."""
    async with serving({"/a.png": (200, {"content-type": "image/png"}, PNG)}) as (place, asked):
        port = place.rpartition(":")[2]
        names = Names(["127.0.0.1"], ["10.255.255.1"])
        found = await fetcher(names, private_hosts=("pictures.example",)).fetch(
            f"http://pictures.example:{port}/a.png", image=True
        )
    assert (found.data, found.media_type) == (PNG, "image/png")
    assert names.asked == ["pictures.example"]
    assert asked[0].headers["host"] == f"pictures.example:{port}"
    assert {"authorization", "cookie"}.isdisjoint(asked[0].headers)


async def test_each_redirect_is_checked_like_the_first_url_and_they_are_bounded() -> None:
    """A server that may be asked cannot send us to one that may not, and not in circles."""
    site: Site = {
        "/in": (302, {"location": "http://169.254.169.254/latest/meta-data"}, b""),
        "/file": (301, {"location": "file:///etc/passwd"}, b""),
        "/round": (307, {"location": "/round"}, b""),
        "/one": (308, {"location": "a.png"}, b""),
        "/a.png": (200, {"content-type": "image/png"}, PNG),
    }
    async with serving(site) as (place, asked):
        get = fetcher(private_hosts=("127.0.0.1",), redirects=2)
        assert (await get.fetch(f"http://{place}/one", image=True)).data == PNG
        for path, why in (("/in", "open internet"), ("/file", "http and https"), ("/round", "more than 2 times")):
            with pytest.raises(InvalidRequest, match=why):
                await get.fetch(f"http://{place}{path}", image=True)
    assert [one.path for one in asked].count("/round") == 3


async def test_what_comes_back_is_bounded_in_size_kind_and_time() -> None:
    """Too large, too slow, compressed, an error, or nothing a model reads: refused, and no path of the URL in the message."""
    site: Site = {
        "/big": (200, {"content-type": "image/png"}, PNG * 100),
        "/page": (200, {"content-type": "text/html"}, b"<html>"),
        "/svg": (200, {"content-type": "image/svg+xml"}, b"<svg/>"),
        "/zip": (200, {"content-type": "image/png", "content-encoding": "gzip"}, PNG),
        "/gone": (404, {"content-type": "image/png"}, PNG),
        "/pdf": (200, {"content-type": "application/octet-stream"}, b"%PDF-1.7"),
    }
    async with serving(site) as (place, _):
        get = fetcher(private_hosts=("127.0.0.1",), max_bytes=1000)
        with pytest.raises(PayloadTooLarge):
            await get.fetch(f"http://{place}/big", image=True)
        for path in ("/page", "/svg", "/zip", "/gone?secret=sk-0123456789abcdef", "/pdf"):
            with pytest.raises(InvalidRequest) as caught:
                await get.fetch(f"http://{place}{path}", image=True)
            assert "secret" not in caught.value.text
        assert (await get.fetch(f"http://{place}/pdf", image=False)).media_type == "application/pdf"


async def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    """The time is for all of it, redirects included."""
    silent = socket.create_server(("127.0.0.1", 0))
    try:
        get = fetcher(private_hosts=("127.0.0.1",), timeout_s=0.1)
        with pytest.raises(InvalidRequest, match="longer than"):
            await get.fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/a.png", image=True)
    finally:
        silent.close()


async def test_the_rules_about_hosts_hold_for_fetches_too() -> None:
    """Those for everything, and those of the request."""
    names = Names(["93.184.216.34"])
    with pytest.raises(EgressDenied):
        await fetcher(names, egress=Egress(mode="local_only")).fetch("http://pictures.example/a.png", image=True)
    reach = Reach(rules=(HostRule(mode="allow", hosts=("api.openai.com",), why="the data class 'inner'"),))
    with pytest.raises(EgressDenied, match="inner"):
        await fetcher(names).fetch("http://pictures.example/a.png", image=True, reach=reach)
    assert names.asked == []


def asking(*blocks: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=(Message(role="user", blocks=(Text(text="What is it?"), *blocks), form="parts"),))


async def test_engines_of_ones_own_get_bytes_and_hosted_vendors_the_url() -> None:
    """Each URL is fetched once for a request, whatever is tried with it; a vendor fetches from its own network."""
    async with serving({"/a.png": (200, {"content-type": "image/png"}, PNG)}) as (place, asked):
        request, kept = asking(Image(url=f"http://{place}/a.png", detail="low")), {}
        get = fetcher(private_hosts=("127.0.0.1",))
        assert await get.inlined(request, FAR, PROFILES["openai"], None, kept) is request
        for _ in range(2):
            sent = await get.inlined(request, NEAR, PROFILES["vllm"], None, kept)
        block = sent.messages[0].blocks[1]
    assert isinstance(block, Image)
    assert (block.url, block.media_type, block.detail, (block.data or "")[:8]) == (None, "image/png", "low", "iVBORw0K")
    assert len(asked) == 1


@pytest.mark.parametrize("block", [Image(url="file:///etc/passwd"), File(url="http://127.0.0.1/x"), Image(url="/etc/passwd")])
async def test_an_engine_of_ones_own_never_sees_a_url_it_might_follow(block: Any) -> None:
    """Not one of this machine or its network, and none of a scheme that reads files."""
    with pytest.raises(InvalidRequest):
        await fetcher().inlined(asking(block), NEAR, PROFILES["vllm"], None, {})


async def test_parts_of_unknown_kinds_with_an_address_in_them_are_refused_for_such_engines() -> None:
    """Engines know more kinds of parts than we do, and fetch what they name; data URLs pass."""
    video = Opaque(dialect="openai", value={"type": "video_url", "video_url": {"url": "http://169.254.169.254/"}})
    with pytest.raises(CapabilityMissing, match="video_url"):
        await fetcher().inlined(asking(video), NEAR, PROFILES["vllm"], None, {})
    inline = asking(Opaque(dialect="openai", value={"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}))
    assert await fetcher().inlined(inline, NEAR, PROFILES["vllm"], None, {}) is inline
    assert await fetcher().inlined(asking(video), FAR, PROFILES["openai"], None, {})


INSIDE = "http://169.254.169.254/"


@pytest.mark.parametrize(
    "block",
    [
        Opaque(dialect="openai", value={"type": "video", "video": INSIDE}),
        Opaque(dialect="openai", value={"type": "input_video", "input_video": {"data": INSIDE}}),
        Audio(data=INSIDE, format="wav"),
        File(data="file:///etc/passwd", media_type="application/pdf"),
        ToolResult(call_id="c", blocks=(Image(data=INSIDE),)),
        ToolResult(call_id="c", extra={"content": [{"type": "video", "source": {"type": "url", "url": INSIDE}}]}),
    ],
)
async def test_an_address_in_an_unlikely_place_is_refused_for_such_engines(block: Any) -> None:
    """Some engines follow what stands where bytes belong, or in a field of another name."""
    with pytest.raises(CapabilityMissing):
        await fetcher().inlined(asking(block), NEAR, PROFILES["vllm"], None, {})


async def test_bytes_and_words_that_look_a_little_like_addresses_pass() -> None:
    """The base64 of an MP3 begins with two slashes, and words may begin with an address."""
    words = Opaque(dialect="openai", value={"type": "note", "text": "http://example.com is a site", "data": "//uQxAAAA"})
    for block in (Audio(data="//uQxAAAA", format="mp3"), words, ToolResult(call_id="c", extra={"note": "see http://a.example"})):
        request = asking(block)
        assert await fetcher().inlined(request, NEAR, PROFILES["vllm"], None, {}) is request


async def test_fetching_can_be_switched_off_and_is_bounded_in_number() -> None:
    """Then such a request is an error for engines that need the bytes."""
    pictures = [Image(url=f"http://pictures.example/{number}") for number in range(33)]
    for get, blocks in ((fetcher(enabled=False), pictures[:1]), (fetcher(), pictures)):
        with pytest.raises(PrefrontalError, match="not fetched"):
            await get.inlined(asking(*blocks), NEAR, PROFILES["vllm"], None, {})


def test_which_engines_are_ones_own() -> None:
    """By profile, by wire, by address: an unknown server on a private address or a bare name is the operator's."""
    generic = PROFILES["openai-compatible"]

    def own(url: str) -> bool:
        return fetches_itself(ModelCard(id="m", wire_name="m", profile=generic.name, base_url=url), generic)

    assert own("http://10.1.2.3:8000/v1")
    assert own("http://gpu-box:8000/v1")
    assert own("http://[fd00::1]/v1")
    assert not own("https://llm.example.com/v1")
    assert fetches_itself(ModelCard(id="m", wire_name="m", profile="ollama", base_url="https://ollama.com"), PROFILES["ollama"])
