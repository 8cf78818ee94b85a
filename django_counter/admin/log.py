"""The trail of changes: who, when, which counter, the old and the new value, and why.

It has digests in place of keys and prefixes, which may be personal, and outlives the counters.
"""

from collections.abc import Iterable

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest

from django_counter.models import Counter
from django_counter.ratelimit.digests import digest


def log_name(alias: str, key: str) -> str:
    """Return what the log calls a counter."""
    return f"counter {digest(key)} of {alias}"[:200]


def log(
    request: HttpRequest, entries: Iterable[tuple[str, str]], reason: str = "", flag: int = CHANGE
) -> None:
    """Write an entry for each pair of a log_name() and what was done."""
    because = f" Reason: {reason}" if reason else ""
    content_type = _content_type()
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=request.user.pk,  # type: ignore[misc]  # somebody is logged in
            content_type=content_type,
            object_repr=name,
            action_flag=flag,
            change_message=f"{done}.{because}",
        )
        for name, done in entries
    )


def logged(alias: str, key: str) -> QuerySet[LogEntry]:
    """Return the entries on a counter, the oldest first."""
    entries = LogEntry.objects.filter(
        content_type=_content_type(), object_repr=log_name(alias, key)
    )
    return entries.select_related("user").order_by("action_time", "pk")


def _content_type() -> ContentType:
    return ContentType.objects.get_for_model(Counter)
