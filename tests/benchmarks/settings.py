"""Django as it is measured: one server, and for each library what its documents advise."""

import os
from urllib.parse import urlsplit

REDIS_URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/0")
_place = urlsplit(REDIS_URL)

SECRET_KEY = "of the benchmark, and long enough to be one of a real site"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "tests.benchmarks.site"
INSTALLED_APPS = ["django_counter"]
MIDDLEWARE: list[str] = []

CACHES = {
    # django-redis keeps integers as they are: its serializer has no part in these tables.
    "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL},
    "django": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL},
}
COUNTERS = {
    "default": {},
    "buffered": {"MIDDLEWARE": ["django_counter.middleware.BufferedMiddleware"]},
}

# django-smart-ratelimit
RATELIMIT_BACKEND = "redis"
RATELIMIT_REDIS = {"host": _place.hostname, "port": _place.port, "db": 0}

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
}
