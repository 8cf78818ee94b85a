"""Where the server remembers calls that have an idempotency key: their tokens."""

from binascii import crc_hqx
from functools import lru_cache
from hashlib import blake2b
from itertools import count

from django_counter.idempotency import SEPARATOR, Once

SLOTS = 16_384  # of a cluster
DIGEST_BYTES = 16


def token_name(prefix: str, once: Once) -> str:
    """Return the key of a call's token, in the slot of the counter that it is on.

    It is no key of a counter, for it has a control character, and shows nothing of the caller's
    idempotency key.
    """
    counter = prefix + once.scope
    tag = _hash_tag(counter)
    if "}" in tag:  # it cannot stand in braces
        tag = _tag_of(crc_hqx(tag.encode(), 0) % SLOTS)
    rest = f"{SEPARATOR}{{{tag}}}{_digest(prefix + once.name)}"
    name = prefix + rest
    return name if _hash_tag(name) == tag else rest  # the prefix may have a brace of its own


def token_call(once: Once) -> str:
    """Return what the token holds of the call itself."""
    return _digest(once.call)


def _hash_tag(name: str) -> str:
    """Return the part of a key that decides on its slot (Redis Cluster specification)."""
    tag, closed, _ = name.partition("{")[2].partition("}")
    return tag if tag and closed else name


@lru_cache(maxsize=SLOTS)
def _tag_of(slot: int) -> str:
    return next(tag for tag in map(str, count()) if crc_hqx(tag.encode(), 0) % SLOTS == slot)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=DIGEST_BYTES, person=b"counter token").hexdigest()
