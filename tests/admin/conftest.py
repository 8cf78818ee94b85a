"""Fixtures of the admin: counters, users with and without permissions, what they see."""

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.test import Client

from django_counter import counters
from django_counter.models import counter_id
from example_project import settings as site_settings
from tests.ratelimit.clocks import Clock

MEMORY = "django_counter.backends.memory.MemoryCounter"
ROOT = "/admin/django_counter/counter/"
ALL = ("view", "change", "delete", "reset")

LogIn = Callable[..., Client]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("django_counter.ratelimit.clock.now", clock)
    return clock


@pytest.fixture(autouse=True)
def site(db: None, settings: Any, clock: Clock) -> None:
    """The example site, on counters in memory."""
    settings.MIDDLEWARE = site_settings.MIDDLEWARE
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    in_memory = {"BACKEND": MEMORY, "OPTIONS": {"clock": clock}}
    settings.COUNTERS = {"default": in_memory, "other": in_memory}


@pytest.fixture
def log_in() -> LogIn:
    """What logs somebody in who may do some things."""

    def log_in(*allowed: str, superuser: bool = False, **options: Any) -> Client:
        user = User.objects.create(
            username=f"ann{User.objects.count()}", is_staff=True, is_superuser=superuser
        )
        codenames = [f"{each}_counter" for each in allowed]
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client(**options)
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def ann(log_in: LogIn) -> Client:
    """One who may do everything with counters."""
    return log_in(*ALL)


def address(key: str, page: str = "change", alias: str = "default") -> str:
    """Return where a page of a counter is."""
    return f"{ROOT}{quote(counter_id(alias, key))}/{page}/"


def messages_of(response: Any) -> list[str]:
    """Return what a page says at its top."""
    found = re.search(r'<ul class="messagelist">(.*?)</ul>', response.text, re.DOTALL)
    texts = re.findall(r"<li[^>]*>(.*?)</li>", found[1], re.DOTALL) if found else []
    return [html.unescape(text) for text in texts]


def keys_of(response: Any) -> list[str]:
    """Return the keys that a list shows."""
    found = re.findall(r'<th class="counter-key"><a [^>]*>(.*?)</a>', response.text)
    return [html.unescape(key) for key in found]


def trail() -> list[tuple[str, str]]:
    """Return the log: what was done to what."""
    entries = LogEntry.objects.order_by("pk")
    return [(entry.object_repr, entry.get_change_message()) for entry in entries]


def post(client: Client, key: str, **fields: Any) -> Any:
    """Send the form of a counter; return the page that follows."""
    shown = counters["default"].get(key)
    return client.post(address(key), {"shown": shown, **fields}, follow=True)
