"""The algorithms, each against a plain model of what it should do, and each at its worst."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from django_counter import counters
from django_counter.ratelimit import Decision, Rate, RateLimit
from django_counter.ratelimit.algorithms import sliding
from django_counter.ratelimit.limit import ALGORITHMS
from tests.ratelimit.clocks import Clock
from tests.ratelimit.conftest import Operated
from tests.ratelimit.models import MILLISECOND, MODELS, SECOND, Model

PAGE = Path(__file__).parents[2] / "docs" / "rate-limits.md"
NUMBERS = itertools.count()

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)
windowed = pytest.mark.parametrize("algorithm", ["fixed", "sliding"])


def of(count: int) -> Any:
    """Return settings of hypothesis: the same examples in each run."""
    return examples(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


RATES: list[tuple[str, ...]] = [
    ("1/s",),
    ("5/2s",),
    ("7/3s",),
    ("10/m",),
    ("3/2s", "5/7s"),
    ("20/m", "7/3s", "100/h"),
    ("1000/7s", "9/s"),
]
rates = st.sampled_from(RATES)
who = st.sampled_from("ab")
costs = st.integers(1, 4)
pauses = st.one_of(
    st.integers(1, 5_000),  # microseconds
    st.integers(1, 500).map(lambda number: number * 10_000),
    st.integers(0, 4).map(lambda number: number * SECOND),
    st.sampled_from([30 * SECOND, 60 * SECOND, 3600 * SECOND]),
)
# Hits are much the most frequent, so that limits are reached.
actions = st.one_of(
    *[st.tuples(st.just("hit"), who, costs)] * 6,
    *[st.tuples(st.just("pause"), who, pauses)] * 2,
    st.tuples(st.just("wait"), who, st.sampled_from([-MILLISECOND, -1, 0, 1, MILLISECOND])),
    st.tuples(st.just("peek"), who, st.just(1)),
    st.tuples(st.just("refund"), who, costs),
    st.tuples(st.just("reset"), who, st.just(1)),
)
traffic = st.lists(actions, min_size=10, max_size=60)
Traffic = Sequence[tuple[str, str, int]]


class Match:
    """The same traffic at a limit and at its models, which must agree."""

    def __init__(
        self, algorithm: str, rates: tuple[str, ...], clock: Clock, operated: Operated
    ) -> None:
        self.clock = clock
        limit = RateLimit(*rates, name=f"match {next(NUMBERS)}", algorithm=algorithm)
        self.rates = limit.rates
        self.largest = min(rate.limit for rate in limit.rates)
        self.limit = operated(limit)
        self.models: dict[str, list[Model]] = {
            identity: [
                MODELS[algorithm](standing.rate, self.now + microseconds(standing.reset_after))
                for standing in self.limit.peek(identity).standings
            ]
            for identity in "ab"
        }
        if algorithm != "token_bucket":  # the end of a window, which begins with a millisecond
            for model in itertools.chain(*self.models.values()):
                model.end -= model.end % MILLISECOND  # type: ignore[attr-defined]

    @property
    def now(self) -> int:
        return self.clock.microseconds

    def run(self, traffic: Traffic, exact: bool = True) -> None:
        wait = 0
        for action, identity, number in traffic:
            if action == "hit":
                cost = min(number, self.largest)
                decision = self.limit.hit(identity, cost)
                self.check(decision, identity, cost, drawn=True, exact=exact)
                wait = microseconds(decision.retry_after)
            elif action == "peek":
                self.check(self.limit.peek(identity), identity, 1, drawn=False)
            elif action == "refund":
                cost = min(number, self.largest)
                self.limit.refund(identity, cost)
                for model in self.models[identity]:
                    model.refund(self.now, cost)
            elif action == "reset":
                self.limit.reset(identity)
                for model in self.models[identity]:
                    model.reset(self.now)
            elif action == "pause":
                self.clock.microseconds += number
            elif action == "wait":
                self.clock.microseconds += max(0, wait + number)

    def check(
        self, decision: Decision, identity: str, cost: int, drawn: bool, exact: bool = True
    ) -> None:
        models = self.models[identity]
        allowed = all(model.room(self.now) >= cost for model in models)
        assert decision.allowed == allowed
        if allowed and drawn:
            for model in models:
                model.draw(self.now, cost)
        if not exact:
            return
        asked = 0 if allowed else cost
        expected = [
            (rate, model.room(self.now), model.whole_after(self.now), model.wait(self.now, asked))
            for rate, model in zip(self.rates, models, strict=True)
        ]
        assert expected == [
            (
                each.rate,
                each.remaining,
                microseconds(each.reset_after),
                microseconds(each.retry_after),
            )
            for each in decision.standings
        ]
        tightest = max(expected, key=lambda each: (each[3], -each[1], each[2]))
        assert (
            decision.limit,
            decision.remaining,
            microseconds(decision.reset_after),
            microseconds(decision.retry_after),
        ) == (tightest[0].limit, *tightest[1:])


def microseconds(seconds: float) -> int:
    return round(seconds * SECOND)


@every_algorithm
@given(rates=rates, traffic=traffic)
@of(60)
@pytest.mark.usefixtures("memory", "no_deny_cache")
def test_in_memory_it_decides_like_its_model(
    clock: Clock, operated: Operated, algorithm: str, rates: tuple[str, ...], traffic: Traffic
) -> None:
    Match(algorithm, rates, clock, operated).run(traffic)


@every_algorithm
@given(rates=rates, traffic=traffic)
@of(20)
@pytest.mark.usefixtures("on_valkey", "no_deny_cache")
def test_on_a_server_it_decides_like_its_model(
    clock: Clock, operated: Operated, algorithm: str, rates: tuple[str, ...], traffic: Traffic
) -> None:
    Match(algorithm, rates, clock, operated).run(traffic)


@every_algorithm
@given(rates=rates, traffic=traffic)
@of(6)
@pytest.mark.usefixtures("on_fakeredis", "no_deny_cache")
def test_on_fakeredis_it_decides_like_its_model(
    clock: Clock, operated: Operated, algorithm: str, rates: tuple[str, ...], traffic: Traffic
) -> None:
    Match(algorithm, rates, clock, operated).run(traffic)


@every_algorithm
@pytest.mark.parametrize("seconds", [0.3, 1, 100])
@given(rates=rates, traffic=traffic)
@of(25)
@pytest.mark.usefixtures("memory")
def test_remembered_denials_change_no_decision(
    clock: Clock,
    operated: Operated,
    algorithm: str,
    seconds: float,
    rates: tuple[str, ...],
    traffic: Traffic,
) -> None:
    # To the very microsecond a denial is remembered no more exactly than a float is.
    moved = [
        (action, identity, number or 1) if action == "wait" else (action, identity, number)
        for action, identity, number in traffic
    ]
    with override_settings(RATE_LIMIT={"DENY_CACHE": seconds}):
        Match(algorithm, rates, clock, operated).run(moved, exact=False)


@every_algorithm
@given(rates=rates, pause=pauses, costs=st.lists(costs, min_size=1, max_size=30), last=costs)
@of(30)
@pytest.mark.usefixtures("memory", "no_deny_cache")
def test_retry_after_is_exact(
    clock: Clock,
    operated: Operated,
    algorithm: str,
    rates: tuple[str, ...],
    pause: int,
    costs: list[int],
    last: int,
) -> None:
    step = 1 if algorithm == "token_bucket" else MILLISECOND
    limit = RateLimit(*rates, name=f"retry {next(NUMBERS)}", algorithm=algorithm)
    of_kind = operated(limit)
    clock.microseconds += pause
    for cost in costs:
        of_kind.hit("a", min(cost, limit.largest_cost))
        clock.microseconds += 20_000
    while (denied := of_kind.hit("a", min(last, limit.largest_cost))).allowed:
        pass
    assert denied.retry_after > 0
    clock.microseconds += microseconds(denied.retry_after) - step
    assert not of_kind.hit("a", min(last, limit.largest_cost)).allowed
    clock.microseconds += step
    assert of_kind.hit("a", min(last, limit.largest_cost)).allowed


@every_algorithm
@pytest.mark.usefixtures("memory", "no_deny_cache")
def test_a_limit_is_whole_again_after_reset_after(clock: Clock, name: str, algorithm: str) -> None:
    limit = RateLimit("5/3s", name=name, algorithm=algorithm)
    clock.move(0.2)
    drawn = limit.hit("a", 5)
    assert 0 < drawn.reset_after <= 3.1
    clock.move(drawn.reset_after + (3 if algorithm == "sliding" else 0))
    assert limit.hit("a", 5).allowed


@every_algorithm
def test_all_rates_are_drawn_or_none(
    anywhere: str, operated: Operated, name: str, algorithm: str
) -> None:
    limit = operated(RateLimit("3/h", "5/2h", "100/d", name=name, algorithm=algorithm))
    assert [each.remaining for each in limit.hit("a", 3).standings] == [0, 2, 97]
    for _ in range(3):
        denied = limit.hit("a")
        assert not denied.allowed
        assert [each.remaining for each in denied.standings] == [0, 2, 97]
    assert limit.hit("b").allowed


@every_algorithm
def test_a_decision_is_that_of_the_tightest_rate(
    anywhere: str, operated: Operated, name: str, algorithm: str
) -> None:
    limit = operated(RateLimit("100/d", "3/h", "50/2h", name=name, algorithm=algorithm))
    allowed = limit.hit("a")
    assert (allowed.limit, allowed.remaining, allowed.retry_after) == (3, 2, 0.0)
    limit.hit("a", 2)
    denied = limit.hit("a")
    assert (denied.allowed, denied.limit, denied.remaining) == (False, 3, 0)
    assert denied.retry_after == denied.standings[1].retry_after > 0
    assert [each.retry_after for each in denied.standings if each.rate.limit != 3] == [0, 0]


@every_algorithm
def test_a_denied_hit_draws_nothing(
    anywhere: str, operated: Operated, name: str, algorithm: str, no_deny_cache: None
) -> None:
    limit = operated(RateLimit("10/h", name=name, algorithm=algorithm))
    limit.hit("a", 8)
    for _ in range(5):
        assert not limit.hit("a", 3).allowed
    assert limit.hit("a", 2).allowed


@every_algorithm
def test_a_process_that_starts_later_decides_alike(
    anywhere: str, operated: Operated, name: str, algorithm: str, clock: Clock, no_deny_cache: None
) -> None:
    """What a process remembers of a limit is not needed."""
    first = operated(RateLimit("10/m", "15/h", name=name, algorithm=algorithm))
    for seconds in (0, 40, 40):
        clock.move(seconds)
        first.hit("a", 4)
        later = operated(RateLimit("10/m", "15/h", name=name, algorithm=algorithm))
        for cost in range(1, 10):
            clock.move(0.1)
            here, there = first.hit("a", cost), later.hit("a", cost)
            if here.allowed and there.allowed:
                continue
            assert [s.remaining for s in here.standings] == [s.remaining for s in there.standings]


@windowed
@pytest.mark.usefixtures("memory")
def test_windows_of_identities_turn_at_different_times(name: str, algorithm: str) -> None:
    limit = RateLimit("10/h", name=name, algorithm=algorithm)
    ends = sorted(limit.peek(f"user {number}").reset_after for number in range(500))
    assert len(set(ends)) == 500
    # Spread evenly: near each tenth of the hour ends near a tenth of the windows.
    for tenth in range(10):
        assert 25 <= sum(360 * tenth <= end < 360 * (tenth + 1) for end in ends) <= 85


@windowed
@pytest.mark.usefixtures("memory")
def test_windows_of_an_identity_follow_each_other(clock: Clock, name: str, algorithm: str) -> None:
    limit = RateLimit("10/7s", name=name, algorithm=algorithm)
    left = limit.peek("a").reset_after
    for _ in range(20):
        clock.move(0.9)
        left -= 0.9
        if left <= 0:
            left += 7
        assert limit.peek("a").reset_after == pytest.approx(left, abs=0.0011)


def test_a_shift_is_below_the_period() -> None:
    limit = RateLimit("1/s", name="any")
    places = [limit._place(f"{number}") for number in range(200)]
    shifts = {1000 - place.cut(limit.rates, 0).end for place in places}
    assert 0 <= min(shifts) < 50
    assert 950 < max(shifts) < 1000


@pytest.mark.usefixtures("memory", "no_deny_cache")
def test_two_hits_around_the_end_of_a_window_are_in_two_windows(clock: Clock, name: str) -> None:
    limit = RateLimit("1/h", name=name)
    clock.microseconds -= clock.microseconds % MILLISECOND
    clock.move(limit.peek("a").reset_after - 0.001)
    assert limit.hit("a").allowed
    denied = limit.hit("a")
    assert (denied.allowed, denied.retry_after) == (False, pytest.approx(0.001))
    clock.microseconds += MILLISECOND - 1
    assert not limit.hit("a").allowed
    clock.microseconds += 1
    assert limit.hit("a").allowed


@every_algorithm
@pytest.mark.usefixtures("memory", "no_deny_cache")
def test_calls_that_take_time_begin_no_window_anew(clock: Clock, name: str, algorithm: str) -> None:
    """The store's time is ahead: the last hits of a window reach it after the window's end."""
    store = counters["default"]
    limit = RateLimit("5/2s", name=name, algorithm=algorithm)
    clock.microseconds -= clock.microseconds % MILLISECOND
    clock.move(limit.peek("a").reset_after)
    assert limit.hit("a", 5).allowed
    clock.move(1.999)
    behind = Clock()
    behind.microseconds = clock.microseconds + 900_000
    store._clock = behind  # type: ignore[attr-defined]
    remaining = 4 if algorithm == "token_bucket" else 0
    assert limit.peek("a").remaining == remaining
    assert not limit.hit("a", remaining + 1).allowed


@pytest.mark.usefixtures("memory", "no_deny_cache")
def test_a_sliding_window_counts_the_previous_one_in_a_new_process(clock: Clock, name: str) -> None:
    limit = RateLimit("10/m", name=name, algorithm="sliding")
    clock.move(limit.peek("a").reset_after - 1)
    limit.hit("a", 10)
    clock.move(1 + 15)
    for each in (limit, RateLimit("10/m", name=name, algorithm="sliding")):
        assert each.peek("a").remaining == 2
    assert limit.hit("a", 2).allowed
    assert not RateLimit("10/m", name=name, algorithm="sliding").hit("a").allowed


@pytest.mark.parametrize("operation", ["reset", "refund"])
@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.usefixtures("memory", "no_deny_cache")
def test_a_sliding_window_forgets_what_is_given_back_of_the_previous_one(
    operated: Operated, clock: Clock, name: str, operation: str, others: int
) -> None:
    limits = [RateLimit("10/m", name=name, algorithm="sliding") for _ in range(1 + others)]
    limit, giver = operated(limits[0]), operated(limits[-1])
    clock.move(limit.peek("a").reset_after - 1)
    then = limit.hit("a", 10).at
    clock.move(1 + 1)
    assert not limit.hit("a").allowed
    if operation == "reset":
        giver.reset("a")
    else:
        giver.refund("a", 10, at=then)
    assert limit.peek("a").remaining == 10
    assert limit.hit("a", 10).allowed


@pytest.mark.usefixtures("memory", "no_deny_cache")
def test_what_sliding_windows_remember_is_bounded(
    monkeypatch: pytest.MonkeyPatch, operated: Operated, clock: Clock, name: str
) -> None:
    monkeypatch.setattr(sliding, "REMEMBERED", 7)
    rates = ("10/m", "10/2m", "10/3m")
    limit = RateLimit(*rates, name=name, algorithm="sliding")
    used = limit._algorithm._used  # type: ignore[attr-defined]
    identities = [f"user {number}" for number in range(6)]
    for identity in identities:
        assert operated(limit).hit(identity, 10).allowed
    clock.move(60)
    # Although to learn one makes others forgotten, each decision counts all previous windows.
    for identity in identities * 3:
        for cost in (1, 2, 5):
            expected = RateLimit(*rates, name=name, algorithm="sliding").peek(identity).standings
            decision = operated(limit).hit(identity, cost)
            assert decision.allowed == all(each.remaining >= cost for each in expected)
            assert len(used) <= 7


@pytest.mark.parametrize("rates", [("1000000/s",), ("60000000/m",), ("999999/s",)])
@pytest.mark.usefixtures("memory")
def test_a_token_bucket_gets_at_most_a_unit_each_microsecond(
    rates: tuple[str, ...], name: str
) -> None:
    limit = RateLimit(*rates, name=name, algorithm="token_bucket")
    assert limit.hit("a", limit.largest_cost).remaining == 0


@pytest.mark.parametrize("rate", ["1000001/s", "60000001/m", "9223372036854775807/50w"])
def test_a_faster_rate_is_no_token_bucket(rate: str) -> None:
    with pytest.raises(ValueError, match=r"too fast"):
        RateLimit("5/s", rate, name="fast", algorithm="token_bucket")
    RateLimit("5/s", rate, name="fast", algorithm="fixed")


@every_algorithm
@pytest.mark.parametrize(
    ("rate", "cost"), [("1/2607w", 1), ("9000000/18250d", 9_000_000), ("3/18250d", 2)]
)
def test_the_longest_period_works(
    anywhere: str, name: str, algorithm: str, rate: str, cost: int
) -> None:
    limit = RateLimit(rate, name=name, algorithm=algorithm)
    assert limit.hit("a", cost).allowed
    assert not limit.hit("a", limit.largest_cost).allowed
    limit.refund("a", cost)
    assert limit.hit("a", cost).allowed


@windowed
def test_windows_hold_what_int64_does(anywhere: str, name: str, algorithm: str) -> None:
    largest = 2**63 - 1
    limit = RateLimit(f"{largest}/d", name=name, algorithm=algorithm)
    assert limit.hit("a", largest - 1).remaining == 1
    assert not limit.hit("a", 2).allowed
    limit.refund("a", largest - 1)
    assert limit.hit("a", largest).remaining == 0


# The worst case. A log is of admitted hits: when each was, and its cost.

Log = list[tuple[int, int]]


def most_within(log: Log, seconds: float) -> int:
    """Return the most that was admitted in any time so long, its end left out."""
    return max(
        sum(cost for at, cost in log if start <= at < start + seconds * SECOND) for start, _ in log
    )


def worst_traffic(algorithm: str, rate: str, clock: Clock) -> Log:
    """Be silent until a window ends, then hit as soon and as often as is allowed."""
    limit = RateLimit(rate, name=f"worst {next(NUMBERS)}", algorithm=algorithm)
    period = limit.rates[0].period
    clock.microseconds -= clock.microseconds % MILLISECOND
    clock.move((limit.peek("a").reset_after or period) - 0.001)
    log: Log = []
    end = clock.microseconds + 2 * period * SECOND
    while clock.microseconds < end:
        decision = limit.hit("a")
        if decision.allowed:
            log.append((clock.microseconds, 1))
        else:
            clock.move(decision.retry_after)
    return log


def bound(algorithm: str, rate: Rate, microseconds: int) -> int:
    """Return what is admitted at most from one hit to one so much later, less than a period."""
    if algorithm == "fixed":
        return 2 * rate.limit
    return rate.limit + rate.limit * microseconds // (rate.period * SECOND)


@every_algorithm
@given(
    rate=st.sampled_from(["1/s", "5/2s", "7/3s", "20/m"]),
    traffic=st.lists(
        st.tuples(costs, st.one_of(st.just(0), pauses, st.just(-1), st.just(-2))), max_size=60
    ),
)
@of(60)
@pytest.mark.usefixtures("memory", "no_deny_cache")
def test_no_traffic_gets_more_than_the_bound(
    clock: Clock, algorithm: str, rate: str, traffic: list[tuple[int, int]]
) -> None:
    limit = RateLimit(rate, name=f"bound {next(NUMBERS)}", algorithm=algorithm)
    log: Log = []
    for cost, pause in traffic:
        units = min(cost, limit.largest_cost)
        decision = limit.hit("a", units)
        if decision.allowed:
            log.append((clock.microseconds, units))
        if pause == -1:
            clock.move(decision.retry_after)
        elif pause == -2:  # just before the end of the window
            clock.move(max(0, decision.reset_after - 0.001))
        else:
            clock.microseconds += pause
    for (first, (start, _)), (last, (end, _)) in itertools.product(enumerate(log), repeat=2):
        if 0 <= end - start < limit.rates[0].period * SECOND:
            admitted = sum(units for _, units in log[first : last + 1])
            assert admitted <= bound(algorithm, limit.rates[0], end - start)


@every_algorithm
@pytest.mark.parametrize("rate", ["1/s", "5/2s", "20/m", "100/h"])
@pytest.mark.usefixtures("memory", "no_deny_cache")
def test_the_worst_traffic_reaches_the_bound(clock: Clock, algorithm: str, rate: str) -> None:
    log = worst_traffic(algorithm, rate, clock)
    limit, period = RateLimit(rate, name="bound").rates[0]
    nearly = {"fixed": 2 * limit, "sliding": 2 * limit - 1, "token_bucket": 2 * limit - 1}
    assert most_within(log, period) == nearly[algorithm]
    at_once = most_within(log, 0.002)
    assert at_once == (2 * limit if algorithm == "fixed" else limit)


@every_algorithm
@pytest.mark.usefixtures("memory", "no_deny_cache")
def test_the_page_has_the_figures_of_the_worst_traffic(clock: Clock, algorithm: str) -> None:
    log = worst_traffic(algorithm, "100/h", clock)
    figures = [most_within(log, seconds) for seconds in (1, 360, 3600)]
    row = re.search(rf'^\| `"{algorithm}"` \|(.*)$', PAGE.read_text("utf-8"), re.M)
    assert row
    assert [int(cell) for cell in re.findall(r"\| *([0-9]+) *(?=\|)", f"|{row[1]}")] == figures


@pytest.mark.usefixtures("memory", "no_deny_cache")
def test_a_sliding_window_may_deny_one_who_drew_nothing_for_nearly_a_period(
    clock: Clock, name: str
) -> None:
    """The other side of the estimate: it takes early use for even use."""
    limit = RateLimit("100/h", name=name, algorithm="sliding")
    clock.microseconds -= clock.microseconds % MILLISECOND
    clock.move(limit.peek("a").reset_after)
    assert limit.hit("a", 100).allowed
    clock.move(3600 + 1)  # all was drawn longer ago than a period
    denied = limit.hit("a")
    assert (denied.allowed, denied.retry_after) == (False, pytest.approx(35))
