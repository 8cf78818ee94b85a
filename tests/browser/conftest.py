"""Fixtures of the browser: the example site in a process of its own, and Chromium before it."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.servers import ServerProcess, valkey_binary
from tests.test_example_project import HOST, Demo, search

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Tells the console of every violation of the policy.
LISTEN = """
window.addEventListener("securitypolicyviolation", event =>
    console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""

Shoot = Callable[[Page, str], None]


class Site(NamedTuple):
    """The example site, as the demo serves it."""

    url: str
    password: str  # of "demo", who may do everything
    counters: redis.Redis


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.browser.settings",
        "EXAMPLE_DATABASE": str(folder / "db.sqlite3"),
    }
    with ServerProcess(valkey_binary()) as server:
        environment["REDIS_URL"] = server.url
        demo = Demo(output=folder / "output", environment=environment)
        try:
            demo.wait_until_it_serves()
            password = search(r"with the password (\S+)", demo.output.read_text())
            with closing(redis.Redis(port=server.port, db=1, decode_responses=True)) as counters:
                yield Site(f"http://{HOST}:{demo.port}", password, counters)
        finally:
            demo.kill()


# Of a module: while it is there, an event loop runs in this thread, and no other test has its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        message = f"{CHROMIUM} is not installed"
        if os.environ.get("REQUIRE_CHROMIUM"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def cookies(browser: Browser, site: Site) -> Any:
    """Those of somebody who has logged in."""
    errors: list[str] = []
    with browser.new_context(base_url=site.url) as context:
        page = watched(context, errors)
        page.goto("/admin/")
        page.get_by_label("Username").fill("demo")
        page.get_by_label("Password").fill(site.password)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        assert errors == []
        return context.storage_state()


@pytest.fixture
def scheme(request: pytest.FixtureRequest) -> Any:
    """What the user prefers: "light" or "dark"."""
    return getattr(request, "param", "light")


@pytest.fixture
def page(browser: Browser, site: Site, cookies: Any, scheme: Any) -> Iterator[Page]:
    """A page of somebody who has logged in. At its end it must have met no error."""
    errors: list[str] = []
    with browser.new_context(
        base_url=site.url,
        storage_state=cookies,
        color_scheme=scheme,
        viewport={"width": 1280, "height": 800},
    ) as context:
        yield watched(context, errors)
    assert errors == []


def watched(context: BrowserContext, errors: list[str]) -> Page:
    """Return a page that notes its errors."""

    def note(message: ConsoleMessage) -> None:
        # Every browser asks for a favicon, and the admin has none.
        if message.type != "log" and not message.location["url"].endswith("/favicon.ico"):
            errors.append(f"{message.type}: {message.text}")

    context.add_init_script(LISTEN)
    page = context.new_page()
    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return page


@pytest.fixture
def shoot() -> Shoot:
    """What takes a picture for the documentation, where SCREENSHOTS is set."""

    def shoot(page: Page, name: str) -> None:
        if os.environ.get("SCREENSHOTS"):
            IMAGES.mkdir(exist_ok=True)
            page.mouse.move(0, 0)
            page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")

    return shoot
