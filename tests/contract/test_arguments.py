"""The argument rules: a broken one names the argument and changes nothing."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction
from typing import Any, cast

import pytest
from django.test import override_settings
from django.utils.safestring import mark_safe

from django_counter.backends.redis import RedisCounter
from django_counter.base import Counter
from django_counter.exceptions import CounterUnavailable
from django_counter.values import INT64_MIN, Budget
from tests.contract.operations import (
    WITH_AMOUNT,
    WITH_FLOOR,
    WITH_KEY,
    WITH_TTL,
    WITH_VALUE,
    Call,
)
from tests.contract.stores import Blocking, server_cache
from tests.servers import free_port

NO_STR = [None, b"key", 5, 1.5, ("a",), ["a"], True]
NO_KEY = [
    "",
    "x" * 513,
    "é" * 257,
    "\U0001f600" * 129,
    "x" * 100_000,
    *(f"a{character}b" for character in "\x00\t\n\r\x1b\x1f\x7f\x80\x85\x9f"),
    "\n",
    "\ud800",
    "a\udfff",
]
NO_INT = [1.5, 1.0, float("nan"), True, False, "1", b"1", None, Decimal(1), Fraction(1), [1], 1j]
NO_INT64 = [2**63, -(2**63) - 1, 2**64, 2**70, -(2**70), 10**10_000, -(10**10_000)]
NO_SECONDS = ["1", b"1", True, False, Decimal(1), Fraction(1), [1], 1j]
NO_TTL = [
    0,
    0.0,
    -1,
    -0.5,
    0.0005,
    0.00099,
    float("nan"),
    float("inf"),
    float("-inf"),
    36_525 * 86_400 + 1,
    10**10_000,
    timedelta(0),
    timedelta(seconds=-1),
    timedelta(microseconds=999),
    timedelta(days=36_526),
    timedelta.max,
]

WITH_INTEGER = WITH_VALUE | WITH_AMOUNT | WITH_FLOOR

with_integer = pytest.mark.parametrize(("name", "call"), WITH_INTEGER.values(), ids=WITH_INTEGER)
with_amount = pytest.mark.parametrize(("name", "call"), WITH_AMOUNT.values(), ids=WITH_AMOUNT)
with_key = pytest.mark.parametrize("call", WITH_KEY.values(), ids=WITH_KEY)
with_ttl = pytest.mark.parametrize("call", WITH_TTL.values(), ids=WITH_TTL)


@contextmanager
def unchanged(counter: Counter, key: str) -> Iterator[tuple[str, str]]:
    """Give a missing key and that of a counter; nothing may become of them."""
    missing, existing = f"{key}missing", f"{key}existing"
    counter.set(existing, 1, 100)
    yield missing, existing
    assert counter.entry(missing) is None
    entry = counter.entry(existing)
    assert entry is not None
    assert entry.value == 1
    assert entry.ttl is not None
    assert 50 < entry.ttl <= 100


@pytest.mark.figure("garbage")
@pytest.mark.fault("amount out of range")
@with_integer
def test_what_is_no_int_is_a_type_error(counter: Counter, key: str, name: str, call: Call) -> None:
    with unchanged(counter, key) as keys:
        for each in keys:
            for value in NO_INT:
                if name == "if_equal" and value is None:
                    continue
                with pytest.raises(TypeError, match=rf"^{name} must be an int, not "):
                    call(counter, each, value)


@pytest.mark.figure("garbage")
@pytest.mark.fault("amount out of range")
@with_integer
def test_what_is_no_int64_is_a_value_error(
    counter: Counter, key: str, name: str, call: Call
) -> None:
    with unchanged(counter, key) as keys:
        for each in keys:
            for value in NO_INT64:
                with pytest.raises(ValueError, match=rf"^{name} must be from .*, not "):
                    call(counter, each, value)


@pytest.mark.figure("garbage")
@pytest.mark.fault("amount out of range")
@with_amount
def test_what_is_not_positive_is_a_value_error(
    counter: Counter, key: str, name: str, call: Call
) -> None:
    with unchanged(counter, key) as keys:
        for each in keys:
            for value in (0, -1, INT64_MIN):
                with pytest.raises(ValueError, match=rf"^{name} must be from 1 .*, not {value} "):
                    call(counter, each, value)


def test_a_negative_floor_is_a_value_error(counter: Counter, key: str) -> None:
    with unchanged(counter, key) as keys:
        for each in keys:
            with pytest.raises(ValueError, match=r"^floor must be from 0 .*, not -1 "):
                counter.take([Budget(each, 10, None, floor=-1)])


@pytest.mark.figure("garbage")
@pytest.mark.fault("ttl out of range")
@with_ttl
def test_what_is_no_ttl_changes_nothing(counter: Counter, key: str, call: Call) -> None:
    with unchanged(counter, key) as keys:
        for each in keys:
            for ttl in NO_SECONDS:
                with pytest.raises(TypeError, match=r"^ttl must be seconds .*, not "):
                    call(counter, each, ttl)
            for ttl in NO_TTL:
                with pytest.raises(ValueError, match=r"^ttl must be from .*, not "):
                    call(counter, each, ttl)


@with_key
def test_what_is_no_str_is_no_key(counter: Counter, call: Callable[[Counter, Any], object]) -> None:
    for key in NO_STR:
        with pytest.raises(TypeError, match=r"^key must be a str, not "):
            call(counter, key)


@with_key
def test_what_breaks_the_rules_of_keys_is_no_key(
    counter: Counter, call: Callable[[Counter, Any], object]
) -> None:
    for key in NO_KEY:
        with pytest.raises(ValueError, match=r"^key must "):
            call(counter, key)


@with_key
def test_a_key_may_have_512_bytes(
    counter: Counter, key: str, call: Callable[[Counter, Any], object]
) -> None:
    for character in ("x", "é", "日", "\U0001f600"):
        free, width = 512 - len(key), len(character.encode())
        longest = key + character * (free // width) + "x" * (free % width)
        assert len(longest.encode()) == 512
        call(counter, longest)


def test_a_key_may_have_any_other_character(counter: Counter, key: str) -> None:
    for character in " :/\"'\\{}\u00a0\u200b\u2028\u2029\ufeff\ue000\U0010ffff":
        name = f"{key}{character}"
        assert counter.increment(name, 3) == 3
        assert counter.multi_get([name]) == {name: 3}
        assert [entry.key for entry in counter.scan(name)] == [name]


def test_one_bad_key_refuses_all(counter: Counter, key: str) -> None:
    with pytest.raises(ValueError, match=r"^key must not be empty"):
        counter.multi_get([key, "", key])
    with pytest.raises(ValueError, match=r"^key must not be empty"):
        counter.take([Budget(key, 10, None), Budget("", 10, None)])
    assert counter.entry(key) is None


def test_a_subclass_of_str_is_a_key(counter: Counter, key: str) -> None:
    for subclassed in (mark_safe(f"{key}safe"), StrEnum("Keys", {"A": f"{key}enum"}).A):
        assert counter.increment(subclassed, 3) == 3
        assert counter.get(str(subclassed)) == 3
        assert counter.multi_get([subclassed]) == {str(subclassed): 3}
        assert counter.take([Budget(subclassed, 9, None)]) == [(2, True, True)]
        assert counter.set(subclassed, 3) is True
        assert counter.entry(subclassed) == (str(subclassed), 3, None)
        assert [entry.key for entry in counter.scan(subclassed)] == [str(subclassed)]


class Size(IntEnum):
    SMALL = 3


class Loud(int):
    def __str__(self) -> str:
        return "three"

    __repr__ = __str__


@pytest.mark.parametrize("value", [Size.SMALL, Loud(3)], ids=["IntEnum", "subclass"])
def test_a_subclass_of_int_is_a_value(counter: Counter, key: str, value: int) -> None:
    assert counter.increment(f"{key}a", value) == 3
    assert type(counter.get(f"{key}a")) is int
    assert counter.increment(f"{key}b", value, 100) == 3
    assert counter.decrement(f"{key}a", value) == 0
    assert counter.set_if_not_exists(f"{key}c", value) is True
    assert type(counter.get(f"{key}c")) is int
    assert counter.decrement_if_exists(f"{key}c", value) == (0, True, True)
    assert counter.take([Budget(f"{key}d", Size.SMALL, None, Loud(0))], value) == [(0, True, True)]
    assert counter.set(f"{key}e", value) is True
    assert counter.set(f"{key}e", 4, if_equal=value) is True
    assert counter.get(f"{key}e") == 4


def test_a_bad_argument_is_refused_before_anything_is_sent(runner: asyncio.Runner) -> None:
    with override_settings(CACHES={"default": server_cache(f"redis://127.0.0.1:{free_port()}")}):
        nowhere = RedisCounter()
    for counter in (nowhere, cast(Counter, Blocking(nowhere, runner))):
        for call in WITH_KEY.values():
            with pytest.raises(CounterUnavailable):
                call(counter, "key")
            with pytest.raises(ValueError, match=r"^key must"):
                call(counter, "")
        for name, call_with in WITH_INTEGER.values():
            with pytest.raises(ValueError, match=rf"^{name} must"):
                call_with(counter, "key", 2**63)
        for call_with in WITH_TTL.values():
            with pytest.raises(ValueError, match=r"^ttl must"):
                call_with(counter, "key", 0)
        for budgets in ([], [Budget("key", 1, None)] * 2):
            with pytest.raises(ValueError, match=r"^budgets must"):
                counter.take(budgets)
        with pytest.raises(TypeError, match=r"^keys must"):
            counter.multi_get("key")
        with pytest.raises(ValueError, match=r"^prefix must"):
            next(counter.scan("\n"))
        assert counter.multi_get([]) == {}
    runner.run(nowhere.aclose())
