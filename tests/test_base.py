"""The contract's own code: its values, its argument rules, its twins."""

import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any, get_type_hints

import pytest

from django_counter.arguments import (
    check_key,
    check_prefix,
    checked_amount,
    checked_budgets,
    checked_keys,
    checked_value,
    milliseconds,
)
from django_counter.backends.memory import MemoryCounter
from django_counter.backends.redis import RedisCounter
from django_counter.base import Counter
from django_counter.exceptions import (
    CounterConfigError,
    CounterError,
    CounterOutcomeUnknown,
    CounterOverflow,
    CounterPartlyApplied,
    CounterTypeError,
    CounterUnavailable,
    gravest,
)
from django_counter.middleware import CounterMiddleware, LoggingMiddleware
from django_counter.values import (
    INT64_MAX,
    INT64_MIN,
    KEY_MAX_BYTES,
    TTL_MAX,
    TTL_MIN,
    Budget,
    DecrementResult,
    Entry,
)

# The operations of the contract. The test below finds one that is missing here.
OPERATIONS = [
    "increment",
    "multi_increment",
    "get",
    "multi_get",
    "decrement",
    "decrement_if_exists",
    "set_if_not_exists",
    "delete",
    "take",
    "refund",
    "advance",
    "set",
    "entry",
    "scan",
    "scan_page",
    "run_all",
    "close",
]
COUNTERS = [MemoryCounter, RedisCounter, CounterMiddleware, LoggingMiddleware]

each_operation = pytest.mark.parametrize("operation", OPERATIONS)
each_counter = pytest.mark.parametrize("counter_class", COUNTERS)


# Twins.


def test_every_operation_has_a_twin_and_nothing_else_is_abstract() -> None:
    twins = {f"a{operation}" for operation in OPERATIONS}
    assert Counter.__abstractmethods__ == {*OPERATIONS, *twins}


@each_operation
@pytest.mark.parametrize("counter_class", [Counter, *COUNTERS])
def test_a_twin_has_the_signature_of_its_operation(
    counter_class: type[Counter], operation: str
) -> None:
    method, twin = getattr(counter_class, operation), getattr(counter_class, f"a{operation}")
    assert inspect.signature(twin).parameters == inspect.signature(method).parameters
    expected = get_type_hints(method)
    if operation == "scan":
        assert expected["return"] == Iterator[Entry]
        expected["return"] = AsyncIterator[Entry]
    assert get_type_hints(twin) == expected


@each_operation
@each_counter
def test_an_implementation_has_the_signature_of_the_contract(
    counter_class: type[Counter], operation: str
) -> None:
    for name in (operation, f"a{operation}"):
        method, contract = getattr(counter_class, name), getattr(Counter, name)
        assert inspect.signature(method) == inspect.signature(contract)


@each_operation
@each_counter
def test_only_the_twin_waits(counter_class: type[Counter], operation: str) -> None:
    method, twin = getattr(counter_class, operation), getattr(counter_class, f"a{operation}")
    assert not inspect.iscoroutinefunction(method)
    assert not inspect.isasyncgenfunction(method)
    waits = inspect.isasyncgenfunction if operation == "scan" else inspect.iscoroutinefunction
    assert waits(twin)


@each_operation
def test_the_docstring_of_a_twin_names_its_operation(operation: str) -> None:
    assert getattr(Counter, operation).__doc__
    twin = getattr(Counter, f"a{operation}").__doc__
    assert twin.startswith(f"See {operation}()")


def test_twins_stand_next_to_each_other() -> None:
    for counter_class in (Counter, MemoryCounter, RedisCounter, CounterMiddleware):
        names = {*OPERATIONS, *(f"a{operation}" for operation in OPERATIONS)}
        methods = [name for name in vars(counter_class) if name in names]
        assert methods[1::2] == [f"a{operation}" for operation in methods[::2]]


def test_a_counter_without_all_operations_is_abstract() -> None:
    class Half(Counter):
        def get(self, key: str) -> int:
            return 0

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]


# Values.


def test_the_values_are_tuples_with_names() -> None:
    assert DecrementResult(1, existed=True, success=False) == (1, True, False)
    assert Budget("key", 10, 60) == ("key", 10, 60, 0, None)
    assert Entry("key", 5, None) == ("key", 5, None)
    assert DecrementResult._fields == ("value", "existed", "success")
    assert Budget._fields == ("key", "limit", "ttl", "floor", "scope")
    assert Entry._fields == ("key", "value", "ttl")


def test_the_errors_have_one_root() -> None:
    for each in (
        CounterUnavailable,
        CounterOutcomeUnknown,
        CounterTypeError,
        CounterOverflow,
        CounterPartlyApplied,
        CounterConfigError,
    ):
        assert issubclass(each, CounterError)
    assert not issubclass(CounterError, TypeError | ValueError)


def test_an_unknown_outcome_names_operation_key_and_value() -> None:
    error = CounterOutcomeUnknown("increment", "visits", 5)
    assert (error.operation, error.key, error.value) == ("increment", "visits", 5)
    assert str(error) == (
        "increment of 'visits' with value 5 was sent and not confirmed: it may have been applied"
    )
    assert " with value" not in str(CounterOutcomeUnknown("delete", "visits", None))


def test_the_gravest_error_is_one_that_says_that_the_server_is_in_trouble() -> None:
    small, down = CounterOverflow("full"), CounterUnavailable("down")
    unknown = CounterOutcomeUnknown("increment", "visits", 5)
    assert gravest([small, down, unknown]) is down
    assert gravest([small, unknown, down]) is unknown
    assert gravest([small, CounterTypeError("a list")]) is small


def test_partly_applied_says_how_many_failed_and_how() -> None:
    errors = {"a": CounterOverflow("a is full"), "b": CounterUnavailable("b is away")}
    error = CounterPartlyApplied({"c": 1}, errors)
    assert (error.values, error.errors) == ({"c": 1}, errors)
    assert str(error) == "2 of 3 increments failed, one of them: b is away"


@pytest.mark.parametrize(
    "error",
    [
        CounterOutcomeUnknown("increment", "visits", 5),
        CounterPartlyApplied({"c": 1}, {"a": CounterOverflow("full")}),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_with_parts_can_be_pickled(error: CounterError) -> None:
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# Argument rules.


def refusal(error: type[Exception], check: Callable[..., object], *arguments: Any) -> str:
    """Return what a check says of arguments that it refuses with just this error."""
    with pytest.raises(error) as caught:
        check(*arguments)
    assert type(caught.value) is error
    return str(caught.value)


@pytest.mark.parametrize(
    "key",
    [
        *("a", " ", "0", "a b", "a:b", "é", "日本", "\U0001f600", "\u00a0", "\u2028", "\ue000"),
        *("x" * 512, "é" * 256, "日" * 170 + "xx", "\U0001f600" * 128),
        *("x" * 128, "x" * 129, "\U0001f600" * 127 + "xxxx"),
    ],
)
def test_a_key_is_accepted(key: str) -> None:
    assert check_key(key) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "key must not be empty"),
        ("x" * 513, "key must be at most 512 bytes in UTF-8, not 513"),
        ("é" * 257, "key must be at most 512 bytes in UTF-8, not 514"),
        ("\U0001f600" * 129, "key must be at most 512 bytes in UTF-8, not 516"),
        ("a\nb", r"key must not contain control characters: 'a\nb' (str)"),
        ("\ud800", r"key must be encodable in UTF-8, not '\ud800' (str)"),
    ],
)
def test_a_bad_key_is_a_value_error_that_says_what_came(key: str, words: str) -> None:
    assert refusal(ValueError, check_key, key) == words


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0)])
def test_no_control_character_is_in_a_key(code: int) -> None:
    words = "must not contain control characters"
    assert words in refusal(ValueError, check_key, f"a{chr(code)}")
    assert words in refusal(ValueError, check_key, chr(code) + "x" * 200)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (None, "key must be a str, not None (NoneType)"),
        (b"key", "key must be a str, not b'key' (bytes)"),
        (5, "key must be a str, not 5 (int)"),
        (["a"], "key must be a str, not ['a'] (list)"),
        pytest.param(10**10_000, "key must be a str, not an int of 33220 bits", id="huge"),
    ],
)
def test_a_key_of_another_type_is_a_type_error_that_says_what_came(key: Any, words: str) -> None:
    assert refusal(TypeError, check_key, key) == words


def test_what_came_is_shown_in_short() -> None:
    assert len(refusal(TypeError, check_key, b"x" * 10_000)) < 100
    assert len(refusal(ValueError, check_key, "\n" + "x" * 500)) < 100
    assert len(refusal(TypeError, checked_value, list(range(10_000)))) < 100


@pytest.mark.parametrize(
    "argument", [[10**10_000], ("a", 10**10_000), {"a": 10**10_000}], ids=["list", "tuple", "dict"]
)
def test_what_came_is_shown_although_it_holds_a_huge_int(argument: Any) -> None:
    assert refusal(TypeError, check_key, argument).startswith("key must be a str, not ")
    assert refusal(TypeError, checked_value, argument).startswith("value must be an int, not ")
    assert refusal(TypeError, milliseconds, argument).startswith("ttl must be seconds ")


def test_what_came_is_shown_although_it_has_no_repr() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError

    assert refusal(TypeError, check_key, Mute()).startswith("key must be a str, not <Mute ")


def test_a_prefix_may_be_empty() -> None:
    check_prefix("")
    check_prefix("x" * KEY_MAX_BYTES)


def test_a_prefix_is_otherwise_a_key() -> None:
    assert refusal(ValueError, check_prefix, "x" * 513).startswith("prefix must be at most 512 ")
    assert refusal(ValueError, check_prefix, "\x7f").startswith("prefix must not contain control")
    assert refusal(TypeError, check_prefix, None) == "prefix must be a str, not None (NoneType)"


def test_keys_are_listed_as_they_came() -> None:
    assert checked_keys(["b", "a", "b"]) == ["b", "a", "b"]
    assert checked_keys(iter("ba")) == ["b", "a"]
    assert checked_keys([]) == []


@pytest.mark.parametrize("keys", ["abc", b"abc", None, 5])
def test_keys_are_several(keys: Any) -> None:
    assert refusal(TypeError, checked_keys, keys) == (
        f"keys must be several str, such as a list, not {keys!r} ({type(keys).__name__})"
    )


def test_each_of_the_keys_is_checked() -> None:
    assert refusal(ValueError, checked_keys, ["a", ""]) == "key must not be empty"
    assert refusal(TypeError, checked_keys, ["a", []]) == "key must be a str, not [] (list)"


@pytest.mark.parametrize("value", [0, 1, -1, INT64_MAX, INT64_MIN])
def test_a_value_is_accepted(value: int) -> None:
    assert checked_value(value) == value


@pytest.mark.parametrize("check", [checked_value, checked_amount])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.0, "1.0 (float)"),
        (True, "True (bool)"),
        (False, "False (bool)"),
        ("1", "'1' (str)"),
        (None, "None (NoneType)"),
        (Decimal(1), "Decimal('1') (Decimal)"),
    ],
)
def test_a_value_of_another_type_is_a_type_error_that_says_what_came(
    check: Callable[..., None], value: Any, shown: str
) -> None:
    assert refusal(TypeError, check, value) == f"value must be an int, not {shown}"
    assert refusal(TypeError, check, value, "cost") == f"cost must be an int, not {shown}"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2**63, "9223372036854775808 (int)"),
        (-(2**63) - 1, "-9223372036854775809 (int)"),
        (2**70, "1180591620717411303424 (int)"),
        pytest.param(10**10_000, "an int of 33220 bits", id="huge"),
        pytest.param(-(10**10_000), "an int of 33220 bits", id="-huge"),
    ],
)
def test_a_value_beyond_int64_is_a_value_error_that_says_what_came(value: int, shown: str) -> None:
    words = f"value must be from -2**63 to 2**63 - 1, not {shown}"
    assert refusal(ValueError, checked_value, value) == words
    words = f"value must be from 1 to 2**63 - 1, not {shown}"
    assert refusal(ValueError, checked_amount, value) == words


@pytest.mark.parametrize("value", [0, -1, INT64_MIN])
def test_an_amount_is_positive(value: int) -> None:
    words = f"value must be from 1 to 2**63 - 1, not {value} (int)"
    assert refusal(ValueError, checked_amount, value) == words


@pytest.mark.parametrize("value", [1, INT64_MAX])
def test_an_amount_is_accepted(value: int) -> None:
    assert checked_amount(value) == value


def test_budgets_are_listed() -> None:
    budgets = [Budget("a", 1, None), Budget("b", INT64_MAX, 60, INT64_MAX)]
    assert checked_budgets(budgets) == budgets
    assert checked_budgets(iter(budgets)) == budgets


def test_a_tuple_of_sound_budgets_is_itself_and_can_be_known_again() -> None:
    budgets = (Budget("a", 1, None), Budget("b", INT64_MAX, 60, INT64_MAX))
    assert checked_budgets(budgets) is budgets


@pytest.mark.parametrize(
    ("budget", "error", "words"),
    [
        (Budget("", 1, None), ValueError, "key must not be empty"),
        (Budget(None, 1, None), TypeError, "key must be a str"),  # type: ignore[arg-type]
        (Budget("a", 0, None), ValueError, "limit must be from 1 to"),
        (Budget("a", -1, None), ValueError, "limit must be from 1 to"),
        (Budget("a", 2**63, None), ValueError, "limit must be from 1 to"),
        (Budget("a", 1.0, None), TypeError, "limit must be an int"),  # type: ignore[arg-type]
        (Budget("a", True, None), TypeError, "limit must be an int"),
        (Budget("a", 1, None, -1), ValueError, "floor must be from 0 to"),
        (Budget("a", 1, None, 2**63), ValueError, "floor must be from 0 to"),
        (Budget("a", 1, None, 1.0), TypeError, "floor must be an int"),  # type: ignore[arg-type]
        (Budget("a", 1, None, False), TypeError, "floor must be an int"),
    ],
)
def test_each_field_of_a_budget_is_checked(
    budget: Budget, error: type[Exception], words: str
) -> None:
    assert refusal(error, checked_budgets, [Budget("good", 1, None), budget]).startswith(words)


@pytest.mark.parametrize("budgets", [None, 5, "ab", [None], [("a", 1, None, 0)]])
def test_budgets_are_several_budgets(budgets: Any) -> None:
    words = refusal(TypeError, checked_budgets, budgets)
    assert words.startswith("budgets must be several Budget, not ")


def test_budgets_are_at_least_one_with_different_keys() -> None:
    budget = Budget("a", 1, None)
    assert refusal(ValueError, checked_budgets, []) == "budgets must not be empty"
    words = "budgets must have different keys"
    assert refusal(ValueError, checked_budgets, [budget, budget]) == words
    assert refusal(ValueError, checked_budgets, [budget, Budget("a", 2, 60)]) == words


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [
        (None, None),
        (1, 1000),
        (1.0, 1000),
        (0.001, 1),
        (0.0014, 1),
        (0.0016, 2),
        (0.1, 100),
        (1.0005, 1000),
        (59.9999, 60_000),
        (timedelta(milliseconds=1), 1),
        (timedelta(days=1), 86_400_000),
        (TTL_MIN, 1),
        (TTL_MAX, 3_155_760_000_000),
        (timedelta(days=36_525), 3_155_760_000_000),
    ],
)
def test_a_ttl_is_kept_in_whole_milliseconds(ttl: Any, expected: int | None) -> None:
    duration = milliseconds(ttl)
    assert duration == expected
    assert duration is None or type(duration) is int


@pytest.mark.parametrize(
    ("ttl", "shown"),
    [
        (0, "0 (int)"),
        (-1, "-1 (int)"),
        (0.0005, "0.0005 (float)"),
        (float("nan"), "nan (float)"),
        (float("inf"), "inf (float)"),
        (float("-inf"), "-inf (float)"),
        (TTL_MAX + 1, "3155760001 (int)"),
        pytest.param(10**10_000, "an int of 33220 bits", id="huge"),
        (timedelta(0), "datetime.timedelta(0) (timedelta)"),
    ],
)
def test_a_ttl_out_of_range_is_a_value_error_that_says_what_came(ttl: Any, shown: str) -> None:
    words = f"ttl must be from 0.001 s to 3155760000 s (100 years), not {shown}"
    assert refusal(ValueError, milliseconds, ttl) == words


@pytest.mark.parametrize(
    ("ttl", "shown"),
    [
        ("60", "'60' (str)"),
        (True, "True (bool)"),
        (Decimal(60), "Decimal('60') (Decimal)"),
        ([60], "[60] (list)"),
    ],
)
def test_a_ttl_of_another_type_is_a_type_error_that_says_what_came(ttl: Any, shown: str) -> None:
    words = f"ttl must be seconds (int or float) or a timedelta, not {shown}"
    assert refusal(TypeError, milliseconds, ttl) == words
