"""The links as JSON, and the page that says how to ask for them."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from django_counter.ratelimit import RateLimit, rate_limit
from example_project.links.clicks import aclicks, clicks
from example_project.links.models import Link
from example_project.links.views import NEWEST

# Any text is a key here. An API that hands out keys refuses the others before it counts.
API = RateLimit("5/s", "100/h", name="api")


@require_safe
def about(request: HttpRequest) -> HttpResponse:
    """Show how to use it."""
    context = {
        "links_address": request.build_absolute_uri(reverse("api-links")),
        "link_address": request.build_absolute_uri(reverse("api-link", args=["django"])),
    }
    return render(request, "links/api.html", context)


@require_safe
@rate_limit(API, key="header:X-Api-Key")
def links(request: HttpRequest) -> JsonResponse:
    """Return the newest links."""
    newest = list(Link.objects.all()[:NEWEST])
    by_slug = clicks(link.slug for link in newest).by_slug
    return JsonResponse({"links": [as_json(link, by_slug[link.slug]) for link in newest]})


@require_safe
@rate_limit("100/m", key="ip", name="link")
async def link(request: HttpRequest, slug: str) -> JsonResponse:
    """Return a link."""
    found = await Link.objects.filter(slug=slug).afirst()
    if found is None:
        return JsonResponse({"error": "There is no such link."}, status=404)
    return JsonResponse(as_json(found, (await aclicks([slug])).total))


def as_json(link: Link, clicks: int | None) -> dict[str, Any]:
    return {"slug": link.slug, "url": link.url, "created": link.created, "clicks": clicks}
