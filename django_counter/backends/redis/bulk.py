"""Many commands of one kind that leave together, packed as one text."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Protocol

from django_counter.backends.redis.call import Answer, Call, Command, parts, raw
from django_counter.values import KEY_MAX_BYTES


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
        columns = zip(self._keys, self._values, strict=True)
        return [("INCRBY", self._prefix + key, str(value)) for key, value in columns]

    def call(self, number: int) -> Call[int]:
        return self._call(self._keys[number], self._values[number], None)

    def _pack(self, keys: Sequence[str], values: Sequence[int]) -> bytes:
        starts = _starts("*3\r\n$6\r\nINCRBY", self._prefix, keys)
        ends = {value: f"\r\n${len(text := str(value))}\r\n{text}\r\n" for value in {*values}}
        return _joined(starts, keys, list(map(ends.__getitem__, values))).encode()


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
        names = _joined(_starts("", self._prefix, keys), keys)
        return f"*{len(keys) + 1}\r\n$4\r\nMGET{names}\r\n".encode()

    def _command(self, keys: list[str]) -> Command:
        return ("MGET", *map(self._prefix.__add__, keys))


def _starts(before: str, prefix: str, keys: Sequence[str]) -> list[str]:
    """Return what stands before each key, from the end of the word before it on."""
    # A subclass of str may have a len() of its own.
    plain = {*map(type, keys)} == {str} and "".join(keys).isascii()
    sizes = map(len, keys if plain else map(str.encode, keys))
    return list(map(_starts_by_size(before, prefix).__getitem__, sizes))


@lru_cache(maxsize=64)
def _starts_by_size(before: str, prefix: str) -> list[str]:
    """Return what stands before a key of so many bytes, for each number that it may have."""
    own = len(prefix.encode())
    return [f"{before}\r\n${own + size}\r\n{prefix}" for size in range(KEY_MAX_BYTES + 1)]


def _joined(*columns: Sequence[str]) -> str:
    """Return the text of columns, row by row. To make a text of each row takes twice as long."""
    words = [""] * (len(columns) * len(columns[0]))
    for number, column in enumerate(columns):
        words[number :: len(columns)] = column
    return "".join(words)
