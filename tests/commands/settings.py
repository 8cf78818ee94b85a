"""Settings of the processes that tests start: counters on the server that the environment names."""

import os

from tests.contract.stores import server_cache
from tests.settings import *  # noqa: F403

CACHES = {"default": server_cache(os.environ["COUNTER_TEST_URL"])}
COUNTERS = {
    "default": {"KEY_PREFIX": os.environ["COUNTER_TEST_PREFIX"]},
    "other": {"KEY_PREFIX": "other"},
}
