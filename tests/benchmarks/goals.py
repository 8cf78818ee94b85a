"""What is to be reached, and whether it is."""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple


class Goal(NamedTuple):
    subject: str
    table: str
    figure: str
    sign: str  # "<=" or ">="
    bound: float
    unit: str
    raw: str = ""  # the figure that a raw socket has in our place

    @property
    def text(self) -> str:
        return f"{self.sign} {self.bound:g} {self.unit}".strip()


TABLES = ("operations", "decisions", "tasks", "threads", "bulk", "views", "growth", "layers")
FLOOR, RAW = "x floor", "x a raw EVALSHA"
ASYNC, POOL, PIPELINE = "x redis.asyncio", "x redis-py's pool", "x redis-py's pipeline"
INCRBY, PEER, RATELIMIT = "x redis-py's incrby", "x the fastest peer", "x django-ratelimit"
GOALS = (
    Goal("increment", "operations", "increment / floor", "<=", 1.35, FLOOR),
    Goal("", "operations", "redis-py / increment", ">=", 2.7, INCRBY, "redis-py / raw"),
    Goal("", "operations", "increment, CPU us", "<=", 30, "us of client CPU"),
    Goal("decision, allowed", "decisions", "allowed / raw EVALSHA", "<=", 1.6, RAW),
    Goal("", "decisions", "allowed, round trips", "<=", 1, "round trip"),
    Goal("", "decisions", "peer / allowed", ">=", 2, PEER, "peer / raw allowed"),
    Goal("", "decisions", "ratelimit / allowed", ">=", 5, RATELIMIT, "ratelimit / raw allowed"),
    Goal("first hit of a window", "decisions", "first hit, round trips", "<=", 1, "round trip"),
    Goal("decision, denied", "decisions", "denied / raw EVALSHA", "<=", 1.5, RAW),
    Goal("", "decisions", "denied, round trips", "<=", 1, "round trip"),
    Goal("", "decisions", "peer / denied", ">=", 2, PEER, "peer / raw denied"),
    Goal("", "decisions", "ratelimit / denied", ">=", 5, RATELIMIT, "ratelimit / raw denied"),
    Goal("denied again, deny cache on", "decisions", "denied again, us", "<=", 2, "us"),
    Goal("", "decisions", "denied again, round trips", "<=", 0, "round trips"),
    Goal("async, 1 task", "tasks", "1", ">=", 2, ASYNC),
    Goal("async, 16 tasks", "tasks", "16", ">=", 12, ASYNC),
    Goal("async, 256 tasks", "tasks", "256", ">=", 20, ASYNC),
    Goal("async, 2,000 tasks", "tasks", "errors at 2,000", "<=", 0, "errors"),
    Goal("1 thread", "threads", "1", ">=", 2.7, POOL, "1, raw"),
    Goal("4 threads", "threads", "4", ">=", 2.7, POOL, "4, raw"),
    Goal("16 threads", "threads", "16", ">=", 2.4, POOL, "16, raw"),
    Goal("multi_get of 10,000 keys", "bulk", "multi_get 10,000 / floor", "<=", 3, FLOOR),
    Goal("batch() of 1,000", "bulk", "pipeline / batch", ">=", 5, PIPELINE, "pipeline / raw"),
    Goal(
        "multi_increment", "bulk", "pipeline / multi_increment", ">=", 5, PIPELINE, "pipeline / raw"
    ),
    Goal("BufferedMiddleware", "bulk", "direct / buffered", ">=", 20, "x direct increments"),
    Goal(
        "added to a request", "views", "ours / ratelimit", "<=", 0.35, RATELIMIT, "raw / ratelimit"
    ),
    Goal("from 1 to 10 million keys", "growth", "cost 10M / 1M", "<=", 1.1, "x the cost per call"),
    Goal("", "growth", "scan 10M / 1M", "<=", 11, "x the CPU of a scan", "raw scan 10M / 1M"),
    Goal("10 million calls", "growth", "client growth, MiB", "<=", 1, "MiB more of the client"),
)


def held(goal: Goal, value: Any) -> bool:
    """Return whether a figure, or the median of one, reaches its goal."""
    reaches: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}
    return reaches[goal.sign](value[1] if isinstance(value, list) else value, goal.bound)
