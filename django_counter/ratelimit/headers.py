"""What a response tells of the limits that its request was counted by.

`RateLimit-Policy` and `RateLimit` are those of draft-ietf-httpapi-ratelimit-headers-11, structured
fields (RFC 9651). `X-RateLimit-*` are the ones that many APIs had before.
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import starmap

import http_sf
from django.http import HttpResponseBase

from django_counter.ratelimit import clock
from django_counter.ratelimit.decisions import Decision, Standing
from django_counter.ratelimit.rates import Rate
from django_counter.ratelimit.settings import setting

INTEGER_MAX = 999_999_999_999_999  # RFC 9651, section 3.3.1


def apply_headers(response: HttpResponseBase, decisions: Sequence[Decision]) -> None:
    """Put the headers that RATE_LIMIT["HEADERS"] asks for on a response, in place of older ones.

    A response 429 to a denied hit gets Retry-After, if it has none of its own. Decisions made
    while the counters were away are left out: their numbers are made up.
    """
    known = [decision for decision in decisions if not decision.degraded]
    if not known:
        return
    style = setting("HEADERS")
    if style in ("standard", "both"):
        _apply_standard(response, known)
    if style in ("legacy", "both"):
        _apply_legacy(response, max(known, key=_tightness))
    waits = [decision.retry_after for decision in known if not decision.allowed]
    if waits and response.status_code == 429:
        response.headers.setdefault("Retry-After", str(retry_after_seconds(max(waits))))


def retry_after_seconds(seconds: float) -> int:
    """Return what Retry-After says: whole seconds, at least 1."""
    return max(1, math.ceil(seconds))


def policies(decision: Decision) -> Iterator[tuple[str, Standing]]:
    """Yield each rate's standing with its name: the limit's, and the rate where it has several."""
    several = len(decision.standings) > 1
    for standing in decision.standings:
        yield f"{decision.name} {standing.rate}" if several else decision.name, standing


def _apply_standard(response: HttpResponseBase, decisions: Sequence[Decision]) -> None:
    standings: dict[str, Standing] = {}
    # The loosest first: of two identities at one limit, the tighter one stands in its name's item.
    for decision in sorted(decisions, key=_tightness):
        standings.update(policies(decision))
    response["RateLimit-Policy"] = _policies(
        tuple([(name, standing.rate) for name, standing in standings.items()])
    )
    response["RateLimit"] = ", ".join(starmap(_service_limit, standings.items()))


@lru_cache(maxsize=1024)
def _policies(rates: tuple[tuple[str, Rate], ...]) -> str:
    return http_sf.ser(list(starmap(_policy, rates)))


def _policy(name: str, rate: Rate) -> http_sf.ItemType:
    return name, {"q": _integer(rate.limit), "w": rate.period}


def _service_limit(name: str, standing: Standing) -> str:
    waits = math.ceil(_effective(standing))
    return f"{_item(name)};r={_integer(standing.remaining)};t={waits}"


@lru_cache(maxsize=1024)
def _item(name: str) -> str:
    return http_sf.ser((name, {}))


def _apply_legacy(response: HttpResponseBase, tightest: Decision) -> None:
    response["X-RateLimit-Limit"] = str(tightest.limit)
    response["X-RateLimit-Remaining"] = str(tightest.remaining)
    # Seconds since 1970, as GitHub has it, and most libraries after it.
    response["X-RateLimit-Reset"] = str(math.ceil(clock.now() + _effective(tightest)))


def _effective(standing: Standing | Decision) -> float:
    """Return the seconds in which no more than what remains can be drawn.

    To one who was denied, that is the wait: Retry-After must not be earlier (section 6).
    """
    return standing.retry_after or standing.reset_after


def _tightness(decision: Decision) -> tuple[float, int, float]:
    return decision.retry_after, -decision.remaining, decision.reset_after


def _integer(value: int) -> int:
    return min(value, INTEGER_MAX)
