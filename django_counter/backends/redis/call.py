"""One operation on its way to the server."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import hiredis

from django_counter.backends.redis.scripts import Script

# Texts only: hiredis 3.5 crashes when a signal handler raises while it converts a number.
Command: TypeAlias = tuple[str | bytes, ...]
Reply: TypeAlias = Any  # int, bytes, None or a list of them, as the command answers

# Returns the bytes of a command.
pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]  # takes all


class Call(NamedTuple):
    """A command, and what an error says of it."""

    command: Command
    operation: str  # its name in the contract
    key: str
    value: int | None = None
    safe: bool = False  # it changes nothing, so that it may be sent again after a lost reply
    script: Script | None = None  # what the command runs, by its digest
    once: bool = (
        False  # the server knows a repeat of it, so that it may be sent until it is answered
    )
