"""set(), entry(), scan() and close()."""

import pytest

from django_counter.base import Counter
from django_counter.values import INT64_MAX, INT64_MIN, Budget, Entry, Page
from tests.contract.stores import ON_SERVERS

VALUES = [0, 1, -1, INT64_MAX, INT64_MIN, 2**53 + 1, -(2**53) - 1]
HOSTILE = [
    "*",
    "?",
    "[",
    "]",
    "[a-z]",
    "\\",
    "\\*",
    "^",
    "[^a]",
    "-",
    "{a}",
    "%",
    "é",
    "日本",
    "\U0001f600",
]


def test_set_creates_a_missing_counter(counter: Counter, key: str) -> None:
    assert counter.set(key, 5) is True
    assert counter.entry(key) == (key, 5, None)


def test_set_replaces_the_value(counter: Counter, key: str) -> None:
    counter.set(key, 5)
    assert counter.set(key, -7) is True
    assert counter.get(key) == -7


def test_set_replaces_the_ttl(counter: Counter, key: str) -> None:
    counter.set(key, 5, 100)
    counter.set(key, 5, 1000)
    entry = counter.entry(key)
    assert entry is not None
    assert entry.ttl is not None
    assert 950 < entry.ttl <= 1000


def test_set_without_a_ttl_ends_the_expiry(counter: Counter, key: str) -> None:
    counter.set(key, 5, 100)
    counter.set(key, 6)
    assert counter.entry(key) == (key, 6, None)


def test_set_stores_any_int64(counter: Counter, key: str) -> None:
    for value in VALUES:
        assert counter.set(key, value) is True
        assert counter.get(key) == value


def test_set_if_equal_replaces_the_value_and_ttl(counter: Counter, key: str) -> None:
    counter.set(key, 5, 100)
    assert counter.set(key, 6, 1000, if_equal=5) is True
    entry = counter.entry(key)
    assert entry is not None
    assert entry.value == 6
    assert entry.ttl is not None
    assert 950 < entry.ttl <= 1000


def test_set_if_equal_without_a_ttl_ends_the_expiry(counter: Counter, key: str) -> None:
    counter.set(key, 5, 100)
    assert counter.set(key, 6, if_equal=5) is True
    assert counter.entry(key) == (key, 6, None)


def test_set_if_equal_leaves_another_value_and_its_ttl(counter: Counter, key: str) -> None:
    counter.set(key, 5, 100)
    assert counter.set(key, 6, 1000, if_equal=4) is False
    entry = counter.entry(key)
    assert entry is not None
    assert entry.value == 5
    assert entry.ttl is not None
    assert 50 < entry.ttl <= 100


def test_a_missing_counter_equals_nothing(counter: Counter, key: str) -> None:
    for guess in (0, 1, -1):
        assert counter.set(key, 6, if_equal=guess) is False
    assert counter.entry(key) is None


def test_set_if_equal_to_0_replaces_a_0(counter: Counter, key: str) -> None:
    counter.set(key, 0)
    assert counter.set(key, 6, if_equal=0) is True
    assert counter.get(key) == 6


def test_set_if_equal_is_exact_over_int64(counter: Counter, key: str) -> None:
    for value in (INT64_MAX, INT64_MIN, 2**53 + 1, -(2**53) - 1):
        counter.set(key, value)
        near = value - 1 if value > 0 else value + 1
        assert counter.set(key, 6, if_equal=near) is False
        assert counter.set(key, 6, if_equal=value) is True
        assert counter.get(key) == 6


def test_if_equal_is_a_keyword(counter: Counter, key: str) -> None:
    with pytest.raises(TypeError):
        counter.set(key, 1, None, 1)  # type: ignore[misc]


def test_entry_is_none_when_missing(counter: Counter, key: str) -> None:
    assert counter.entry(key) is None


def test_entry_without_expiry_has_no_ttl(counter: Counter, key: str) -> None:
    counter.set(key, 5)
    entry = counter.entry(key)
    assert entry == Entry(key, 5, None)
    assert type(entry) is Entry


def test_entry_has_the_seconds_left(counter: Counter, key: str) -> None:
    counter.set(key, 5, 100)
    entry = counter.entry(key)
    assert entry is not None
    assert type(entry.ttl) is float
    assert 50 < entry.ttl <= 100


def test_entry_is_exact_over_int64(counter: Counter, key: str) -> None:
    for value in VALUES:
        counter.set(key, value)
        entry = counter.entry(key)
        assert entry is not None
        assert entry.value == value
        assert type(entry.value) is int


def test_scan_yields_the_entries_with_a_prefix(counter: Counter, key: str) -> None:
    expected = {Entry(f"{key}{number}", number, None) for number in range(5)}
    for each in expected:
        counter.set(each.key, each.value)
    counter.set(f"other{key}", 1)
    entries = list(counter.scan(key))
    assert set(entries) == expected
    assert {type(entry) for entry in entries} == {Entry}


def test_scan_yields_the_ttl(counter: Counter, key: str) -> None:
    counter.set(key, 5, 100)
    [entry] = counter.scan(key)
    assert type(entry.ttl) is float
    assert 50 < entry.ttl <= 100


def test_scan_yields_the_key_that_is_the_prefix(counter: Counter, key: str) -> None:
    counter.set(key, 5)
    assert list(counter.scan(key)) == [Entry(key, 5, None)]


def test_scan_yields_any_int64(counter: Counter, key: str) -> None:
    values = {INT64_MAX, INT64_MIN, 2**53 + 1, 0}
    for value in values:
        counter.set(f"{key}{value}", value)
    assert {entry.value for entry in counter.scan(key)} == values


def test_scan_without_a_prefix_yields_all(counter: Counter, key: str) -> None:
    counter.set(f"{key}a", 5)
    counter.set(f"b{key}", 6)
    assert set(counter.scan()) == {Entry(f"{key}a", 5, None), Entry(f"b{key}", 6, None)}


def test_scan_of_nothing_is_empty(counter: Counter, key: str) -> None:
    assert list(counter.scan(key)) == []


@pytest.mark.figure("hostile patterns")
def test_scan_takes_its_prefix_literally(counter: Counter, key: str) -> None:
    patterns = {rest for each in HOSTILE for rest in (each, each + each, f"z{each}", f"{each}a")}
    assert len(patterns) >= 50
    keys = {key + each for each in (*patterns, "a", "b", "!")}
    counter.take([Budget(each, 1, None) for each in keys])
    for each in patterns:
        found = sorted(entry.key for entry in counter.scan(key + each))
        assert found == sorted(name for name in keys if name.startswith(key + each))


def test_a_hostile_key_is_an_ordinary_key(counter: Counter, key: str) -> None:
    keys = [f"{hostile}{key}" for hostile in HOSTILE]
    for each in keys:
        assert counter.increment(each, 2) == 2
        assert counter.take([Budget(each, 9, None)]) == [(1, True, True)]
        assert list(counter.scan(each)) == [Entry(each, 1, None)]
    assert counter.multi_get(keys) == dict.fromkeys(keys, 1)
    counter.delete(keys[0])
    assert counter.multi_get(keys) == {**dict.fromkeys(keys, 1), keys[0]: 0}


def test_scan_yields_more_than_a_page(counter: Counter, key: str) -> None:
    keys = [f"{key}{number}" for number in range(1500)]
    for first in range(0, len(keys), 500):
        counter.take([Budget(each, 1, 5) for each in keys[first : first + 500]])
    assert {entry.key for entry in counter.scan(key)} == set(keys)


def test_scan_does_not_yield_what_was_deleted_before(counter: Counter, key: str) -> None:
    counter.set(f"{key}a", 1)
    counter.set(f"{key}b", 1)
    counter.delete(f"{key}a")
    assert [entry.key for entry in counter.scan(key)] == [f"{key}b"]


def test_others_go_on_during_a_scan(counter: Counter, key: str) -> None:
    lasting = {f"{key}{number}" for number in range(20)}
    for each in lasting:
        counter.set(each, 1)
    seen = set()
    for number, entry in enumerate(counter.scan(key)):
        seen.add(entry.key)
        counter.increment(entry.key)
        counter.set(f"{key}new{number}", 1)
        counter.delete(f"{key}new{number}")
    assert seen >= lasting


def test_a_scan_may_be_left(counter: Counter, key: str) -> None:
    for number in range(5):
        counter.set(f"{key}{number}", 1)
    entries = counter.scan(key)
    next(entries)
    entries.close()  # type: ignore[attr-defined]
    assert counter.get(f"{key}0") == 1


def test_scan_checks_its_arguments_at_the_first_step(counter: Counter) -> None:
    entries = counter.scan(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^prefix must be a str"):
        next(entries)


def test_scan_refuses_what_cannot_begin_a_key(counter: Counter) -> None:
    for prefix in ("a\n", "\x85", "\ud800", "x" * 513, "é" * 257):
        with pytest.raises(ValueError, match=r"^prefix must"):
            list(counter.scan(prefix))
    for no_str in (None, b"a", 1.5, True):
        with pytest.raises(TypeError, match=r"^prefix must be a str, not "):
            list(counter.scan(no_str))  # type: ignore[arg-type]


def test_scan_takes_a_prefix_of_512_bytes(counter: Counter) -> None:
    prefix = "é" * 256
    counter.set(prefix, 3)
    assert list(counter.scan(prefix)) == [Entry(prefix, 3, None)]
    counter.delete(prefix)


def pages(counter: Counter, prefix: str) -> list[Page]:
    """Return all pages of a scan."""
    found = [counter.scan_page(prefix)]
    while found[-1].cursor:
        found.append(counter.scan_page(prefix, found[-1].cursor))
    return found


def test_pages_are_what_scan_yields(counter: Counter, key: str) -> None:
    for number in range(5):
        counter.set(f"{key}{number}", number, 100)
    counter.set(f"other{key}", 1)
    found = pages(counter, key)
    assert {type(page) for page in found} == {Page}
    entries = [entry for page in found for entry in page.entries]
    assert {entry.key: entry.value for entry in entries} == {f"{key}{n}": n for n in range(5)}
    assert {type(entry) for entry in entries} == {Entry}
    assert all(entry.ttl is not None and 50 < entry.ttl <= 100 for entry in entries)


def test_many_counters_are_several_pages(counter: Counter, key: str) -> None:
    keys = [f"{key}{number}" for number in range(2500)]
    for first in range(0, len(keys), 500):
        counter.take([Budget(each, 1, 5) for each in keys[first : first + 500]])
    found = pages(counter, key)
    assert {entry.key for page in found for entry in page.entries} == set(keys)
    assert len(found) > 2
    assert max(len(page.entries) for page in found) < 1200
    assert all(type(page.cursor) is str for page in found)


def test_a_page_of_nothing_is_empty(counter: Counter, key: str) -> None:
    assert all(page.entries == [] for page in pages(counter, key))


def test_pages_take_their_prefix_literally(counter: Counter, key: str) -> None:
    counter.set(f"{key}*", 1)
    counter.set(f"{key}a", 1)
    found = [entry.key for page in pages(counter, f"{key}*") for entry in page.entries]
    assert found == [f"{key}*"]


def test_scan_page_refuses_what_is_no_prefix_and_no_cursor(counter: Counter) -> None:
    with pytest.raises(ValueError, match=r"^prefix must"):
        counter.scan_page("a\n")
    with pytest.raises(TypeError, match=r"^cursor must be a str, not "):
        counter.scan_page("a", 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^cursor must"):
        counter.scan_page("a", "5\n")


@pytest.mark.parametrize("variant", ON_SERVERS, indirect=True, ids=str)
@pytest.mark.parametrize("cursor", ["a", "-1", "1.5", "٣", "5 MATCH", "9" * 20, "1" * 500])
def test_what_the_server_did_not_say_is_no_cursor(counter: Counter, cursor: str) -> None:
    with pytest.raises(ValueError, match="is no cursor of scan_page"):
        counter.scan_page("", cursor)


def test_a_closed_counter_goes_on(counter: Counter, key: str) -> None:
    counter.increment(key)
    counter.close()
    assert counter.increment(key) == 2
    counter.close()
    counter.close()
    assert counter.get(key) == 2


def test_close_keeps_the_counters_and_their_ttl(counter: Counter, key: str) -> None:
    counter.set(key, 5, 100)
    counter.close()
    entry = counter.entry(key)
    assert entry is not None
    assert entry.value == 5
    assert entry.ttl is not None


def test_close_before_the_first_call_is_no_error(counter: Counter) -> None:
    counter.close()
    assert counter.close() is None  # type: ignore[func-returns-value]
