"""Calls that are made once, however often they are repeated."""

from collections.abc import Sequence
from typing import NamedTuple

from django_counter.arguments import check_idempotency_key, milliseconds
from django_counter.exceptions import CounterConfigError
from django_counter.values import Budget, Timer, Ttl

DEFAULT_WINDOW = 600.0  # seconds

# It joins texts that have no control characters.
SEPARATOR = "\x1f"


class Once(NamedTuple):
    """A call with an idempotency key."""

    scope: str  # the key of a counter, or the scope of a budget
    name: str  # of the call: the scope and the idempotency key
    call: str  # the operation and its arguments: a repeat has the same
    refusals: bool = True  # whether to remember a refusal: time may heal it


def once(
    idempotency_key: str | None,
    scope: str,
    operation: str,
    *arguments: str | int | None,
    refusals: bool = True,
) -> Once | None:
    """Return a call on what an idempotency key belongs to, None without such a key."""
    if idempotency_key is None:
        return None
    check_idempotency_key(idempotency_key)
    words = [each if isinstance(each, str) else str(each) for each in (operation, *arguments)]
    # Joined, for a subclass of str may be formatted as something else.
    return Once(scope, SEPARATOR.join((scope, idempotency_key)), SEPARATOR.join(words), refusals)


def take_once(idempotency_key: str | None, budgets: Sequence[Budget], cost: int) -> Once | None:
    """See once()."""
    if idempotency_key is None:
        return None
    words: list[str | int | None] = [cost]
    for budget in budgets:
        words += budget.scope or budget.key, budget.limit, milliseconds(budget.ttl)
    key, scope = budgets[0].key, budgets[0].scope
    return once(idempotency_key, scope or key, "take", *words, refusals=scope is None)


def advance_once(idempotency_key: str | None, timers: Sequence[Timer], cost: int) -> Once | None:
    """See once()."""
    if idempotency_key is None:
        return None
    words: list[str | int | None] = [cost]
    for timer in timers:
        words += timer.key, timer.step, milliseconds(timer.ttl)
    return once(idempotency_key, timers[0].key, "advance", *words, refusals=False)


def checked_window(window: Ttl) -> int:
    """Return the option `idempotency_window` in milliseconds; refuse what is no ttl."""
    try:
        duration = milliseconds(window, "option 'idempotency_window'")
    except (TypeError, ValueError) as error:
        raise CounterConfigError(str(error)) from error
    if duration is None:
        raise CounterConfigError("option 'idempotency_window' must be seconds, not None")
    return duration


def keyword(idempotency_key: str | None) -> dict[str, str]:
    """Return it as a keyword argument, where there is one: overrides may know none."""
    return {} if idempotency_key is None else {"idempotency_key": idempotency_key}
