"""A site whose processes are replaced while it is asked."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import pytest
import redis

from django_counter.backends.redis import RedisCounter
from tests.faults.watch import connections_of, eventually
from tests.figures import sized
from tests.servers import ServerProcess, free_port

pytest_plugins = ["tests.faults.fixtures"]

ROOT = Path(__file__).parents[2]
CLIENTS = 4
WORKERS = 2
RELOADS = sized(3, 10)
PATIENCE = 60.0  # seconds; gunicorn ends the old processes before the new ones are there


class Answer(NamedTuple):
    number: int  # of the request
    process: int  # that counted it


class Site(NamedTuple):
    """tests.faults.site under gunicorn."""

    process: subprocess.Popen[bytes]
    port: int

    def ask(self) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            return Answer(*map(int, connection.getresponse().read().split()))
        finally:
            connection.close()

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True


@pytest.fixture
def site(counter: RedisCounter, valkey: ServerProcess) -> Iterator[Site]:
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "tests.faults.site", "--log-level=warning"]
    command += [f"--bind=127.0.0.1:{port}", f"--workers={WORKERS}", "--no-control-socket"]
    names = {"URL": f"{valkey.url}?client_name={counter.alias}", "PREFIX": counter.alias}
    site = Site(subprocess.Popen(command, cwd=ROOT, env=os.environ | names), port)
    try:
        assert eventually(site.listens, PATIENCE)
        yield site
    finally:
        site.process.terminate()
        assert site.process.wait(PATIENCE) == 0


@pytest.mark.heavy
@pytest.mark.figure("close, fork, restart")
def test_a_site_that_is_reloaded_under_load_counts_each_request_once(
    site: Site,
    counter: RedisCounter,
    admin: redis.Redis,
    record_property: Callable[[str, object], None],
) -> None:
    answers: list[Answer] = []
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            answers.append(site.ask())

    def new_process() -> bool:
        return any(answer.process not in known for answer in answers[-100:])

    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(keep_asking) for _ in range(CLIENTS)]
        try:
            assert eventually(lambda: answers, PATIENCE)
            for _ in range(RELOADS):
                known = {answer.process for answer in answers}
                site.process.send_signal(signal.SIGHUP)
                assert eventually(new_process, PATIENCE)
                enough = len(answers) + 200
                assert eventually(lambda enough=enough: len(answers) >= enough, PATIENCE)
        finally:
            done.set()
        for each in asking:
            each.result()
    assert sorted(answer.number for answer in answers) == list(range(1, len(answers) + 1))
    assert counter.get("requests") == len(answers)
    counter.close()
    assert eventually(lambda: len(connections_of(counter, admin)) <= WORKERS)
    processes = len({answer.process for answer in answers})
    record_property(
        "figure",
        f"{RELOADS} reloads under load: {processes} processes, {len(answers):,} requests asked, "
        f"{len(answers):,} counted, 0 errors",
    )
