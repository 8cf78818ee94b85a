"""A rate limit: its arguments, its decisions, what it asks of a server."""

import asyncio
import inspect
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from django_counter import counter, counters
from django_counter.exceptions import CounterConfigError
from django_counter.ratelimit import Decision, Rate, RateLimit, Standing
from django_counter.ratelimit.decisions import RateLimited
from django_counter.ratelimit.digests import Digest, digest
from django_counter.ratelimit.limit import ALGORITHMS, alike
from tests.contract.stores import RedisStore
from tests.ratelimit.clocks import Clock
from tests.ratelimit.conftest import MEMORY, Operated

INT64_MAX = 2**63 - 1

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)
in_memory = pytest.mark.usefixtures("memory")


class TestArguments:
    @pytest.mark.parametrize(
        "name", ["a", "search", "shop.views.Cart.add", "a b", "_", "x" * 128, "a:b/c", "<locals>-9"]
    )
    @in_memory
    def test_a_name(self, name: str) -> None:
        assert RateLimit("5/s", name=name).hit("a").name == name

    @pytest.mark.parametrize(
        "name",
        ["", "x" * 129, "a{b", "a}b", "a\n", "a\x00", "a,b", 'a"b', "a*b", "é", "日", "a\\b"],
    )
    def test_what_is_no_name(self, name: str) -> None:
        with pytest.raises(ValueError, match=re.escape(f"{name!r} is no name")):
            RateLimit("5/s", name=name)

    @pytest.mark.parametrize("option", ["name", "using"])
    @pytest.mark.parametrize("value", [None, 5, b"a"])
    def test_a_name_and_an_alias_are_a_str(self, option: str, value: Any) -> None:
        with pytest.raises(TypeError, match=f"{option} must be a str, not {value!r}"):
            RateLimit("5/s", **{"name": "a", option: value})

    def test_a_name_is_needed(self) -> None:
        with pytest.raises(TypeError, match="name"):
            RateLimit("5/s")  # type: ignore[call-arg]

    def test_a_rate_is_needed(self) -> None:
        with pytest.raises(ValueError, match="100/h"):
            RateLimit(name="a")

    @pytest.mark.parametrize(
        "rates", [("5/s", "5/s"), ("60/m", "5/s", "60/60s"), ("5 per week", "5/7d")]
    )
    def test_each_rate_stands_once(self, rates: tuple[str, ...]) -> None:
        with pytest.raises(ValueError, match="each rate once"):
            RateLimit(*rates, name="a")

    @pytest.mark.parametrize("algorithm", ["Fixed", "leaky", "", None])
    def test_another_algorithm_is_refused_and_they_are_named(self, algorithm: Any) -> None:
        with pytest.raises(ValueError, match=r"'fixed', 'sliding', 'token_bucket'"):
            RateLimit("5/s", name="a", algorithm=algorithm)

    def test_fixed_windows_are_the_default(self) -> None:
        limit = RateLimit("5/s", "7/m", name="a")
        assert (limit.algorithm, limit.using) == ("fixed", "default")
        assert limit.rates == (Rate(5, 1), Rate(7, 60))

    def test_repr_is_how_it_is_made(self) -> None:
        limit = RateLimit("10/60s", "5 per day", name="a b", algorithm="sliding")
        remade = eval(repr(limit))
        assert (remade.rates, remade.name, remade.algorithm) == (
            limit.rates,
            limit.name,
            limit.algorithm,
        )

    def test_its_kind_is_its_name_rates_algorithm_and_alias(self) -> None:
        limit = RateLimit("10/60s", "5/d", name="a", algorithm="sliding", using="b")
        assert limit.kind == ("a", (Rate(10, 60), Rate(5, 86_400)), "sliding", "b")

    def test_limits_of_one_kind_are_alike_whatever_their_repr(self) -> None:
        class Shown(RateLimit):
            def __repr__(self) -> str:
                return self.name

        limit, shown = RateLimit("5/s", name="alike"), Shown("5/1s", name="alike")
        others = [Shown("6/s", name="alike"), Shown("5/s", name="alike", algorithm="sliding")]
        assert set(alike(limit)) == {limit, shown}
        assert others

    @pytest.mark.parametrize("cost", [-1, 6, 2**63, 2**70])
    @in_memory
    def test_a_cost_that_can_never_be_allowed_is_an_error(
        self, operated: Operated, name: str, cost: int
    ) -> None:
        limit = operated(RateLimit("5/s", "100/m", name=name))
        for operation in (limit.hit, limit.refund):
            with pytest.raises(ValueError, match=r"cost"):
                operation("a", cost)
        assert limit.peek("a").remaining == 5

    @in_memory
    def test_it_says_so(self, name: str) -> None:
        with pytest.raises(ValueError, match=rf"6 can never be allowed.*5/s.*{name}"):
            RateLimit("100/m", "5/s", name=name).hit("a", 6)

    @pytest.mark.parametrize("cost", [None, "1", 1.5, True, [1]])
    @in_memory
    def test_a_cost_is_an_int(self, operated: Operated, name: str, cost: Any) -> None:
        limit = operated(RateLimit("5/s", name=name))
        for operation in (limit.hit, limit.refund):
            with pytest.raises(TypeError, match=r"^cost must be an int"):
                operation("a", cost)

    @in_memory
    def test_a_refund_of_nothing_is_an_error(self, operated: Operated, name: str) -> None:
        with pytest.raises(ValueError, match=r"^cost must be from 1"):
            operated(RateLimit("5/s", name=name)).refund("a", 0)

    @pytest.mark.parametrize("identity", [None, 5, b"a"])
    @in_memory
    def test_an_identity_is_a_str(self, operated: Operated, name: str, identity: Any) -> None:
        limit = operated(RateLimit("5/s", name=name))
        for operation in (limit.hit, limit.peek, limit.refund, limit.reset):
            with pytest.raises(TypeError, match=r"^an identity must be a str, not "):
                operation(identity)

    @pytest.mark.parametrize("operation", ["hit", "peek", "refund", "reset"])
    def test_twins_have_the_same_signature(self, operation: str) -> None:
        sync, twin = getattr(RateLimit, operation), getattr(RateLimit, f"a{operation}")
        assert inspect.signature(sync) == inspect.signature(twin)
        assert inspect.iscoroutinefunction(twin)
        assert twin.__doc__ == f"See {operation}()."


class TestIdentities:
    @given(
        identity=st.text(max_size=40) | st.sampled_from(["\ud800", "\x00", "{}", "", "é" * 9999])
    )
    @examples(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @in_memory
    def test_any_text_is_an_identity(self, identity: str) -> None:
        limit = RateLimit("1/s", name="any text")
        limit.reset(identity)
        assert limit.hit(identity).allowed
        assert not limit.hit(identity).allowed
        assert re.fullmatch("[0-9a-f]{32}", limit.peek(identity).identity)

    def test_lone_surrogates_are_told_apart(self) -> None:
        assert len({digest(each) for each in ("\ud800", "\udfff", "?", "\ufffd", "")}) == 5

    @in_memory
    def test_no_key_tells_an_identity(self, name: str) -> None:
        RateLimit("5/s", name=name).hit("ann@example.org")
        [entry] = counter.scan(f"limit:{name}:")
        assert "ann" not in entry.key
        hexadecimal = digest("ann@example.org")
        assert re.fullmatch(rf"limit:{name}:\{{{hexadecimal}\}}:5/s:[0-9]+", entry.key)

    @in_memory
    @pytest.mark.parametrize("other", ["b", "a ", "A", "", "a\x00"])
    def test_each_has_its_own_budget(self, operated: Operated, name: str, other: str) -> None:
        limit = operated(RateLimit("1/h", name=name))
        assert limit.hit("a").allowed
        assert limit.hit(other).allowed
        assert not limit.hit("a").allowed

    @in_memory
    def test_a_secret_changes_digests(self, name: str, settings: Any) -> None:
        limit = RateLimit("1/h", name=name)
        seen = {digest("a"), limit.hit("a").identity}
        assert len(seen) == 1
        settings.RATE_LIMIT = {"SECRET": "one"}
        seen |= {digest("a")}
        assert len(seen) == 2
        assert limit.peek("a").remaining == 1
        settings.RATE_LIMIT = {"SECRET": "other"}
        seen |= {digest("a")}
        settings.RATE_LIMIT = {"SECRET": ""}
        settings.SECRET_KEY = "another"
        seen |= {digest("a")}
        assert len(seen) == 4
        settings.RATE_LIMIT = {"SECRET": "one"}
        assert digest("a") in seen

    def test_a_digest_without_a_secret_is_keyed_with_the_secret_key(self, settings: Any) -> None:
        settings.SECRET_KEY = "the same"
        settings.RATE_LIMIT = {}
        derived = digest("a")
        settings.SECRET_KEY = "another"
        settings.RATE_LIMIT = {"SECRET": "the same"}
        assert digest("a") == derived

    def test_a_secret_key_may_be_bytes(self, settings: Any) -> None:
        settings.RATE_LIMIT = {}
        settings.SECRET_KEY = "a text"
        derived = digest("a")
        settings.SECRET_KEY = b"a text"
        assert digest("a") == derived

    def test_a_digest_never_changes(self, settings: Any) -> None:
        """Budgets outlive a process: another version must find them."""
        settings.RATE_LIMIT = {"SECRET": "secret"}
        assert digest("a") == "dd3ef265cf68b7d38609bc2f610040ec"


class TestDecisions:
    @in_memory
    def test_a_decision_says_where_the_limit_stands(self, clock: Clock, name: str) -> None:
        limit = RateLimit("3/h", name=name)
        decision = limit.hit("a", 2)
        assert decision == Decision(
            allowed=True,
            limit=3,
            remaining=1,
            reset_after=decision.reset_after,
            retry_after=0.0,
            name=name,
            identity=digest("a"),
            at=decision.at,
            standings=(Standing(Rate(3, 3600), 1, decision.reset_after, 0.0),),
        )
        assert 0 < decision.reset_after <= 3600
        clock.move(1)
        denied = limit.hit("a", 2)
        assert (denied.allowed, denied.remaining) == (False, 1)
        assert denied.retry_after == denied.reset_after == pytest.approx(decision.reset_after - 1)

    @in_memory
    def test_a_decision_does_not_change(self, name: str) -> None:
        decision = RateLimit("3/h", name=name).hit("a")
        with pytest.raises(AttributeError):
            decision.allowed = False  # type: ignore[misc]

    @in_memory
    def test_a_refunded_decision_has_the_cost_again_up_to_the_limit(self, name: str) -> None:
        decision = RateLimit("5/h", "9/d", name=name).hit("a", 4)
        refunded = decision.refunded(3)
        assert (refunded.remaining, [s.remaining for s in refunded.standings]) == (4, [4, 8])
        again = refunded.refunded(3)
        assert (again.remaining, [s.remaining for s in again.standings]) == (5, [5, 9])
        assert decision.remaining == 1

    @in_memory
    def test_a_limit_knows_the_decisions_on_its_budgets(self, name: str) -> None:
        limit = RateLimit("5/h", "9/d", name=name)
        assert limit.made(limit.hit("a"))
        assert limit.made(RateLimit("5/h", "9/d", name=name).hit("b"))
        assert not limit.made(RateLimit("5/h", name=name).hit("a"))
        assert not limit.made(RateLimit("5/h", "9/d", name=f"{name} too").hit("a"))

    @in_memory
    def test_a_denied_decision_is_an_exception_for_who_wants_one(self, name: str) -> None:
        limit = RateLimit("3/h", name=name)
        limit.hit("a", 3)
        denied = limit.hit("a")
        error = RateLimited(denied)
        assert error.decision is denied
        assert str(error) == (
            f"the rate limit {name!r} is reached, try again in {denied.retry_after:.3f} s"
        )

    @every_algorithm
    def test_a_peek_draws_nothing(
        self, anywhere: str, operated: Operated, name: str, algorithm: str
    ) -> None:
        limit = operated(RateLimit("3/h", "5/d", name=name, algorithm=algorithm))
        for look in (limit.peek, lambda identity: limit.hit(identity, 0)):
            for _ in range(9):
                decision = look("a")
                assert (decision.allowed, decision.remaining, decision.retry_after) == (True, 3, 0)
        assert not list(counters["default"].scan(f"limit:{name}:"))
        limit.hit("a", 3)
        for look in (limit.peek, lambda identity: limit.hit(identity, 0)):
            assert look("a") == limit.peek("a")
            assert (look("a").allowed, look("a").remaining) == (False, 0)
            assert look("a").retry_after > 0

    @every_algorithm
    def test_a_refund_gives_a_hit_back(
        self, anywhere: str, operated: Operated, name: str, algorithm: str
    ) -> None:
        limit = operated(RateLimit("5/h", "8/d", name=name, algorithm=algorithm))
        limit.hit("a", 5)
        limit.refund("a", 2)
        assert [each.remaining for each in limit.peek("a").standings] == [2, 5]
        limit.refund("a")
        assert [each.remaining for each in limit.peek("a").standings] == [3, 6]
        assert limit.hit("a", 3).allowed
        assert not limit.hit("a").allowed

    @every_algorithm
    def test_a_refund_gives_no_more_than_the_limit(
        self, anywhere: str, operated: Operated, name: str, algorithm: str
    ) -> None:
        limit = operated(RateLimit("5/h", "8/d", name=name, algorithm=algorithm))
        limit.hit("a", 2)
        for _ in range(4):
            limit.refund("a", 3)
        assert [each.remaining for each in limit.peek("a").standings] == [5, 8]

    @every_algorithm
    def test_a_refund_to_one_who_drew_nothing_does_nothing(
        self, anywhere: str, operated: Operated, name: str, algorithm: str
    ) -> None:
        limit = operated(RateLimit("5/h", name=name, algorithm=algorithm))
        limit.refund("a", 5)
        assert limit.peek("a").remaining == 5
        assert not list(counters["default"].scan(f"limit:{name}:"))

    @pytest.mark.parametrize("algorithm", ["fixed", "sliding"])
    def test_a_refund_begins_no_new_window(
        self, anywhere: str, clock: Clock, operated: Operated, name: str, algorithm: str
    ) -> None:
        limit = operated(RateLimit("5/h", name=name, algorithm=algorithm))
        clock.move(limit.hit("a", 3).reset_after)
        before = list(counters["default"].scan(f"limit:{name}:"))
        limit.refund("a", 3)
        after = list(counters["default"].scan(f"limit:{name}:"))
        assert [each[:2] for each in after] == [each[:2] for each in before]

    @in_memory
    def test_a_refund_gives_no_hit_of_the_next_window_back(
        self, clock: Clock, operated: Operated, name: str
    ) -> None:
        limit = operated(RateLimit("5/h", name=name))
        ended = limit.hit("a", 3)
        clock.move(ended.reset_after)
        limit.hit("a", 4)
        limit.refund("a", 3, at=ended.at)
        assert limit.peek("a").remaining == 1

    @every_algorithm
    def test_reset_gives_the_whole_limit_back(
        self, anywhere: str, operated: Operated, name: str, algorithm: str, clock: Clock
    ) -> None:
        limit = operated(RateLimit("5/h", "8/d", name=name, algorithm=algorithm))
        limit.hit("a", 5)
        limit.hit("b", 5)
        clock.move(3600)
        limit.hit("a", 1)  # a sliding window has read the previous one
        limit.reset("a")
        decision = limit.peek("a")
        assert [each.remaining for each in decision.standings] == [5, 8]
        assert limit.hit("a", 5).allowed
        assert limit.peek("b").standings[1].remaining < 8

    @every_algorithm
    def test_a_digest_is_enough_to_give_the_whole_limit_back(
        self, anywhere: str, operated: Operated, name: str, algorithm: str
    ) -> None:
        limit = operated(RateLimit("5/h", "8/d", name=name, algorithm=algorithm))
        limit.hit("b", 5)
        limit.reset(Digest(limit.hit("a", 5).identity))
        assert [each.remaining for each in limit.peek("a").standings] == [5, 8]
        assert limit.peek("b").remaining < 5

    @every_algorithm
    def test_a_changed_rate_counts_at_once(
        self, anywhere: str, operated: Operated, name: str, algorithm: str
    ) -> None:
        operated(RateLimit("5/h", name=name, algorithm=algorithm)).hit("a", 5)
        for rate, remaining in {"6/h": 6, "5/2h": 5, "4/h": 4, "5/d": 5, "5/60m": 0}.items():
            changed = operated(RateLimit(rate, name=name, algorithm=algorithm))
            assert changed.peek("a").remaining == remaining

    @every_algorithm
    def test_limits_of_one_name_and_rate_share_their_budgets(
        self, anywhere: str, operated: Operated, name: str, algorithm: str
    ) -> None:
        for remaining in (3, 1):
            limit = operated(RateLimit("5/h", name=name, algorithm=algorithm))
            assert limit.hit("a", 2).remaining == remaining
        assert RateLimit("5/h", name=f"{name}2", algorithm=algorithm).peek("a").remaining == 5

    def test_using_says_which_counters(
        self, clock: Clock, operated: Operated, name: str, settings: Any
    ) -> None:
        entry = {"BACKEND": MEMORY, "OPTIONS": {"clock": clock}}
        settings.COUNTERS = {"default": entry, "other": entry}
        here, there = (operated(RateLimit("5/h", name=name, using=u)) for u in ("default", "other"))
        here.hit("a", 5)
        assert there.hit("a", 2).allowed
        assert there.peek("a").remaining == 3
        there.reset("a")
        assert [len(list(counters[alias].scan())) for alias in ("default", "other")] == [1, 0]
        unknown = operated(RateLimit("5/h", name=name, using="unknown"))
        with pytest.raises(CounterConfigError, match="'unknown'"):
            unknown.hit("a")

    @every_algorithm
    def test_a_limit_asks_the_counters_of_the_moment(
        self, clock: Clock, name: str, algorithm: str, no_deny_cache: None
    ) -> None:
        limit = RateLimit("5/h", name=name, algorithm=algorithm)
        entry = {"BACKEND": MEMORY, "OPTIONS": {"clock": clock}}
        for _ in range(2):
            with override_settings(COUNTERS={"default": entry}):
                assert limit.hit("a", 5).allowed


class TestSwitchedOff:
    @pytest.fixture(autouse=True)
    def off(self, settings: Any) -> None:
        settings.RATE_LIMIT = {"ENABLED": False}
        settings.COUNTERS = {"default": {"BACKEND": "nowhere.Counter"}}  # asking it is an error

    def test_every_hit_is_allowed_and_nobody_asked(self, operated: Operated, name: str) -> None:
        limit = operated(RateLimit("2/h", "5/d", name=name))
        for _ in range(3):
            decision = limit.hit("a", 2)
            assert (decision.allowed, decision.limit, decision.remaining) == (True, 2, 2)
            assert (decision.reset_after, decision.retry_after) == (0.0, 0.0)
            assert [each.remaining for each in decision.standings] == [2, 5]
            assert (decision.name, decision.identity) == (name, digest("a"))

    def test_a_peek_is_allowed_and_nobody_asked(self, operated: Operated, name: str) -> None:
        limit = operated(RateLimit("2/h", name=name))
        decisions = [limit.peek("a"), limit.hit("a", 0), limit.hit("a")]
        assert len({each._replace(at=0.0) for each in decisions}) == 1

    def test_a_refund_gives_nothing_back_as_nothing_was_drawn(
        self, operated: Operated, name: str
    ) -> None:
        operated(RateLimit("2/h", name=name)).refund("a")

    def test_arguments_are_checked_all_the_same(self, operated: Operated, name: str) -> None:
        limit = operated(RateLimit("2/h", name=name))
        for operation in (limit.hit, limit.refund):
            with pytest.raises(ValueError, match="can never be allowed"):
                operation("a", 3)

    def test_switched_on_again_it_goes_on(
        self, clock: Clock, name: str, settings: Any, operated: Operated
    ) -> None:
        settings.COUNTERS = {"default": {"BACKEND": MEMORY, "OPTIONS": {"clock": clock}}}
        limit = operated(RateLimit("2/h", name=name))
        settings.RATE_LIMIT = {}
        limit.hit("a", 2)
        assert not limit.hit("a").allowed
        settings.RATE_LIMIT = {"ENABLED": False}
        assert limit.hit("a").allowed
        limit.refund("a")
        settings.RATE_LIMIT = {}
        assert not limit.hit("a").allowed


class TestBudgets:
    @every_algorithm
    @pytest.mark.parametrize("rates", [("5/s",), ("5/m", "9/h"), ("5/52w",)])
    def test_every_budget_has_a_ttl(
        self,
        anywhere: str,
        clock: Clock,
        operated: Operated,
        name: str,
        algorithm: str,
        rates: tuple[str, ...],
    ) -> None:
        limit = operated(RateLimit(*rates, name=name, algorithm=algorithm))
        acts: list[Callable[[], object]] = [
            lambda: limit.hit("a"),
            lambda: limit.hit("a", 5),  # denied
            lambda: limit.refund("a"),
            lambda: limit.hit("b", 5),
            lambda: limit.refund("b", 5),
            lambda: limit.reset("b"),
            lambda: limit.refund("b", 5),
            lambda: limit.hit("b", 5),
        ]
        periods = {str(rate): rate.period for rate in limit_rates(rates)}
        for act in acts:
            act()
            clock.move(0.01)
            for entry in counters["default"].scan(f"limit:{name}:"):
                period = periods[entry.key.split("}:")[1].split(":")[0]]
                assert entry.ttl is not None
                assert 0 < entry.ttl <= 2 * period + 1

    @every_algorithm
    @in_memory
    def test_nothing_is_left_after_the_ttl(self, clock: Clock, name: str, algorithm: str) -> None:
        limit = RateLimit("5/m", "9/h", name=name, algorithm=algorithm)
        for number in range(20):
            limit.hit(f"{number}", 5)
            clock.move(30)
        clock.move(2 * 3600 + 1)
        assert not list(counter.scan("limit:"))

    @every_algorithm
    @in_memory
    def test_a_budget_lasts_as_long_as_it_counts(
        self, clock: Clock, name: str, algorithm: str
    ) -> None:
        limit = RateLimit("5/m", name=name, algorithm=algorithm)
        clock.move(limit.peek("a").reset_after + 1)
        decision = limit.hit("a", 5)
        needed = decision.reset_after + (60 if algorithm == "sliding" else 0)
        [entry] = counter.scan(f"limit:{name}:")
        assert entry.ttl is not None
        assert entry.ttl >= needed + 0.9

    @in_memory
    def test_all_budgets_of_an_identity_are_in_one_slot_of_a_cluster(self, name: str) -> None:
        RateLimit("5/m", "9/h", name=name, algorithm="sliding").hit("a")
        tags = [re.findall(r"\{([^}]*)\}", entry.key) for entry in counter.scan("limit:")]
        assert tags == [[digest("a")]] * 2


class TestOnAServer:
    @pytest.fixture(autouse=True)
    def server(self, on_valkey: RedisStore, clock: Clock, name: str) -> None:
        self.name = name

    @every_algorithm
    @pytest.mark.parametrize("seconds", [0, 1])
    @pytest.mark.heavy
    def test_64_threads_at_once_get_exactly_the_limit(
        self, algorithm: str, seconds: int, settings: Any
    ) -> None:
        settings.RATE_LIMIT = {"DENY_CACHE": seconds}
        limit = RateLimit("100/h", "150/d", name=self.name, algorithm=algorithm)
        barrier = Barrier(64)

        def client() -> int:
            barrier.wait()
            return sum(limit.hit("a").allowed for _ in range(4))

        with ThreadPoolExecutor(64) as pool:
            assert sum(each.result() for each in [pool.submit(client) for _ in range(64)]) == 100
        assert [each.remaining for each in limit.peek("a").standings] == [0, 50]

    @every_algorithm
    @pytest.mark.parametrize("seconds", [0, 1])
    def test_64_tasks_at_once_get_exactly_the_limit(
        self, algorithm: str, seconds: int, settings: Any, runner: asyncio.Runner
    ) -> None:
        settings.RATE_LIMIT = {"DENY_CACHE": seconds}
        limit = RateLimit("100/h", "150/d", name=self.name, algorithm=algorithm)

        async def client() -> int:
            return sum([(await limit.ahit("a")).allowed for _ in range(4)])

        async def clients() -> list[int]:
            return await asyncio.gather(*(client() for _ in range(64)))

        assert sum(runner.run(clients())) == 100
        assert [each.remaining for each in limit.peek("a").standings] == [0, 50]

    @pytest.mark.heavy
    def test_costs_and_refunds_at_once_leave_what_they_should(self) -> None:
        limit = RateLimit("1000/h", name=self.name)
        barrier = Barrier(16)

        def client() -> None:
            barrier.wait()
            for _ in range(20):
                assert limit.hit("a", 3).allowed
                limit.refund("a", 2)

        with ThreadPoolExecutor(16) as pool:
            for each in [pool.submit(client) for _ in range(16)]:
                each.result()
        assert limit.peek("a").remaining == 1000 - 16 * 20


def limit_rates(rates: tuple[str, ...]) -> tuple[Rate, ...]:
    return RateLimit(*rates, name="rates").rates
