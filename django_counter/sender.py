"""A thread that sends what a process has added up."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Thread


class Sender:
    """Call `send` at an interval in seconds, in a thread that ends once nothing waits.

    Who has added something looks at `running`, and where that is False calls start(), under `lock`.
    `waits` says whether anything waits; the thread asks it, also under `lock`, after it has made
    `running` False. So all is sent: by the thread that runs, or by the one that is started.
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
                    self.running = False  # before the look, for a thread that adds in between
                    going_on = self.running = bool(self._waits())
        except BaseException:
            self.running = False  # the thread that adds next starts another
            raise
