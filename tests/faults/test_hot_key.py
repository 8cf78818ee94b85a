"""One counter that very many draw from at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from django_counter.backends.redis import RedisCounter
from tests.figures import sized

pytest_plugins = ["tests.faults.fixtures"]

CLIENTS = 64
CREDITS = sized(20_000, 1_000_000)


@pytest.mark.heavy
@pytest.mark.figure("hot key")
def test_64_clients_draw_each_credit_once(
    counter: RedisCounter, record_property: Callable[[str, object], None]
) -> None:
    counter.set("key", CREDITS)

    def draw(_: int) -> tuple[int, int]:
        drawn = least = 0
        while True:
            value, _, success = counter.decrement_if_exists("key")
            least = min(least, value)
            if not success:
                return drawn, least
            drawn += 1

    with ThreadPoolExecutor(CLIENTS) as threads:
        results = list(threads.map(draw, range(CLIENTS)))
    drawn = sum(each for each, _ in results)
    left = counter.get("key")
    record_property("figure", f"{CREDITS:,} credits, {drawn:,} successes, {left} left")
    assert (drawn, left) == (CREDITS, 0)
    assert min(least for _, least in results) == 0
