"""The site: the links, the admin, and with DEBUG its static files under any web server."""

from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

from example_project.links.login import admin_login

urlpatterns = [
    *staticfiles_urlpatterns(),
    path("admin/login/", admin_login),
    path("admin/", admin.site.urls),
    path("", include("example_project.links.urls")),
]
