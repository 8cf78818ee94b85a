"""One operation on its way to the server."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import hiredis

from django_counter.backends.redis.scripts import Script

# Texts only: hiredis 3.5 crashes when a signal handler raises while it converts a number.
Command: TypeAlias = tuple[str | bytes, ...]
Reply: TypeAlias = Any  # int, bytes, None or a list of them, as the command answers

# Returns the bytes of a command.
pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]  # takes all


MAX_TOGETHER = 10_000  # commands that leave in one write: each side keeps what the other is to read

Answer = TypeVar("Answer", covariant=True)
Item = TypeVar("Item")


class Call(NamedTuple, Generic[Answer]):
    """A command, what its reply means, and what an error says of it."""

    command: Command
    operation: str  # its name in the contract
    key: str
    parse: Callable[[Reply, str], Answer]  # returns the answer by the reply and the key
    value: int | None = None
    safe: bool = False  # it changes nothing, so that it may be sent again after a lost reply
    script: Script | None = None  # what the command runs, by its digest
    once: bool = False  # the server knows a repeat of it: it may be sent until it is answered
    packed: bytes | None = None  # the command's bytes, where they are there already


def raw(reply: Reply, key: str) -> Any:
    """Return a reply as it is: the parse of a Call whose reply is its answer.

    Lanes spare an increment this function.
    """
    return reply


def parts(each: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield commands, or what each of them is made of, in parts that may leave in one write."""
    for start in range(0, len(each), MAX_TOGETHER):
        yield each[start : start + MAX_TOGETHER]


def packed_together(calls: Sequence[Call[Any]]) -> list[bytes]:
    """Return the bytes of each of several calls that are sent at once.

    The first run of each script has its source: were it unknown and sent once more, it would come
    behind the others.
    """
    loaded = {calls[0].script} if len(calls) == 1 else set()
    packed = []
    for call in calls:
        if call.script is None or call.script in loaded:
            packed.append(call.packed or pack(call.command))
        else:
            packed.append(pack(with_source(call.command, call.script)))
            loaded.add(call.script)
    return packed


def with_source(command: Command, script: Script) -> Command:
    """Return an EVALSHA with the source in place of the digest."""
    return ("EVAL", script.source, *command[2:])
