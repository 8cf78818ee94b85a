"""The keys of tokens: in the slot of their counter, and no keys of counters."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from redis.crc import key_slot

from django_counter.arguments import check_key
from django_counter.backends.redis.tokens import token_call, token_name
from django_counter.idempotency import Once, once

braces = st.text(st.sampled_from("{}ab:"), min_size=1, max_size=12)
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
keys = braces | texts


def called(scope: str, key: str = "order 17") -> Once:
    made = once(key, scope, "increment", 1)
    assert made is not None
    return made


@settings(max_examples=500, derandomize=True, database=None, deadline=None)
@given(prefix=keys, key=keys)
@example("counter", "page")
@example("counter", "{tag}page")
@example("counter", "a}b")
@example("counter", "a{}b")
@example("counter", "{}{tag}")
@example("counter", "a{b")
@example("a{b", "c")
@example("a{b", "c}d")
@example("{app}", "a}{b}")
@example("a{}", "{b}")
def test_a_token_is_in_the_slot_of_its_counter(prefix: str, key: str) -> None:
    name = token_name(f"{prefix}:", called(key))
    assert key_slot(name.encode()) == key_slot(f"{prefix}:{key}".encode())


@settings(max_examples=200, derandomize=True, database=None, deadline=None)
@given(prefix=keys, key=keys)
def test_a_token_is_no_key_of_a_counter(prefix: str, key: str) -> None:
    name = token_name(f"{prefix}:", called(key))
    for text in (name, name.removeprefix(f"{prefix}:")):
        with pytest.raises(ValueError, match="control characters"):
            check_key(text)


@pytest.mark.parametrize("key", ["page", "{tag}page", "a}b", "a{}b", "a{b", "é"])
def test_a_token_begins_like_its_counter(key: str) -> None:
    for prefix in ("counter:", "{app}:"):
        assert token_name(prefix, called(key)).startswith(f"{prefix}\x1f{{")


def test_tokens_of_different_counters_and_keys_differ() -> None:
    prefixes = ["counter:", "a{:", "b{:", "a{b:"]
    names = {
        token_name(prefix, called(scope, key))
        for prefix in prefixes
        for scope in ("a", "b", "{t}a", "{t}b", "a}", "a:b", "ab")
        for key in ("a", "b", "ba")
    }
    assert len(names) == len(prefixes) * 7 * 3


def test_a_token_shows_nothing_of_an_idempotency_key() -> None:
    call = called("page", "ann@example.org")
    assert "ann" not in token_name("counter:", call) + token_call(call)
