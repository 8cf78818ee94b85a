"""A process that counts: `python -m tests.contract.count CACHE KEY sync|async`."""

import asyncio
import json
import sys

from django.conf import settings

from django_counter import counter

CALLS = 1000
TASKS = 10


def main(cache: str, key: str, kind: str) -> None:
    settings.configure(CACHES={"default": json.loads(cache)})
    counter.get(key)
    print("ready", flush=True)
    sys.stdin.readline()
    sums = (
        asyncio.run(count(key))
        if kind == "async"
        else [counter.increment(key) for _ in range(CALLS)]
    )
    print(*sums, sep="\n")
    counter.close()


async def count(key: str) -> list[int]:
    async def work() -> list[int]:
        return [await counter.aincrement(key) for _ in range(CALLS // TASKS)]

    lists = await asyncio.gather(*(work() for _ in range(TASKS)))
    return [each for each_list in lists for each in each_list]


if __name__ == "__main__":
    main(*sys.argv[1:])
