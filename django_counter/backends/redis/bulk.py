"""Many commands of one kind that leave together, packed as one text."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from django_counter.backends.redis.call import Answer, Call, Command, pack, pack_all, parts, raw


class Bulk(Protocol[Answer]):
    """Commands whose replies are their answers."""

    def __len__(self) -> int:
        """Return how many they are."""

    def packed(self) -> Iterator[tuple[bytes, int]]:
        """Yield the bytes of those that may leave in one write, and how many these are."""

    def commands(self) -> list[Command]:
        """Return all of them."""

    def call(self, number: int) -> Call[Answer]:
        """Return the call of one of them."""


class Increments:
    """An INCRBY for each of several keys. `call` makes the call of one."""

    def __init__(
        self,
        prefix: str,
        keys: Sequence[str],
        values: Sequence[int],
        call: Callable[[str, int, None], Call[int]],
    ) -> None:
        self._prefix = prefix
        self._keys = keys
        self._values = values
        self._call = call

    def __len__(self) -> int:
        return len(self._keys)

    def packed(self) -> Iterator[tuple[bytes, int]]:
        for keys, values in zip(parts(self._keys), parts(self._values), strict=True):
            yield self._pack(keys, values), len(keys)

    def commands(self) -> list[Command]:
        return self._commands(self._keys, self._values)

    def call(self, number: int) -> Call[int]:
        return self._call(self._keys[number], self._values[number], None)

    def _pack(self, keys: Sequence[str], values: Sequence[int]) -> bytes:
        if not _ascii(self._prefix, keys):
            return pack_all(self._commands(keys, values))
        starts = _starts("*3\r\n$6\r\nINCRBY", self._prefix, keys)
        ends = {value: f"\r\n${len(text := str(value))}\r\n{text}\r\n" for value in {*values}}
        return _joined(starts, keys, list(map(ends.__getitem__, values))).encode()

    def _commands(self, keys: Sequence[str], values: Sequence[int]) -> list[Command]:
        prefix = self._prefix
        columns = zip(keys, values, strict=True)
        return [("INCRBY", prefix + key, str(value)) for key, value in columns]


class MultiGets:
    """An MGET for each group of keys."""

    def __init__(self, prefix: str, groups: list[list[str]]) -> None:
        self._prefix = prefix
        self._groups = groups

    def __len__(self) -> int:
        return len(self._groups)

    def packed(self) -> Iterator[tuple[bytes, int]]:
        for groups in parts(self._groups):
            yield b"".join(map(self._pack, groups)), len(groups)

    def commands(self) -> list[Command]:
        return list(map(self._command, self._groups))

    def call(self, number: int) -> Call[list[bytes | None]]:
        keys = self._groups[number]
        return Call(self._command(keys), "multi_get", keys[0], raw, safe=True)

    def _pack(self, keys: list[str]) -> bytes:
        if not _ascii(self._prefix, keys):
            return pack(self._command(keys))
        names = _joined(_starts("", self._prefix, keys), keys)
        return f"*{len(keys) + 1}\r\n$4\r\nMGET{names}\r\n".encode()

    def _command(self, keys: list[str]) -> Command:
        return ("MGET", *map(self._prefix.__add__, keys))


def _ascii(prefix: str, keys: Sequence[str]) -> bool:
    """Say whether the len() of each key is how many bytes it has."""
    plain = {*map(type, keys)} == {str}  # a subclass may have a len() of its own
    return plain and prefix.isascii() and "".join(keys).isascii()


def _starts(before: str, prefix: str, keys: Sequence[str]) -> list[str]:
    """Return what stands before each key, from the end of the word before it on."""
    lengths = list(map(len, keys))
    starts = {each: f"{before}\r\n${len(prefix) + each}\r\n{prefix}" for each in {*lengths}}
    return list(map(starts.__getitem__, lengths))


def _joined(*columns: Sequence[str]) -> str:
    """Return the text of columns, row by row. To make a text of each row takes twice as long."""
    words = [""] * (len(columns) * len(columns[0]))
    for number, column in enumerate(columns):
        words[number :: len(columns)] = column
    return "".join(words)
