"""Keys that were seen before: exactly, and in little memory however many they are."""

import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Self


class SeenKeys:
    """A set of keys in a temporary file, gone when its `with` block ends.

    SCAN may yield a key twice, and a file may hold one twice. A `set` of a million keys would take
    100 MB and more.
    """

    def __enter__(self) -> Self:
        self._database = sqlite3.connect("", isolation_level=None)  # "" = a file without a name
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA cache_size = -16000")  # 16 MB: keys come in no order
        self._database.execute("BEGIN")
        self._database.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def add(self, key: str) -> bool:
        """Add a key; return whether it is new."""
        added = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,))
        return added.rowcount == 1

    def __iter__(self) -> Iterator[str]:
        for (key,) in self._database.execute("SELECT key FROM seen"):
            yield key
