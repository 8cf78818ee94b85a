"""What a caller may conclude from a failed call."""

from django.core.exceptions import ImproperlyConfigured


class CounterError(Exception):
    """The root of every error that a counter raises about itself or its server."""


class CounterUnavailable(CounterError):
    """The call was surely not applied. It may be made again later."""


class CounterOutcomeUnknown(CounterError):
    """The call was sent and no reply came: it may have been applied, once, or not at all.

    One with an idempotency key may be made again with the same key.

    `operation` is its name in the contract, `key` its key (of `take`: its keys, joined by
    ", ") and `value` its amount.
    """

    def __init__(self, operation: str, key: str, value: int | None) -> None:
        super().__init__(operation, key, value)
        self.operation = operation
        self.key = key
        self.value = value

    def __str__(self) -> str:
        amount = "" if self.value is None else f" with value {self.value}"
        return (
            f"{self.operation} of {self.key!r}{amount} was sent and no reply came: "
            "it may have been applied"
        )


class CounterTypeError(CounterError):
    """What is stored under the key is not a counter. It was left as it is."""


class CounterOverflow(CounterError):
    """The result would leave int64 (-2**63 to 2**63 - 1). The counter was left as it is."""


class CounterIdempotencyError(CounterError):
    """The idempotency key belongs to another call. This one was not applied."""


class CounterConfigError(CounterError, ImproperlyConfigured):
    """Something that waiting does not heal: settings, credentials, rights, TLS, topology."""
