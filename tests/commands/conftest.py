"""Counters on a real server, under keys of each test's own, and a command to run on them."""

import itertools
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

import pytest
import redis

from django_counter import Counter, counters
from django_counter.ratelimit import RateLimit
from django_counter.ratelimit.limit import declared
from tests.commands.runs import Manage
from tests.contract.stores import server_cache
from tests.servers import ServerProcess

_NUMBERS = itertools.count()


@pytest.fixture
def key_prefix() -> str:
    """What the raw keys of a test begin with."""
    return f"commands-{next(_NUMBERS)}"


@pytest.fixture
def counter(valkey: ServerProcess, settings: Any, key_prefix: str) -> Iterator[Counter]:
    """The counters of a test, which `call` works on too."""
    settings.CACHES = {"default": server_cache(valkey.url)}
    settings.COUNTERS = {
        "default": {"KEY_PREFIX": key_prefix},
        "other": {"KEY_PREFIX": f"{key_prefix}-other"},
    }
    yield counters["default"]
    counters["default"].close()


@pytest.fixture
def manage(valkey: ServerProcess, counter: Counter, key_prefix: str) -> Manage:
    """`manage.py counter` as a process, on the same counters."""
    return Manage(valkey.url, key_prefix)


@pytest.fixture
def raw(valkey: ServerProcess) -> Iterator[redis.Redis]:
    """A plain client of the server."""
    with redis.Redis(port=valkey.port) as client:
        yield client


class Declared:
    """The limits that are declared, but for those of other tests on other aliases."""

    def __init__(self) -> None:
        self._others = WeakSet(limit for limit in list(declared) if limit.using != "default")

    def __iter__(self) -> Iterator[RateLimit]:
        return (limit for limit in list(declared) if limit not in self._others)


@pytest.fixture(autouse=True)
def own_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits on aliases that only other tests have are not declared here."""
    monkeypatch.setattr("django_counter.ratelimit.declared.declared", Declared())
