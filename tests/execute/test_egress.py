"""Which hosts may be contacted."""

from __future__ import annotations

import pytest

from prefrontal.config.reach import general_rule, reach_of
from prefrontal.config.schema_egress import Egress, EgressRule
from prefrontal.contracts.reach import HostRule, Reach
from prefrontal.errors import EgressDenied
from prefrontal.execute.egress import check_reach, egress_guard

RULES = ("api.openai.com", "*.Example.org")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("api.openai.com", True),
        ("API.OpenAI.com", True),
        ("api.openai.com.", True),
        ("openai.com", False),
        ("evil-api.openai.com", False),
        ("api.openai.com.evil.net", False),
        ("a.example.org", True),
        ("a.b.example.org", True),
        ("example.org", False),
        ("badexample.org", False),
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
        ("localhost.evil.net", False),
        ("", False),
    ],
)
def test_a_host_is_allowed_by_name_by_subdomain_or_as_loopback(host: str, allowed: bool) -> None:
    """Names match whole, ``*.`` matches subdomains only, this machine is always allowed, nothing else is."""
    assert HostRule(mode="allow", hosts=RULES).permits(host) is allowed
    assert HostRule(mode="open").permits(host) is True
    assert HostRule(mode="local_only", hosts=RULES).permits(host) is (host in ("localhost", "127.0.0.1", "127.8.9.10", "::1"))


def test_the_guard_reads_the_rules_that_hold_at_the_moment() -> None:
    """A reload that narrows the list holds from the next call on; ports, paths and names in the URL do not matter."""
    rules = [Egress()]
    check = egress_guard(lambda: rules[0])
    check("https://anywhere.net/v1")
    rules[0] = Egress(allow=("api.openai.com",))
    check("https://api.openai.com:8443/v1?x=evil.net")
    check("http://[::1]:8080/v1")
    for url in ("https://anywhere.net/v1", "https://api.openai.com@evil.net/v1", "file:///etc/passwd", "http://[::bad"):
        with pytest.raises(EgressDenied) as caught:
            check(url)
        assert "egress.allow" in caught.value.text
    rules[0] = Egress(mode="local_only", allow=("api.openai.com",))
    with pytest.raises(EgressDenied, match="this machine only"):
        check("https://api.openai.com/v1")
    rules[0] = Egress(mode="open", allow=("api.openai.com",))
    check("https://anywhere.net/v1")


def test_of_several_rules_each_has_to_permit() -> None:
    """What holds for all, for each class of data and for the key only ever narrow each other."""
    egress = Egress(
        allow=("*.example.org", "api.openai.com"),
        by_data_class={
            "inner": EgressRule(mode="allow", allow=("a.example.org", "elsewhere.net")),
            "public": EgressRule(mode="open"),
        },
        by_key={"batch": EgressRule(mode="allow", allow=("b.example.org",))},
    )
    inner = reach_of(egress, ["inner", "public"], [None, "nobody"])
    assert inner is not None
    assert inner.refusal("https://a.example.org/v1") is None
    assert "the data class 'inner'" in (inner.refusal("https://b.example.org/v1") or "")
    assert "egress" in (inner.refusal("https://elsewhere.net/v1") or "")  # the class lists it, what holds for all does not
    both = reach_of(egress, ["inner"], ["key_1", "batch"])
    assert both is not None
    assert "the key 'batch'" in (both.refusal("https://a.example.org/v1") or "")
    assert both.refusal(None) is None
    with pytest.raises(EgressDenied, match="the key 'batch'"):
        check_reach(both, "https://a.example.org/v1")
    assert reach_of(Egress(by_data_class=egress.by_data_class), ["public"], []) is None


def test_without_rules_there_is_nothing_to_check() -> None:
    """The default configuration has no rule, and a request without one goes anywhere."""
    assert general_rule(Egress()) is None
    check_reach(None, "https://anywhere.net")
    check_reach(Reach(rules=()), "https://anywhere.net")
