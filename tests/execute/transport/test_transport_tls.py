"""TLS: what is trusted, and what a refusal says."""

import ssl

import pytest
import trustme

import prefrontal
from prefrontal.clock import SystemClock
from prefrontal.contracts.wire import WireRequest
from prefrontal.errors import ProviderCut, ProviderUnreachable
from prefrontal.execute.transport import Timeouts, TlsOptions
from prefrontal.execute.transport.http import HttpTransport
from prefrontal.execute.transport.tls import TlsContexts
from prefrontal.testing.upstream import MockUpstream

SOON = Timeouts(connect_s=3, first_byte_s=3)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


async def get(up: MockUpstream, options: TlsOptions):
    transport = HttpTransport(clock=SystemClock())
    try:
        return await transport.send(WireRequest(method="GET", url=up.root_url + "/health"), SOON, tls=options)
    finally:
        await transport.aclose()


async def test_a_self_signed_certificate_is_refused_with_the_settings_that_help(authority):
    """The message names TLS, the reason, and both settings."""
    async with MockUpstream(tls=server_context(authority)) as up:
        with pytest.raises(ProviderUnreachable) as caught:
            await get(up, TlsOptions())
    text = caught.value.text
    assert "TLS" in text
    assert "certificate verify failed" in text
    assert "tls.ca_file" in text
    assert "tls.verify" in text
    assert caught.value.details["reason"] == "tls"


async def test_the_named_authority_is_trusted(authority, ca_file):
    """`tls.ca_file` makes the connection good without switching the check off."""
    async with MockUpstream(tls=server_context(authority)) as up:
        assert (await get(up, TlsOptions(ca_file=ca_file))).status == 200


async def test_the_named_authority_does_not_excuse_a_wrong_host_name(authority, ca_file):
    """A certificate for another name stays refused."""
    async with MockUpstream(tls=server_context(authority, "other.example")) as up:
        with pytest.raises(ProviderUnreachable, match="IP address mismatch"):
            await get(up, TlsOptions(ca_file=ca_file))


async def test_verify_false_accepts_any_certificate(authority):
    """`tls.verify: false` does what it says, also for a wrong name."""
    async with MockUpstream(tls=server_context(authority, "other.example")) as up:
        assert (await get(up, TlsOptions(verify=False))).status == 200


async def test_a_call_that_accepts_any_certificate_opens_no_door_for_the_next(authority):
    """The pooled connection of an unchecked call is not used by a checked one to the same address."""
    transport = HttpTransport(clock=SystemClock())
    try:
        async with MockUpstream(tls=server_context(authority)) as up:
            request = WireRequest(method="GET", url=up.root_url + "/health")
            assert (await transport.send(request, SOON, tls=TlsOptions(verify=False))).status == 200
            with pytest.raises(ProviderUnreachable, match="certificate verify failed"):
                await transport.send(request, SOON)
            stream = await transport.open(request, SOON, tls=TlsOptions(verify=False))
            await stream.aclose()
            with pytest.raises(ProviderUnreachable, match="certificate verify failed"):
                await transport.open(request, SOON)
    finally:
        await transport.aclose()


async def test_the_options_of_one_model_do_not_hold_for_another_at_the_same_address(authority):
    """`tls.verify: false` belongs to the model that says it."""
    async with MockUpstream(tls=server_context(authority)) as up:
        entry = {"profile": "openai-compatible", "endpoint": up.base_url}
        models = {"lax": {**entry, "tls": {"verify": False}}, "strict": entry}
        settings = {"models": models, "records": {"enabled": False}, "discovery": {"enabled": False}}
        async with prefrontal.open(settings, env={}) as pf:
            assert (await pf.chat("hello", model="lax")).text
            with pytest.raises(ProviderUnreachable, match="certificate verify failed"):
                await pf.chat("hello", model="strict")


@pytest.mark.parametrize("content", [None, "this is no certificate"])
async def test_an_unusable_ca_file_is_named(authority, tmp_path, content):
    """A missing file and a file without certificates are mistakes of the setting, and the setting is named."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    async with MockUpstream(tls=server_context(authority)) as up:
        with pytest.raises(ProviderUnreachable) as caught:
            await get(up, TlsOptions(ca_file=str(path)))
    assert caught.value.param == "tls.ca_file"
    assert str(path) in caught.value.message


async def test_plain_http_on_a_tls_port_and_the_reverse_fail_within_the_limits(authority):
    """A mixed-up scheme ends in an error, not in silence."""
    transport = HttpTransport(clock=SystemClock())
    async with MockUpstream(tls=server_context(authority)) as secure, MockUpstream() as plain:
        with pytest.raises(ProviderCut):
            await transport.send(WireRequest(method="GET", url=secure.root_url.replace("https", "http")), SOON)
        with pytest.raises(ProviderUnreachable) as caught:
            await transport.send(WireRequest(method="GET", url=plain.root_url.replace("http", "https")), SOON)
        assert caught.value.details["reason"] == "tls"
    await transport.aclose()


def test_contexts_are_built_once_and_bounded(ca_file):
    """Equal options share a context; the oldest goes when there are too many."""
    contexts = TlsContexts(limit=2)
    first = contexts.get(TlsOptions())
    assert contexts.get(TlsOptions()) is first
    contexts.get(TlsOptions(verify=False))
    contexts.get(TlsOptions(ca_file=ca_file))
    assert len(contexts) == 2
    assert contexts.get(TlsOptions()) is not first
