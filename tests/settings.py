"""Settings of the test suite. Tests that need a server hand in their own CACHES and COUNTERS."""

from example_project.settings import TEMPLATES as TEMPLATES

SECRET_KEY = "of the tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "example_project.urls"
STATIC_URL = "static/"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_counter",
    "example_project.links",
]
MIDDLEWARE = ["django.middleware.csrf.CsrfViewMiddleware"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
COUNTERS = {
    alias: {"BACKEND": "django_counter.backends.memory.MemoryCounter"}
    for alias in ("default", "elsewhere")
}
