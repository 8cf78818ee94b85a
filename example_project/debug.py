"""What Django's debug page may show."""

import re

from django.views.debug import SafeExceptionReporterFilter


class ReportFilter(SafeExceptionReporterFilter):
    """Hide the server's URL too, in settings and environment: it may hold a password."""

    hidden_settings = re.compile(
        SafeExceptionReporterFilter.hidden_settings.pattern + "|REDIS_URL|LOCATION", re.IGNORECASE
    )
