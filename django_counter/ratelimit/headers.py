"""What a response tells of the limits that its request was counted by.

`RateLimit-Policy` and `RateLimit` are those of draft-ietf-httpapi-ratelimit-headers-11, structured
fields (RFC 9651). `X-RateLimit-*` are the ones that many APIs had before.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import http_sf
from django.http import HttpResponseBase

from django_counter.ratelimit import clock
from django_counter.ratelimit.decisions import Decision, Standing
from django_counter.ratelimit.rates import Rate
from django_counter.ratelimit.settings import current

INTEGER_MAX = 999_999_999_999_999  # RFC 9651, section 3.3.1


def apply_headers(response: HttpResponseBase, decisions: Sequence[Decision]) -> None:
    """Put the headers that RATE_LIMIT["HEADERS"] asks for on a response, in place of older ones.

    A response 429 to a denied hit gets Retry-After, if it has none of its own. The others leave out
    decisions made while the counters were away: their numbers are made up.
    """
    if response.status_code == 429:
        waits = [decision.retry_after for decision in decisions if not decision.allowed]
        if waits:
            response.headers.setdefault("Retry-After", str(retry_after_seconds(max(waits))))
    known = [decision for decision in decisions if not decision.degraded]
    if not known:
        return
    style = current().headers
    if style in ("standard", "both"):
        _apply_standard(response, known)
    if style in ("legacy", "both"):
        _apply_legacy(response, max(known, key=_tightness))


def retry_after_seconds(seconds: float) -> int:
    """Return what Retry-After says: whole seconds, at least 1."""
    return max(1, math.ceil(seconds))


def policies(decision: Decision) -> list[tuple[str, Standing]]:
    """Return each rate's standing with its name: the limit's, and the rate where it has several."""
    name, standings = decision.name, decision.standings
    if len(standings) == 1:
        return [(name, standings[0])]
    return [(f"{name} {standing.rate}", standing) for standing in standings]


def _apply_standard(response: HttpResponseBase, decisions: Sequence[Decision]) -> None:
    first = decisions[0]
    if len(decisions) == len(first.standings) == 1:  # as mostly
        policy, service_limit = _members(first.name, first.standings[0])
    else:
        # The loosest first: of two identities at one limit, the tighter one stands in its item.
        members = {
            name: _members(name, standing)
            for decision in sorted(decisions, key=_tightness)
            for name, standing in policies(decision)
        }
        policy, service_limit = map(", ".join, zip(*members.values(), strict=True))
    response.headers["RateLimit-Policy"] = policy
    response.headers["RateLimit"] = service_limit


def _members(name: str, standing: Standing) -> tuple[str, str]:
    """Return what one rate is in each of the two lists."""
    rate, remaining, reset_after, retry_after = standing
    item, policy = _items(name, rate)
    # To one who was denied it is the wait: Retry-After must not be earlier (section 6).
    seconds = math.ceil(retry_after or reset_after)
    return policy, f"{item};r={min(remaining, INTEGER_MAX)};t={seconds}"


@lru_cache(maxsize=1024)
def _items(name: str, rate: Rate) -> tuple[str, str]:
    """Return the name as an item of a structured field, and the item of the policy."""
    policy: http_sf.ItemType = name, {"q": min(rate.limit, INTEGER_MAX), "w": rate.period}
    return http_sf.ser((name, {})), http_sf.ser(policy)


def _apply_legacy(response: HttpResponseBase, tightest: Decision) -> None:
    response.headers["X-RateLimit-Limit"] = str(tightest.limit)
    response.headers["X-RateLimit-Remaining"] = str(tightest.remaining)
    seconds = tightest.retry_after or tightest.reset_after
    # Seconds since 1970, as GitHub has it, and most libraries after it.
    response.headers["X-RateLimit-Reset"] = str(math.ceil(clock.now() + seconds))


def _tightness(decision: Decision) -> tuple[float, int, float]:
    return decision.retry_after, -decision.remaining, decision.reset_after
