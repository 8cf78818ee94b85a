"""What the package gives to the tests of projects."""

import asyncio
import subprocess
import sys
import time
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.test import Client, SimpleTestCase, override_settings
from django.urls import path

import django_counter
from django_counter import counter, counters
from django_counter.backends.memory import MemoryCounter
from django_counter.middleware import CounterMiddleware
from django_counter.pytest_plugin import memory_counters  # noqa: F401 - it may not be installed
from django_counter.ratelimit import RateLimit, clock, outages, rate_limit
from django_counter.testing import Clock, move_clock, override_counters, rate_limits_disabled

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.urls(__name__)

LIMIT = RateLimit("2/m", name="of test_testing")


@rate_limit(LIMIT)
def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [path("", view)]


def statuses(count: int) -> list[int]:
    return [Client().get("/").status_code for _ in range(count)]


@pytest.fixture(autouse=True)
def _all_is_restored() -> Iterator[None]:
    before = (clock.now, django_settings.COUNTERS, getattr(django_settings, "RATE_LIMIT", None))
    yield
    after = (clock.now, django_settings.COUNTERS, getattr(django_settings, "RATE_LIMIT", None))
    assert before == after


class TestOverrideCounters:
    def test_counters_are_empty_and_in_memory(self) -> None:
        with override_counters():
            assert isinstance(counters["default"], MemoryCounter)
            assert counter.increment("a") == 1
        with override_counters():
            assert counter.get("a") == 0

    def test_every_alias_is_in_memory(self) -> None:
        redis = {"default": {}, "other": {"OPTIONS": {"cache": "no such cache"}}}
        with override_settings(COUNTERS=redis), override_counters():
            counters["default"].increment("a")
            assert counters["other"].get("a") == 0
            assert {type(counters[alias]) for alias in counters} == {MemoryCounter}

    def test_the_default_alias_is_there_without_settings(self, settings: Any) -> None:
        kept = settings.COUNTERS
        del settings.COUNTERS
        with override_counters():
            assert counter.increment("a") == 1
        assert not hasattr(django_settings, "COUNTERS")
        settings.COUNTERS = kept

    def test_middleware_stays(self) -> None:
        entry = {"MIDDLEWARE": ["django_counter.middleware.CounterMiddleware"], "KEY_PREFIX": "a"}
        with override_settings(COUNTERS={"default": entry}), override_counters():
            assert isinstance(counters["default"], CounterMiddleware)

    def test_the_clock_stands_still_and_begins_now(self) -> None:
        before = time.time()
        with override_counters() as moved:
            assert isinstance(moved, Clock)
            assert before <= moved() <= time.time()
            assert clock.now() == moved() == moved()

    def test_moving_it_ends_a_window(self) -> None:
        with override_counters() as moved:
            assert statuses(3) == [200, 200, 429]
            moved.move(60)
            assert statuses(3) == [200, 200, 429]
            move_clock(60)
            assert statuses(1) == [200]

    def test_moving_it_ends_a_ttl(self) -> None:
        with override_counters():
            counter.increment("a", ttl=10)
            move_clock(9.5)
            assert counter.get("a") == 1
            move_clock(0.5)
            assert counter.get("a") == 0

    def test_there_is_no_clock_to_move_outside(self) -> None:
        with pytest.raises(RuntimeError, match=r"works inside override_counters\(\)"):
            move_clock(1)

    def test_a_denial_from_outside_does_not_count_inside(self) -> None:
        with override_counters():
            assert statuses(3)[-1] == 429
            with override_counters():
                assert statuses(1) == [200]

    def test_a_denial_from_inside_does_not_count_outside(self) -> None:
        with override_settings(RATE_LIMIT={"DENY_CACHE": 60}), override_counters():
            with override_counters():
                assert statuses(3)[-1] == 429
            assert statuses(1) == [200]

    def test_an_ended_window_from_outside_does_not_count_inside(self) -> None:
        limit = RateLimit("4/m", name="slides in test_testing", algorithm="sliding")
        with override_counters() as outer:
            limit.hit("a", 4)
            outer.move(limit.peek("a").reset_after + 1)
            assert not limit.hit("a", 4).allowed
            with override_counters() as inner:
                inner.seconds = outer.seconds
                assert limit.hit("a", 4).allowed

    def test_a_share_of_an_outage_does_not_last(self) -> None:
        away = {"default": {"MIDDLEWARE": ["tests.ratelimit.away.Away"]}}
        with override_settings(COUNTERS=away):
            for _ in range(2):
                with override_counters():
                    hits = [outages.hit(LIMIT, "a", 1, "local").allowed for _ in range(3)]
                    assert hits == [True, True, False]

    def test_it_is_over_after_an_error(self) -> None:
        with pytest.raises(KeyError, match="planted"), override_counters():
            raise KeyError("planted")

    def test_inside_another_the_outer_clock_comes_back(self) -> None:
        with override_counters() as outer:
            outer.move(1000)
            with override_counters() as inner:
                assert clock.now is inner
                move_clock(5)
            assert clock.now is outer
            counter.increment("a", ttl=10)
            move_clock(10)
            assert counter.get("a") == 0
            assert inner.seconds < outer.seconds - 900

    @pytest.mark.parametrize("decorator", [override_counters, rate_limits_disabled])
    def test_without_parentheses_it_is_refused(self, decorator: Any) -> None:
        for tests in (SimpleTestCase, statuses):
            with pytest.raises(TypeError, match="positional argument"):
                decorator(tests)

    def test_what_a_class_sets_up_counts_in_memory_too(self) -> None:
        @override_counters()
        class Tests(SimpleTestCase):
            @classmethod
            def setUpClass(cls) -> None:
                super().setUpClass()
                move_clock(1)  # there is one
                counter.increment("a")

            def test(self) -> None:
                assert counter.increment("a") == 1  # each test begins with nothing

        set_up = []

        class Other(SimpleTestCase):
            @classmethod
            def setUpClass(cls) -> None:
                super().setUpClass()
                set_up.append(cls)

        @override_counters()
        class Inherits(SimpleTestCase):
            pass

        class More(Tests, Inherits, Other):
            def test_again(self) -> None:
                self.test()

        for tests in (Tests, More):
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(tests).run(result)
            assert result.wasSuccessful(), [*result.errors, *result.failures]
        assert set_up == [More]

    def test_a_function_can_be_decorated(self) -> None:
        @override_counters()
        def test(value: int) -> int:
            move_clock(value)
            return sum(status == 200 for status in statuses(3))

        assert [test(1), test(2)] == [2, 2]

    def test_a_coroutine_function_can_be_decorated(self) -> None:
        @override_counters()
        async def test(value: int) -> int:
            await asyncio.sleep(0)
            move_clock(value)
            return sum([(await LIMIT.ahit("a")).allowed for _ in range(3)])

        assert asyncio.run(test(1)) == 2
        assert asyncio.run(test(2)) == 2

    def test_a_class_of_tests_can_be_decorated(self) -> None:
        @override_counters()
        class Tests(SimpleTestCase):
            def setUp(self) -> None:
                assert counter.increment("set up") == 1

            def test_one(self) -> None:
                assert statuses(3) == [200, 200, 429]
                move_clock(60)

            def test_other(self) -> None:
                assert statuses(3) == [200, 200, 429]

            async def test_async(self) -> None:
                assert [(await LIMIT.ahit("a")).allowed for _ in range(3)] == [True, True, False]

            def test_that_fails(self) -> None:
                raise AssertionError("planted")

        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(Tests).run(result)
        assert result.testsRun == 4
        [(_, trace)] = [*result.failures, *result.errors]
        assert "planted" in trace

    def test_a_test_in_such_a_class_can_be_decorated_again(self) -> None:
        @override_counters()
        class Tests(SimpleTestCase):
            @override_counters()
            def test(self) -> None:
                assert statuses(3) == [200, 200, 429]

        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(Tests).run(result)
        assert (result.testsRun, result.wasSuccessful()) == (1, True)

    def test_another_class_is_refused(self) -> None:
        with pytest.raises(TypeError, match="unittest"):
            override_counters()(type("Tests", (), {}))


class TestRateLimitsDisabled:
    @pytest.fixture(autouse=True)
    def _in_memory(self) -> Iterator[None]:
        with override_counters():
            yield

    def test_every_request_passes_uncounted(self) -> None:
        with rate_limits_disabled():
            assert statuses(5) == [200] * 5
            assert "RateLimit" not in Client().get("/")
        assert statuses(3) == [200, 200, 429]

    def test_the_other_settings_stay(self) -> None:
        with override_settings(RATE_LIMIT={"HEADERS": "both", "ENABLED": True}):
            with rate_limits_disabled():
                assert django_settings.RATE_LIMIT == {"HEADERS": "both", "ENABLED": False}
            assert django_settings.RATE_LIMIT == {"HEADERS": "both", "ENABLED": True}

    def test_it_can_stand_inside_another(self) -> None:
        with rate_limits_disabled():
            with rate_limits_disabled():
                assert statuses(3) == [200] * 3
            assert statuses(3) == [200] * 3

    def test_a_function_can_be_decorated(self) -> None:
        @rate_limits_disabled()
        def test() -> list[int]:
            return statuses(3)

        assert test() == [200] * 3
        assert statuses(3) == [200, 200, 429]

    def test_a_coroutine_function_can_be_decorated(self) -> None:
        @rate_limits_disabled()
        async def test() -> bool:
            await asyncio.sleep(0)
            return all([(await LIMIT.ahit("a")).allowed for _ in range(3)])

        assert asyncio.run(test())

    def test_a_class_of_tests_can_be_decorated(self) -> None:
        @rate_limits_disabled()
        class Tests(SimpleTestCase):
            def test(self) -> None:
                assert statuses(5) == [200] * 5

        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(Tests).run(result)
        assert (result.testsRun, result.wasSuccessful()) == (1, True)


class TestFixture:
    def test_it_keeps_counters_in_memory_on_its_clock(self, request: Any) -> None:
        moved = request.getfixturevalue("memory_counters")
        assert clock.now is moved
        assert statuses(3) == [200, 200, 429]
        moved.move(60)
        assert statuses(1) == [200]
        move_clock(60)
        assert counter.get("a") == 0

    @pytest.mark.parametrize("again", [1, 2])
    @pytest.mark.usefixtures("memory_counters")
    def test_each_test_has_its_own(self, again: int) -> None:
        assert counter.increment("a") == 1
        assert statuses(3) == [200, 200, 429]

    def test_a_project_has_it_from_the_plugin(
        self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTHONPATH", str(Path(django_counter.__file__).parents[1]))
        monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
        pytester.makeconftest(
            """
            import django
            from django.conf import settings

            def pytest_configure():
                settings.configure(INSTALLED_APPS=["django_counter"], SECRET_KEY="a")
                django.setup()
            """
        )
        pytester.makepyfile(
            """
            import pytest
            from django_counter import counter
            from django_counter.ratelimit import RateLimit, clock

            limit = RateLimit("1/h", name="a")

            def test_that_fails(memory_counters):
                assert limit.hit("a").allowed
                assert limit.hit("a").allowed, "as planted"

            def test_inside(memory_counters):
                assert limit.hit("a").allowed
                memory_counters.move(3600)
                assert limit.hit("a").allowed

            def test_outside():
                assert clock.now is clock.time.time
            """
        )
        # By its path, whether or not the package is installed with its entry point.
        plugins = ["-p", "no:django", "-p", "no:django_counter", "-p", "no:randomly"]
        result = pytester.runpytest_subprocess(*plugins, "-p", "django_counter.pytest_plugin")
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(["*as planted*"])

    def test_the_plugin_needs_no_settings(self) -> None:
        program = (
            "import sys, django_counter.pytest_plugin;"
            "assert 'django_counter.testing' not in sys.modules;"
            "from django.conf import settings; assert not settings.configured"
        )
        subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            check=True,
            env={"PYTHONPATH": str(Path(django_counter.__file__).parents[1])},
        )
