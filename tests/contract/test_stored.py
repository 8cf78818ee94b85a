"""What a counter is on a server, and what happens to a key that holds something else."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from django_counter.base import Counter
from django_counter.exceptions import CounterTypeError
from django_counter.values import INT64_MAX, INT64_MIN, Budget, Entry
from tests.contract.operations import WITH_KEY
from tests.contract.stores import ON_SERVERS, RedisStore

pytestmark = pytest.mark.parametrize("variant", ON_SERVERS, indirect=True, ids=str)

NO_COUNTERS: dict[str, Any] = {
    "abc": b"abc",
    "empty": b"",
    "digits grouped": b"1_000",
    "space before": b" 1",
    "space after": b"1 ",
    "plus": b"+1",
    "zero before": b"01",
    "minus zero": b"-0",
    "minus": b"-",
    "fraction": b"1.0",
    "exponent": b"1e3",
    "hexadecimal": b"0x10",
    "infinite": b"inf",
    "no number": b"nan",
    "several": b"1,2",
    "above int64": b"9223372036854775808",
    "below int64": b"-9223372036854775809",
    "10000 digits": b"1" * 10_000,
    "Arabic-Indic digits": "١٢".encode(),
    "full-width digits": "\uff11\uff12".encode(),
    "pickle": b"\x80\x05K\x05.",
    "no UTF-8": b"\xff",
    "list": [b"1", b"2"],
    "hash": {b"1": b"2"},
}
OTHER_TYPES = {"list", "hash"}
PASSING = ("set_if_not_exists", "delete", "multi_get")
READING = {name: call for name, call in WITH_KEY.items() if name not in PASSING}


@pytest.mark.figure("garbage")
@pytest.mark.fault("another type", "no integer")
@pytest.mark.parametrize("call", READING.values(), ids=READING)
def test_what_is_no_counter_is_refused_and_left(
    counter: Counter, store: RedisStore, key: str, call: Callable[[Counter, str], object]
) -> None:
    for name, stored in NO_COUNTERS.items():
        place = f"{key}{name}"
        store.write(place, stored)
        before = store.dump(place)
        with pytest.raises(CounterTypeError, match=repr(place)):
            call(counter, place)
        assert store.dump(place) == before, name
        assert store.client.pttl(store.place(place)) == -1


@pytest.mark.figure("garbage")
@pytest.mark.parametrize("call", READING.values(), ids=READING)
def test_what_is_no_counter_keeps_its_ttl(
    counter: Counter, store: RedisStore, key: str, call: Callable[[Counter, str], object]
) -> None:
    store.write(key, b"abc")
    store.client.pexpire(store.place(key), 100_000)
    with pytest.raises(CounterTypeError):
        call(counter, key)
    assert 50_000 < store.client.pttl(store.place(key)) <= 100_000


@pytest.mark.figure("garbage")
def test_multi_get_refuses_a_string_that_is_no_counter(
    counter: Counter, store: RedisStore, key: str
) -> None:
    for name in NO_COUNTERS.keys() - OTHER_TYPES:
        place = f"{key}{name}"
        store.write(place, NO_COUNTERS[name])
        before = store.dump(place)
        with pytest.raises(CounterTypeError, match=repr(place)):
            counter.multi_get([f"{key}good", place])
        with pytest.raises(CounterTypeError, match=repr(place)):
            counter.multi_get([place])
        assert store.dump(place) == before


def test_multi_get_reads_another_type_as_missing(
    counter: Counter, store: RedisStore, key: str
) -> None:
    counter.set(f"{key}good", 5)
    for name in OTHER_TYPES:
        place = f"{key}{name}"
        store.write(place, NO_COUNTERS[name])
        before = store.dump(place)
        assert counter.multi_get([place, f"{key}good"]) == {place: 0, f"{key}good": 5}
        assert store.dump(place) == before


def test_set_if_not_exists_leaves_what_is_no_counter(
    counter: Counter, store: RedisStore, key: str
) -> None:
    for name, stored in NO_COUNTERS.items():
        place = f"{key}{name}"
        store.write(place, stored)
        before = store.dump(place)
        assert counter.set_if_not_exists(place, 1, 100) is False
        assert store.dump(place) == before
        assert store.client.pttl(store.place(place)) == -1


def test_delete_removes_what_is_no_counter(counter: Counter, store: RedisStore, key: str) -> None:
    for name, stored in NO_COUNTERS.items():
        store.write(f"{key}{name}", stored)
        counter.delete(f"{key}{name}")
        assert not store.client.exists(store.place(f"{key}{name}"))


def test_scan_passes_over_what_is_no_counter(counter: Counter, store: RedisStore, key: str) -> None:
    counter.set(f"{key}good", 5)
    for name, stored in NO_COUNTERS.items():
        store.write(f"{key}{name}", stored)
    assert list(counter.scan(key)) == [Entry(f"{key}good", 5, None)]
    stored = set(store.client.scan_iter(match=store.place(f"{key}*"), count=1000))
    assert len(stored) == len(NO_COUNTERS) + 1


def test_scan_passes_over_what_no_caller_could_name(
    counter: Counter, store: RedisStore, key: str
) -> None:
    counter.set(f"{key}good", 5)
    place = store.place(key).encode()
    for rest in (b"\xff", b"\n", b"\x00", b"x" * 512, "é".encode() * 300):
        store.client.set(place + rest, b"1")
    assert list(counter.scan(key)) == [Entry(f"{key}good", 5, None)]
    store.client.set(store.place(""), b"1")
    assert list(counter.scan()) == [Entry(f"{key}good", 5, None)]


def test_scan_passes_over_keys_of_others(counter: Counter, store: RedisStore, key: str) -> None:
    store.client.set(f"{key}a", b"1")
    store.client.set(f"counter{key}a", b"1")
    store.client.set(f"x{store.place(key)}", b"1")
    assert list(counter.scan(key)) == []
    assert list(counter.scan()) == []


@pytest.mark.figure("garbage")
def test_take_changes_no_budget_when_one_is_no_counter(
    counter: Counter, store: RedisStore, key: str
) -> None:
    for bad, name in itertools.product(range(3), ("abc", "fraction", "above int64", "list")):
        budgets = [Budget(f"{key}{bad}{name}{number}", 10, 100) for number in range(3)]
        existing, missing = (budgets[number].key for number in range(3) if number != bad)
        store.write(budgets[bad].key, NO_COUNTERS[name])
        before = store.dump(budgets[bad].key)
        counter.set(existing, 5)
        with pytest.raises(CounterTypeError):
            counter.take(budgets, 2)
        assert store.dump(budgets[bad].key) == before
        assert counter.entry(existing) == (existing, 5, None)
        assert counter.entry(missing) is None


def test_a_counter_is_its_decimal_digits_under_prefix_and_key(
    counter: Counter, store: RedisStore, key: str
) -> None:
    for value in (0, 5, -5, 2**53 + 1, INT64_MAX, INT64_MIN):
        digits = b"%d" % value
        for name, create in {
            "increment": lambda place, value=value: counter.increment(place, value),
            "ttl": lambda place, value=value: counter.increment(place, value, 100),
            "nx": lambda place, value=value: counter.set_if_not_exists(place, value, 100),
            "set": lambda place, value=value: counter.set(place, value, 100),
            "equal": lambda place, value=value: (
                counter.set(place, 1),
                counter.set(place, value, if_equal=1),
            ),
        }.items():
            create(f"{key}{name}{value}")
            assert store.client.get(f"counter:{key}{name}{value}") == digits
    counter.take([Budget(key, INT64_MAX, 100)], 1)
    assert store.client.get(f"counter:{key}") == b"%d" % (INT64_MAX - 1)


def test_what_another_client_counted_is_a_counter(
    counter: Counter, store: RedisStore, key: str
) -> None:
    store.client.incrby(store.place(key), 5)
    assert counter.get(key) == 5
    assert counter.decrement_if_exists(key, 2) == (3, True, True)
    store.client.set(store.place(key), b"9223372036854775807")
    assert counter.decrement_if_exists(key, INT64_MAX) == (0, True, True)


def test_a_shared_server_is_shared_by_all_counters_of_a_prefix(
    counter: Counter, store: RedisStore, key: str
) -> None:
    counter.increment(key, 5)
    assert store.counter.get(key) == 5
    store.counter.increment(key, 5)
    assert counter.get(key) == 10
