"""What the errors of the server and of redis-py let a caller conclude."""

import re
import ssl
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from redis import exceptions as driver
from redis.sentinel import MasterNotFoundError

from django_counter.backends.redis.call import Answer, Call, with_source
from django_counter.exceptions import (
    CounterConfigError,
    CounterError,
    CounterIdempotencyError,
    CounterOutcomeUnknown,
    CounterOverflow,
    CounterTypeError,
    CounterUnavailable,
)

# What redis-py and sockets raise. redis-py's errors about a cluster are no RedisError.
DRIVER_ERRORS = (driver.RedisError, driver.RedisClusterException, OSError)


class ReplyLost(Exception):
    """A call was sent, and its reply, or its replicas', did not come. The cause says why."""


class SentinelRefusal(driver.AuthenticationError):
    """A Sentinel does not know who asks, and no other one knows the master."""


# What a try of a call may end with. A CounterConfigError is that of the connection it needs.
FAILURES = (ReplyLost, CounterConfigError, *DRIVER_ERRORS)

PAUSE = 0.01  # seconds between the later tries of a call that is sent until it is answered
SPARE = 0.05  # seconds that the reply to a call may take, which was refused so far


def reply_lost(cause: BaseException) -> ReplyLost:
    """Return the error of a call that was sent, to be raised elsewhere."""
    error = ReplyLost()
    error.__cause__ = cause
    return error


class Rule(NamedTuple):
    """Errors of these classes, or with one of these texts in them, mean this."""

    signs: tuple[type[Exception] | str, ...]
    meaning: type[CounterError]
    words: str


_CLUSTER = ("MOVED ", "ASK ", "CROSSSLOT ")

# The first rule that fits counts. None of these errors changed anything. Texts stand beside classes
# because some versions of redis-py have no class for them, and Redis 6.2 wraps the error of a
# command in a script in a text of its own.
RULES = (
    Rule(("WRONGTYPE", "not an integer"), CounterTypeError, "what is stored is not a counter"),
    Rule(("would overflow",), CounterOverflow, "the result would leave int64"),
    Rule(("IDEMPOTENCY ",), CounterIdempotencyError, "the idempotency key belongs to another call"),
    Rule((driver.BusyLoadingError,), CounterUnavailable, "the server is loading its data"),
    Rule((driver.OutOfMemoryError, "OOM "), CounterUnavailable, "the server is at its maxmemory"),
    Rule(
        (driver.ReadOnlyError, "READONLY ", "previous master is now a slave"),
        CounterUnavailable,
        "the server is a read-only replica",
    ),
    Rule(("BUSY ",), CounterUnavailable, "the server is busy with a script"),
    Rule(("MISCONF ",), CounterUnavailable, "the server cannot save to disk and refuses writes"),
    Rule(("NOREPLICAS ",), CounterUnavailable, "the server has too few replicas to take writes"),
    Rule(
        (driver.MasterDownError, "MASTERDOWN "),
        CounterUnavailable,
        "the server is cut off from its master",
    ),
    Rule((driver.ClusterDownError, "CLUSTERDOWN "), CounterUnavailable, "the cluster is down"),
    Rule((driver.TryAgainError, "TRYAGAIN "), CounterUnavailable, "the cluster is moving the key"),
    Rule(("max number of clients",), CounterUnavailable, "the server is at its maxclients"),
    Rule(
        (SentinelRefusal,),
        CounterConfigError,
        "a Sentinel does not accept these credentials: see SENTINEL_KWARGS",
    ),
    Rule(
        (MasterNotFoundError,),
        CounterUnavailable,
        "no Sentinel that answers knows a master of this name that is up",
    ),
    Rule(
        (driver.AuthenticationError, driver.AuthenticationWrongNumberOfArgsError),
        CounterConfigError,
        "the server does not accept these credentials",
    ),
    Rule(
        (driver.NoPermissionError, "ACL failure in script", "can't run this command"),
        CounterConfigError,
        "the server's ACL does not let this user run the command on the key",
    ),
    Rule(
        (driver.AskError, driver.ClusterCrossSlotError, driver.RedisClusterException, *_CLUSTER),
        CounterConfigError,
        "the server is part of a cluster: set CONNECTION_FACTORY to "
        "'django_counter.backends.redis.cluster.ClusterConnectionFactory'",
    ),
    Rule(
        ("cluster support disabled",),
        CounterConfigError,
        "the server is no part of a cluster, but CONNECTION_FACTORY is for one",
    ),
    Rule(("unknown command",), CounterConfigError, "the server lacks the command"),
    Rule(
        ("DB index", "SELECT is not allowed"),
        CounterConfigError,
        "the server has no database of this number",
    ),
    Rule((driver.InvalidResponse,), CounterConfigError, "what answers there is not Redis"),
    Rule((driver.ResponseError,), CounterUnavailable, "the server refused the command"),
    Rule((driver.TimeoutError, TimeoutError), CounterUnavailable, "the server did not answer"),
)


@dataclass(slots=True)
class Tries:
    """What became of one call so far."""

    reasons: set[str] = field(default_factory=set)  # why it was sent again
    lost: ReplyLost | None = None  # of a call that is sent until it is answered
    torn: Exception | None = None  # what a cluster said that had some of the keys elsewhere
    pause: float = 0.0  # seconds to wait before the next

    @property
    def spare(self) -> float:
        """The seconds that must be left for the reply to the next: without, it would be unknown."""
        return SPARE if self.torn else 0.0


def fail(call: Call[Any], error: Exception) -> NoReturn:
    """Raise what the caller may conclude, with the driver's error as its cause."""
    if isinstance(error, ReplyLost):
        if call.safe:
            raise CounterUnavailable(
                f"{call.operation} of {call.key!r}: no reply came"
            ) from error.__cause__
        raise CounterOutcomeUnknown(call.operation, call.key, call.value) from error.__cause__
    if isinstance(error, CounterConfigError):
        raise error.with_traceback(None)  # one that calls of a batch share, each adds its own
    meaning, words = _conclusion(error)
    raise meaning(f"{call.operation} of {call.key!r}: {words}") from _without_arguments(error)


def fail_late(call: Call[Any], tries: Tries) -> NoReturn:
    """Fail at the deadline, with what kept the call from being answered."""
    fail(call, tries.lost or tries.torn or TimeoutError("no time is left"))


def raise_if_of_handler(error: Exception) -> None:
    """Raise, as it is, what a signal's handler raised: it tells nothing of the server.

    It may be of a class that sockets raise, too. But it has no number of the system's, and its
    traceback leads from our code into that of others, where these classes call none: no other
    Python than that of sockets, once they are connected.
    """
    raised = error.__cause__ if isinstance(error, ReplyLost) else error
    if raised is None or getattr(raised, "errno", None) is not None:
        return
    trace, ours = raised.__traceback__, ""
    while trace:
        module = trace.tb_frame.f_globals.get("__name__", "")
        if module.startswith("django_counter."):
            ours = trace.tb_frame.f_code.co_qualname
        elif module.partition(".")[0] not in _SOCKETS:
            break
        trace = trace.tb_next
    if trace and ours.startswith(_CALLING_NOBODY):
        raise raised


_CALLING_NOBODY = ("Lane.", "ClusterLane.", "SocketConnection.", "ConfirmedConnection.")
_SOCKETS = {"socket", "ssl", "gevent", "eventlet"}  # whose Python sockets may run


def next_try(call: Call[Answer], error: Exception, tries: Tries) -> Call[Answer]:
    """Return what to send once more, or fail().

    It is sent where the call changed nothing and may go well now, once for each of the reasons, and
    while a cluster moves its keys; a call of which the server knows a repeat, from its first lost
    reply on, as long as it may.
    """
    raise_if_of_handler(error)
    reason = _reason_to_repeat(call, error)
    if tries.lost:
        _fail_unless_temporary(call, error, tries.lost)
        tries.pause = PAUSE
    elif call.once and isinstance(error, ReplyLost):
        tries.lost = error
    elif _torn(error):
        tries.pause = PAUSE if tries.torn else 0.0
        tries.torn = error
    elif reason is None or reason in tries.reasons:
        fail(call, error)
    else:
        tries.reasons.add(reason)
    if reason == "NOSCRIPT" and call.script:
        return call._replace(command=with_source(call.command, call.script), packed=None)
    return call


def _fail_unless_temporary(call: Call[Any], error: Exception, lost: ReplyLost) -> None:
    """Fail with a lost reply: that try may be applied yet, whatever became of the later ones."""
    if isinstance(error, ReplyLost):
        return
    if isinstance(error, CounterConfigError):
        fail(call, lost)
    meaning, _ = _conclusion(error)
    if meaning is CounterIdempotencyError:
        fail(call, error)  # so was that try, or will be
    if meaning is not CounterUnavailable:
        fail(call, lost)


def _reason_to_repeat(call: Call[Any], error: Exception) -> str | None:
    if isinstance(error, driver.NoScriptError):
        return "NOSCRIPT"
    if replaced(error):
        return "replaced"
    return "reply lost" if call.safe and isinstance(error, ReplyLost) else None


def _torn(error: Exception) -> bool:
    """Say whether a node of a cluster has some of the keys of a call: their slot is on its way."""
    return isinstance(error, driver.TryAgainError) or "TRYAGAIN " in str(error)


class Redirection(NamedTuple):
    """Where a node of a cluster says that a slot is."""

    host: str  # "" = its own
    port: int
    asking: bool  # only for this call: the slot is on its way


def redirection(error: Exception) -> Redirection | None:
    """Return what a MOVED or an ASK says, None for any other error."""
    found = _REDIRECTION.fullmatch(str(error))  # some versions of redis-py keep the first word
    if not found or not isinstance(error, driver.ResponseError):
        return None
    word, host, port = found.groups()
    asking = word == "ASK " or type(error) is driver.AskError
    return Redirection(host, int(port), asking)


_REDIRECTION = re.compile(r"(MOVED |ASK )?[0-9]+ (\S*):([0-9]+)")


def unreachable(error: Exception) -> bool:
    """Say whether a node of a cluster was not there: its slots may be elsewhere by now."""
    gone = (ReplyLost, OSError, driver.ConnectionError, driver.TimeoutError)
    return isinstance(error, (*gone, driver.ClusterDownError)) or "CLUSTERDOWN " in str(error)


def replaced(error: Exception) -> bool:
    """Say whether the server may have a successor, which a new connection finds."""
    if isinstance(error, (driver.ReadOnlyError, driver.MasterDownError)):
        return True
    # One that was demoted; one that has not synced with its successor yet, and was told to refuse
    # reads; and a master that wants a replica, whose own may be promoted and it not demoted yet.
    return any(sign in str(error) for sign in ("READONLY ", "MASTERDOWN ", "NOREPLICAS "))


def _conclusion(error: Exception) -> tuple[type[CounterError], str]:
    for rule in RULES:
        for sign in rule.signs:
            if sign in str(error) if isinstance(sign, str) else isinstance(error, sign):
                return rule.meaning, rule.words
    tls = error.__context__
    if isinstance(tls, ssl.SSLError) and not isinstance(tls, _BROKEN_OFF):
        told = (getattr(tls, name, None) for name in ("verify_message", "reason"))
        reason = next(filter(None, told), type(tls).__name__)
        return CounterConfigError, f"the TLS connection failed: {reason}"
    words = "the server cannot be reached"
    place = _CONNECTING.match(str(error))
    return CounterUnavailable, f"{words} at {place[1]}" if place else words


_CONNECTING = re.compile(r"Error -?[0-9]+ connecting to (.+?)\. ")  # in redis-py's words
_BROKEN_OFF = (ssl.SSLEOFError, ssl.SSLZeroReturnError)


def _without_arguments(error: Exception) -> Exception:
    # An unknown HELLO is answered with its arguments, the password among them.
    text = str(error)
    if "unknown command" in text:
        error.args = (text.partition(",")[0],)
    return error
