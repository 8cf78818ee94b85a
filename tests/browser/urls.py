"""The example site, and a page whose limit is soon reached."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from django_counter.ratelimit import rate_limit


@rate_limit("3/d", name="scarce")
def scarce(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [path("scarce/", scarce), path("", include("example_project.urls"))]
