"""The site: the links, and with DEBUG its static files under any web server."""

from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    *staticfiles_urlpatterns(),
    path("", include("example_project.links.urls")),
]
