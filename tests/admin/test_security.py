"""Who may do what: on every route, with every method, with and without a token."""

import re
from typing import Any

import pytest
from django.contrib.admin.sites import site as admin_site
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_counter import counter
from django_counter.admin import CounterAdmin
from django_counter.models import Counter
from django_counter.ratelimit import RateLimit
from django_counter.ratelimit.digests import digest
from tests.admin.conftest import ALL, ROOT, LogIn, address, trail
from tests.wrapped import WrappedMemory

LIMIT = RateLimit("1/h", name="of test_security")
ASKED: list[str] = []

# Each page: where it is, and who may see it.
PAGES = {
    "list": (ROOT, {"view", "change"}),
    "counter": (address("visits"), {"view", "change"}),
    "history": (address("visits", "history"), {"view", "change"}),
    "delete": (address("visits", "delete"), {"delete"}),
    "reset": (f"{ROOT}reset/?q=vis", set()),
    "limits": (f"{ROOT}limits/", {"view", "change"}),
}
FORGIVEN = {"name": LIMIT.name, "identity": digest("ann")}
# Each change: where it is posted, what is posted, and who may do it.
CHANGES: dict[str, tuple[str, dict[str, Any], str]] = {
    "adjust": (address("visits"), {"shown": 10, "adjust": 1}, "change"),
    "set": (address("visits"), {"shown": 10, "set_to": 1}, "change"),
    "ttl": (address("visits"), {"shown": 10, "set_ttl": 1}, "change"),
    "delete": (address("visits", "delete"), {"post": "yes"}, "delete"),
    "reset one": (f"{ROOT}reset/?key=visits", {"shown": 1}, "reset"),
    "reset all": (f"{ROOT}reset/?q=vis", {"shown": 1}, "reset"),
    "forgive": (f"{ROOT}limits/forgive/", FORGIVEN, "reset"),
}
each_page = pytest.mark.parametrize(("url", "allowed"), PAGES.values(), ids=PAGES)
each_change = pytest.mark.parametrize(
    ("url", "fields", "permission"), CHANGES.values(), ids=CHANGES
)


class Recorder(WrappedMemory):
    """Notes each operation."""

    def around(self, operation: str, keys: tuple[str, ...]) -> Any:
        ASKED.append(operation)
        return super().around(operation, keys)


@pytest.fixture(autouse=True)
def stored(site: None, settings: Any) -> None:
    entry = {"BACKEND": f"{__name__}.Recorder"}
    settings.COUNTERS = {"default": entry, "other": entry, "elsewhere": entry}
    counter.set("visits", 10, 100)
    LIMIT.hit("ann")
    LIMIT.hit("ann")
    ASKED.clear()


def unchanged() -> bool:
    return counter.get("visits") == 10 and not LIMIT.peek("ann").allowed and trail() == []


def test_every_route_is_tested_here() -> None:
    tested = {url.partition("?")[0] for url, *_ in [*PAGES.values(), *CHANGES.values()]}
    patterns = [str(pattern.pattern) for pattern in CounterAdmin(Counter, admin_site).get_urls()]
    left = {"add/", "<path:object_id>/"}  # always refused; a redirect to a counter
    for pattern in set(patterns) - left:
        form = re.escape(ROOT + pattern).replace("<path:object_id>", "[^/]+")
        assert any(re.fullmatch(form, url) for url in tested), pattern


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(
    "url", {url for url, *_ in [*PAGES.values(), *CHANGES.values()]} | {f"{ROOT}add/"}
)
def test_who_is_not_logged_in_is_led_to_the_login(method: str, url: str) -> None:
    answer = getattr(Client(), method)(url)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/?next=/admin/django_counter/counter/")
    assert ASKED == []
    assert unchanged()


@each_page
def test_a_user_who_is_not_staff_is_led_to_the_login(url: str, allowed: set[str]) -> None:
    client = Client()
    client.force_login(User.objects.create(username="bob", is_superuser=True))
    assert client.get(url)["Location"].startswith("/admin/login/")
    assert ASKED == []


@each_page
@pytest.mark.parametrize("permission", [*ALL, None])
def test_a_page_is_for_those_with_its_permission(
    log_in: LogIn, url: str, allowed: set[str], permission: str | None
) -> None:
    client = log_in(*([permission] if permission else []))
    answer = client.get(url)
    assert answer.status_code == (200 if permission in allowed else 403)
    if answer.status_code == 403:
        assert ASKED == []


@pytest.mark.parametrize("other", ["view", "change"])
def test_the_page_of_resets_is_for_those_who_may_also_see_counters(
    log_in: LogIn, other: str
) -> None:
    url, _ = PAGES["reset"]
    assert log_in("reset", other).get(url).status_code == 200


@each_page
def test_a_page_changes_nothing(log_in: LogIn, url: str, allowed: set[str]) -> None:
    client = log_in(*ALL)
    fields = {"q": "vis"}
    for _, posted, _ in CHANGES.values():
        fields |= posted
    for method in (client.get, client.head, client.options):
        method(url)
        method(url, query_params=fields)
    assert unchanged()


@each_change
@pytest.mark.parametrize("given", [*ALL, None])
def test_a_change_is_for_those_with_its_permission_and_logged(
    log_in: LogIn, url: str, fields: dict[str, Any], permission: str, given: str | None
) -> None:
    client = log_in("view", *([given] if given else []))
    answer = client.post(url, fields)
    if given == permission:
        assert answer.status_code == 302
        assert not unchanged()
        assert len(trail()) == 1
    else:
        assert answer.status_code == 403
        assert ASKED == []
        assert unchanged()


@each_change
def test_a_change_needs_a_token(
    log_in: LogIn, url: str, fields: dict[str, Any], permission: str
) -> None:
    client = log_in(*ALL, enforce_csrf_checks=True)
    assert client.post(url, fields).status_code == 403
    assert ASKED == []
    assert unchanged()


@each_change
def test_no_other_method_changes_anything(
    log_in: LogIn, url: str, fields: dict[str, Any], permission: str
) -> None:
    client = log_in(*ALL)
    for method in (client.put, client.patch, client.delete):
        method(url, fields, content_type="application/json")
    assert unchanged()


def test_the_admin_shows_the_counters_to_those_who_may_see_them(log_in: LogIn) -> None:
    assert ROOT in log_in("view").get("/admin/").text
    assert ROOT not in log_in().get("/admin/").text


@each_page
def test_no_page_shows_a_password(
    log_in: LogIn, settings: Any, url: str, allowed: set[str]
) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": "redis://:planted@127.0.0.1:1/0",
        }
    }
    settings.COUNTERS = {alias: {} for alias in ("default", "other", "elsewhere")}
    answer = log_in(*ALL).get(url)
    asks_the_server = url != PAGES["history"][0]
    assert answer.status_code == (503 if asks_the_server else 200)
    assert ("cannot be reached" in answer.text) == asks_the_server
    assert "planted" not in answer.text


def test_the_permissions_are_those_that_the_migration_makes(db: None) -> None:
    codenames = {
        permission.codename
        for permission in Permission.objects.filter(content_type__app_label="django_counter")
    }
    assert codenames == {f"{each}_counter" for each in ALL}


@each_page
def test_no_page_asks_the_database_for_counters(log_in: LogIn, url: str, allowed: set[str]) -> None:
    client = log_in(*ALL)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
        for address, fields, _ in CHANGES.values():
            client.post(address, fields)
    assert not [query for query in queries if "django_counter_counter" in query["sql"]]
    assert "django_counter_counter" not in connection.introspection.table_names()


def test_the_model_has_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(Counter.objects.all()) == list(Counter._base_manager.all()) == []
    call_command("dumpdata", "django_counter")
    assert capsys.readouterr().out.strip() == "[]"


def test_the_migrations_are_complete() -> None:
    call_command("makemigrations", "django_counter", check=True, dry_run=True, verbosity=0)
