"""The client's address: what proxies say is believed from the right, as far as they are trusted."""

from ipaddress import ip_address
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from hypothesis import given
from hypothesis import strategies as st

from django_counter.ratelimit import addresses
from django_counter.ratelimit.addresses import UNKNOWN, client_address, client_ip, in_networks

PROXY = "10.0.0.1"
CLIENT = "203.0.113.9"


def request_from(address: str | None, forwarded: str | None = None) -> HttpRequest:
    request = RequestFactory().get("/")
    request.META["REMOTE_ADDR"] = address
    if forwarded is not None:
        request.META["HTTP_X_FORWARDED_FOR"] = forwarded
    return request


def found(address: str | None, forwarded: str | None = None, **rate_limit: Any) -> str:
    with override_settings(RATE_LIMIT=rate_limit):
        return client_address(request_from(address, forwarded))


def test_it_is_remote_addr_without_trusted_proxies() -> None:
    assert found(CLIENT, "198.51.100.1") == CLIENT


@pytest.mark.parametrize("proxies", [None, 0, [], ()])
def test_no_trusted_proxies_means_that_nothing_forwarded_is_read(proxies: object) -> None:
    assert found(PROXY, CLIENT, TRUSTED_PROXIES=proxies) == PROXY


@pytest.mark.parametrize("address", ["", None, "unix:", "@", "/run/app.sock"])
def test_all_without_an_address_are_one_client(address: str | None) -> None:
    assert found(address) == UNKNOWN


def test_a_missing_remote_addr_is_no_address_either() -> None:
    request = request_from("")
    del request.META["REMOTE_ADDR"]
    assert client_address(request) == UNKNOWN
    assert client_ip(request) is None


def test_a_reserved_remote_addr_is_still_an_address() -> None:
    assert found("240.0.0.7") == "240.0.0.7"


def test_an_ipv4_address_inside_ipv6_is_the_ipv4_one() -> None:
    assert found("::ffff:203.0.113.9") == CLIENT
    assert found(PROXY, "::ffff:203.0.113.9", TRUSTED_PROXIES=1) == CLIENT


@pytest.mark.parametrize("proxies", [1, ["10.0.0.0/8"]])
def test_an_ipv4_address_behind_nat64_is_the_ipv4_one(proxies: object) -> None:
    assert found("64:ff9b::203.0.113.9") == CLIENT
    assert found(PROXY, "64:ff9b::203.0.113.9", TRUSTED_PROXIES=proxies) == CLIENT
    assert found("64:ff9b::10.0.0.1", CLIENT, TRUSTED_PROXIES=proxies) == CLIENT
    assert found("64:ff9b:0:0:0:1:203.0.113.9") == "64:ff9b::/64"
    assert found("64:ff9b:1::203.0.113.9") == "64:ff9b:1::/64"


def test_an_ipv6_address_is_cut_to_its_network() -> None:
    assert found("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64"
    assert found("2001:db8:1:2:3:4:5:6", IPV6_PREFIX=48) == "2001:db8:1::/48"
    assert found("2001:db8::1", IPV6_PREFIX=128) == "2001:db8::1/128"


@pytest.mark.parametrize("proxies", [None, 1])
def test_a_prefix_that_no_network_has_is_an_error(proxies: int | None) -> None:
    with pytest.raises(ValueError, match="129"):
        found("2001:db8::1", IPV6_PREFIX=129, TRUSTED_PROXIES=proxies)


def test_an_address_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client_address(request_from("2001:db8:9::1")) == "2001:db8:9::/64"
    monkeypatch.delattr(addresses, "_client")
    assert client_address(request_from("2001:db8:9::1")) == "2001:db8:9::/64"


def test_what_is_no_address_is_not_remembered() -> None:
    remembered = addresses._client_at.cache_info().currsize
    assert client_address(request_from("no address")) == UNKNOWN
    assert addresses._client_at.cache_info().currsize == remembered


def test_the_zone_of_an_ipv6_address_does_not_count() -> None:
    assert found("fe80::1%eth0") == found("fe80::2%eth1") == "fe80::/64"


def test_client_ip_is_not_cut() -> None:
    assert client_ip(request_from("2001:db8::1")) == ip_address("2001:db8::1")


@pytest.mark.parametrize(
    "forged", ["", "6.6.6.6, ", "6.6.6.6,7.7.7.7, ", "junk, ", '"6.6.6.6, ', ",,"]
)
@pytest.mark.parametrize("proxies", [1, ["10.0.0.0/8"], {"10.0.0.1"}])
def test_behind_one_proxy_only_the_rightmost_entry_counts(forged: str, proxies: object) -> None:
    assert found(PROXY, f"{forged}{CLIENT}", TRUSTED_PROXIES=proxies) == CLIENT


@pytest.mark.parametrize("forged", ["", "6.6.6.6, ", "10.0.0.3, 6.6.6.6, ", "junk, "])
@pytest.mark.parametrize("proxies", [2, ["10.0.0.0/8"], ["10.0.0.1/32", "10.0.0.2/32"]])
def test_behind_two_proxies_the_second_entry_from_the_right_counts(
    forged: str, proxies: object
) -> None:
    assert found(PROXY, f"{forged}{CLIENT}, 10.0.0.2", TRUSTED_PROXIES=proxies) == CLIENT


def test_who_is_no_trusted_proxy_is_not_believed() -> None:
    assert found(CLIENT, "6.6.6.6", TRUSTED_PROXIES=["10.0.0.0/8"]) == CLIENT
    assert found("", "6.6.6.6", TRUSTED_PROXIES=["10.0.0.0/8"]) == UNKNOWN


def test_a_count_serves_behind_a_unix_socket() -> None:
    assert found("", f"6.6.6.6, {CLIENT}", TRUSTED_PROXIES=1) == CLIENT


def test_a_field_shorter_than_the_count_is_not_believed() -> None:
    assert found(PROXY, "6.6.6.6", TRUSTED_PROXIES=2) == PROXY
    assert found(PROXY, None, TRUSTED_PROXIES=1) == PROXY


def test_a_client_inside_the_trusted_networks_is_itself() -> None:
    assert found(PROXY, "10.9.9.9, 10.0.0.2", TRUSTED_PROXIES=["10.0.0.0/8"]) == "10.9.9.9"


@pytest.mark.parametrize(
    "entry",
    ["", " ", "unknown", "_hidden", "1.2.3", "1.2.3.4.5", "1.2.3.04", "1.2.3.4:x", "1.2.3. 4"],
)
@pytest.mark.parametrize("proxies", [1, ["10.0.0.0/8"]])
def test_what_is_no_address_falls_back_to_remote_addr(entry: str, proxies: object) -> None:
    assert found(PROXY, f"6.6.6.6,{entry}", TRUSTED_PROXIES=proxies) == PROXY


@pytest.mark.parametrize(
    "entry", ["1.2.3.4\0", "1.2.3.\u0661", "\ud800", "[::1", "fe80::1%", "{1.2.3.4}", "1" * 2**20]
)
def test_hostile_text_falls_back_to_remote_addr(entry: str) -> None:
    assert found(PROXY, entry, TRUSTED_PROXIES=1) == PROXY


@pytest.mark.parametrize("entry", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"])
def test_an_address_that_no_client_has_falls_back_to_remote_addr(entry: str) -> None:
    assert found(PROXY, entry, TRUSTED_PROXIES=1) == PROXY


@pytest.mark.parametrize(
    "entry", [f"{CLIENT}:4711", f" {CLIENT} ", f'"{CLIENT}"', "::FFFF:203.0.113.9", f"for={CLIENT}"]
)
def test_an_address_may_be_written_as_proxies_do(entry: str) -> None:
    assert found(PROXY, entry, TRUSTED_PROXIES=1) == CLIENT


def test_an_ipv6_address_may_have_brackets_and_a_port() -> None:
    assert found(PROXY, "[2001:db8::1]:443", TRUSTED_PROXIES=1) == "2001:db8::/64"


@given(
    forged=st.text(max_size=60) | st.lists(st.ip_addresses().map(str)).map(",".join),
    client=st.ip_addresses(v=4, network="203.0.113.0/24").map(str),
    proxies=st.sampled_from([1, ["10.0.0.0/8"]]),
)
def test_nothing_that_a_client_sends_changes_its_address(
    forged: str, client: str, proxies: object
) -> None:
    assert found(PROXY, f"{forged},{client}", TRUSTED_PROXIES=proxies) == client


@given(forwarded=st.text() | st.text(alphabet='0123456789abcdef.:[]%,"= \0'))
def test_any_field_has_an_answer(forwarded: str) -> None:
    for proxies in (1, 3, ["10.0.0.0/8"]):
        assert found(PROXY, forwarded, TRUSTED_PROXIES=proxies)


@override_settings(RATE_LIMIT={"ALLOW_NETWORKS": ["192.0.2.0/24", "2001:db8::/32"]})
def test_in_networks_looks_in_the_networks_of_both_versions() -> None:
    assert in_networks(ip_address("192.0.2.200"), "ALLOW_NETWORKS")
    assert in_networks(ip_address("2001:db8::1"), "ALLOW_NETWORKS")
    assert not in_networks(ip_address(CLIENT), "ALLOW_NETWORKS")
    assert not in_networks(None, "ALLOW_NETWORKS")


@override_settings(RATE_LIMIT={"TRUSTED_PROXIES": ["10.0.0.0/33"]})
def test_a_bad_network_names_its_setting() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"RATE_LIMIT\['TRUSTED_PROXIES'\].*/33"):
        client_address(request_from(PROXY, CLIENT))
