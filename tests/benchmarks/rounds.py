"""Contenders in turn, in short blocks, many rounds; what is compared is compared within a round."""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import NamedTuple

BLOCK_SECONDS = 0.025


class Quartiles(NamedTuple):
    low: float
    median: float
    high: float


class Contender(NamedTuple):
    """What is measured: `block` makes that many calls."""

    name: str
    block: Callable[[int], object]


class Rounds:
    """Seconds of one call of each contender, by round."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}  # of the calling thread

    def times(self, name: str, reference: str) -> Quartiles:
        """Return how many times as long as the reference a contender takes."""
        pairs = zip(self.seconds[name], self.seconds[reference], strict=True)
        return quartiles([own / other for own, other in pairs])

    def fastest(self, names: Sequence[str]) -> str:
        """Return the one with the lowest median."""
        return min(names, key=lambda name: statistics.median(self.seconds[name]))

    def microseconds(self, name: str) -> Quartiles:
        return quartiles([each * 1e6 for each in self.seconds[name]])

    def cpu_microseconds(self, name: str) -> Quartiles:
        return quartiles([each * 1e6 for each in self.cpu[name]])


def calling(name: str, call: Callable[[], object]) -> Contender:
    """Return the contender that makes one call after another."""

    def block(calls: int) -> None:
        for _ in repeat(None, calls):
            call()

    return Contender(name, block)


def interleave(
    contenders: Sequence[Contender], rounds: int, seconds: float = BLOCK_SECONDS
) -> Rounds:
    """Run blocks of about `seconds`, of all contenders in turn, in a new order each round."""
    sizes = [_size(contender, seconds) for contender in contenders]
    measured = Rounds()
    for contender in contenders:
        measured.seconds[contender.name] = []
        measured.cpu[contender.name] = []
    order = list(zip(contenders, sizes, strict=True))
    shuffle = random.Random(1).shuffle
    for _ in range(rounds):
        shuffle(order)
        for (name, block), calls in order:
            began, cpu = time.perf_counter(), time.thread_time()
            block(calls)
            cpu, ended = time.thread_time() - cpu, time.perf_counter()
            measured.seconds[name].append((ended - began) / calls)
            measured.cpu[name].append(cpu / calls)
    return measured


def quartiles(values: Sequence[float]) -> Quartiles:
    return Quartiles(*statistics.quantiles(values, n=4, method="inclusive"))


def _size(contender: Contender, seconds: float) -> int:
    """Return how many calls take about that many seconds. This warms the contender up, too."""
    calls = 1
    while True:
        began = time.perf_counter()
        contender.block(calls)
        took = time.perf_counter() - began
        if took > seconds / 2:
            return max(1, round(calls * seconds / took))
        calls *= 2
