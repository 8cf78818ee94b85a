"""Counters as the admin names them: a model without a table, for its permissions and its pages."""

from typing import ClassVar
from urllib.parse import quote, unquote

from django.db import models

from django_counter.values import Entry


class NoRows(models.Manager["Counter"]):
    """No counter is in the database: whoever asks it, such as dumpdata, is told so by no query."""

    def get_queryset(self) -> models.QuerySet["Counter"]:
        return super().get_queryset().none()


class Counter(models.Model):
    """A stored counter, as it was when it was read."""

    id = models.TextField(primary_key=True)  # see counter_id()
    alias = models.TextField()
    key = models.TextField()
    value = models.BigIntegerField()
    ttl = models.FloatField("time left", null=True)  # seconds; None = no expiry

    objects: ClassVar[NoRows] = NoRows()

    class Meta:
        managed = False
        base_manager_name = "objects"
        default_permissions = ("view", "change", "delete")
        permissions = [("reset_counter", "Can reset counters, and forgive at rate limits")]

    def __str__(self) -> str:
        return self.key

    @property
    def time_left(self) -> str:
        return time_left(self.ttl)

    @classmethod
    def of(cls, alias: str, entry: Entry) -> "Counter":
        """Return the counter that an entry of an alias describes."""
        key, value, ttl = entry
        return cls(id=counter_id(alias, key), alias=alias, key=key, value=value, ttl=ttl)


def counter_id(alias: str, key: str) -> str:
    """Return one text for both."""
    return f"{quote(alias, safe='')}:{key}"


def parse_counter_id(text: str) -> tuple[str, str]:
    """Return the alias and the key of a counter_id(); of any other text, one that is neither."""
    alias, _, key = text.partition(":")
    return unquote(alias), key


def time_left(ttl: float | None) -> str:
    """Return the two largest units of some seconds: `1 h 59 min`."""
    if ttl is None:
        return "no expiry"
    if ttl < 1:
        return "under 1 s"
    parts: list[tuple[int, str]] = []
    seconds = int(ttl)
    for unit, size in _UNITS.items():
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)


_UNITS = {"d": 86_400, "h": 3600, "min": 60, "s": 1}
