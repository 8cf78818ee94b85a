"""The responses to requests that are not let in."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.templatetags.static import static
from django.utils.module_loading import import_string
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext

from django_counter.ratelimit.decisions import Decision
from django_counter.ratelimit.headers import policies, retry_after_seconds
from django_counter.ratelimit.settings import setting

PROBLEM = "application/problem+json"
# Of what a client likes equally well, the first: a client that names no HTML is no browser.
TYPES = [PROBLEM, "application/json", "text/html"]
PROBLEM_TYPES = "https://iana.org/assignments/http-problem-types"
STYLESHEET = "django_counter/refusal.css"


def denied(request: HttpRequest, decision: Decision) -> HttpResponseBase:
    """Return the response to a denied hit: RATE_LIMIT["RESPONSE"] makes it, or it is a 429.

    That is problem details (RFC 9457) where the client accepts JSON and does not prefer HTML, or
    else the page `django_counter/429.html`. It is plain text where no engine finds that template.
    """
    path = setting("RESPONSE")
    if path is not None:
        response: HttpResponseBase = import_string(path)(request, decision)
        return response
    problem = {
        "type": f"{PROBLEM_TYPES}#quota-exceeded",
        "title": "Request cannot be satisfied as assigned quota has been exceeded",
        "violated-policies": [
            name for name, standing in policies(decision) if standing.retry_after > 0
        ],
    }
    return _refusal(request, 429, gettext("Too many requests"), decision.retry_after, problem)


async def adenied(request: HttpRequest, decision: Decision) -> HttpResponseBase:
    """See denied(). Templates and functions of projects run in a thread: they may use the ORM."""
    if setting("RESPONSE") is None and _accepts_json(request):
        return denied(request, decision)
    return await sync_to_async(denied)(request, decision)


def unavailable(request: HttpRequest, retry_after: float) -> HttpResponseBase:
    """Return a 503, for a hit that nobody can decide. Its page is `django_counter/503.html`."""
    problem = {
        "type": f"{PROBLEM_TYPES}#temporary-reduced-capacity",
        "title": "Request cannot be satisfied due to temporary server capacity constraints",
    }
    title = gettext("Temporarily unavailable")
    return _refusal(request, 503, title, retry_after, problem)


async def aunavailable(request: HttpRequest, retry_after: float) -> HttpResponseBase:
    """See unavailable()."""
    if _accepts_json(request):
        return unavailable(request, retry_after)
    return await sync_to_async(unavailable)(request, retry_after)


def _refusal(
    request: HttpRequest, status: int, title: str, wait: float, problem: Mapping[str, Any]
) -> HttpResponse:
    seconds = retry_after_seconds(wait)
    detail = _detail(seconds)
    if _accepts_json(request):
        problem = {**problem, "status": status, "detail": detail}
        response: HttpResponse = JsonResponse(problem, content_type=PROBLEM)
    else:
        context = {"title": title, "detail": detail, "retry_after": seconds}
        response = _page(request, f"django_counter/{status}.html", context)
    response.status_code = status
    response["Retry-After"] = str(seconds)
    response["Cache-Control"] = "no-store"  # RFC 6585, section 4
    return response


def _accepts_json(request: HttpRequest) -> bool:
    try:
        return request.get_preferred_type(TYPES) in {PROBLEM, "application/json"}
    except ValueError:  # Django does not read overlong headers
        return False


def _page(request: HttpRequest, name: str, context: Mapping[str, Any]) -> HttpResponse:
    try:
        template = get_template(name)
    except TemplateDoesNotExist:
        text = f"{context['title']}\n{context['detail']}\n"
        return HttpResponse(text, content_type="text/plain; charset=utf-8")
    return HttpResponse(template.render({**context, "stylesheet": _stylesheet()}, request))


def _stylesheet() -> str | None:
    try:
        return static(STYLESHEET)
    except ValueError:  # not collected; the page does without
        return None


def _detail(seconds: int) -> str:
    if seconds < 60:
        return ngettext(
            "Please try again in %(seconds)d second.",
            "Please try again in %(seconds)d seconds.",
            seconds,
        ) % {"seconds": seconds}
    start = datetime(2000, 1, 1)  # only the time between the two matters
    minutes = timedelta(minutes=-(-seconds // 60))
    return gettext("Please try again in %(time)s.") % {"time": timesince(start, start + minutes)}
