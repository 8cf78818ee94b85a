"""redis-py's synchronous connections, made to end by a deadline what they do."""

from collections.abc import Callable
from time import monotonic
from typing import Any
from weakref import ref

from django_counter.backends.redis.call import pack


class Packer:
    """Packs texts only, see Command, and lets no command take longer than until a deadline."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        # Weak: what a signal leaves behind is closed at once, no cycle keeps it.
        self.connection: Callable[[], Any]

    def pack(self, *words: str | bytes | int) -> list[bytes]:
        """Return the bytes of a command, which is sent next."""
        self.connection()._sock.settimeout(_seconds_left(self._deadline))
        return [pack(tuple(word if isinstance(word, bytes) else str(word) for word in words))]


def connection_by(deadline: float, connection_class: Any, **options: Any) -> Any:
    """Return a connection, to be connected now, that packs with a Packer in place of its own."""
    packer, left = Packer(deadline), _seconds_left(deadline)
    connect_timeout = min(options.get("socket_connect_timeout") or left, left)
    times = {"socket_timeout": left, "socket_connect_timeout": connect_timeout}
    connection = connection_class(**{**options, **times, "command_packer": packer})
    packer.connection = ref(connection)
    return connection


def _seconds_left(deadline: float) -> float:
    """Return the seconds until a deadline, at least the one thousandth in which a wait fails."""
    return max(0.001, deadline - monotonic())
