"""The rules of arguments, and the plain values that good ones come to."""

import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from django_counter.values import (
    INT64_MAX,
    INT64_MIN,
    KEY_MAX_BYTES,
    TIMER_MAX,
    TTL_MAX,
    TTL_MIN,
    Budget,
    Budgets,
    Timer,
    Ttl,
)


def check_key(key: str) -> None:
    """Refuse what is no key."""
    # Four bytes a character at most, and no control character is printable.
    if type(key) is str and 0 < len(key) <= _PLAIN_LENGTH and key.isprintable():
        return
    _check_name("key", key)


def check_idempotency_key(idempotency_key: str) -> None:
    """Refuse what is no idempotency key."""
    _check_name("idempotency_key", idempotency_key)


def check_prefix(prefix: str) -> None:
    """Refuse what cannot begin a key. The empty prefix begins every key."""
    _check_text("prefix", prefix)


def check_cursor(cursor: str) -> None:
    """Refuse what is no text. What else a cursor must be is up to the backend."""
    _check_text("cursor", cursor)


def checked_keys(keys: Iterable[str]) -> list[str]:
    """Return the keys, in order; refuse one `str`, whose letters are not meant."""
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise TypeError(f"keys must be several str, such as a list, not {_shown(keys)}")
    listed = list(keys)
    if not _all_plain(listed):
        for key in listed:
            check_key(key)
    return listed


def checked_value(value: int, name: str = "value") -> int:
    """Return a plain int; refuse what is no int64."""
    if type(value) is int and INT64_MIN <= value <= INT64_MAX:
        return value
    return _checked_integer(name, value, INT64_MIN)


def checked_amount(value: int, name: str = "value") -> int:
    """Return a plain int; refuse what is no positive int64."""
    if type(value) is int and 0 < value <= INT64_MAX:
        return value
    return _checked_integer(name, value, 1)


def checked_values(values: Mapping[str, int]) -> dict[str, int]:
    """Return the values by key; refuse keys and values that are none."""
    if not isinstance(values, Mapping):
        raise TypeError(f"values must be a mapping of str to int, not {_shown(values)}")
    if plain_values(list(values), list(values.values())):
        return dict(values)
    checked = {}
    for key, value in values.items():
        check_key(key)
        checked[key] = checked_value(value)
    return checked


def plain_values(keys: Sequence[str], values: Sequence[int]) -> bool:
    """Say whether keys and values are good at first sight; others may still be."""
    plain = _all_plain(keys) and {*map(type, values)} == {int}
    return plain and min(values) >= INT64_MIN and max(values) <= INT64_MAX


def checked_budgets(budgets: Iterable[Budget]) -> Sequence[Budget]:
    """Return the budgets; refuse those that cannot be drawn. milliseconds() checks their ttl.

    A tuple of sound ones is returned itself: Budgets are to be known again.
    """
    if type(budgets) not in (list, tuple) and not isinstance(budgets, Iterable):
        raise TypeError(f"budgets must be several Budget, not {_shown(budgets)}")
    listed: Sequence[Budget] = budgets if type(budgets) is tuple or type(budgets) is Budgets else []
    if not listed or not all(map(_sound, listed)):
        listed = [budget if _sound(budget) else _checked_budget(budget) for budget in budgets]
    if len(listed) != 1:
        _check_distinct("budgets", [budget.key for budget in listed])
    return listed


def checked_refund(budgets: Sequence[Budget], cost: int) -> int:
    """Return a plain int; refuse a cost that these budgets cannot have given."""
    cost = checked_amount(cost, "cost")
    for budget in budgets:
        milliseconds(budget.ttl)
        if cost > budget.limit:
            raise ValueError(f"cost must be at most the limit {budget.limit}, not {_shown(cost)}")
    return cost


def checked_timers(timers: Iterable[Timer]) -> list[Timer]:
    """Return the timers; refuse those that cannot be moved. milliseconds() checks their ttl."""
    if not isinstance(timers, Iterable):
        raise TypeError(f"timers must be several Timer, not {_shown(timers)}")
    listed = [timer if _sound_timer(timer) else _checked_timer(timer) for timer in timers]
    if len(listed) != 1:
        _check_distinct("timers", [timer.key for timer in listed])
    return listed


def _sound(budget: Budget) -> bool:
    """Say whether a budget is good at first sight; any other may still be one."""
    if type(budget) is not Budget:
        return False
    key, limit, _, floor, scope = budget
    return (
        _plain(key)
        and type(limit) is int
        and 0 < limit <= INT64_MAX
        and type(floor) is int
        and 0 <= floor <= INT64_MAX
        and (scope is None or _plain(scope))
    )


def _sound_timer(timer: Timer) -> bool:
    """See _sound()."""
    if type(timer) is not Timer:
        return False
    key, start, step, ceiling, _ = timer
    return (
        _plain(key)
        and type(start) is type(step) is type(ceiling) is int
        and 0 <= start <= TIMER_MAX
        and 0 < step <= TIMER_MAX
        and 0 <= ceiling <= TIMER_MAX
    )


def _plain(text: str) -> bool:
    """See check_key(), which has this inline: every operation calls it."""
    return type(text) is str and 0 < len(text) <= _PLAIN_LENGTH and text.isprintable()


def _checked_budget(budget: Budget) -> Budget:
    if not isinstance(budget, Budget):
        raise TypeError(f"budgets must be several Budget, not {_shown(budget)}")
    key, limit, ttl, floor, scope = budget
    check_key(key)
    limit = checked_amount(limit, "limit")
    if scope is not None:
        _check_name("scope", scope)
    return Budget(key, limit, ttl, _checked_integer("floor", floor, 0), scope)


def _checked_timer(timer: Timer) -> Timer:
    if not isinstance(timer, Timer):
        raise TypeError(f"timers must be several Timer, not {_shown(timer)}")
    key, start, step, ceiling, ttl = timer
    check_key(key)
    start = _checked_integer("start", start, 0, TIMER_MAX)
    step = _checked_integer("step", step, 1, TIMER_MAX)
    return Timer(key, start, step, _checked_integer("ceiling", ceiling, 0, TIMER_MAX), ttl)


def milliseconds(ttl: Ttl, name: str = "ttl") -> int | None:
    """Return a ttl in whole milliseconds; refuse what is no ttl."""
    if ttl is None:
        return None
    if type(ttl) is int and 0 < ttl <= TTL_MAX:
        return ttl * 1000
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{name} must be seconds (int or float) or a timedelta, not {_shown(ttl)}")
    if not TTL_MIN <= seconds <= TTL_MAX:  # NaN is not within anything
        raise ValueError(
            f"{name} must be from {TTL_MIN} s to {TTL_MAX} s (100 years), not {_shown(ttl)}"
        )
    return round(seconds * 1000)


def _all_plain(texts: Sequence[str]) -> bool:
    """Say whether many texts are keys at first sight: see check_key(), at the speed of C."""
    try:
        lengths = {*map(str.__len__, texts)}
    except TypeError:
        return False
    return (
        min(lengths, default=0) > 0 and max(lengths) <= _PLAIN_LENGTH and _printable("".join(texts))
    )


def _printable(text: str) -> bool:
    """Say what isprintable() says: of ASCII, several times as fast."""
    if text.isascii():
        return not text.encode().translate(None, _PRINTABLE_ASCII)
    return text.isprintable()


_PRINTABLE_ASCII = bytes(range(0x20, 0x7F))
_PLAIN_LENGTH = KEY_MAX_BYTES // 4


def _check_name(name: str, text: str) -> None:
    if text == "":
        raise ValueError(f"{name} must not be empty")
    _check_text(name, text)


def _check_text(name: str, text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str, not {_shown(text)}")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} must be encodable in UTF-8, not {_shown(text)}") from error
    if size > KEY_MAX_BYTES:
        raise ValueError(f"{name} must be at most {KEY_MAX_BYTES} bytes in UTF-8, not {size}")
    if _CONTROL_CHARACTER.search(text):
        raise ValueError(f"{name} must not contain control characters: {_shown(text)}")


# The Unicode category Cc.
_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f]")


def _check_distinct(name: str, keys: list[str]) -> None:
    if not keys:
        raise ValueError(f"{name} must not be empty")
    if len(set(keys)) < len(keys):
        raise ValueError(f"{name} must have different keys")


def _checked_integer(name: str, value: int, least: int, most: int = INT64_MAX) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {_shown(value)}")
    if not least <= value <= most:
        low = "-2**63" if least == INT64_MIN else least
        high = f"2**{most.bit_length()} - 1"
        raise ValueError(f"{name} must be from {low} to {high}, not {_shown(value)}")
    return int(value)


def _shown(argument: object) -> str:
    kind = type(argument).__name__
    if isinstance(argument, int) and argument.bit_length() > 128:
        return f"an {kind} of {argument.bit_length()} bits"
    try:
        return f"{reprlib.repr(argument)} ({kind})"
    except ValueError:  # of a very long int somewhere in it
        return f"this {kind}"
