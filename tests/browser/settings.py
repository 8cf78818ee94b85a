"""The example site under a strict Content-Security-Policy: no inline script, no inline style."""

import django

from example_project.settings import *  # noqa: F403
from example_project.settings import MIDDLEWARE as PLAIN

ROOT_URLCONF = "tests.browser.urls"
if django.VERSION >= (6, 0):
    MIDDLEWARE = ["django.middleware.csp.ContentSecurityPolicyMiddleware", *PLAIN]
    SECURE_CSP = {"default-src": ["'self'"]}
else:
    MIDDLEWARE = ["tests.browser.csp.strict", *PLAIN]
