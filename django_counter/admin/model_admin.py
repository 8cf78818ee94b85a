"""The pages of counters."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.models import DELETION
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.signing import BadSignature
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from django_counter.admin.changes import UNKNOWN, Refused, adjusted, replaced
from django_counter.admin.forms import CounterForm, ForgiveForm, ResetForm
from django_counter.admin.limits import forgive, limits_named, overview, times_denied
from django_counter.admin.listing import Listing
from django_counter.admin.log import log, log_name, logged
from django_counter.admin.resetting import reset, to_reset
from django_counter.arguments import check_key
from django_counter.exceptions import (
    CounterError,
    CounterOutcomeUnknown,
    CounterOverflow,
    CounterUnavailable,
)
from django_counter.handler import DEFAULT_ALIAS, counters
from django_counter.models import Counter, counter_id, parse_counter_id
from django_counter.ratelimit.limit import RateLimit
from django_counter.ratelimit.settings import setting

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Counter]
else:
    ModelAdmin = admin.ModelAdmin  # it takes no type when it runs

P = ParamSpec("P")
ViewOf: TypeAlias = Callable[Concatenate["CounterAdmin", HttpRequest, P], HttpResponse]

NAME = "django_counter_counter"  # what the names of the admin's URLs begin with


def answered(view: "ViewOf[P]") -> "ViewOf[P]":
    """Let a page say in a sentence what keeps the counters from answering."""

    @wraps(view)
    def wrapper(
        self: "CounterAdmin", request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponse:
        try:
            return view(self, request, *args, **kwargs)
        except CounterError as error:
            passes = isinstance(error, CounterUnavailable | CounterOutcomeUnknown)
            title = "The counters do not answer" if passes else "The counters cannot do this"
            unknown = isinstance(error, CounterOutcomeUnknown)
            context = {"title": title, "error": error, "passes": passes, "unknown": unknown}
            return self._page(request, "failed.html", context, status=503 if passes else 500)

    return wrapper


@admin.register(Counter)
class CounterAdmin(ModelAdmin):
    """Counters of all aliases: a list by prefix, a page for each, resets, and rate limits."""

    actions = None
    form = CounterForm
    readonly_fields = ("key", "alias", "value", "time_left")
    change_form_template = "django_counter/admin/counter.html"

    class Media:
        css = {"all": ["django_counter/admin.css"]}

    def get_urls(self) -> list[URLPattern]:
        routes: list[tuple[str, str, Callable[..., HttpResponse]]] = [
            ("reset/", "reset", require_http_methods(["GET", "HEAD", "POST"])(self.reset_view)),
            ("limits/", "limits", require_safe(self.limits_view)),
            ("limits/forgive/", "forgive", require_POST(self.forgive_view)),
        ]
        return [
            path(route, self.admin_site.admin_view(view), name=f"{NAME}_{name}")
            for route, name, view in routes
        ] + super().get_urls()

    # Permissions.

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_reset_permission(self, request: HttpRequest) -> bool:
        """Return whether somebody may reset counters, and forgive at rate limits."""
        return request.user.has_perm("django_counter.reset_counter")

    # The list.

    @answered
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        _require(self.has_view_or_change_permission(request))
        alias = _alias(request)
        prefix = request.GET.get("q", "")
        if "using" in request.GET and alias not in counters:
            said = f"There is no such page: there is no alias {alias!r}"
            self.message_user(request, said, messages.ERROR)
            return HttpResponseRedirect(request.path)
        try:
            listing = Listing(alias, prefix, request.GET.get("cursor", ""))
        except (BadSignature, ValueError) as error:
            self.message_user(request, f"There is no such page: {error}", messages.ERROR)
            return HttpResponseRedirect(request.path)
        context = {
            "title": "Counters",
            "cl": listing,
            "actions_on_top": True,  # without it the stock template has a style of its own
            "history": prefix and logged(alias, prefix).exists() and counter_id(alias, prefix),
            "may_reset": prefix and self.has_reset_permission(request),
            **(extra_context or {}),
        }
        return self._page(request, "counters.html", context)

    # One counter.

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Counter | None:
        alias, key = parse_counter_id(object_id)
        try:
            check_key(key)
        except ValueError:
            return None
        entry = counters.backend(alias).entry(key) if alias in counters else None
        return entry and Counter.of(alias, entry)

    def get_fieldsets(self, request: HttpRequest, obj: Counter | None = None) -> Any:
        shown = (None, {"fields": self.readonly_fields})
        if not self.has_change_permission(request, obj):
            return [shown]
        return [
            shown,
            ("Adjust", {"fields": ["adjust", "shown"]}),
            ("Set", {"fields": ["set_to", "set_ttl", "no_expiry"]}),
            ("Log", {"fields": ["reason"]}),
        ]

    @answered
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method == "POST":
            _require(self.has_change_permission(request))
        _require(self.has_view_or_change_permission(request))
        alias, key = parse_counter_id(unquote(object_id))
        context = {
            "show_save_and_continue": False,
            "may_reset": self.has_reset_permission(request),
            **(extra_context or {}),
        }
        try:
            return super().change_view(request, object_id, form_url, context)
        except (Refused, CounterOverflow) as error:
            self.message_user(request, f"Nothing was changed: {error}.", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        except CounterOutcomeUnknown as error:
            tried = f"{error.operation} with value {error.value}: {UNKNOWN}"
            log(request, [(log_name(alias, key), tried)], request.POST.get("reason", "")[:200])
            raise

    def save_model(self, request: HttpRequest, obj: Counter, form: Any, change: bool) -> None:
        data = form.cleaned_data
        done = adjusted(obj, data["adjust"]) if data["adjust"] else replaced(obj, data)
        log(request, [(log_name(obj.alias, obj.key), done)], data["reason"])
        # Not the key first: the admin makes the first letter a capital.
        self.message_user(request, f"Counter {obj.key}: {done}.", messages.SUCCESS)

    def log_change(self, request: HttpRequest, obj: Counter, message: Any) -> Any:
        """Leave it to save_model(), which knows the old and the new value."""

    def response_change(self, request: HttpRequest, obj: Counter) -> HttpResponse:
        return HttpResponseRedirect(request.get_full_path())

    @answered
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        _require(self.has_delete_permission(request))
        alias, key = parse_counter_id(unquote(object_id))
        try:
            return super().delete_view(request, object_id, extra_context)
        except CounterOutcomeUnknown:  # the entry of log_deletions() was rolled back
            log(request, [(log_name(alias, key), f"delete: {UNKNOWN}")], flag=DELETION)
            raise

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        shown = [f"{obj.key}: {obj.value}" for obj in objs]
        return shown, {self.opts.verbose_name_plural: len(shown)}, lacking, []

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        done = [(log_name(obj.alias, obj.key), f"deleted, it held {obj.value}") for obj in queryset]
        log(request, done, flag=DELETION)

    def delete_model(self, request: HttpRequest, obj: Counter) -> None:
        counters.backend(obj.alias).delete(obj.key)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what was done to a counter, also to one that is gone: it is in the log alone."""
        _require(self.has_view_or_change_permission(request))
        alias, key = parse_counter_id(unquote(object_id))
        paginator = self.get_paginator(request, logged(alias, key), 100)
        page = paginator.get_page(request.GET.get("p", 1))
        context = {
            "title": f"Change history: {key}",
            "module_name": "Counters",
            "object": Counter(id=counter_id(alias, key), alias=alias, key=key),
            "action_list": page,
            "page_range": paginator.get_elided_page_range(page.number),
            "page_var": "p",
            "pagination_required": paginator.num_pages > 1,
            **(extra_context or {}),
        }
        return self._page(request, "history.html", context)

    # Many counters.

    @answered
    def reset_view(self, request: HttpRequest) -> HttpResponse:
        """Delete one counter or all of a prefix, once that was confirmed: they begin anew."""
        _require(self.has_reset_permission(request))
        _require(self.has_view_or_change_permission(request))  # it shows keys and values
        alias = _alias(request)
        key, prefix = request.GET.get("key", ""), request.GET.get("q", "")
        try:
            entries = to_reset(alias, key, prefix)
        except Refused as error:
            self.message_user(request, f"Nothing was reset: {error}.", messages.ERROR)
            return self._to_list()
        form = ResetForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            shown = form.cleaned_data["shown"]
            if shown == len(entries):
                reset(request, alias, entries, form.cleaned_data["reason"])
                self.message_user(request, f"Reset: {shown}.", messages.SUCCESS)
                return self._to_list(using=alias, q=prefix)
            said = f"Nothing was reset: {shown} were shown, now there are {len(entries)}."
            self.message_user(request, said, messages.ERROR)
        context = {
            "title": "Reset counters",
            "alias": alias,
            "key": key,
            "prefix": prefix,
            "entries": entries,
            "form": form,
        }
        return self._page(request, "reset.html", context)

    # Rate limits.

    @answered
    def limits_view(self, request: HttpRequest) -> HttpResponse:
        """Show what each rate limit did in the last hour, and whom it denied."""
        _require(self.has_view_or_change_permission(request))
        context = {
            "title": "Rate limits",
            "limits": overview(),
            "statistics": setting("STATISTICS"),
            "may_forgive": self.has_reset_permission(request),
        }
        return self._page(request, "limits.html", context)

    @answered
    def forgive_view(self, request: HttpRequest) -> HttpResponse:
        """Give an identity its whole limit back."""
        _require(self.has_reset_permission(request))
        form = ForgiveForm(request.POST)
        limits = limits_named(form.cleaned_data["name"]) if form.is_valid() else []
        if limits:
            self._forgive(request, limits, form.cleaned_data)
        else:
            self.message_user(request, "Nobody was forgiven: no such limit.", messages.ERROR)
        return HttpResponseRedirect(reverse(f"{self.admin_site.name}:{NAME}_limits"))

    def _forgive(self, request: HttpRequest, limits: list[RateLimit], data: dict[str, str]) -> None:
        identity = data["identity"]
        shown = f"{identity} at {data['name']}"
        done = f"forgiven, it was denied {times_denied(limits, identity)} times"
        try:
            forgive(limits, identity)
        except CounterError:
            log(request, [(shown, f"{done}. It may have been applied in part")], data["reason"])
            raise
        log(request, [(shown, f"{done}. The whole limit is given back")], data["reason"])
        self.message_user(request, f"Forgiven: {shown}.", messages.SUCCESS)

    # What pages have in common.

    def _to_list(self, **parameters: str) -> HttpResponse:
        address = reverse(f"{self.admin_site.name}:{NAME}_changelist")
        return HttpResponseRedirect(f"{address}?{urlencode(parameters)}")

    def _page(
        self, request: HttpRequest, template: str, context: dict[str, Any], status: int = 200
    ) -> HttpResponse:
        request.current_app = self.admin_site.name
        common = {**self.admin_site.each_context(request), "opts": self.opts, "media": self.media}
        path = f"django_counter/admin/{template}"
        return TemplateResponse(request, path, {**common, **context}, status=status)


def _alias(request: HttpRequest) -> str:
    """Return the alias that was asked for, or else "default", or else the first one."""
    usual = min(counters, key=lambda alias: alias != DEFAULT_ALIAS, default=DEFAULT_ALIAS)
    return request.GET.get("using", usual)


def _require(permission: bool) -> None:
    if not permission:
        raise PermissionDenied
