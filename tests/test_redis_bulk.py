"""Many commands packed as one text: the same bytes as one by one."""

from typing import NoReturn

import hiredis
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_counter.backends.redis import call
from django_counter.backends.redis.bulk import Bulk, Increments, MultiGets
from django_counter.backends.redis.counter import _all_counted, _counted
from django_counter.values import INT64_MAX, INT64_MIN

prefixes = st.sampled_from(["", "counter:", "zähler:"])
keys = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
printable = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
some_ascii = st.text(printable, min_size=1, max_size=128)
many_keys = st.lists(some_ascii | keys, min_size=1, unique=True) | st.lists(
    some_ascii, min_size=1, unique=True
)
int64 = st.integers(INT64_MIN, INT64_MAX) | st.integers(-11, 11)

each_time = settings(max_examples=300, derandomize=True, database=None, deadline=None)


class Wide(str):
    """A text that says another length."""

    def __len__(self) -> int:
        return 2 * super().__len__()


def never(*_: object) -> NoReturn:
    raise AssertionError("no command failed")


def one_by_one(bulk: Bulk[object]) -> bytes:
    return b"".join(map(hiredis.pack_command, bulk.commands()))  # type: ignore[arg-type]


@each_time
@given(prefix=prefixes, keys=many_keys, data=st.data())
def test_increments_are_packed_as_one_by_one(
    prefix: str, keys: list[str], data: st.DataObject
) -> None:
    increments = Increments(prefix, keys, [data.draw(int64) for _ in keys], never)
    assert [*increments.packed()] == [(one_by_one(increments), len(keys))]


@each_time
@given(prefix=prefixes, keys=many_keys)
def test_keys_to_get_are_packed_as_one_by_one(prefix: str, keys: list[str]) -> None:
    gets = MultiGets(prefix, [keys])
    assert [*gets.packed()] == [(one_by_one(gets), 1)]


def test_a_key_may_have_a_length_of_its_own() -> None:
    for bulk in (Increments("a:", [Wide("b")], [1], never), MultiGets("a:", [[Wide("b")]])):
        assert [*bulk.packed()] == [(one_by_one(bulk), 1)]


def test_increments_are_packed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "MAX_TOGETHER", 2)
    increments = Increments("a:", ["b", "c", "d"], [1, 2, 3], never)
    packed = [*increments.packed()]
    assert [count for _, count in packed] == [2, 1]
    assert b"".join(each for each, _ in packed) == one_by_one(increments)


stored = st.binary(max_size=20) | st.from_regex(rb"[-+,0-9 _.e]{0,5}", fullmatch=True)


@each_time
@given(st.lists(st.none() | int64.map(b"%d".__mod__) | stored, min_size=1, max_size=3))
@example([b""])
@example([b"1,2"])
@example([b"1", b"-0"])
@example([b"1", b"01"])
@example([b"%d" % (INT64_MAX + 1)])
@example([b"%d" % (INT64_MIN - 1)])
@example([b"9" * 5000])
def test_many_counters_are_read_as_one_by_one(stored: list[bytes | None]) -> None:
    values = [0 if each is None else _counted(each) for each in stored]
    assert _all_counted(stored) == (None if None in values else values)
