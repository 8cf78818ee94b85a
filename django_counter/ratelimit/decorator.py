"""The view decorators."""

import functools
from collections.abc import Callable, Collection, Iterator
from http import HTTPMethod
from types import FunctionType, MethodType
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponseBase

from django_counter.handler import DEFAULT_ALIAS
from django_counter.ratelimit.guard import Cost, Guard, RefundWhen, arefusal, refusal
from django_counter.ratelimit.headers import apply_headers
from django_counter.ratelimit.identity import Identify, key_name, parse_identity
from django_counter.ratelimit.limit import RateLimit
from django_counter.ratelimit.outages import check_on_error
from django_counter.ratelimit.settings import current

METHODS = frozenset(each.value for each in HTTPMethod)

View = TypeVar("View", bound=Callable[..., Any])


def rate_limit(
    *rates: str | RateLimit,
    key: str | Identify = "ip",
    name: str | None = None,
    methods: Collection[str] | None = None,
    cost: Cost = 1,
    algorithm: str = "fixed",
    using: str = DEFAULT_ALIAS,
    block: bool = True,
    when: Callable[[HttpRequest], bool] | None = None,
    refund_when: RefundWhen | None = None,
    on_error: str = "allow",
) -> Callable[[View], View]:
    """Limit a view, synchronous or not: `@rate_limit("5/m", key="ip")`.

    `rates` are texts such as "100/h", or one RateLimit, which has its own name, algorithm and
    alias. `key` says whom to count: "ip", "user", "user_or_ip", "header:NAME", "post:FIELD",
    "get:FIELD", "session", or a function of the request. The `name` is the dotted path of the
    view; one whose path is not its own needs a name.

    `methods` are the HTTP methods that count, of those in http.HTTPMethod; all without it. `cost`
    is a number, or a function of the request; 0 draws nothing, and a request that costs more than
    the limit is answered with 400. With `when`, only the requests count for which it is true.
    `refund_when`, a function of the request and the response, gives the hit back. With `block` off
    the view runs in any case. The decisions are in `request.rate_limits`, in the order made.
    All functions are synchronous; those of an asynchronous view run in a thread.

    While the counters are away, `on_error` is "allow", "deny" (503), "raise" or "local": a share
    of the limit, counted in this process.
    """
    identity = parse_identity(key)
    check_on_error(on_error)
    _check_function("when", when)
    _check_function("refund_when", refund_when)
    if not isinstance(block, bool):
        raise TypeError(f"block must be True or False, not {block!r}")
    counted = None if methods is None else _checked_methods(methods)
    limit_of = _limits(rates, name, algorithm, using, cost, key_name(key))

    def applies(request: HttpRequest) -> bool:
        if counted is not None and request.method not in counted:
            return False
        return current().enabled

    def decorate(view: View) -> View:
        if view.__module__ == "django.utils.decorators":
            return view  # what method_decorator() looks for attributes with
        if isinstance(view, FunctionType) and view.__code__.co_varnames[:1] == ("self",):
            raise TypeError(
                f"{view.__qualname__} is a method: decorate it with "
                "@method_decorator(rate_limit(...))"
            )
        guard = Guard(limit_of(view), identity, cost, on_error, refund_when)
        limited = _alimited if _is_async(view) else _limited
        return cast(View, functools.wraps(view)(limited(view, guard, applies, when, block)))

    return decorate


def rate_limit_exempt(view: View) -> View:
    """Let the site-wide limit pass a view by."""

    def exempt(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return view(request, *args, **kwargs)

    async def aexempt(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return await view(request, *args, **kwargs)

    wrapper = functools.wraps(view)(aexempt if iscoroutinefunction(view) else exempt)
    wrapper.rate_limit_exempt = True  # type: ignore[attr-defined]
    return cast(View, wrapper)


Applies = Callable[[HttpRequest], bool]


def _limited(
    view: Callable[..., HttpResponseBase],
    guard: Guard,
    applies: Applies,
    when: Applies | None,
    block: bool,
) -> Callable[..., HttpResponseBase]:
    def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not applies(request) or (when and not when(request)):
            return view(request, *args, **kwargs)
        hit = guard.hit(request)
        if block and not hit.decision.allowed:
            return refusal(request, hit.decision)
        response = view(request, *args, **kwargs)
        if guard.refund_when:
            guard.refund(request, hit, response)
        apply_headers(response, hit.decisions)
        return response

    return limited


def _alimited(
    view: Callable[..., Any], guard: Guard, applies: Applies, when: Applies | None, block: bool
) -> Callable[..., Any]:
    awhen = sync_to_async(when) if when else None

    async def alimited(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not applies(request) or (awhen and not await awhen(request)):
            return await view(request, *args, **kwargs)  # type: ignore[no-any-return]
        hit = await guard.ahit(request)
        if block and not hit.decision.allowed:
            return await arefusal(request, hit.decision)
        response: HttpResponseBase = await view(request, *args, **kwargs)
        if guard.refund_when:
            await guard.arefund(request, hit, response)
        apply_headers(response, hit.decisions)
        return response

    return alimited


def _checked_methods(methods: Collection[str]) -> frozenset[str]:
    """Return HTTP methods in capitals; refuse others, for which a view would never be limited."""
    if isinstance(methods, str):
        raise TypeError(f"methods must be several, such as [{methods!r}]")
    checked = frozenset(str(method).upper() for method in methods)
    if not checked:
        raise ValueError("methods must name at least one, such as ['POST']")
    if unknown := checked - METHODS:
        good = ", ".join(map(repr, sorted(METHODS)))
        raise ValueError(f"methods must be of {good}, not {', '.join(map(repr, sorted(unknown)))}")
    return checked


def _check_function(argument: str, value: object) -> None:
    if value is not None and (not callable(value) or iscoroutinefunction(value)):
        raise TypeError(f"{argument} must be a synchronous function, not {value!r}")


def _check_cost(cost: Cost, limit: RateLimit) -> None:
    if isinstance(cost, bool) or not isinstance(cost, int):
        if not callable(cost) or iscoroutinefunction(cost):
            raise TypeError(f"cost must be an int or a synchronous function, not {cost!r}")
    elif not 0 <= cost <= limit.largest_cost:
        raise ValueError(f"cost must be from 0 to {limit.largest_cost}, not {cost}")


def _limits(
    rates: tuple[str | RateLimit, ...],
    name: str | None,
    algorithm: str,
    using: str,
    cost: Cost,
    key: str,
) -> Callable[[Callable[..., Any]], RateLimit]:
    """Return the function that has the limit of each view.

    A limit with a name knows its key from now on: method_decorator() has no view before a request.
    """
    first = rates[0] if rates else None
    if isinstance(first, RateLimit):
        if len(rates) > 1 or name is not None or (algorithm, using) != ("fixed", DEFAULT_ALIAS):
            raise ValueError("a RateLimit stands alone: it has its name, algorithm and alias")
        _check_cost(cost, first)
        first.keys.add(key)
        return lambda view: first
    texts = cast(tuple[str, ...], rates)  # RateLimit refuses anything else
    make = functools.partial(RateLimit, *texts, algorithm=algorithm, using=using)
    limit = make(name="unnamed" if name is None else name)  # refuses bad rates here, not later
    _check_cost(cost, limit)
    if name is not None:
        limit.keys.add(key)
        return lambda view: limit

    @functools.cache
    def of_name(name: str) -> RateLimit:
        limit = make(name=name)
        limit.keys.add(key)
        return limit

    return lambda view: of_name(_path(view))


def _path(view: Callable[..., Any]) -> str:
    """Return the dotted path of a view; for a method, by the class of its instance."""
    method = _method(view)
    if method is None:
        path = f"{view.__module__}.{getattr(view, '__qualname__', '<instance>')}"
    else:
        kind = type(method.__self__)
        path = f"{kind.__module__}.{kind.__qualname__}.{method.__name__}"
    if "<" in path or any(hasattr(layer, "__self__") for layer in _layers(view)):
        raise ImproperlyConfigured(
            f"rate_limit() needs a name=: the path {path} is not this view's own"
        )
    return path


def _method(view: Callable[..., Any]) -> MethodType | None:
    """Return the method that method_decorator() decorates, bound anew for each request."""
    for layer in _layers(view):
        if isinstance(layer, functools.partial) and isinstance(layer.func, MethodType):
            return layer.func
    return None


def _layers(view: Callable[..., Any] | None) -> Iterator[Callable[..., Any]]:
    """Yield a view and what it wraps, the outermost first."""
    while view is not None:
        yield view
        view = getattr(view, "__wrapped__", None)


def _is_async(view: Callable[..., Any]) -> bool:
    # dispatch() of an asynchronous class-based view is no coroutine function, but returns one.
    method = _method(view)
    return iscoroutinefunction(view) or getattr(method and method.__self__, "view_is_async", False)
