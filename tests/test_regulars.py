"""What is remembered of keys that come again."""

import pytest

from django_counter.regulars import Regulars


@pytest.fixture
def regulars() -> Regulars[int]:
    return Regulars(3)


def note_all(regulars: Regulars[int], keys: str) -> None:
    for number, key in enumerate(keys):
        regulars.note(key, number)


def test_what_came_once_is_not_kept(regulars: Regulars[int]) -> None:
    note_all(regulars, "abc")
    assert regulars == {}


def test_what_came_again_is_kept_as_it_was_made_last(regulars: Regulars[int]) -> None:
    note_all(regulars, "aba")
    assert regulars == {"a": 2}
    note_all(regulars, "a")
    assert regulars == {"a": 0}


def test_they_are_bounded(regulars: Regulars[int]) -> None:
    note_all(regulars, "abcabc")
    assert len(regulars) == 3
    note_all(regulars, "ddee")
    assert regulars == {"d": 1, "e": 3}


def test_those_who_came_once_are_bounded(regulars: Regulars[int]) -> None:
    note_all(regulars, "abcd")  # the fourth took the place of the others
    note_all(regulars, "ad")
    assert regulars == {"d": 1}


def test_a_crowd_in_turn_is_not_kept(regulars: Regulars[int]) -> None:
    note_all(regulars, "abcdef" * 5)
    assert regulars == {}
