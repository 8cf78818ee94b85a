"""Creating links, following them, and their clicks."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import aget_object_or_404, get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from django_counter.ratelimit import rate_limit
from example_project.links.clicks import acount, clicks, count
from example_project.links.forms import LinkForm
from example_project.links.models import Link

NEWEST = 20  # links on the front page


@require_http_methods(["GET", "HEAD", "POST"])
@rate_limit("10/m", key="ip", name="create", methods=["POST"])
def home(request: HttpRequest) -> HttpResponse:
    """Show the newest links, and create one."""
    form = LinkForm(request.POST or None)
    if form.is_valid():
        return redirect(Link.objects.create(url=form.cleaned_data["url"]))
    newest = list(Link.objects.all()[:NEWEST])
    by_slug, total = clicks(Link.objects.values_list("slug", flat=True))
    rows = [(link, by_slug.get(link.slug)) for link in newest]
    context = {"form": form, "rows": rows, "links": len(by_slug), "total": total}
    return render(request, "links/home.html", context)


@require_safe
def show(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a link and its clicks."""
    link = get_object_or_404(Link, slug=slug)
    address, async_address = (
        request.build_absolute_uri(reverse(view, args=[slug])) for view in ("follow", "afollow")
    )
    context = {"link": link, "address": address, "async_address": async_address}
    return render(request, "links/link.html", {**context, "clicks": clicks([slug]).total})


@require_safe
def follow(request: HttpRequest, slug: str) -> HttpResponse:
    """Count a click and redirect."""
    link = get_object_or_404(Link, slug=slug)
    count(slug)
    return HttpResponseRedirect(link.url)


@require_safe
async def afollow(request: HttpRequest, slug: str) -> HttpResponse:
    """See follow()."""
    link = await aget_object_or_404(Link, slug=slug)
    await acount(slug)
    return HttpResponseRedirect(link.url)
