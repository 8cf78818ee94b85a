"""The clock that windows are cut from. All processes must agree on it, as NTP makes them."""

import time
from collections.abc import Callable

# Seconds since 1970. Looked up here at each use, so that tests can put their own in its place.
now: Callable[[], float] = time.time
