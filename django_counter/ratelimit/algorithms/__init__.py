"""How rates become counters: a module for each algorithm."""

from django_counter.ratelimit.algorithms.base import Algorithm, Draw, aread, read
from django_counter.ratelimit.algorithms.fixed import FixedWindow
from django_counter.ratelimit.algorithms.places import Place
from django_counter.ratelimit.algorithms.sliding import SlidingWindow
from django_counter.ratelimit.algorithms.token_bucket import TokenBucket

__all__ = [
    "Algorithm",
    "Draw",
    "FixedWindow",
    "Place",
    "SlidingWindow",
    "TokenBucket",
    "aread",
    "read",
]
