"""Identities as they stand in keys: digests, so that no key tells whose it is."""

import re
from functools import cache
from hashlib import blake2b
from typing import Self

from django.conf import settings
from django.utils.encoding import force_bytes

from django_counter.ratelimit.settings import setting

DIGEST_BYTES = 16
DIGEST_PATTERN = f"[0-9a-f]{{{2 * DIGEST_BYTES}}}"


class Digest(str):
    """An identity that is told by its digest, as keys and logs have it."""

    __slots__ = ()

    def __new__(cls, hexadecimal: str) -> Self:
        """Take 32 hexadecimal digits; refuse anything else."""
        if not re.fullmatch(DIGEST_PATTERN, hexadecimal):
            raise ValueError(f"a digest has {2 * DIGEST_BYTES} hexadecimal digits")
        return super().__new__(cls, hexadecimal)


def digest(identity: str) -> str:
    """Return 32 hexadecimal digits for any text, keyed with RATE_LIMIT["SECRET"].

    A Digest is its own.
    """
    if isinstance(identity, Digest):
        return str(identity)
    if not isinstance(identity, str):
        raise TypeError(f"an identity must be a str, not {type(identity).__name__}")
    hashed = _keyed().copy()
    hashed.update(identity.encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


def forget() -> None:
    """Read the secret anew: it has changed."""
    _keyed.cache_clear()


@cache
def _keyed() -> blake2b:
    """Return a hash of nothing yet, to be copied for each text."""
    secret = setting("SECRET") or settings.SECRET_KEY
    key = blake2b(force_bytes(secret), digest_size=64, person=b"counter secret").digest()
    return blake2b(digest_size=DIGEST_BYTES, key=key, person=b"counter identity")
