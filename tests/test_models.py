"""Counters as the admin names them, and projects that have no admin."""

import subprocess
import sys

import pytest

from django_counter.models import Counter, counter_id, parse_counter_id, time_left
from django_counter.values import Entry


@pytest.mark.parametrize(
    ("alias", "key"), [("default", "a"), ("a:b", "c"), ("a", "b:c"), ("a/%3A b", ":é%"), ("", "a")]
)
def test_an_id_is_an_alias_and_a_key(alias: str, key: str) -> None:
    assert parse_counter_id(counter_id(alias, key)) == (alias, key)


def test_no_two_counters_have_one_id() -> None:
    assert counter_id("a:b", "c") != counter_id("a", "b:c")


def test_a_counter_is_what_its_entry_says() -> None:
    counter = Counter.of("default", Entry("a:b", 5, 60.0))
    assert (counter.pk, counter.alias, counter.key) == ("default:a:b", "default", "a:b")
    assert (counter.value, counter.ttl, counter.time_left) == (5, 60.0, "1 min")
    assert str(counter) == "a:b"


@pytest.mark.parametrize(
    ("ttl", "words"),
    [
        (None, "no expiry"),
        (0.0, "under 1 s"),
        (0.999, "under 1 s"),
        (1, "1 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3601, "1 h"),
        (5400.5, "1 h 30 min"),
        (86_400 + 3600 * 2 + 5, "1 d 2 h"),
        (365 * 86_400, "365 d"),
    ],
)
def test_time_left_in_words(ttl: float | None, words: str) -> None:
    assert time_left(ttl) == words


ALONE = """
from django.conf import settings
settings.configure(
    SECRET_KEY="s",
    INSTALLED_APPS=["django_counter"],
    COUNTERS={"default": {"BACKEND": "django_counter.backends.memory.MemoryCounter"}},
    DATABASES={DATABASES},
)
import django, sys
django.setup()
from django.core.management import call_command
call_command("check")
if settings.DATABASES["default"]["ENGINE"] != "django.db.backends.dummy":
    call_command("migrate", verbosity=0)
    from django.db import connection
    assert connection.introspection.table_names() == ["django_migrations"]
from django_counter import counter
assert counter.increment("a") == 1
optional = ("django.contrib", "django_counter.admin")
assert not [name for name in sys.modules if name.startswith(optional)]
"""


@pytest.mark.parametrize(
    "databases",
    ["{}", "{'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}"],
    ids=["no database", "a database"],
)
def test_a_project_needs_no_admin_and_no_users(databases: str) -> None:
    code = ALONE.replace("{DATABASES}", databases)
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
