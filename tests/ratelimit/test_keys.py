"""What clients send becomes keys: each its own, short, all over a cluster, and not too many."""

import itertools
import random
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address

import pytest
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from redis.crc import key_slot

from django_counter import counter
from django_counter.ratelimit import RateLimit
from django_counter.ratelimit.addresses import REMEMBERED
from django_counter.ratelimit.identity import LONGEST, parse_identity
from tests.figures import sized

ALGORITHMS = ["fixed", "sliding", "token_bucket"]
PIECES = [
    "",
    ":",
    "{",
    "}",
    "\0",
    "\r\n",
    "\ud800",
    "\udfff",
    "\u00e9",  # composed, and decomposed
    "e\u0301",
    "long ",
    "x" * LONGEST,
]
NETWORK = int(IPv6Address("2001:db8:1:2::"))
ONE_ADDRESS = "203.0.113.9"
ADDRESSES = sized(10_000, 1_000_000)
MEBIBYTE = 2**20
BLOCK = 512  # bytes, the most that an object of Python's own allocator has

pytestmark = pytest.mark.usefixtures("memory")


def hostile_texts() -> set[str]:
    """Return texts that are near each other, and near what stands around them in a key."""
    short = set(map("".join, itertools.product(PIECES, repeat=4)))
    long = {f"{one}{'x' * MEBIBYTE}{other}" for one in PIECES[:5] for other in PIECES[:5]}
    return short | long


@pytest.mark.figure("hostile identities")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_two_identities_share_a_key_and_each_is_short_and_in_a_slot_of_its_own(
    algorithm: str, record_property: Callable[[str, object], None]
) -> None:
    limit = RateLimit("1000/h", name="n" * 128, algorithm=algorithm)
    request = RequestFactory().get("/")
    texts = hostile_texts()
    for text in texts:
        limit.hit(parse_identity(lambda _, text=text: text)(request))
    keys = [f"counter:{entry.key}".encode() for entry in counter.scan("limit:")]  # no statistics
    longest = max(map(len, keys))
    slots = min(len(set(map(key_slot, each))) for each in in_thousands(keys))
    assert len(keys) == len(texts) >= 10_000
    assert longest <= 200
    assert slots >= 900
    record_property(
        "figure",
        f"{len(keys):,} identities, {len(texts) - len(keys)} collisions, keys of at most {longest} "
        f"bytes, at least {slots} slots for each 1,000",
    )


def in_thousands(keys: list[bytes]) -> Iterator[list[bytes]]:
    for first in range(0, len(keys) - 999, 1000):
        yield keys[first : first + 1000]


def from_one_network(request: HttpRequest, address: str) -> None:
    request.META["REMOTE_ADDR"] = address


def forging_the_field(request: HttpRequest, address: str) -> None:
    request.META["HTTP_X_FORWARDED_FOR"] = address


def forging_its_left(request: HttpRequest, address: str) -> None:
    request.META["HTTP_X_FORWARDED_FOR"] = f"{address}, {ONE_ADDRESS}"


@pytest.mark.figure("spoofed addresses")
@pytest.mark.parametrize(
    ("spoof", "proxies"),
    [(from_one_network, 0), (forging_the_field, 0), (forging_its_left, 1)],
    ids=["a /64 network", "X-Forwarded-For", "X-Forwarded-For behind a proxy"],
)
def test_spoofed_addresses_share_one_key_and_take_no_memory(
    spoof: Callable[[HttpRequest, str], None],
    proxies: int,
    record_property: Callable[[str, object], None],
) -> None:
    limit = RateLimit("1000/h", name="search")
    identity = parse_identity("ip")
    request = RequestFactory(REMOTE_ADDR=ONE_ADDRESS).get("/")
    randoms = random.Random(0)

    def come(times: int) -> None:
        for _ in range(times):
            spoof(request, str(IPv6Address(NETWORK | randoms.getrandbits(64))))
            limit.hit(identity(request))

    with override_settings(RATE_LIMIT={"TRUSTED_PROXIES": proxies}):
        come(REMEMBERED + 1_000)
        before = sys.getallocatedblocks()
        come(ADDRESSES)
        grown = (sys.getallocatedblocks() - before) * BLOCK
    assert len(list(counter.scan("limit:"))) == 1
    assert grown < MEBIBYTE
    record_property("figure", f"{ADDRESSES:,} addresses, 1 key, {grown / 1024:.0f} KiB more memory")
