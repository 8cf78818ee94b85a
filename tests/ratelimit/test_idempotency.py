"""Hits with an idempotency key: drawn once, however often they are repeated."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.test import override_settings

from django_counter.exceptions import CounterIdempotencyError
from django_counter.ratelimit import RateLimit
from django_counter.ratelimit.limit import ALGORITHMS
from tests.ratelimit.clocks import Clock
from tests.ratelimit.conftest import Operated

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)
in_memory = pytest.mark.usefixtures("memory")


@pytest.mark.usefixtures("anywhere")
@every_algorithm
def test_a_repeated_hit_is_drawn_once(operated: Operated, algorithm: str, name: str) -> None:
    limit = operated(RateLimit("10/m", "100/h", name=name, algorithm=algorithm))
    for _ in range(3):
        decision = limit.hit("ann", 3, idempotency_key="order 17")
        assert (decision.allowed, decision.remaining) == (True, 7)
    assert limit.peek("ann").remaining == 7
    assert limit.hit("ann", 3).remaining == 4
    assert limit.hit("ann", 3, idempotency_key="order 18").remaining == 1


@in_memory
@every_algorithm
def test_a_repeat_is_allowed_while_others_are_denied(
    operated: Operated, algorithm: str, name: str
) -> None:
    limit = operated(RateLimit("10/m", name=name, algorithm=algorithm))
    limit.hit("ann", 6, idempotency_key="order 17")
    limit.hit("ann", 4)
    assert not limit.hit("ann").allowed
    assert limit.hit("ann", 6, idempotency_key="order 17").allowed
    assert not limit.hit("ann").allowed


@pytest.mark.usefixtures("anywhere")
@every_algorithm
def test_a_repeat_in_a_later_window_draws_nothing(
    operated: Operated, algorithm: str, name: str, clock: Clock
) -> None:
    limit = operated(RateLimit("10/s", "100/m", name=name, algorithm=algorithm))
    for _ in range(20):
        assert limit.hit("ann", 7, idempotency_key="order 17").allowed
        clock.move(7)
    assert limit.peek("ann").remaining == 10
    assert [standing.remaining for standing in limit.peek("ann").standings] == [10, 100]


@in_memory
@pytest.mark.parametrize(
    ("algorithm", "remaining"), [("fixed", 6), ("sliding", 6 - 5), ("token_bucket", 6 + 4)]
)
def test_what_remains_for_a_repeat(
    operated: Operated, algorithm: str, name: str, clock: Clock, remaining: int
) -> None:
    limit = operated(RateLimit("10/10s", name=name, algorithm=algorithm))
    clock.move(limit.peek("ann").reset_after)
    assert limit.hit("ann", 4, idempotency_key="order 17").remaining == 6
    assert limit.hit("ann").remaining == 5
    clock.move(10)
    assert limit.hit("ann", 4, idempotency_key="order 17").remaining == remaining


@in_memory
@every_algorithm
def test_a_denied_hit_may_be_repeated_until_it_is_allowed(
    operated: Operated, algorithm: str, name: str, clock: Clock
) -> None:
    limit = operated(RateLimit("10/m", name=name, algorithm=algorithm))
    limit.hit("ann", 10)
    for _ in range(2):
        decision = limit.hit("ann", 4, idempotency_key="order 17")
        assert not decision.allowed
    clock.move(decision.retry_after + 0.001)
    for _ in range(2):
        assert limit.hit("ann", 4, idempotency_key="order 17").allowed
    assert limit.peek("ann").remaining <= 6


@in_memory
@every_algorithm
def test_a_key_is_forgotten_after_ten_minutes(
    operated: Operated, algorithm: str, name: str, clock: Clock
) -> None:
    limit = operated(RateLimit("10/day", name=name, algorithm=algorithm))
    for seconds, remaining in ((0, 9), (599, 9), (1, 8)):
        clock.move(seconds)
        assert limit.hit("ann", idempotency_key="order 17").remaining == remaining


@in_memory
@every_algorithm
def test_another_cost_is_refused(operated: Operated, algorithm: str, name: str) -> None:
    limit = operated(RateLimit("10/m", name=name, algorithm=algorithm))
    limit.hit("ann", 3, idempotency_key="order 17")
    with pytest.raises(CounterIdempotencyError):
        limit.hit("ann", 4, idempotency_key="order 17")
    assert limit.peek("ann").remaining == 7


@in_memory
@every_algorithm
def test_a_key_belongs_to_a_limit_and_an_identity(
    operated: Operated, algorithm: str, name: str
) -> None:
    limits = [
        operated(RateLimit("10/m", name=f"{name}{number}", algorithm=algorithm))
        for number in range(2)
    ]
    for limit in limits:
        for identity in ("ann", "bob"):
            limit.hit(identity, 3, idempotency_key="order 17")
            assert limit.peek(identity).remaining == 7


@in_memory
def test_cost_0_peeks_and_a_limit_that_is_off_asks_nobody(operated: Operated, name: str) -> None:
    limit = operated(RateLimit("10/m", name=name))
    limit.hit("ann", 3, idempotency_key="order 17")
    assert limit.hit("ann", 0, idempotency_key="order 17").remaining == 7
    with override_settings(RATE_LIMIT={"ENABLED": False}):
        assert limit.hit("ann", 5, idempotency_key="order 17").remaining == 10


@in_memory
def test_a_bad_key_is_refused(operated: Operated, name: str) -> None:
    limit = operated(RateLimit("10/m", name=name))
    with pytest.raises(ValueError, match="idempotency_key must not be empty"):
        limit.hit("ann", idempotency_key="")
    with pytest.raises(TypeError, match="idempotency_key must be a str"):
        limit.hit("ann", idempotency_key=17)  # type: ignore[arg-type]


@pytest.mark.usefixtures("on_valkey")
@every_algorithm
def test_repeats_of_threads_are_drawn_once(algorithm: str, name: str) -> None:
    limit = RateLimit("1000/h", name=name, algorithm=algorithm)
    with ThreadPoolExecutor(8) as threads:
        hits = threads.map(lambda n: limit.hit("ann", idempotency_key=str(n // 8)), range(80))
        assert all(hit.allowed for hit in hits)
    assert limit.peek("ann").remaining == 990
