"""multi_increment()."""

from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest

from django_counter.base import Counter
from django_counter.exceptions import CounterOverflow, CounterPartlyApplied, CounterTypeError
from django_counter.values import INT64_MAX, INT64_MIN
from tests.contract.stores import ON_ONE_SERVER, ON_REAL_SERVERS, ON_SERVERS, RedisStore, Store
from tests.contract.test_arguments import NO_INT, NO_INT64, NO_KEY, NO_TTL
from tests.contract.test_round_trips import commands_of

each_ttl = pytest.mark.parametrize("ttl", [None, 60], ids=["plain", "with a ttl"])


@each_ttl
def test_multi_increment_adds_to_each_key(counter: Counter, key: str, ttl: int | None) -> None:
    counter.set(f"{key}b", 10)
    values = {f"{key}c": 3, f"{key}a": -1, f"{key}b": 5, f"{key}d": 0}
    sums = counter.multi_increment(values, ttl)
    assert sums == {f"{key}c": 3, f"{key}a": -1, f"{key}b": 15, f"{key}d": 0}
    assert list(sums) == list(values)
    assert counter.multi_get(values) == sums
    assert {type(each) for each in sums.values()} == {int}


def test_multi_increment_has_no_ttl_by_itself(counter: Counter, key: str) -> None:
    counter.multi_increment({key: 5})
    assert counter.entry(key) == (key, 5, None)


def test_the_ttl_starts_with_what_multi_increment_creates(
    counter: Counter, store: Store, key: str
) -> None:
    counter.set(f"{key}old", 1, 1000)
    counter.multi_increment({f"{key}old": 5, f"{key}new": 5}, store.short)
    old = counter.entry(f"{key}old")
    assert old is not None
    assert old.value == 6
    assert old.ttl is not None
    assert 900 < old.ttl <= 1000
    store.outlive(f"{key}new")
    assert counter.get(f"{key}new") == 0


@each_ttl
def test_multi_increment_is_exact_over_int64(counter: Counter, key: str, ttl: int | None) -> None:
    for held, value in [(2**53, 1), (INT64_MAX - 1, 1), (INT64_MIN + 1, -1), (-(2**53), -1)]:
        counter.set(key, held)
        assert counter.multi_increment({key: value}, ttl) == {key: held + value}
    for value in (INT64_MAX, INT64_MIN):
        assert counter.multi_increment({f"{key}{value}": value}, ttl) == {f"{key}{value}": value}


@each_ttl
def test_multi_increment_of_nothing_is_nothing(counter: Counter, ttl: int | None) -> None:
    assert counter.multi_increment({}, ttl) == {}


def test_multi_increment_takes_any_mapping(counter: Counter, key: str) -> None:
    assert counter.multi_increment(OrderedDict({key: 1})) == {key: 1}
    assert counter.multi_increment(MappingProxyType({key: 1})) == {key: 2}


@pytest.mark.parametrize("variant", ON_REAL_SERVERS, indirect=True, ids=str)
def test_multi_increment_takes_10001_keys(counter: Counter, key: str) -> None:
    values = {f"{key}{number}": number for number in range(10_001)}
    assert counter.multi_increment(values) == values


@each_ttl
def test_where_some_are_refused_the_others_count(
    counter: Counter, key: str, ttl: int | None
) -> None:
    counter.set(f"{key}full", INT64_MAX)
    with pytest.raises(CounterPartlyApplied) as caught:
        counter.multi_increment({f"{key}a": 1, f"{key}full": 1, f"{key}b": 2}, ttl)
    error = caught.value
    assert error.values == {f"{key}a": 1, f"{key}b": 2}
    assert {each: type(why) for each, why in error.errors.items()} == {
        f"{key}full": CounterOverflow
    }
    assert error.__cause__ is error.errors[f"{key}full"]
    assert counter.multi_get([f"{key}a", f"{key}full"]) == {f"{key}a": 1, f"{key}full": INT64_MAX}


def test_where_all_are_refused_alike_that_is_raised(counter: Counter, key: str) -> None:
    keys = [f"{key}a", f"{key}b"]
    for each in keys:
        counter.set(each, INT64_MAX)
    with pytest.raises(CounterOverflow):
        counter.multi_increment(dict.fromkeys(keys, 1))


@pytest.mark.parametrize("variant", ON_SERVERS, indirect=True, ids=str)
@each_ttl
def test_what_is_no_counter_is_refused_by_itself(
    counter: Counter, store: RedisStore, key: str, ttl: int | None
) -> None:
    store.write(f"{key}text", b"abc")
    store.write(f"{key}list", [b"1"])
    counter.set(f"{key}full", INT64_MAX)
    values = dict.fromkeys([f"{key}text", f"{key}list", f"{key}full"], 1)
    with pytest.raises(CounterPartlyApplied) as caught:
        counter.multi_increment(values, ttl)
    assert caught.value.values == {}
    errors = [type(each) for each in caught.value.errors.values()]
    assert errors == [CounterTypeError, CounterTypeError, CounterOverflow]
    with pytest.raises(CounterTypeError):
        counter.multi_increment({f"{key}text": 1}, ttl)


# Arguments.


@pytest.mark.parametrize("values", [None, 5, "a", [("a", 1)], {"a"}, b"a"], ids=repr)
def test_values_that_are_no_mapping_are_a_type_error(counter: Counter, values: Any) -> None:
    with pytest.raises(TypeError, match="values must be a mapping of str to int, not "):
        counter.multi_increment(values)


def test_a_bad_key_is_refused_and_nothing_counted(counter: Counter, key: str) -> None:
    for error, bad in [(TypeError, None), (TypeError, b"a"), *((ValueError, k) for k in NO_KEY)]:
        with pytest.raises(error, match="key must"):
            counter.multi_increment({key: 1, bad: 1})
    assert counter.entry(key) is None


def test_a_bad_value_is_refused_and_nothing_counted(counter: Counter, key: str) -> None:
    for error, values in [(TypeError, NO_INT), (ValueError, NO_INT64)]:
        for bad in values:
            with pytest.raises(error, match="value must"):
                counter.multi_increment({key: 1, f"{key}bad": bad})
    assert counter.entry(key) is None


def test_a_subclass_of_int_is_its_number(counter: Counter, key: str) -> None:
    class Number(int):
        __repr__ = __str__ = lambda self: "something else"

    assert counter.multi_increment({key: Number(5)}) == {key: 5}


def test_a_bad_ttl_is_refused_and_nothing_counted(counter: Counter, key: str) -> None:
    for bad in NO_TTL:
        for values in ({key: 1}, {}):
            with pytest.raises(ValueError, match="ttl must"):
                counter.multi_increment(values, bad)
    assert counter.entry(key) is None


# Round trips.

on_one_server = pytest.mark.parametrize("variant", ON_ONE_SERVER, indirect=True, ids=str)


@on_one_server
def test_each_key_is_one_command(counter: Counter, store: RedisStore, key: str) -> None:
    counter.increment(key, 1, 60)
    values = {f"{key}{number}": 1 for number in range(3)}
    assert commands_of(store, lambda: counter.multi_increment(values)) == ["INCRBY"] * 3
    with_ttl = commands_of(store, lambda: counter.multi_increment(values, 60))
    assert with_ttl == ["EVAL", "EVALSHA", "EVALSHA"]


@on_one_server
def test_multi_increment_of_nothing_asks_nothing(counter: Counter, store: RedisStore) -> None:
    assert commands_of(store, lambda: counter.multi_increment({})) == []
