"""Settings of the example site. Four of them come from the environment, none has to."""

import os
from pathlib import Path

from example_project.redis_url import next_database

BASE_DIR = Path(__file__).resolve().parent

SECRET_KEY = os.environ.get("EXAMPLE_SECRET_KEY", "django-insecure-for-a-demo-on-this-machine-only")
DEBUG = os.environ.get("EXAMPLE_DEBUG", "1") == "1"
DEFAULT_EXCEPTION_REPORTER_FILTER = "example_project.debug.ReportFilter"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "example_project.links",  # before django_counter: its page for 429 is found first
    "django_counter",
]
# Sessions and users are loaded by who asks for them. A click does not.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
STATIC_URL = "/static/"
TIME_ZONE = "UTC"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "home"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("EXAMPLE_DATABASE", BASE_DIR / "db.sqlite3"),
        "OPTIONS": {
            "timeout": 20,  # seconds to wait for another writer
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}

# An empty REDIS_URL is none.
REDIS_URL = os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379/0"
REDIS = {
    "BACKEND": "django_redis.cache.RedisCache",
    # Seconds: the longest that a click waits for its count.
    "OPTIONS": {"SOCKET_TIMEOUT": 1, "SOCKET_CONNECT_TIMEOUT": 1},
}
CACHES = {
    "default": {**REDIS, "LOCATION": REDIS_URL},
    # A database of their own: cache.clear() empties the one of the cache.
    "counters": {**REDIS, "LOCATION": next_database(REDIS_URL)},
}
COUNTERS = {
    "default": {
        "BACKEND": "django_counter.backends.redis.RedisCounter",
        "KEY_PREFIX": "links",
        "MIDDLEWARE": ["django_counter.middleware.LoggingMiddleware"],
        "OPTIONS": {"cache": "counters"},
    }
}

# The limits themselves stand at the views. These are the defaults, but for the first.
RATE_LIMIT = {
    "HEADERS": "both",  # RateLimit and RateLimit-Policy, and X-RateLimit-* for older clients
    "TRUSTED_PROXIES": 0,  # none in front of this site: X-Forwarded-For is what anyone writes
    "DENY_CACHE": 1,  # seconds in which a process refuses again without asking the server
}
