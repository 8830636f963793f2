"""The table of faults covers what the client can raise."""

import inspect
import ssl

import pytest
from aiohttp import client_exceptions, http_exceptions

from prefrontal.errors import ProviderCut, ProviderMisbehaved, ProviderTimeout, ProviderUnreachable
from prefrontal.execute.transport.faults import REASONS, origin_of, reason_of, translate

DEFINED = [
    cls
    for module in (client_exceptions, http_exceptions)
    for _, cls in inspect.getmembers(module, inspect.isclass)
    if issubclass(cls, Exception) and cls.__module__ == module.__name__
]


@pytest.mark.parametrize("cls", DEFINED, ids=lambda cls: cls.__name__)
def test_every_exception_of_the_client_is_in_the_table(cls):
    """A class the client adds in a new version must be given a meaning here, not by accident of its ancestors."""
    assert cls in REASONS


def test_there_is_something_to_cover():
    """The list above is not empty because the client moved its classes."""
    assert len(DEFINED) > 30


def test_an_unknown_class_takes_the_meaning_of_its_ancestor():
    """A subclass made elsewhere behaves like what it extends."""

    class Special(client_exceptions.ServerDisconnectedError):
        pass

    assert reason_of(Special()) == "cut"
    assert reason_of(KeyError("nothing of ours")) == "misbehaved"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (client_exceptions.ClientPayloadError("short"), ProviderCut),
        (ConnectionResetError(104, "reset"), ProviderCut),
        (http_exceptions.LineTooLong(b"x", 10), ProviderMisbehaved),
        (client_exceptions.SocketTimeoutError("slow"), ProviderTimeout),
        (ssl.SSLError(1, "handshake"), ProviderUnreachable),
        (client_exceptions.InvalidURL("http://"), ProviderUnreachable),
    ],
)
def test_each_reason_becomes_the_error_that_says_so(error, expected):
    """The class decides the retry, so it must be right."""
    ours = translate(error, "https://user:pass@api.example:8443/v1?key=k", answering=True)
    assert type(ours) is expected
    assert "https://api.example:8443" in ours.message
    assert "pass" not in ours.text


def test_an_origin_shows_neither_credentials_nor_path():
    """Whatever a URL carries, an error shows scheme, host and port."""
    assert origin_of("http://me:secret@host:1/path?q=1#f") == "http://host:1"
