"""get() and multi_get()."""

import pytest

from django_counter.base import Counter
from django_counter.values import INT64_MAX, INT64_MIN

VALUES = [0, 1, -1, INT64_MAX, INT64_MIN, 2**53 + 1, -(2**53) - 1]


def test_get_is_0_when_missing(counter: Counter, key: str) -> None:
    assert counter.get(key) == 0


def test_get_creates_nothing(counter: Counter, key: str) -> None:
    counter.get(key)
    counter.multi_get([key])
    assert counter.entry(key) is None


@pytest.mark.figure("int64")
def test_get_is_exact_over_int64(counter: Counter, key: str) -> None:
    for value in VALUES:
        counter.set(key, value)
        assert counter.get(key) == value
        assert type(counter.get(key)) is int


def test_get_keeps_the_ttl(counter: Counter, key: str) -> None:
    counter.set(key, 5, 100)
    counter.get(key)
    counter.multi_get([key])
    entry = counter.entry(key)
    assert entry is not None
    assert entry.ttl is not None


def test_multi_get_is_exact_over_int64(counter: Counter, key: str) -> None:
    values = {f"{key}{value}": value for value in VALUES}
    for each, value in values.items():
        counter.set(each, value)
    assert counter.multi_get(values) == values


def test_multi_get_is_0_when_missing(counter: Counter, key: str) -> None:
    counter.set(f"{key}b", 2)
    keys = [f"{key}a", f"{key}b", f"{key}c"]
    assert counter.multi_get(keys) == {f"{key}a": 0, f"{key}b": 2, f"{key}c": 0}


def test_multi_get_keeps_the_order_asked(counter: Counter, key: str) -> None:
    keys = [f"{key}{letter}" for letter in "zaymbxc"]
    for each in keys[::2]:
        counter.increment(each)
    assert list(counter.multi_get(keys)) == keys
    assert list(counter.multi_get(keys[::-1])) == keys[::-1]


def test_multi_get_gives_each_key_once_where_it_was_asked_first(counter: Counter, key: str) -> None:
    a, b = f"{key}a", f"{key}b"
    counter.set(a, 1)
    counter.set(b, 2)
    assert list(counter.multi_get([b, a, b, a]).items()) == [(b, 2), (a, 1)]


def test_multi_get_takes_a_generator(counter: Counter, key: str) -> None:
    counter.set(f"{key}1", 1)
    keys = (f"{key}{number}" for number in range(3))
    assert counter.multi_get(keys) == {f"{key}0": 0, f"{key}1": 1, f"{key}2": 0}


def test_multi_get_takes_any_iterable(counter: Counter, key: str) -> None:
    counter.set(key, 3)
    for keys in ((key,), {key}, frozenset({key}), {key: None}, {key: None}.keys()):
        assert counter.multi_get(keys) == {key: 3}


def test_multi_get_of_nothing_is_empty(counter: Counter) -> None:
    assert counter.multi_get([]) == {}
    assert counter.multi_get(iter(())) == {}


def test_multi_get_answers_10000_keys(counter: Counter, key: str) -> None:
    counter.set(f"{key}5000", 5)
    counter.set(f"{key}9999", 9)
    keys = [f"{key}{number}" for number in range(10_000)]
    values = counter.multi_get(keys)
    assert list(values) == keys
    assert {each: value for each, value in values.items() if value} == {
        f"{key}5000": 5,
        f"{key}9999": 9,
    }


def test_multi_get_refuses_what_is_not_several_keys(counter: Counter) -> None:
    for keys in ("key", "", b"key", None, 5, 1.5):
        with pytest.raises(TypeError, match=r"^keys must be several str.* not .*"):
            counter.multi_get(keys)  # type: ignore[arg-type]
