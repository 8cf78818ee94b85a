"""What a caller may conclude from a failed call."""

from collections.abc import Collection

from django.core.exceptions import ImproperlyConfigured


class CounterError(Exception):
    """The root of every error that a counter raises about itself or its server."""


class CounterUnavailable(CounterError):
    """The call was surely not applied. It may be made again later."""


class CounterOutcomeUnknown(CounterError):
    """The call was sent and no reply came: it may have been applied, once, or not at all.

    So is one that fewer replicas have confirmed in time than the option `replicas` asks for.
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
            f"{self.operation} of {self.key!r}{amount} was sent and not confirmed: "
            "it may have been applied"
        )


class CounterPartlyApplied(CounterError):
    """Of several increments that left together, some failed.

    `values` are the sums of those that were counted, by key. `errors` are the others' by key: with
    CounterOutcomeUnknown it may have been counted, with any other it surely was not. The gravest
    of them is the cause.
    """

    def __init__(self, values: dict[str, int], errors: dict[str, CounterError]) -> None:
        super().__init__(values, errors)
        self.values = values
        self.errors = errors

    def __str__(self) -> str:
        error = gravest(self.errors.values())
        several = len(self.values) + len(self.errors)
        return f"{len(self.errors)} of {several} increments failed, one of them: {error}"


class CounterTypeError(CounterError):
    """What is stored under the key is not a counter. It was left as it is."""


class CounterOverflow(CounterError):
    """The result would leave int64 (-2**63 to 2**63 - 1). The counter was left as it is."""


class CounterIdempotencyError(CounterError):
    """The idempotency key belongs to another call. This one was not applied."""


class CounterConfigError(CounterError, ImproperlyConfigured):
    """Something that waiting does not heal: settings, credentials, rights, TLS, topology."""


def gravest(errors: Collection[CounterError]) -> CounterError:
    """Return one of several errors: where a server was in trouble, one that says so."""
    trouble = (CounterUnavailable, CounterOutcomeUnknown)
    return next((each for each in errors if isinstance(each, trouble)), next(iter(errors)))
