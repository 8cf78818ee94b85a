"""Logging in, to the site and to its admin: one limit for both."""

from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse

from django_counter.ratelimit import rate_limit


def succeeded(request: HttpRequest, response: HttpResponse) -> bool:
    """Return whether somebody was logged in, rather than shown the form again."""
    return response.status_code == 302


# Failed attempts count, by the name that was tried: a password is guessed from many addresses.
# While the counters are away, each process counts in its own memory.
limited = rate_limit(
    "5/m",
    key="post:username",
    name="login",
    methods=["POST"],
    refund_when=succeeded,
    on_error="local",
)
login = limited(LoginView.as_view(template_name="links/login.html"))
admin_login = limited(admin.site.login)
