"""Table 6: what a limit adds to a Django request, in the process and through gunicorn."""

import io
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.results import Bench, Cell, Section, Table
from tests.benchmarks.rounds import Quartiles, Rounds, calling, interleave, quartiles
from tests.benchmarks.site import WITHOUT, application
from tests.servers import free_port

NAMES = {
    "raw": "raw socket, what @rate_limit sends",
    "ours": "@rate_limit",
    "django-ratelimit": "django-ratelimit",
    "limits": "limits fixed, with headers",
    "drf-limited": "DRF throttle",
}
VIEWS = tuple(dict.fromkeys([*WITHOUT.values(), *WITHOUT]))
CLIENTS = [f"10.1.0.{number}" for number in range(1, 251)]
RAW, OURS, REFERENCE = "raw", "ours", "django-ratelimit"
CONNECTIONS = 4
SCRIPT = Path(__file__).with_name("clients.lua")


def measure(bench: Bench) -> Section:
    section = Section("A Django request", notes=[*NOTES])
    handled = in_process(bench)
    section.tables.append(added(handled, "Through the WSGI handler, in the process"))
    section.figures["ours / ratelimit"] = ratio(handled, OURS)
    section.figures["raw / ratelimit"] = ratio(handled, RAW)
    if shutil.which("wrk"):
        served = through_gunicorn(bench)
        section.tables.append(added(served, "Through gunicorn, one sync worker, under wrk"))
        section.figures["ours / ratelimit, through gunicorn"] = ratio(served, OURS)
    else:
        section.notes.append("Not through gunicorn: wrk was not there. `apt-get install wrk`")
    return section


def in_process(bench: Bench) -> Rounds:
    requests = {view: requesting(view) for view in VIEWS}
    for request in requests.values():
        for _ in CLIENTS:  # the first hit of a window is another matter for some of them
            request()
    contenders = [calling(view, request) for view, request in requests.items()]
    return interleave(contenders, bench.rounds(100))


def requesting(view: str) -> Callable[[], None]:
    """Return the function that makes a request, as a server would, of another client each time."""
    client = itertools.cycle(CLIENTS).__next__
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": f"/{view}",
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "testserver",
        "HTTP_ACCEPT": "*/*",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }

    def start_response(status: str, headers: Any) -> None:
        if not status.startswith("200"):
            raise RuntimeError(f"{view}: {status}")

    def request() -> None:
        answer: Any = application({**environ, "HTTP_X_CLIENT": client()}, start_response)
        list(answer)
        answer.close()

    return request


def through_gunicorn(bench: Bench) -> Rounds:
    """Return the seconds of a request, by the requests a second that wrk counts."""
    measured = Rounds()
    seconds = 1 if bench.quick else 2
    with gunicorn() as (port, worker):
        for view in VIEWS:
            wrk(port, view, 1)
        for _ in range(3 if bench.quick else 6):
            for view in VIEWS:
                before = cpu_seconds(worker)
                requests, rate = wrk(port, view, seconds)
                cpu = (cpu_seconds(worker) - before) / requests
                measured.seconds.setdefault(view, []).append(1 / rate)
                measured.cpu.setdefault(view, []).append(cpu)
    return measured


@contextmanager
def gunicorn() -> Iterator[tuple[int, int]]:
    """Serve the site; hand out the port, and the process that answers."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--workers=1", "--worker-class=sync"]
    command += [f"--bind=127.0.0.1:{port}", "--log-level=error", "tests.benchmarks.site"]
    process = subprocess.Popen(command)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not children.read_text():
            time.sleep(0.05)
        yield port, int(children.read_text().split()[0])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def cpu_seconds(process: int) -> float:
    """Return how long the first thread of a process has run."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9


def wrk(port: int, view: str, seconds: int) -> tuple[int, float]:
    """Return the requests to one view, in all and a second."""
    command = ["wrk", "--threads=1", f"--connections={CONNECTIONS}", f"--duration={seconds}"]
    command += [f"--script={SCRIPT}", f"http://127.0.0.1:{port}/{view}"]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=True, preexec_fn=_on_another_core
    )
    if "Non-2xx" in ended.stdout:
        raise RuntimeError(ended.stdout)
    found = re.search(r"(\d+) requests in .*Requests/sec: +([0-9.]+)", ended.stdout, re.DOTALL)
    assert found, ended.stdout
    return int(found[1]), float(found[2])


def _on_another_core() -> None:
    """Leave the core to the site and its Redis, where there is another one."""
    others = set(range(os.cpu_count() or 1)) - os.sched_getaffinity(0)
    if others:
        os.sched_setaffinity(0, others)


def added(rounds: Rounds, title: str) -> Table:
    columns = ["", "added, us", "x what django-ratelimit adds", "request, us", "its CPU, us"]
    made = Table(title, columns, chart=1)
    for view in VIEWS:
        cells: list[Cell] = [None, None]
        if view in WITHOUT:
            cells = [quartiles([each * 1e6 for each in _added(rounds, view)]), ratio(rounds, view)]
        name = NAMES.get(view, "no limit" if view == "plain" else "DRF, no throttle")
        cpu = rounds.cpu_microseconds(view)
        made.rows.append([name, *cells, rounds.microseconds(view), cpu])
    return made


def ratio(rounds: Rounds, view: str) -> Quartiles:
    pairs = zip(_added(rounds, view), _added(rounds, REFERENCE), strict=True)
    return quartiles([own / other for own, other in pairs])


def _added(rounds: Rounds, view: str) -> list[float]:
    """Return what a limit adds to a request, by round."""
    pairs = zip(rounds.seconds[view], rounds.seconds[WITHOUT[view]], strict=True)
    return [limited - free for limited, free in pairs]


NOTES = [
    "What is added is a request with the limit less one without, of the same round. All are "
    f"allowed, of {len(CLIENTS)} clients in turn; the raw socket asks for one client. No "
    "middleware of Django is installed.",
    "django-ratelimit: its decorator, on django-redis. limits: a hit and `get_window_stats`, and "
    "three headers. DRF: a throttle on django-redis; without it, the same `api_view`.",
    f"gunicorn has the core together with its Redis; wrk, with {CONNECTIONS} connections, has "
    "another. The worker's CPU time is the kernel's count.",
]
