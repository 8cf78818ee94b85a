"""What the errors of the server and of redis-py become: without a server."""

import ssl
import traceback
from typing import Any

import pytest
from redis import exceptions as driver
from redis._parsers import BaseParser
from redis.sentinel import MasterNotFoundError

from django_counter import (
    CounterConfigError,
    CounterError,
    CounterIdempotencyError,
    CounterOutcomeUnknown,
    CounterOverflow,
    CounterTypeError,
    CounterUnavailable,
)
from django_counter.backends.redis.call import Call, raw
from django_counter.backends.redis.errors import (
    PAUSE,
    RULES,
    ReplyLost,
    SentinelRefusal,
    Tries,
    fail,
    fail_late,
    next_try,
)
from django_counter.backends.redis.scripts import Script

SECRET = "planted-secret"
CHANGE = Call(("INCRBY", "counter:key", "3"), "increment", "key", raw, 3)
SAFE = Call(("GET", "counter:key"), "get", "key", raw, safe=True)
SCRIPT = Script("digest", "return 1")
SCRIPTED = Call(
    ("EVALSHA", "digest", "1", "counter:key", "3"), "take", "key", raw, 3, script=SCRIPT
)

# What a server may answer, the exception, and words of it.
REPLIES = [
    ("WRONGTYPE Operation against a key holding the wrong kind", CounterTypeError, "not a counter"),
    ("ERR value is not an integer or out of range", CounterTypeError, "not a counter"),
    ("ERR Error running script: ERR value is not an integer", CounterTypeError, "not a counter"),
    ("ERR increment or decrement would overflow", CounterOverflow, "leave int64"),
    ("IDEMPOTENCY of another call", CounterIdempotencyError, "belongs to another call"),
    ("LOADING Redis is loading the dataset in memory", CounterUnavailable, "loading"),
    ("OOM command not allowed when used memory > 'maxmemory'", CounterUnavailable, "maxmemory"),
    ("ERR Error running script: @user_script: OOM command", CounterUnavailable, "maxmemory"),
    ("READONLY You can't write against a read only replica", CounterUnavailable, "read-only"),
    ("ERR Error running script: READONLY You can't write", CounterUnavailable, "read-only"),
    ("UNBLOCKED: previous master is now a slave", CounterUnavailable, "read-only"),
    ("BUSY Redis is busy running a script", CounterUnavailable, "busy with a script"),
    ("MISCONF Redis is configured to save RDB snapshots", CounterUnavailable, "save to disk"),
    ("NOREPLICAS Not enough good replicas to write", CounterUnavailable, "too few replicas"),
    ("MASTERDOWN Link with MASTER is down", CounterUnavailable, "cut off from its master"),
    ("CLUSTERDOWN Hash slot not served", CounterUnavailable, "cluster is down"),
    ("TRYAGAIN Multiple keys request during rehashing", CounterUnavailable, "moving the key"),
    ("ERR max number of clients reached", CounterUnavailable, "maxclients"),
    ("NOAUTH Authentication required.", CounterConfigError, "credentials"),
    ("WRONGPASS invalid username-password pair", CounterConfigError, "credentials"),
    ("ERR invalid password", CounterConfigError, "credentials"),
    ("ERR wrong number of arguments for 'auth' command", CounterConfigError, "credentials"),
    ("NOPERM this user has no permissions to run 'incrby'", CounterConfigError, "ACL"),
    ("ERR ACL failure in script: no key permissions", CounterConfigError, "ACL"),
    ("ERR The user executing the script can't run this command", CounterConfigError, "ACL"),
    ("MOVED 3999 127.0.0.1:6381", CounterConfigError, "cluster"),
    ("ASK 3999 127.0.0.1:6381", CounterConfigError, "cluster"),
    ("CROSSSLOT Keys in request don't hash to the same slot", CounterConfigError, "cluster"),
    ("ERR unknown command 'EVALSHA', with args beginning with:", CounterConfigError, "lacks"),
    ("ERR DB index is out of range", CounterConfigError, "no database"),
    ("ERR SELECT is not allowed in cluster mode", CounterConfigError, "no database"),
    ("ERR This instance has cluster support disabled", CounterConfigError, "no part of a cluster"),
    ("NOSCRIPT No matching script", CounterUnavailable, "refused"),
    ("ERR something of the future", CounterUnavailable, "refused"),
]

# Codes that some versions of redis-py have no class for.
UNCLASSED = {"MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "CROSSSLOT"}

# What redis-py and sockets raise, the exception, and words of it.
ERRORS = [
    (driver.InvalidResponse("Protocol error"), CounterConfigError, "not Redis"),
    (driver.RedisClusterException("no slots"), CounterConfigError, "cluster"),
    (SentinelRefusal("invalid password"), CounterConfigError, "SENTINEL_KWARGS"),
    (MasterNotFoundError("no Sentinel knows 'a'"), CounterUnavailable, "no Sentinel"),
    *[
        (driver.ResponseError(text), meaning, words)  # as where redis-py has no class for it
        for text, meaning, words in REPLIES
        if text.split()[0] in UNCLASSED
    ],
    (driver.TimeoutError("Timeout connecting"), CounterUnavailable, "did not answer"),
    (TimeoutError("timed out"), CounterUnavailable, "did not answer"),
    (driver.ConnectionError("Error 111"), CounterUnavailable, "cannot be reached"),
    (
        driver.ConnectionError("Error -2 connecting to shop.example:6379. Name not known."),
        CounterUnavailable,
        "the server cannot be reached at shop.example:6379",
    ),
    (ConnectionResetError("reset"), CounterUnavailable, "cannot be reached"),
]


def raised(call: Call, error: Exception) -> Any:
    """Return what a caller gets for an error, after some checks of it."""
    with pytest.raises(CounterError) as caught:
        fail(call, error)
    return caught.value


def reply(text: str) -> Exception:
    """Return an error reply as redis-py's exception."""
    error: Exception = BaseParser.parse_error(text)
    return error


def over_tls(cause: Exception) -> Exception:
    """Return what redis-py raises when this befalls a TLS connection."""
    error = driver.ConnectionError("Error while connecting")
    error.__context__ = cause
    return error


@pytest.mark.parametrize(("text", "meaning", "words"), REPLIES)
def test_an_error_reply_has_a_meaning(text: str, meaning: type[CounterError], words: str) -> None:
    error = raised(CHANGE, reply(text))
    assert type(error) is meaning
    assert words in str(error)


@pytest.mark.parametrize(("cause", "meaning", "words"), ERRORS, ids=repr)
def test_an_error_of_the_driver_has_a_meaning(
    cause: Exception, meaning: type[CounterError], words: str
) -> None:
    error = raised(CHANGE, cause)
    assert type(error) is meaning
    assert words in str(error)


def test_every_rule_was_met() -> None:
    errors = [reply(text) for text, *_ in REPLIES] + [error for error, *_ in ERRORS]
    met = {str(raised(CHANGE, error)).partition(": ")[2] for error in errors}
    assert {rule.words for rule in RULES} <= met


def test_an_error_names_the_operation_and_the_key_and_keeps_its_cause() -> None:
    cause = reply("OOM command not allowed")
    error = raised(CHANGE, cause)
    assert str(error).startswith("increment of 'key': ")
    assert error.__cause__ is cause


@pytest.mark.parametrize(
    "cause", [ssl.SSLCertVerificationError("self-signed"), ssl.SSLError("wrong version number")]
)
def test_a_refused_tls_connection_is_a_configuration_error(cause: Exception) -> None:
    error = raised(CHANGE, over_tls(cause))
    assert type(error) is CounterConfigError
    assert "TLS" in str(error)


@pytest.mark.parametrize("cause", [ssl.SSLEOFError("EOF"), ssl.SSLZeroReturnError("closed")])
def test_a_tls_connection_that_ends_is_unavailable(cause: Exception) -> None:
    assert type(raised(CHANGE, over_tls(cause))) is CounterUnavailable


def test_a_change_whose_reply_was_lost_is_unknown() -> None:
    lost = ReplyLost()
    lost.__cause__ = ConnectionResetError("reset")
    error = raised(CHANGE, lost)
    assert type(error) is CounterOutcomeUnknown
    assert (error.operation, error.key, error.value) == ("increment", "key", 3)
    assert error.__cause__ is lost.__cause__


def test_a_safe_call_whose_reply_was_lost_is_unavailable() -> None:
    lost = ReplyLost()
    lost.__cause__ = ConnectionResetError("reset")
    error = raised(SAFE, lost)
    assert type(error) is CounterUnavailable
    assert error.__cause__ is lost.__cause__


def test_a_wrong_setting_that_calls_of_a_batch_share_keeps_no_trace_of_each() -> None:
    shared = CounterConfigError("CACHES['default']: what its connection lacks")
    depths = [len(traceback.extract_tb(raised(CHANGE, shared).__traceback__)) for _ in range(3)]
    assert len(set(depths)) == 1


@pytest.mark.parametrize("quote", ["'", "`"])
def test_an_unknown_hello_shows_no_password(quote: str) -> None:
    arguments = f"with args beginning with: '3' 'AUTH' 'default' '{SECRET}' "
    error = raised(CHANGE, reply(f"ERR unknown command {quote}HELLO{quote}, {arguments}"))
    shown = [str(error), repr(error.__cause__), *traceback.format_exception(error)]
    assert not any(SECRET in each for each in shown)
    assert "HELLO" in str(error.__cause__)


def test_a_script_that_the_server_lacks_is_sent_whole() -> None:
    again = next_try(SCRIPTED, reply("NOSCRIPT No matching script"), Tries())
    assert again.command == ("EVAL", SCRIPT.source, *SCRIPTED.command[2:])


def test_a_plain_call_is_repeated_as_it_was() -> None:
    assert next_try(CHANGE, reply("NOSCRIPT of a proxy"), Tries()) == CHANGE


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (SCRIPTED, reply("NOSCRIPT No matching script")),
        (CHANGE, reply("READONLY You can't write against a read only replica")),
        (SCRIPTED, reply("ERR Error running script: READONLY You can't write")),
        (SAFE, ReplyLost()),
    ],
    ids=["NOSCRIPT", "READONLY", "READONLY in a script", "reply lost"],
)
def test_a_call_is_repeated_once_for_each_reason(call: Call, error: Exception) -> None:
    tries = Tries()
    next_try(call, error, tries)
    with pytest.raises(CounterUnavailable):
        next_try(call, error, tries)


def test_a_call_is_repeated_for_several_reasons() -> None:
    tries = Tries()
    for error in (ReplyLost(), reply("READONLY replica"), reply("NOSCRIPT No matching script")):
        next_try(SAFE, error, tries)
    assert len(tries.reasons) == 3


def test_a_call_is_repeated_while_a_cluster_moves_its_keys() -> None:
    tries, torn = Tries(), reply("TRYAGAIN Multiple keys request during rehashing")
    pauses = []
    for _ in range(4):
        assert next_try(CHANGE, torn, tries) == CHANGE
        pauses.append(tries.pause)
    assert pauses == [0, PAUSE, PAUSE, PAUSE]
    assert tries.spare > 0
    with pytest.raises(CounterUnavailable, match="moving the key") as caught:
        fail_late(CHANGE, tries)
    assert caught.value.__cause__ is torn


# A call of which the server knows a repeat.

ONCE = SCRIPTED._replace(once=True)
NO_SCRIPT = "NOSCRIPT No matching script"
TEMPORARY = [
    ReplyLost(),
    ConnectionRefusedError("refused"),
    TimeoutError("timed out"),
    *map(reply, ("LOADING", "OOM ", "READONLY ", "BUSY ", "MISCONF ", "CLUSTERDOWN ", NO_SCRIPT)),
]
PERMANENT = [
    reply("WRONGTYPE Operation against a key holding the wrong kind"),
    reply("ERR increment or decrement would overflow"),
    reply("WRONGPASS invalid username-password pair"),
    reply("NOPERM this user has no permissions"),
    CounterConfigError("CACHES['default']: what its connection lacks"),
]


def lost() -> ReplyLost:
    error = ReplyLost()
    error.__cause__ = ConnectionResetError("reset")
    return error


def test_after_a_lost_reply_it_is_sent_again_as_long_as_it_may_go_well() -> None:
    tries = Tries()
    assert next_try(ONCE, lost(), tries) == ONCE
    assert tries.pause == 0
    for _ in range(3):
        for error in TEMPORARY:
            assert next_try(ONCE, error, tries).key == "key"
            assert tries.pause > 0


@pytest.mark.parametrize("error", PERMANENT, ids=repr)
def test_what_befalls_a_later_try_says_nothing_of_the_one_that_was_lost(error: Exception) -> None:
    tries = Tries()
    first = lost()
    next_try(ONCE, first, tries)
    with pytest.raises(CounterOutcomeUnknown) as caught:
        next_try(ONCE, error, tries)
    assert caught.value.__cause__ is first.__cause__


def test_a_move_that_does_not_end_says_nothing_of_a_try_that_was_lost() -> None:
    tries = Tries()
    for error in (reply("TRYAGAIN "), lost(), reply("TRYAGAIN ")):
        next_try(ONCE, error, tries)
    with pytest.raises(CounterOutcomeUnknown):
        fail_late(ONCE, tries)


def test_an_idempotency_key_of_another_call_was_that_at_the_first_try_too() -> None:
    tries = Tries()
    next_try(ONCE, lost(), tries)
    with pytest.raises(CounterIdempotencyError):
        next_try(ONCE, reply("IDEMPOTENCY of another call"), tries)


def test_a_server_that_lost_its_scripts_meanwhile_is_sent_the_whole_one() -> None:
    tries = Tries()
    next_try(ONCE, lost(), tries)
    assert next_try(ONCE, reply(NO_SCRIPT), tries).command[0] == "EVAL"


@pytest.mark.parametrize("error", [*TEMPORARY[1:4], *PERMANENT], ids=repr)
def test_before_a_lost_reply_it_fails_like_any_other(error: Exception) -> None:
    with pytest.raises(CounterError) as caught:
        next_try(ONCE, error, Tries())
    assert type(caught.value) is type(raised(CHANGE, error))


@pytest.mark.parametrize(
    "error", [ReplyLost(), ConnectionResetError("reset"), reply("OOM command not allowed")]
)
def test_a_change_is_not_repeated_for_anything_else(error: Exception) -> None:
    with pytest.raises(CounterError):
        next_try(CHANGE, error, Tries())
