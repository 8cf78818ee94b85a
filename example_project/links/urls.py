"""The addresses of the site. The shortest one is the one that people pass on.

No new slug is one of the words here: it has eight characters, and none of them has.
"""

from django.contrib.auth.views import LogoutView
from django.urls import path

from example_project.links import api, views
from example_project.links.login import login

urlpatterns = [
    path("", views.home, name="home"),
    path("login/", login, name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("api/", api.about, name="api"),
    path("api/links/", api.links, name="api-links"),
    path("api/links/<slug:slug>/", api.link, name="api-link"),
    path("links/<slug:slug>/", views.show, name="link"),
    path("a/<slug:slug>/", views.afollow, name="afollow"),
    path("<slug:slug>/", views.follow, name="follow"),
]
