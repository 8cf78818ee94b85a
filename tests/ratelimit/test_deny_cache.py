"""Denials that a process remembers."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from django_counter import counters
from django_counter.middleware import CounterMiddleware
from django_counter.ratelimit import Decision, RateLimit, deny_cache
from django_counter.ratelimit.digests import Digest
from django_counter.ratelimit.limit import ALGORITHMS
from tests.ratelimit.clocks import Clock
from tests.ratelimit.conftest import MEMORY, Operated

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)

ASKED: list[str] = []


class Recorder(CounterMiddleware):
    def around(self, operation: str, keys: tuple[str, ...]) -> Any:
        ASKED.append(operation)
        return super().around(operation, keys)


@pytest.fixture(autouse=True)
def recorded(clock: Clock) -> Iterator[None]:
    entry = {
        "BACKEND": MEMORY,
        "OPTIONS": {"clock": clock},
        "MIDDLEWARE": [f"{__name__}.Recorder"],
    }
    with override_settings(COUNTERS={"default": entry}):
        yield
    ASKED.clear()


def spent(name: str, rate: str = "5/m", algorithm: str = "fixed") -> RateLimit:
    """Return a limit that has just denied a hit of "a"; from here on, count what is asked."""
    limit = RateLimit(rate, name=name, algorithm=algorithm)
    limit.hit("a", limit.largest_cost)
    assert not limit.hit("a").allowed
    ASKED.clear()
    return limit


@every_algorithm
def test_a_repeated_denial_asks_nobody(operated: Operated, name: str, algorithm: str) -> None:
    limit = operated(spent(name, algorithm=algorithm))
    for _ in range(3):
        assert not limit.hit("a").allowed
    assert ASKED == []


@every_algorithm
def test_a_repeated_denial_is_the_same_one_a_little_later(
    clock: Clock, operated: Operated, name: str, algorithm: str
) -> None:
    limit = RateLimit("5/m", "7/h", name=name, algorithm=algorithm)
    limit.hit("a", 5)
    first = operated(limit).hit("a", 3)
    clock.move(0.25)
    ASKED.clear()
    second = operated(limit).hit("a", 3)
    assert ASKED == []
    with override_settings(RATE_LIMIT={"DENY_CACHE": 0}):
        asked = RateLimit("5/m", "7/h", name=name, algorithm=algorithm).hit("a", 3)
    _assert_alike(second, asked)
    assert second.retry_after == pytest.approx(first.retry_after - 0.25)
    assert second.standings[1].retry_after == pytest.approx(first.standings[1].retry_after - 0.25)
    assert second.standings[0].reset_after == pytest.approx(first.standings[0].reset_after - 0.25)


def test_a_denial_is_remembered_a_second(clock: Clock, name: str) -> None:
    limit = spent(name)
    clock.move(0.999)
    limit.hit("a")
    assert ASKED == []
    clock.move(0.001001)
    assert not limit.hit("a").allowed
    assert ASKED == ["take"]


@pytest.mark.parametrize("seconds", [0.5, 3, 20])
def test_a_denial_is_remembered_as_long_as_is_set(clock: Clock, name: str, seconds: float) -> None:
    with override_settings(RATE_LIMIT={"DENY_CACHE": seconds}):
        limit = spent(name, "5/h")
        clock.move(seconds - 0.001)
        limit.hit("a")
        assert ASKED == []
        clock.move(0.001001)
        limit.hit("a")
        assert ASKED == ["take"]


def test_0_turns_it_off(operated: Operated, name: str) -> None:
    with override_settings(RATE_LIMIT={"DENY_CACHE": 0}):
        limit = operated(spent(name))
        for _ in range(3):
            assert not limit.hit("a").allowed
    assert ASKED == ["take"] * 3


@every_algorithm
def test_a_denial_is_not_remembered_longer_than_it_holds(
    clock: Clock, operated: Operated, name: str, algorithm: str
) -> None:
    with override_settings(RATE_LIMIT={"DENY_CACHE": 100}):
        limit = operated(spent(name, "2/s", algorithm))
        denied = limit.hit("a")
        clock.move(denied.retry_after - 0.002)
        assert not limit.hit("a").allowed
        assert ASKED == []
        clock.move(0.002001)
        assert limit.hit("a").allowed


def test_a_denial_holds_for_higher_costs(operated: Operated, name: str) -> None:
    limit = operated(spent(name))
    assert not limit.hit("a", 2).allowed
    assert not limit.hit("a", 5).allowed
    assert ASKED == []


def test_a_denial_does_not_hold_for_lower_costs(operated: Operated, name: str) -> None:
    limit = RateLimit("5/m", name=name)
    limit.hit("a", 3)
    assert not limit.hit("a", 3).allowed
    ASKED.clear()
    assert operated(limit).hit("a", 2).allowed
    assert ASKED == ["take"]
    assert not limit.hit("a", 1).allowed  # remembered from here on
    assert not limit.hit("a", 3).allowed
    assert ASKED == ["take", "take"]


def test_a_denial_is_of_one_identity(operated: Operated, name: str) -> None:
    limit = operated(spent(name))
    assert limit.hit("b").allowed
    assert limit.hit("A").allowed


def test_a_denial_is_of_one_limit(operated: Operated, name: str) -> None:
    spent(name)
    assert operated(RateLimit("5/m", name=f"{name} too")).hit("a").allowed
    assert operated(RateLimit("6/m", name=name)).hit("a").allowed


@every_algorithm
@pytest.mark.parametrize("operation", ["reset", "refund"])
def test_what_another_object_of_a_limit_gives_back_is_seen_at_once(
    operated: Operated, name: str, algorithm: str, operation: str
) -> None:
    limit = spent(name, algorithm=algorithm)
    unlike = spent(name, rate="6/m", algorithm=algorithm)
    assert not unlike.hit("a").allowed
    other = operated(RateLimit("5/m", name=name, algorithm=algorithm))
    getattr(other, operation)("a")
    assert limit.hit("a").allowed
    assert "a" in unlike._denials


@every_algorithm
def test_reset_forgets_a_denial(operated: Operated, name: str, algorithm: str) -> None:
    limit = operated(spent(name, algorithm=algorithm))
    limit.reset("a")
    assert limit.hit("a", 5).allowed


def test_the_denial_of_a_digest_is_not_remembered(name: str) -> None:
    limit = spent(name)
    text = limit.peek("a").identity
    assert not limit.hit(Digest(text)).allowed
    assert limit.hit(text).allowed  # the digest of one is the name of another
    limit.hit(text, 4)
    assert not limit.hit(text).allowed
    limit.reset("a")
    assert limit.hit(Digest(text)).allowed


def test_reset_by_a_digest_forgets_this_denial(operated: Operated, name: str) -> None:
    limit = spent(name)
    limit.hit("b", 5)
    denied = [limit.hit(identity) for identity in "ab"]
    operated(limit).reset(Digest(denied[0].identity))
    assert limit.hit("a", 5).allowed
    ASKED.clear()
    assert not limit.hit("b").allowed
    assert ASKED == []


@every_algorithm
def test_refund_forgets_a_denial(operated: Operated, name: str, algorithm: str) -> None:
    limit = operated(spent(name, algorithm=algorithm))
    limit.refund("a", 2)
    assert limit.hit("a", 2).allowed
    assert not limit.hit("a").allowed


def test_reset_and_refund_forget_no_denial_of_others(operated: Operated, name: str) -> None:
    limit = spent(name)
    operated(limit).reset("b")
    operated(limit).refund("b")
    ASKED.clear()
    assert not limit.hit("a").allowed
    assert ASKED == []


def test_a_limit_forgets_all_denials(name: str) -> None:
    limit = spent(name)
    limit.forget()
    assert not limit.hit("a").allowed
    assert ASKED == ["take"]


def test_a_peek_is_not_answered_from_memory(operated: Operated, name: str) -> None:
    limit = spent(name)
    RateLimit("5/m", name=name).refund("a", 2)
    ASKED.clear()
    assert operated(limit).peek("a").remaining == 2
    assert operated(limit).hit("a", 0).remaining == 2
    assert ASKED == ["entry", "entry"]


def test_a_clock_that_is_set_back_makes_no_denial_last(
    clock: Clock, operated: Operated, name: str
) -> None:
    limit = spent(name, "5/h")
    clock.move(-7200)
    assert operated(limit).hit("a").allowed


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(deny_cache, "MAX_DENIALS", 10)
    limit = RateLimit("1/m", name=name)
    for number in range(35):
        limit.hit(f"{number}")
        assert not limit.hit(f"{number}").allowed
        assert len(limit._denials) <= 10
        ASKED.clear()
        assert not limit.hit(f"{number}").allowed  # the latest is always remembered
        assert ASKED == []


def test_the_usual_bound_is_ten_thousand() -> None:
    assert deny_cache.MAX_DENIALS == 10_000


@pytest.mark.parametrize(("length", "asked"), [(256, []), (257, ["take"])])
def test_a_very_long_identity_is_not_remembered(name: str, length: int, asked: list[str]) -> None:
    limit = RateLimit("1/m", name=name)
    identity = "x" * length
    limit.hit(identity)
    limit.hit(identity)
    ASKED.clear()
    assert not limit.hit(identity).allowed
    assert asked == ASKED


def test_an_allowed_hit_is_not_remembered(operated: Operated, name: str) -> None:
    limit = operated(RateLimit("5/m", name=name))
    for _ in range(5):
        assert limit.hit("a").allowed
    assert ASKED == ["take"] * 5


def test_another_process_that_resets_is_seen_after_a_second(clock: Clock, name: str) -> None:
    limit = spent(name)
    for entry in list(counters["default"].scan(limit.prefix)):
        counters["default"].delete(entry.key)
    assert not limit.hit("a").allowed
    clock.move(1.001)
    assert limit.hit("a").allowed


def _assert_alike(one: Decision, other: Decision) -> None:
    same = ("allowed", "limit", "name", "identity")
    assert [getattr(one, field) for field in same] == [getattr(other, field) for field in same]
    assert [each.rate for each in one.standings] == [each.rate for each in other.standings]
    for mine, theirs in zip((one, *one.standings), (other, *other.standings), strict=True):
        assert mine.reset_after == pytest.approx(theirs.reset_after, abs=0.0011)
        assert mine.retry_after == pytest.approx(theirs.retry_after, abs=0.0011)
