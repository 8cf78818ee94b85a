"""What redis-py's synchronous connections pack their commands with, in place of its own."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from django_counter.backends.redis.call import pack


class Packer:
    """Packs texts only: see Command."""

    def pack(self, *words: str | bytes | int) -> list[bytes]:
        """Return the bytes of a command, which is sent next."""
        return [pack(tuple(word if isinstance(word, bytes) else str(word) for word in words))]


class DeadlinePacker(Packer):
    """Gives each step of a handshake a timeout, from here on what is left until the deadline."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        # Weak: what a signal leaves behind is closed at once, no cycle keeps it.
        self.connection: Callable[[], Any]

    def pack(self, *words: str | bytes | int) -> list[bytes]:
        self.connection()._sock.settimeout(seconds_left(self._deadline))
        return super().pack(*words)


def seconds_left(deadline: float) -> float:
    """Return the seconds until a deadline, at least the one thousandth in which a wait fails."""
    return max(0.001, deadline - monotonic())
