"""The addresses of the site. The shortest one is the one that people pass on."""

from django.urls import path

from example_project.links import views

urlpatterns = [
    path("", views.home, name="home"),
    path("links/<slug:slug>/", views.show, name="link"),
    path("a/<slug:slug>/", views.afollow, name="afollow"),
    path("<slug:slug>/", views.follow, name="follow"),
]
