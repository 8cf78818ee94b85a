"""A clock that tests move."""


class Clock:
    """The time of limits, and of counters in memory, in whole microseconds.

    It stands in the middle of one, so that no rounding of floats takes it into another.
    """

    def __init__(self) -> None:
        self.microseconds = 1_700_000_000_123_456

    def __call__(self) -> float:
        return (self.microseconds + 0.5) / 1_000_000

    def move(self, seconds: float) -> None:
        self.microseconds += round(seconds * 1_000_000)
