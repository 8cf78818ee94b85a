"""What is asked of anyone who changes a counter."""

from typing import TYPE_CHECKING, Any

from django import forms

from django_counter.models import Counter
from django_counter.ratelimit.digests import DIGEST_PATTERN
from django_counter.values import INT64_MAX, INT64_MIN, TTL_MAX, TTL_MIN

if TYPE_CHECKING:
    CounterModelForm = forms.ModelForm[Counter]
else:
    CounterModelForm = forms.ModelForm  # it takes no type when it runs


def _integer(label: str, help_text: str) -> forms.IntegerField:
    return forms.IntegerField(
        required=False,
        min_value=INT64_MIN,
        max_value=INT64_MAX,
        label=label,
        help_text=help_text,
        # Browsers round what they hold in a field of numbers.
        widget=forms.TextInput(attrs={"inputmode": "numeric", "class": "vBigIntegerField"}),
    )


def _reason() -> forms.CharField:
    return forms.CharField(
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text="It is kept in the log, with your name, the old and the new value.",
    )


class CounterForm(CounterModelForm):
    """Adjust a counter, or set it if it still holds what was shown."""

    shown = forms.IntegerField(min_value=INT64_MIN, max_value=INT64_MAX, widget=forms.HiddenInput)
    adjust = _integer("Adjust by", "Such as 5 or -5. What others count meanwhile stays counted.")
    set_to = _integer("Set to", "Only if the counter still holds the value shown above.")
    set_ttl = forms.FloatField(
        label="Set time left to",
        required=False,
        min_value=TTL_MIN,
        max_value=TTL_MAX,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "class": "vBigIntegerField"}),
        help_text="Seconds. Empty leaves the time that is left.",
    )
    no_expiry = forms.BooleanField(label="Let it never expire", required=False)
    reason = _reason()

    class Meta:
        model = Counter
        fields: list[str] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial.setdefault("shown", self.instance.value)

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        sets = [data.get(name) is not None for name in ("set_to", "set_ttl")]
        sets.append(bool(data.get("no_expiry")))
        adjusts = bool(data.get("adjust"))
        if adjusts and any(sets):
            raise forms.ValidationError("Adjust the counter, or set it: not both at once.")
        if data.get("set_ttl") is not None and data.get("no_expiry"):
            raise forms.ValidationError("Set the time left, or let it never expire: not both.")
        if not self.errors and not adjusts and not any(sets):
            raise forms.ValidationError("There is nothing to change.")
        return data


class ReasonForm(forms.Form):
    """Why counters are reset."""

    reason = _reason()


class ResetForm(ReasonForm):
    """How many counters were shown to be reset, and why."""

    shown = forms.IntegerField()


class ForgiveForm(ReasonForm):
    """Whom to forgive, and why."""

    name = forms.CharField()
    identity = forms.RegexField(rf"^{DIGEST_PATTERN}\Z", strip=False)
