"""A site that counts its requests: `gunicorn tests.faults.site`, with URL and PREFIX set."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_counter import counter


def count(request: HttpRequest) -> HttpResponse:
    """Answer with the number of the request, and the process that counted it."""
    return HttpResponse(f"{counter.increment('requests', ttl=600)} {os.getpid()}")


settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": os.environ["URL"]}},
    COUNTERS={"default": {"KEY_PREFIX": os.environ["PREFIX"], "OPTIONS": {"timeout": 10}}},
    ROOT_URLCONF=__name__,
)
urlpatterns = [path("", count)]
application = get_wsgi_application()
