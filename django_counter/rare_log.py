"""A logger for what meets every request."""

import time
from logging import Logger


class RareLog:
    """Log at most once in an interval, in seconds."""

    def __init__(self, logger: Logger, interval: float) -> None:
        self._logger = logger
        self._interval = interval
        self._next = 0.0

    def error(self, message: str, *arguments: object) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._interval
            self._logger.error(message, *arguments)
