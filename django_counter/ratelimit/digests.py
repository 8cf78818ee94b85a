"""Identities as they stand in keys: digests, so that no key tells whose it is."""

import re
from functools import lru_cache
from hashlib import blake2b

from django.conf import settings

from django_counter.ratelimit.settings import setting

DIGEST_BYTES = 16


def digest(identity: str) -> str:
    """Return 32 hexadecimal digits for any text, keyed with RATE_LIMIT["SECRET"]."""
    if not isinstance(identity, str):
        raise TypeError(f"an identity must be a str, not {type(identity).__name__}")
    text = identity.encode("utf-8", "surrogatepass")
    key = _key(setting("SECRET") or settings.SECRET_KEY)
    return blake2b(text, digest_size=DIGEST_BYTES, key=key, person=b"counter identity").hexdigest()


def check_digest(text: str) -> None:
    """Refuse what digest() does not return."""
    if not isinstance(text, str):
        raise TypeError(f"a digest must be a str, not {type(text).__name__}")
    if not _DIGEST.fullmatch(text):
        raise ValueError(f"a digest is {2 * DIGEST_BYTES} hexadecimal digits, in lower case")


_DIGEST = re.compile(f"[0-9a-f]{{{2 * DIGEST_BYTES}}}")


@lru_cache(maxsize=4)
def _key(secret: str) -> bytes:
    return blake2b(secret.encode(), digest_size=64, person=b"counter secret").digest()
