"""The address that a request comes from, and the network that stands for its client."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from python_ipware import IpWare

from django_counter.ratelimit.settings import current, setting

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

FORWARDED = "HTTP_X_FORWARDED_FOR"
REMEMBERED = 5_000  # addresses of which a process knows what they say: clients come again
UNKNOWN = "unknown"  # all whose address cannot be told, as behind a Unix socket, are one client

# What stands before an IPv4 address that a gateway made an IPv6 one of (RFC 6052, section 2.1).
_NAT64 = int(IPv6Address("64:ff9b::")) >> 32

# It parses one hop at a time, and which one to believe is decided here: by itself, it takes a list
# of proxies for a chain of just that length, or steps left over what it cannot parse.
_HOP = IpWare(precedence=(FORWARDED,), proxy_count=0)


def client_address(request: HttpRequest) -> str:
    """Return what stands for the client of a request: an IPv4 address, or an IPv6 network.

    The network has RATE_LIMIT["IPV6_PREFIX"] bits: a client has all addresses in it.
    """
    if not current().trusted_proxies:
        try:
            return _client_at(request.META.get("REMOTE_ADDR") or "")
        except ValueError:
            pass  # what is no address is not remembered
    address = client_ip(request)
    return UNKNOWN if address is None else _client(address)


def client_of(text: str) -> str:
    """Return what stands for the client at an address; raise ValueError for a text that is none."""
    return text if text == UNKNOWN else _client_at(text)


def forget() -> None:
    """Read RATE_LIMIT["IPV6_PREFIX"] anew: it has changed."""
    _client_at.cache_clear()


@lru_cache(maxsize=REMEMBERED)
def _client_at(text: str) -> str:
    return _client(_address(text))


def _client(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    # int() drops the zone that the address of a link may have.
    return str(IPv6Network((int(address), setting("IPV6_PREFIX")), strict=False))


def client_ip(request: HttpRequest) -> Address | None:
    """Return the address of the client, None where it cannot be told. It never raises.

    That is REMOTE_ADDR, unless RATE_LIMIT["TRUSTED_PROXIES"] says that proxies stand before this
    server. Each of them appended the address it was called from to X-Forwarded-For, so the field
    is read from its right end: with a count, as many entries back; with networks, back to the
    first address that lies in none of them. What stands left of that is the client's own word.
    Where the field is shorter, or that entry is no address, it is REMOTE_ADDR again.
    """
    peer = _peer(request)
    proxies = current().trusted_proxies
    if not proxies:
        return peer
    forwarded = request.META.get(FORWARDED, "")
    if isinstance(proxies, int):
        return _nth(forwarded, proxies) or peer
    return _first_outside(forwarded, peer) or peer


def in_networks(address: Address | None, name: str) -> bool:
    """Return whether an address lies in one of the networks of RATE_LIMIT[name]."""
    if address is None:
        return False
    return any(address in network for network in _networks(name, tuple(setting(name))))


def _peer(request: HttpRequest) -> Address | None:
    try:
        return _address(request.META.get("REMOTE_ADDR") or "")
    except ValueError:
        return None


@lru_cache(maxsize=128)  # proxies are few
def _address(text: str) -> Address:
    address = ip_address(text)
    if isinstance(address, IPv4Address):
        return address
    if int(address) >> 32 == _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


def _nth(forwarded: str, count: int) -> Address | None:
    hops = forwarded.rsplit(",", count)
    return _parse(hops[-count]) if len(hops) >= count else None


def _first_outside(forwarded: str, peer: Address | None) -> Address | None:
    address = peer
    for hop in reversed(forwarded.split(",")):
        if not in_networks(address, "TRUSTED_PROXIES"):
            break
        address = _parse(hop)
    return address


def _parse(hop: str) -> Address | None:
    """Return the address of a hop, which may have a port, quotes or brackets around it."""
    address: Address | None = _HOP.get_client_ip({FORWARDED: hop}, strict=True)[0]
    return address


@lru_cache(maxsize=8)
def _networks(name: str, networks: Iterable[str]) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(network) for network in networks)
    except ValueError as error:
        raise ImproperlyConfigured(f"RATE_LIMIT[{name!r}]: {error}") from error
