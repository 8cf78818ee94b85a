"""What is remembered of those who come again and again."""

from typing import TypeVar

Item = TypeVar("Item")


class Regulars(dict[str, Item]):
    """What was made for each of the latest keys that came at least twice, `most` of them.

    Of a crowd in which nobody comes again nothing is kept: made, kept and dropped, it would be work
    for the garbage collector, which costs more than to make it.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._once: set[str] = set()  # who came once

    def note(self, key: str, item: Item) -> None:
        """Keep what was made for a key that came, if it came before."""
        if key in self._once:
            if len(self) >= self._most:
                self.clear()
            self[key] = item
            return
        if len(self._once) >= self._most:
            self._once.clear()
        self._once.add(key)
