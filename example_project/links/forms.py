"""The form that creates a link."""

from django import forms
from django.core.validators import URLValidator


class WebAddressField(forms.URLField):
    """A URL of the web: no ftp:, no javascript:."""

    default_validators = [URLValidator(schemes=["http", "https"])]


class LinkForm(forms.Form):
    url = WebAddressField(
        label="Long address",
        max_length=2000,
        assume_scheme="https",
        widget=forms.URLInput(attrs={"placeholder": "https://example.com/a/long/path"}),
    )
