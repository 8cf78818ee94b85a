"""A logger for what meets every request."""

import time
from logging import Logger


class RareLog:
    """Log each message at most once in an interval, in seconds."""

    def __init__(self, logger: Logger, interval: float) -> None:
        self._logger = logger
        self._interval = interval
        self._next: dict[str, float] = {}  # when a message may be logged again

    def error(self, message: str, *arguments: object) -> None:
        now = time.monotonic()
        if now >= self._next.get(message, 0.0):
            self._next[message] = now + self._interval
            self._logger.error(message, *arguments)
