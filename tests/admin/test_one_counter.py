"""The page of a counter: what it shows, what it changes, what it leaves in the log."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.test import Client
from django.urls import reverse

from django_counter import (
    CounterOutcomeUnknown,
    CounterTypeError,
    CounterUnavailable,
    counter,
    counters,
)
from django_counter.admin.log import log_name
from django_counter.ratelimit.digests import digest
from django_counter.values import INT64_MAX, INT64_MIN, Entry
from tests.admin.conftest import ROOT, LogIn, address, keys_of, messages_of, post, trail
from tests.ratelimit.clocks import Clock
from tests.wrapped import WrappedMemory

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a/b/../c",
    "..",
    "a?b=c&d#e",
    "%2F_2F",
    "%s {0} {{ a }} {% b %}",
    "日本 é 😀",
    "a:b:c",
    "x" * 512,
]


def test_it_shows_the_counter(ann: Client) -> None:
    counter.set("visits", 41, 5400)
    page = ann.get(address("visits")).text
    assert ">visits</div>" in page
    assert ">41</div>" in page
    assert ">1 h 30 min</div>" in page
    assert 'name="shown" value="41"' in page


@pytest.mark.parametrize("key", HOSTILE)
def test_any_key_can_be_shown_and_changed(ann: Client, key: str) -> None:
    counter.set(key, 5)
    page = ann.get(address(key))
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "<img src=x" not in page.text
    answer = post(ann, key, adjust="2")
    assert messages_of(answer) == [f"Counter {key}: adjusted by +2, from 5 to 7."]
    assert ann.get(address(key, "delete")).status_code == 200
    assert ann.get(address(key, "history")).status_code == 200
    assert "<script>alert" not in answer.text + ann.get(ROOT).text


@pytest.mark.parametrize(
    "id", ["default:missing", "nowhere:visits", "default", ":", "default:", "default:a\n"]
)
def test_what_is_no_counter_is_not_found(ann: Client, id: str) -> None:
    counter.set("visits", 1)
    for page in ("change", "delete"):
        url = reverse(f"admin:django_counter_counter_{page}", args=[quote(id)])
        answer = ann.get(url, follow=True)
        assert answer.redirect_chain[-1][0] == "/admin/"
        assert "doesn\u2019t exist" in messages_of(answer)[0]
    assert counter.entry("missing") is None


class TestAdjust:
    @pytest.mark.parametrize(("text", "value"), [("5", 15), ("-5", 5), ("+5", 15), ("-20", -10)])
    def test_it_adds(self, ann: Client, text: str, value: int) -> None:
        counter.set("visits", 10, 100)
        answer = post(ann, "visits", adjust=text, reason="a typing error")
        assert counter.entry("visits") == ("visits", value, 100)
        done = f"adjusted by {int(text):+}, from 10 to {value}."
        assert messages_of(answer) == [f"Counter visits: {done}"]
        assert trail() == [(log_name("default", "visits"), f"{done} Reason: a typing error")]
        assert answer.redirect_chain == [(address("visits"), 302)]

    def test_what_others_count_meanwhile_stays(self, ann: Client) -> None:
        counter.set("visits", 10)
        answer = ann.post(address("visits"), {"shown": 3, "adjust": 5}, follow=True)
        assert counter.get("visits") == 15
        assert "from 10 to 15" in trail()[0][1]
        assert answer.status_code == 200

    def test_one_that_ends_meanwhile_begins_anew_with_its_ttl(
        self, ann: Client, settings: Any, clock: Clock
    ) -> None:
        ending = {"BACKEND": f"{__name__}.Ending", "OPTIONS": {"clock": clock}}
        settings.COUNTERS = {"default": ending}
        counter.set("visits", 10, 100)
        post(ann, "visits", adjust=5)
        assert counter.entry("visits") == ("visits", 5, 100)
        assert "from 0 to 5" in trail()[0][1]

    def test_it_does_not_leave_int64(self, ann: Client) -> None:
        counter.set("visits", INT64_MAX)
        answer = post(ann, "visits", adjust=1)
        assert messages_of(answer)[0].startswith("Nothing was changed: ")
        assert counter.get("visits") == INT64_MAX
        assert trail() == []

    def test_it_is_exact(self, ann: Client) -> None:
        counter.set("visits", INT64_MIN)
        post(ann, "visits", adjust=INT64_MAX)
        assert counter.get("visits") == -1


class Ending(WrappedMemory):
    """Counters that end just before something is added."""

    def increment(self, key: str, value: int = 1, ttl: Any = None) -> int:
        self.next.delete(key)
        return super().increment(key, value, ttl)


class TestSet:
    def test_it_stores_the_value_and_keeps_the_ttl(self, ann: Client) -> None:
        counter.set("visits", 10, 100)
        answer = post(ann, "visits", set_to="7", reason="agreed")
        assert counter.entry("visits") == ("visits", 7, 100)
        assert messages_of(answer) == ["Counter visits: set from 10 to 7."]
        assert trail() == [(log_name("default", "visits"), "set from 10 to 7. Reason: agreed")]

    def test_it_sets_0(self, ann: Client) -> None:
        counter.set("visits", 10)
        post(ann, "visits", set_to="0")
        assert counter.entry("visits") == ("visits", 0, None)

    def test_a_counter_that_has_moved_is_a_conflict(self, ann: Client) -> None:
        counter.set("visits", 12, 100)
        answer = ann.post(address("visits"), {"shown": 10, "set_to": 0}, follow=True)
        assert messages_of(answer) == [
            "Nothing was changed: the counter has changed since it was shown. "
            "It held 10, now it holds 12."
        ]
        assert counter.entry("visits") == ("visits", 12, 100)
        assert trail() == []
        assert 'name="shown" value="12"' in answer.text, "the next try is on the value of now"

    def test_a_counter_that_goes_meanwhile_is_a_conflict(self, ann: Client, settings: Any) -> None:
        settings.COUNTERS = {"default": {"BACKEND": f"{__name__}.Going"}}
        counter.set("visits", 10)
        answer = post(ann, "visits", set_to="7")
        assert "It held 10, now it is gone." in messages_of(answer)[0]
        assert counter.entry("visits") is None
        assert trail() == []

    @pytest.mark.parametrize(
        ("fields", "ttl", "words"),
        [
            ({"set_ttl": "7200"}, 7200, "2 h"),
            ({"set_ttl": "0.5"}, 0.5, "under 1 s"),
            ({"no_expiry": "on"}, None, "no expiry"),
        ],
    )
    def test_it_changes_the_ttl_and_keeps_the_value(
        self, ann: Client, fields: dict[str, str], ttl: float | None, words: str
    ) -> None:
        counter.set("visits", 10, 100)
        post(ann, "visits", **fields)
        assert counter.entry("visits") == ("visits", 10, ttl)
        assert trail()[0][1] == f"set from 10 to 10, time left from 1 min 40 s to {words}."

    def test_it_gives_a_counter_without_expiry_a_ttl(self, ann: Client) -> None:
        counter.set("visits", 10)
        post(ann, "visits", set_ttl="60", set_to="3")
        assert counter.entry("visits") == ("visits", 3, 60)
        assert trail()[0][1] == "set from 10 to 3, time left from no expiry to 1 min."

    def test_a_ttl_is_not_changed_under_a_moved_value(self, ann: Client) -> None:
        counter.set("visits", 12, 100)
        ann.post(address("visits"), {"shown": 10, "no_expiry": "on"})
        assert counter.entry("visits") == ("visits", 12, 100)

    def test_one_in_its_last_moment_keeps_a_ttl(self, ann: Client, settings: Any) -> None:
        settings.COUNTERS = {"default": {"BACKEND": f"{__name__}.Last"}}
        counter.set("visits", 10, 100)
        post(ann, "visits", set_to="3")
        assert "set from 10 to 3" in trail()[0][1]
        assert [entry.ttl for entry in counter.scan()] in ([0.001], [])


class Last(WrappedMemory):
    """Counters that, as the server rounds it, have no time left."""

    def entry(self, key: str) -> Entry | None:
        entry = super().entry(key)
        return entry and entry._replace(ttl=0.0)


class Ageless(WrappedMemory):
    """Counters to which another client gave more time than can be given here."""

    def entry(self, key: str) -> Entry | None:
        entry = super().entry(key)
        return entry and entry._replace(ttl=10.0**11)


@pytest.mark.parametrize("fields", [{"adjust": "1"}, {"set_to": "9"}])
def test_more_time_than_can_be_given_is_cut(
    ann: Client, settings: Any, fields: dict[str, str]
) -> None:
    settings.COUNTERS = {"default": {"BACKEND": f"{__name__}.Ageless"}}
    counter.set("visits", 8)
    answer = post(ann, "visits", **fields)
    assert answer.status_code == 200
    assert counter.get("visits") == 9


class Going(WrappedMemory):
    """Counters that are deleted just before they are set on a condition."""

    def set(self, key: str, value: int, ttl: Any = None, *, if_equal: int | None = None) -> bool:
        if if_equal is not None:
            self.next.delete(key)
        return super().set(key, value, ttl, if_equal=if_equal)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "There is nothing to change."),
        ({"adjust": "0"}, "There is nothing to change."),
        ({"reason": "just so"}, "There is nothing to change."),
        ({"adjust": "1", "set_to": "5"}, "not both at once"),
        ({"adjust": "1", "set_ttl": "5"}, "not both at once"),
        ({"adjust": "1", "no_expiry": "on"}, "not both at once"),
        ({"set_ttl": "5", "no_expiry": "on"}, "never expire: not both"),
        ({"adjust": "many"}, "Enter a whole number"),
        ({"adjust": "1.5"}, "Enter a whole number"),
        ({"adjust": str(2**63)}, "less than or equal to"),
        ({"set_to": str(-(2**63) - 1)}, "greater than or equal to"),
        ({"set_to": "9" * 5000}, "Enter a whole number"),
        ({"set_ttl": "0"}, "greater than or equal to"),
        ({"set_ttl": "nan"}, "Enter a number"),
        ({"set_ttl": "1e400"}, "Enter a number"),
        ({"set_ttl": "-5"}, "greater than or equal to"),
        ({"set_ttl": "4e9"}, "less than or equal to"),
        ({"adjust": "1", "reason": "x" * 201}, "at most 200 characters"),
        ({"set_to": "1", "shown": ""}, "required"),
        ({"set_to": "1", "shown": str(2**63)}, "less than or equal to"),
    ],
)
def test_a_form_that_makes_no_sense_changes_nothing(
    ann: Client, fields: dict[str, str], said: str
) -> None:
    counter.set("visits", 10, 100)
    answer = post(ann, "visits", **fields)
    assert answer.status_code == 200
    assert said in answer.text
    assert counter.entry("visits") == ("visits", 10, 100)
    assert trail() == []


def test_a_counter_is_deleted_after_it_was_confirmed(ann: Client) -> None:
    counter.set("visits", 10)
    page = ann.get(address("visits", "delete"))
    assert "visits: 10" in page.text
    assert counter.get("visits") == 10
    answer = ann.post(address("visits", "delete"), {"post": "yes"}, follow=True)
    assert "was deleted successfully" in messages_of(answer)[0]
    assert counter.entry("visits") is None
    assert trail() == [(log_name("default", "visits"), "deleted, it held 10.")]


def test_the_history_of_a_counter_is_what_was_done_to_it(ann: Client, log_in: LogIn) -> None:
    counter.set("visits", 10)
    counter.set("other", 10)
    post(ann, "visits", adjust=1)
    post(log_in("view", "change"), "visits", set_to=5, reason="agreed")
    post(ann, "other", adjust=2)
    page = ann.get(address("visits", "history")).text
    assert "adjusted by +1, from 10 to 11." in page
    assert "set from 11 to 5. Reason: agreed" in page
    assert "ann1" in page
    assert "adjusted by +2" not in page


def test_the_history_of_a_counter_outlives_it(ann: Client) -> None:
    counter.set("visits:1", 10)
    counter.set("visits:12", 10)
    ann.post(address("visits:1", "delete"), {"post": "yes"})
    listed = ann.get(f"{ROOT}?q=visits:1")
    assert keys_of(listed) == ["visits:12"]
    assert f'href="{address("visits:1", "history")}"' in listed.text
    page = ann.get(address("visits:1", "history"))
    assert page.status_code == 200
    assert "Change history: visits:1" in page.text
    assert "deleted, it held 10." in page.text


def test_where_there_is_no_history_nothing_leads_to_it(ann: Client) -> None:
    counter.set("visits", 10)
    post(ann, "visits", adjust=1)
    for query in ("", "?q=visit", "?q=visits&using=other"):
        assert "/history/" not in ann.get(ROOT + query).text
    page = ann.get(address("missing", "history"))
    assert "doesn\u2019t have a change history" in page.text


def test_the_log_has_no_key(ann: Client) -> None:
    counter.set("credits:ann@example.com", 10)
    counters["other"].set("credits:ann@example.com", 10)
    post(ann, "credits:ann@example.com", adjust=1)
    ann.post(address("credits:ann@example.com", alias="other"), {"shown": 10, "set_to": 3})
    names = [
        f"counter {digest('credits:ann@example.com')} of {alias}" for alias in ("default", "other")
    ]
    assert [name for name, _ in trail()] == names
    assert "example.com" not in str(trail())
    assert counters["other"].get("credits:ann@example.com") == 3


def test_the_actions_of_the_front_page_lead_nowhere(ann: Client) -> None:
    counter.set("visits", 10)
    post(ann, "visits", adjust=1)
    page = ann.get("/admin/").text
    assert f"counter {digest('visits')} of default" in page
    assert f"{digest('visits')}/change" not in page


def test_who_may_only_look_sees_no_form(log_in: LogIn) -> None:
    counter.set("visits", 10)
    page = log_in("view").get(address("visits"))
    assert page.status_code == 200
    assert ">10</div>" in page.text
    for name in ("adjust", "set_to", "reason", "_save"):
        assert f'name="{name}"' not in page.text
    assert "/reset/" not in page.text


# While the counters do not answer.


class Failing(WrappedMemory):
    """Counters whose operations fail that are in `errors`."""

    errors: dict[str, Exception] = {}

    @contextmanager
    def around(self, operation: str, keys: tuple[str, ...]) -> Iterator[None]:  # type: ignore[override]
        if operation in self.errors:
            raise self.errors[operation]
        yield


@pytest.fixture
def errors(settings: Any) -> Iterator[dict[str, Exception]]:
    settings.COUNTERS = {"default": {"BACKEND": f"{__name__}.Failing"}}
    counter.set("visits", 10)
    yield Failing.errors
    Failing.errors.clear()


AWAY = CounterUnavailable("the server cannot be reached")


def test_the_history_is_there_while_the_server_is_away(
    ann: Client, errors: dict[str, Exception]
) -> None:
    post(ann, "visits", adjust=1)
    errors["entry"] = AWAY
    assert "adjusted by +1, from 10 to 11." in ann.get(address("visits", "history")).text


@pytest.mark.parametrize("page", ["change", "delete"])
def test_a_page_says_that_the_server_is_away(
    ann: Client, errors: dict[str, Exception], page: str
) -> None:
    errors["entry"] = AWAY
    answer = ann.get(address("visits", page))
    assert answer.status_code == 503
    assert "the server cannot be reached." in answer.text
    assert "The counters do not answer" in answer.text


def test_a_page_says_that_there_is_something_else(
    ann: Client, errors: dict[str, Exception]
) -> None:
    errors["entry"] = CounterTypeError("what is stored is not a counter")
    answer = ann.get(address("visits"))
    assert answer.status_code == 500
    assert "The counters cannot do this" in answer.text
    assert "Try again" not in answer.text
    assert "what is stored is not a counter." in answer.text


@pytest.mark.parametrize(
    ("operation", "page", "fields"),
    [
        ("increment", "change", {"adjust": 1}),
        ("set", "change", {"set_to": 1}),
        ("delete", "delete", {"post": "yes"}),
    ],
)
def test_a_change_that_fails_is_told_and_not_logged(
    ann: Client, errors: dict[str, Exception], operation: str, page: str, fields: dict[str, Any]
) -> None:
    errors[operation] = AWAY
    answer = ann.post(address("visits", page), {"shown": 10, **fields})
    assert answer.status_code == 503
    assert "the server cannot be reached." in answer.text
    assert trail() == []


@pytest.mark.parametrize(
    ("operation", "page", "fields"),
    [
        ("increment", "change", {"adjust": 1}),
        ("set", "change", {"set_to": 1}),
        ("delete", "delete", {"post": "yes"}),
    ],
)
def test_a_change_with_an_unknown_outcome_is_told_and_logged(
    ann: Client, errors: dict[str, Exception], operation: str, page: str, fields: dict[str, Any]
) -> None:
    errors[operation] = CounterOutcomeUnknown(operation, "visits", 1)
    form = {"shown": 10, "reason": "agreed", **fields}
    answer = ann.post(address("visits", page), form)
    assert answer.status_code == 503
    assert "it may have been applied" in answer.text
    assert "before you do it again" in answer.text
    [(name, said)] = trail()
    assert name == log_name("default", "visits")
    unknown = "not confirmed, it may have been applied."
    if operation == "delete":
        assert said == f"delete: {unknown}"
    else:
        assert said == f"{operation} with value 1: {unknown} Reason: agreed"
