"""Settings of the test suite. Tests that need a server hand in their own CACHES and COUNTERS."""

SECRET_KEY = "of the tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "example_project.urls"
STATIC_URL = "static/"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_counter",
    "example_project.links",
]
MIDDLEWARE = ["django.middleware.csrf.CsrfViewMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
COUNTERS = {
    alias: {"BACKEND": "django_counter.backends.memory.MemoryCounter"}
    for alias in ("default", "elsewhere")
}
