"""limits: the table of them, where an identity stands, and giving it back."""

import json
from typing import Any

import pytest
from django.test import Client
from django.utils.decorators import method_decorator
from django.views import View

from django_counter import Counter
from django_counter.ratelimit import RateLimit, rate_limit
from django_counter.ratelimit.digests import digest
from django_counter.ratelimit.identity import identity_of
from tests.commands.runs import Manage, call
from tests.ratelimit.sites import done

TWICE = rate_limit("3/h", name="commands-twice", key="ip")(done)


@method_decorator(rate_limit("2/h", name="commands-class", key="post:username"), name="dispatch")
class NeverServed(View):
    pass


@pytest.fixture(autouse=True)
def no_deny_cache(settings: Any) -> None:
    settings.RATE_LIMIT = {"DENY_CACHE": 0}


def rows(*words: str) -> list[dict[str, Any]]:
    run = call("limits", *words, "--format", "json")
    assert run.code == 0, run.err
    return json.loads(run.out)  # type: ignore[no-any-return]


def overview(name: str) -> list[dict[str, Any]]:
    return [row for row in rows() if row["name"] == name]


@pytest.mark.parametrize("algorithm", ["fixed", "sliding", "token_bucket"])
def test_every_rate_has_a_row_with_those_who_draw_on_it(counter: Counter, algorithm: str) -> None:
    limit = RateLimit("2/h", "5/d", name=f"commands-{algorithm}", algorithm=algorithm)
    for identity in ("ann", "ann", "ben"):
        limit.hit(identity)
    common = {"name": limit.name, "algorithm": algorithm, "using": "default", "key": ""}
    assert overview(limit.name) == [
        {**common, "rate": "2/h", "identities": 2, "used_up": 1},
        {**common, "rate": "5/d", "identities": 2, "used_up": 0},
    ]


def test_what_is_given_back_whole_or_has_ended_or_is_no_budget_is_not_counted(
    counter: Counter,
) -> None:
    limit = RateLimit("2/h", name="commands-odd")
    limit.hit("ann")
    limit.refund("ann")
    counter.set(f"{limit.prefix}{'0' * 32}}}:2/h:1", 0)
    counter.set(f"{limit.prefix}no digest}}", 0)
    assert overview("commands-odd")[0]["identities"] == 0


def test_the_limits_of_the_site_s_views_are_there_with_their_keys(manage: Manage) -> None:
    run = manage("limits")
    assert run.code == 0
    login = next(line.split() for line in run.out.splitlines() if line.startswith("login "))
    assert login == ["login", "5/m", "fixed", "default", "post:username", "0", "0"]


def test_they_can_be_those_of_one_alias(counter: Counter) -> None:
    limit = RateLimit("2/h", name="commands-elsewhere", using="other")
    assert [row["name"] for row in rows("--using", "other")] == [limit.name]


@pytest.mark.django_db
def test_show_takes_what_a_person_has(counter: Counter) -> None:
    Client(REMOTE_ADDR="192.0.2.9").post("/login/", {"username": "Ann", "password": "no"})
    for identity in ("Ann", " ANN ", f"digest:{digest('post:8:username:ann')}"):
        (row,) = rows("show", "login", identity)
        assert (row["rate"], row["remaining"]) == ("5/m", 4)
    assert rows("show", "login", "ben")[0]["remaining"] == 5


def test_reset_gives_it_back(counter: Counter) -> None:
    limit = RateLimit("2/h", name="commands-reset")
    for _ in range(2):
        limit.hit("ann")
    (row,) = rows("show", limit.name, "ann")
    assert row["remaining"] == 0
    assert 0 < row["retry_after"] <= row["reset_after"] <= 3600
    run = call("limits", "reset", limit.name, "ann")
    assert run.code == 0
    assert "Given back" in run.err
    assert limit.hit("ann").allowed


def test_reset_reaches_what_a_class_based_view_counts_elsewhere(counter: Counter) -> None:
    elsewhere = RateLimit("2/h", name="commands-class")
    ann = identity_of("post:username", "ann")
    elsewhere.hit(ann)
    assert overview("commands-class")[0]["key"] == "post:username"
    assert "Given back" in call("limits", "reset", "commands-class", "Ann").err
    assert elsewhere.peek(ann).remaining == 2


@pytest.mark.parametrize("identity", ["ann", f"digest:{'0' * 32}"])
def test_reset_says_that_nothing_was_missing(counter: Counter, identity: str) -> None:
    run = call("limits", "reset", "login", identity)
    assert run.code == 0
    assert "Nothing was missing. Is IDENTITY what" in run.err
    assert "Given back" not in run.err


def test_a_limit_of_code_takes_the_very_text_and_says_so(counter: Counter) -> None:
    limit = RateLimit("2/h", name="commands-code")
    limit.hit("ann")
    run = call("limits", "show", limit.name, "ann", "--format", "json")
    assert json.loads(run.out)[0]["remaining"] == 1
    assert "No view counts by 'commands-code': 'ann' is taken as code hands it in." in run.err
    assert "No view" not in call("limits", "show", "login", "ann").err


def test_reset_takes_a_digest(counter: Counter) -> None:
    limit = RateLimit("1/h", name="commands-digest")
    hexadecimal = limit.hit("ann").identity
    assert call("limits", "reset", limit.name, f"digest:{hexadecimal}").code == 0
    assert limit.peek("ann").allowed


def test_it_says_how_long_other_processes_may_go_on(counter: Counter, settings: Any) -> None:
    settings.RATE_LIMIT = {"DENY_CACHE": 2.5}
    limit = RateLimit("1/h", name="commands-deny")
    limit.hit("ann")
    run = call("limits", "reset", limit.name, "ann")
    assert "may go on for 2.5 s" in run.err


def test_a_limit_that_is_not_there_is_not_found(counter: Counter) -> None:
    run = call("limits", "show", "nowhere", "ann")
    assert run.code == 3
    assert "no rate limit 'nowhere'. There are: " in run.err
    assert "'login'" in run.err


def test_without_limits_it_says_that_there_are_none(counter: Counter) -> None:
    run = call("limits", "show", "nowhere", "ann", "--using", "other")
    assert "There are: none" in run.err


@pytest.mark.parametrize(
    ("words", "missing"), [(("show",), "NAME, IDENTITY"), (("reset", "login"), "IDENTITY")]
)
def test_a_name_and_an_identity_are_needed(
    manage: Manage, words: tuple[str, ...], missing: str
) -> None:
    run = manage("limits", *words)
    assert run.code == 2
    assert f"arguments are required: {missing}" in run.err


OPTIONS = ["--key", "post:username"], ["--using", "default"], ["-v", "0", "--no-color"]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options[0])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_options_stand_between_the_words_too(
    counter: Counter, options: list[str], place: int
) -> None:
    words = ["show", "login", "ann"]
    words[place:place] = options
    assert rows(*words)[0]["remaining"] == 5


def test_options_before_the_action_count(counter: Counter) -> None:
    run = call("limits", "--format", "json", "--using", "other", "show", "login", "ann")
    assert run.code == 3
    run = call("limits", "--format", "json", "show", "login", "ann")
    assert json.loads(run.out)[0]["remaining"] == 5
    run = call("limits", "--using", "other", "show", "--using", "default", "login", "ann")
    assert run.code == 0


def test_help_shows_the_words(capsys: pytest.CaptureFixture[str]) -> None:
    for words, usage in [
        ([], "counter limits [options] [{show,reset} NAME IDENTITY]\n"),
        (["show"], "NAME IDENTITY\n"),
    ]:
        with pytest.raises(SystemExit):
            call("limits", *words, "--help")
        shown = capsys.readouterr().out
        assert usage in shown
        assert all(len(line) <= 100 for line in shown.splitlines())
    assert "a user's primary key, or anonymous" in shown


@pytest.mark.parametrize("identity", ["digest:xyz", "digest:", "digest:" + "A" * 32])
def test_a_digest_has_32_digits(counter: Counter, identity: str) -> None:
    run = call("limits", "show", "login", identity)
    assert run.code == 2
    assert "32 hexadecimal digits" in run.err


def test_an_address_must_be_one(counter: Counter) -> None:
    run = call("limits", "show", "create", "ann")
    assert run.code == 2
    assert "'ann'" in run.err


def test_of_several_keys_one_is_chosen(counter: Counter) -> None:
    other = RateLimit("3/h", name="commands-twice")
    other.keys.add("callable")
    run = call("limits", "show", "commands-twice", "192.0.2.1")
    assert run.code == 2
    assert "counted by callable and by ip. Choose one: --key callable" in run.err
    assert rows("show", "commands-twice", "192.0.2.1", "--key", "ip")[0]["remaining"] == 3


def test_a_key_that_is_none_is_refused(counter: Counter) -> None:
    run = call("limits", "show", "login", "ann", "--key", "cookie")
    assert run.code == 2
    assert "'cookie' is no key" in run.err
