"""Every operation to the logger `django_counter`."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from django_counter.exceptions import CounterError
from django_counter.middleware.base import CounterMiddleware

logger = logging.getLogger("django_counter")


class LoggingMiddleware(CounterMiddleware):
    """Log each operation at DEBUG, and each that a CounterError ends at ERROR.

    `extra` holds `operation` (str), `seconds` (float) and `error` (the name of its class, or
    None); at DEBUG also `keys` (tuple of str). Keys may be personal: no other level has them.
    """

    @contextmanager
    def around(self, operation: str, keys: tuple[str, ...]) -> Iterator[None]:
        started = perf_counter()
        failure = None
        try:
            yield
        except CounterError as error:
            failure = type(error).__name__
            raise
        finally:
            extra = {
                "operation": operation,
                "seconds": perf_counter() - started,
                "error": failure,
            }
            if failure:
                logger.error("%s failed: %s", operation, failure, extra=extra)
            logger.debug("%s of %r", operation, keys, extra={**extra, "keys": keys})
