"""A thread that sends what a process has added up."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Thread


class Sender:
    """Send every so many seconds, for as long as something waits.

    `waits` says whether something does; it is asked, and start() is called, under `lock`. What
    was added before a look at `running` is sent.
    """

    def __init__(
        self,
        name: str,
        interval: float,
        send: Callable[[], object],
        waits: Callable[[], object],
        lock: AbstractContextManager[object],
    ) -> None:
        self.running = False
        self._name = name
        self._interval = interval
        self._send = send
        self._waits = waits
        self._lock = lock

    def start(self) -> None:
        """Start the thread, or raise RuntimeError: too many of them, or the interpreter ends."""
        thread = Thread(target=self._run, name=f"django_counter {self._name}", daemon=True)
        self.running = True
        try:
            thread.start()
        except RuntimeError:
            self.running = False
            raise

    def _run(self) -> None:
        try:
            going_on = True
            while going_on:
                time.sleep(self._interval)
                self._send()
                with self._lock:
                    self.running = False  # before the look, for who adds in between
                    going_on = self.running = bool(self._waits())
        except BaseException:
            self.running = False  # who adds next starts another
            raise
