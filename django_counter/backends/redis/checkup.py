"""What an operator should know of a server, asked through the plain client of a django-redis cache.

Nothing is changed, and no error escapes: what the server does not tell is a finding too.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import monotonic, time
from typing import Any, NamedTuple

from django_redis import get_redis_connection
from redis.exceptions import NoPermissionError, ResponseError

from django_counter.backends.redis.counter import SCRIPTS
from django_counter.backends.redis.errors import DRIVER_ERRORS
from django_counter.backends.redis.masters import client_of
from django_counter.backends.redis.scripts import script
from django_counter.backends.redis.server import seeds_of
from django_counter.backends.redis.topology import Address

OLDEST = (6, 2)
LITTLE = 0.1  # of maxmemory
SKEW = 0.5  # seconds by which windows of processes may differ


class Finding(NamedTuple):
    """What one check found."""

    check: str
    status: str  # "ok", "warning", "problem", or "skipped" where it does not apply
    found: str
    advice: str = ""


def lacks_rights(error: Exception) -> bool:
    """Return whether a call failed as the user may not make it: another command may tell more."""
    return isinstance(error.__cause__, NoPermissionError)


def check_up(cache: str, nodes: Sequence[Address], replicas: int) -> Iterator[Finding]:
    """Yield what is to be said of the server of an alias in CACHES, or of nodes of its cluster.

    `replicas` is how many must confirm a change.
    """
    if not seeds_of(cache):
        yield from _check_up(get_redis_connection(cache, write=True), replicas)
    elif not nodes:
        yield from (Finding(check, "skipped", "the nodes are not known") for check in CHECKS)
    for node in nodes:
        with client_of(cache, node) as client:
            for finding in _check_up(client, replicas):
                yield finding._replace(found=f"{node}: {finding.found}")


def _check_up(client: Any, replicas: int) -> Iterator[Finding]:
    information: dict[str, Any] = {}
    judged: dict[str, Callable[[dict[str, Any]], Answer]] = {
        **FROM_INFORMATION,
        "replicas": partial(_replicas, replicas),
    }
    try:
        information = client.info()
    except DRIVER_ERRORS as error:
        yield from (_untold(check, "INFO", error) for check in judged)
    else:
        for check, judge in judged.items():
            yield Finding(check, *judge(information))
    for check, (command, examine) in FROM_COMMANDS.items():
        try:
            yield Finding(check, *examine(client))
        except DRIVER_ERRORS as error:
            yield _untold(check, command, error)


def _untold(check: str, command: str, error: Exception) -> Finding:
    """Return that a server did not tell. What it said instead may hold anything."""
    if isinstance(error, NoPermissionError):
        return Finding(
            check, "warning", f"cannot tell: no right to {command}", f"Allow this user {command}."
        )
    reason = "an error" if isinstance(error, ResponseError) else "no answer"
    return Finding(check, "warning", f"cannot tell: {reason} to {command}", "Try again.")


# Each answers with a status, what was found, and what to do.

Answer = tuple[str, ...]


def _server(information: dict[str, Any]) -> Answer:
    name = information.get("server_name", "redis")
    version = str(information.get(f"{name}_version") or information.get("redis_version", ""))
    primary = information.get("role", "master") == "master"
    found = f"{name} {version}, {'primary' if primary else 'a replica'}"
    numbers = tuple(int(each) for each in version.split(".")[:2] if each.isdecimal())
    if numbers < OLDEST:
        return "problem", found, "Update it: Redis 6.2 or newer, or Valkey, is needed."
    if not primary:
        return "problem", found, "It takes no writes. Point LOCATION to the primary server."
    return "ok", found


def _persistence(information: dict[str, Any]) -> Answer:
    if information.get("loading"):
        return "problem", "it is loading its data", "Wait until it has; then ask again."
    if information.get("rdb_last_bgsave_status", "ok") != "ok":
        return "problem", "its last snapshot failed", "See the server's log: disk full, or rights?"
    if information.get("aof_last_write_status", "ok") != "ok":
        return "problem", "its last write to the AOF failed", "See the server's log: disk full?"
    if information.get("aof_enabled"):
        return "ok", "an AOF is written"
    return (
        "warning",
        "no AOF: a crash loses what came after the last snapshot, or all",
        "Counters that must survive need appendonly yes. Rate limits do not.",
    )


def _eviction(information: dict[str, Any]) -> Answer:
    policy = information.get("maxmemory_policy")
    if policy is None:
        return "warning", "cannot tell: the server does not say", "See CONFIG GET maxmemory-policy."
    if policy == "noeviction":
        return "ok", policy
    return (
        "problem",
        f"{policy}: when memory runs out, the server deletes counters",
        "CONFIG SET maxmemory-policy noeviction, and in its configuration; or give the counters a "
        "server of their own.",
    )


def _memory(information: dict[str, Any]) -> Answer:
    used = information.get("used_memory", 0)
    most = information.get("maxmemory", 0)
    if not most:
        return "ok", f"{_megabytes(used)} used, no maxmemory"
    left = max(0, most - used)
    found = f"{_megabytes(left)} left of {_megabytes(most)}"
    if left < LITTLE * most:
        return "problem", found, "Raise maxmemory, or delete: 'counter list --sort value'."
    return "ok", found


def _replicas(needed: int, information: dict[str, Any]) -> Answer:
    replicas = [each for name, each in information.items() if name.startswith("slave")]
    there = sum(isinstance(each, dict) and each.get("state") == "online" for each in replicas)
    found = f"{there} connected, {needed} must confirm a change"
    if there < needed:
        return "problem", found, "Start them: until then each change ends as CounterOutcomeUnknown."
    return "ok", found


def _megabytes(size: int) -> str:
    return f"{size / 1_048_576:.1f} MB"


def _clock(client: Any) -> Answer:
    before, began = time(), monotonic()
    seconds, microseconds = client.time()
    here = before + (monotonic() - began) / 2
    skew = seconds + microseconds / 1_000_000 - here
    found = f"the server's is {skew:+.3f} s off this machine's"
    if abs(skew) > SKEW:
        advice = "Run NTP on both. Windows of rate limits are cut from the clocks of the processes."
        return "warning", found, advice
    return "ok", found


def _scripts(client: Any) -> Answer:
    loaded = sum(map(bool, client.script_exists(*(script(name).digest for name in SCRIPTS))))
    return "ok", f"{loaded} of {len(SCRIPTS)} loaded; the others are at their first use"


FROM_INFORMATION: dict[str, Callable[[dict[str, Any]], Answer]] = {
    "server": _server,
    "persistence": _persistence,
    "eviction": _eviction,
    "memory": _memory,
}
FROM_COMMANDS: dict[str, tuple[str, Callable[[Any], Answer]]] = {
    "clock": ("TIME", _clock),
    "scripts": ("SCRIPT EXISTS", _scripts),
}
CHECKS = (*FROM_INFORMATION, "replicas", *FROM_COMMANDS)
