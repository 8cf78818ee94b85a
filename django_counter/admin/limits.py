"""What the page of rate limits shows, and does."""

from collections.abc import Iterable
from typing import NamedTuple

from django_counter.admin.charts import Chart, chart
from django_counter.administration import on_server
from django_counter.handler import counters
from django_counter.ratelimit.declared import declared_limits
from django_counter.ratelimit.digests import Digest
from django_counter.ratelimit.history import Identities, last_hour, most_denied
from django_counter.ratelimit.limit import RateLimit
from django_counter.ratelimit.statistics import identity_key

MOST = 10  # identities shown of each limit


class Shown(NamedTuple):
    """A rate limit and its last hour."""

    limit: RateLimit
    rates: str
    chart: Chart
    identities: Identities


def overview() -> list[Shown]:
    """Return every declared limit, by name."""
    limits = declared_limits()
    return [
        Shown(limit, ", ".join(map(str, limit.rates)), chart(minutes), identities)
        for limit, minutes, identities in zip(
            limits, last_hour(limits), most_denied(limits, MOST), strict=True
        )
    ]


def limits_named(name: str) -> list[RateLimit]:
    """Return the declared limits of a name: one, where the system checks are heeded."""
    return [limit for limit in declared_limits() if limit.name == name]


def times_denied(limits: Iterable[RateLimit], identity: str) -> int:
    """Return how often an identity was denied in the last hour."""
    return sum(
        counters.backend(limit.using).get(identity_key(limit.name, identity)) for limit in limits
    )


def forgive(limits: Iterable[RateLimit], identity: str) -> None:
    """Give an identity its whole limit back, and forget how often it was denied."""
    for limit in limits:
        on_server(limit).reset(Digest(identity))
        counters.backend(limit.using).delete(identity_key(limit.name, identity))
