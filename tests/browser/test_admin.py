"""The admin in a browser, light and dark, under a strict Content-Security-Policy."""

import hashlib
import math
import re
import time
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Locator, Page, expect

from django_counter.ratelimit.statistics import identity_key, minute_key
from tests.browser.conftest import Shoot, Site
from tests.test_example_project import PATIENCE

pytestmark = pytest.mark.browser
both = pytest.mark.parametrize("scheme", ["light", "dark"], indirect=True)

COUNTERS = "/admin/django_counter/counter/"
LIMITS = f"{COUNTERS}limits/"
TALL = {"width": 1280, "height": 1000}


@pytest.fixture(autouse=True)
def stored(site: Site) -> Iterator[None]:
    """The counters of a site that is in use."""
    site.counters.flushdb()
    for slug, clicks in {"django": 1284, "redis": 311, "valkey": 97}.items():
        site.counters.set(f"links:clicks:{slug}", clicks)
    for name, left, ttl in [("ann", 3, 2400), ("bob", 100, 86_000), ("<b>eve</b>", 0, 59)]:
        site.counters.set(f"links:credits:{name}", left, ex=ttl)
    yield
    site.counters.flushdb()


def said(page: Page) -> Locator:
    """Return the messages at the top of a page."""
    return page.locator(".messagelist")


@both
def test_an_operator_finds_a_counter(page: Page, shoot: Shoot, scheme: str) -> None:
    page.goto("/admin/")
    page.locator("#content .model-counter").get_by_role("link").first.click()
    expect(page.get_by_role("link", name="clicks:django")).to_be_visible()
    if scheme == "light":
        shoot(page, "admin-list")
    page.get_by_role("link", name="credits:", exact=True).click()
    expect(page.locator("#result_list th a")).to_have_text(
        ["credits:<b>eve</b>", "credits:ann", "credits:bob"]
    )
    page.locator("#searchbar").fill("clicks:r")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#result_list th a")).to_have_text(["clicks:redis"])
    page.locator("#searchbar").fill("*")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("There are no such counters.")).to_be_visible()


@both
def test_an_operator_puts_a_counter_right(
    page: Page, site: Site, shoot: Shoot, scheme: str
) -> None:
    page.goto(COUNTERS)
    page.get_by_role("link", name="credits:ann").click()
    page.get_by_label("Adjust by").fill("5")
    page.get_by_label("Reason").fill("refund of 12 May")
    if scheme == "light":
        page.set_viewport_size(TALL)
        shoot(page, "admin-counter")
    page.get_by_role("button", name="Save").click()
    expect(said(page)).to_have_text("Counter credits:ann: adjusted by +5, from 3 to 8.")
    page.get_by_label("Set to").fill("20")
    site.counters.decrby("links:credits:ann", 2)  # somebody else, meanwhile
    page.get_by_role("button", name="Save").click()
    expect(said(page)).to_contain_text("It held 8, now it holds 6.")
    assert site.counters.get("links:credits:ann") == "6"
    if scheme == "light":
        shoot(page, "admin-conflict")
    page.get_by_label("Set to").fill("20")
    page.get_by_role("button", name="Save").click()
    expect(said(page)).to_have_text("Counter credits:ann: set from 6 to 20.")
    assert site.counters.get("links:credits:ann") == "20"
    assert site.counters.ttl("links:credits:ann") > 2000
    page.get_by_role("link", name="History").click()
    expect(page.locator("#change-history")).to_contain_text("Reason: refund of 12 May")


def test_an_operator_resets_counters(page: Page, site: Site) -> None:
    page.goto(COUNTERS)
    page.get_by_role("link", name="clicks:", exact=True).click()
    page.get_by_role("link", name="Reset these counters").click()
    expect(page.locator("#content-main")).to_contain_text("3 counters that begin with clicks:")
    assert site.counters.exists("links:clicks:django")
    page.get_by_label("Reason").fill("a new month")
    page.get_by_role("button", name="Yes, reset").click()
    expect(said(page)).to_have_text("Reset: 3.")
    assert not list(site.counters.scan_iter("links:clicks:*"))
    page.goto(COUNTERS)
    page.get_by_role("link", name="credits:<b>eve</b>").click()
    page.get_by_role("link", name="Reset").click()
    page.get_by_role("button", name="Yes, reset").click()
    expect(said(page)).to_have_text("Reset: 1.")
    assert not site.counters.exists("links:credits:<b>eve</b>")


@pytest.mark.parametrize("columns", [1280, 390])
def test_a_long_key_makes_no_page_wider(page: Page, site: Site, columns: int) -> None:
    key = "k" * 500
    site.counters.set(f"links:{key}", 1)
    page.set_viewport_size({"width": columns, "height": 800})
    page.goto("/admin/")
    usual = page.evaluate("document.documentElement.scrollWidth")
    one = f"{COUNTERS}default_3A{key}"
    for address in (
        COUNTERS,
        f"{COUNTERS}?q={key}",
        f"{one}/change/",
        f"{one}/delete/",
        f"{one}/history/",
        f"{COUNTERS}reset/?key={key}",
        f"{COUNTERS}reset/?q={key}",
    ):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= usual, address[:80]
    page.goto(f"{one}/change/")
    page.get_by_label("Adjust by").fill("5")
    page.get_by_role("button", name="Save").click()
    expect(said(page)).to_contain_text("adjusted by +5")
    assert page.evaluate("document.documentElement.scrollWidth") <= usual
    page.goto(f"{one}/history/")
    assert page.evaluate("document.documentElement.scrollWidth") <= usual


def ask(site: Site) -> int:
    """Return the status of a page that may be seen three times a day."""
    try:
        with urlopen(f"{site.url}/scarce/") as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code


def section(page: Page, name: str) -> Locator:
    """Return the part of the page of rate limits on one of them."""
    return page.locator("section", has=page.get_by_role("heading", name=re.compile(f"^{name} ")))


def test_an_operator_forgives_who_was_denied(page: Page, site: Site) -> None:
    assert [ask(site) for _ in range(5)] == [200, 200, 200, 429, 429]
    until = time.monotonic() + PATIENCE
    while "Hits at scarce by minute: 3 allowed, 2 denied" not in page.content():
        assert time.monotonic() < until  # the site sends what it counted about once a second
        page.goto(LIMITS)
    denied = section(page, "scarce").locator(".rate-limit-denied tbody tr")
    denied.get_by_label("Reason").fill("a test of ours")
    denied.get_by_role("button", name="Forgive").click()
    expect(said(page)).to_contain_text("Forgiven: ")
    expect(denied).to_have_count(0)
    assert ask(site) == 200


def busy_hour(site: Site) -> None:
    """Store what processes have sent in an hour."""
    now = int(time.time() // 60)
    for ago in range(60):
        hits = 40 + round(25 * math.sin(ago / 7)) + ago * 7 % 11
        spike = max(0, 60 - 9 * abs(ago - 14))
        for name, allowed, denied in [
            ("api", hits + spike // 2, spike),
            ("link", hits // 3, 0),
            ("login", ago % 9 // 7, ago % 23 // 22),
        ]:
            for decided, count in ((True, allowed), (False, denied)):
                if count:
                    key = minute_key(name, decided, now - ago)
                    site.counters.set(f"links:{key}", count, ex=3600)
    for number, denials in enumerate([212, 71, 19, 4]):
        identity = hashlib.md5(bytes([number])).hexdigest()
        site.counters.set(f"links:{identity_key('api', identity)}", denials, ex=900)


@both
def test_the_last_hour_is_a_chart(page: Page, site: Site, shoot: Shoot, scheme: str) -> None:
    busy_hour(site)
    page.goto(LIMITS)
    api = section(page, "api")
    expect(api.locator(".allowed-bar")).to_have_count(60)
    expect(api.locator("tbody th.counter-key")).to_have_count(4)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 18, 18)"}[scheme]
    colours = {
        api.locator(name).first.evaluate("bar => getComputedStyle(bar).fill")
        for name in (".allowed-bar", ".denied-bar")
    }
    assert len(colours - {"rgb(0, 0, 0)"}) == 2, "both have a colour of the style sheet"
    page.set_viewport_size(TALL)
    shoot(page, f"admin-limits-{scheme}")
    api.get_by_text("As a table").click()
    expect(api.locator("details tbody tr")).to_have_count(60)


def test_nothing_is_wider_than_a_narrow_window(page: Page, site: Site) -> None:
    busy_hour(site)
    site.counters.set("links:" + "x" * 500, 1)
    page.set_viewport_size({"width": 400, "height": 800})
    for path in (COUNTERS, LIMITS):
        page.goto(path)
        assert page.evaluate("document.querySelector('#content').scrollWidth") <= 400
