"""settings.COUNTERS made into counters: one for each alias and process."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from threading import RLock
from typing import Any, TypeAlias, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.connection import ConnectionProxy
from django.utils.module_loading import import_string

from django_counter.arguments import check_key
from django_counter.base import Counter
from django_counter.exceptions import CounterConfigError

DEFAULT_ALIAS = "default"
SETTINGS_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "BACKEND": (str, "a dotted path"),
    "KEY_PREFIX": (str, "a text"),
    "MIDDLEWARE": ((list, tuple), "a list of dotted paths"),
    "OPTIONS": (dict, "a dict"),
}

Middleware: TypeAlias = Callable[[Counter], Counter]


@dataclass(frozen=True, slots=True)
class Definition:
    """One entry of COUNTERS, its defaults filled in. What it names is imported on demand."""

    alias: str
    backend: str = "django_counter.backends.redis.RedisCounter"
    key_prefix: str = "counter"
    middleware: Sequence[str] = ()  # the first is the outermost
    options: dict[str, Any] = field(default_factory=dict)  # keyword arguments of the backend

    def build(self) -> Counter:
        """Return the backend's counter, which is not connected yet."""
        backend = self.import_backend()
        self.check_options(backend)
        with self._in_error(self.backend):
            return backend(key_prefix=self.key_prefix, **self.options)

    def compose(self, built: Counter) -> Counter:
        """Return the backend's counter inside the middleware."""
        composed = built
        for wrap in reversed(self.import_middleware()):
            with self._in_error(f"middleware {wrap!r}"):
                composed = wrap(composed)
            if composed is None:
                raise self.error(f"middleware {wrap!r} returned None, not a counter")
        return composed

    def import_backend(self) -> Callable[..., Counter]:
        """Return the backend, which takes `key_prefix` and the options."""
        return self._import("backend", self.backend)

    def is_of(self, kind: type[Counter]) -> bool:
        """Return whether the backend is a class of counters, or one derived from it."""
        backend = self.import_backend()
        return isinstance(backend, type) and issubclass(backend, kind)

    def import_middleware(self) -> list[Middleware]:
        """Return the middleware, the outermost first; refuse what wants more than a counter."""
        middleware = [self._import("middleware", path) for path in self.middleware]
        for path, wrap in zip(self.middleware, middleware, strict=True):
            try:
                inspect.signature(wrap).bind(None)
            except ValueError:
                pass  # of some classes that are written in C
            except TypeError as error:
                words = f"the middleware {path!r} is called with the next counter alone: {error}"
                raise self.error(words) from error
        return middleware

    def check_options(self, backend: Callable[..., Counter]) -> None:
        """Refuse options that the backend does not know."""
        try:
            parameters = inspect.signature(backend).parameters
        except ValueError as error:  # of some classes that are written in C
            raise self.error(f"{self.backend} is no counter") from error
        if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
            return  # it knows by itself what it passes on
        known = [name for name in parameters if name != "key_prefix"]
        for name in self.options:
            if name not in known:
                raise self.error(f"unknown option {name!r}, {self.backend} has {known}")

    def error(self, message: str) -> CounterConfigError:
        """Return an error that names this entry."""
        return CounterConfigError(f"COUNTERS[{self.alias!r}]: {message}")

    @contextmanager
    def _in_error(self, maker: str) -> Iterator[None]:
        try:
            yield
        except ImproperlyConfigured as error:  # a CounterConfigError, or one of django-redis
            raise self.error(str(error)) from error
        except (TypeError, ValueError) as error:  # whose text may hold parts of a password
            raise self.error(f"{maker} failed with a {type(error).__name__}") from error

    def _import(self, role: str, path: str) -> Callable[..., Counter]:
        try:
            imported = import_string(path)
        except (ImportError, ValueError) as error:
            raise self.error(f"cannot import the {role} {path!r}: {error}") from error
        if not callable(imported):
            raise self.error(f"the {role} {path!r} is not callable")
        return cast(Callable[..., Counter], imported)


class Counters:
    """The counters of this process by alias, each composed at its first use."""

    def __init__(self) -> None:
        self._lock = RLock()  # a middleware may ask for another alias
        self._composed: dict[str, Counter] = {}
        self._built: dict[str, Counter] = {}
        self._composing: list[str] = []

    def __getitem__(self, alias: str) -> Counter:
        """Return the counter of an alias; raise CounterConfigError naming what is wrong with it."""
        try:
            return self._composed[alias]
        except KeyError:
            pass
        with self._lock:
            if alias not in self._composed:
                self._composed[alias] = self._compose(alias)
                if alias == DEFAULT_ALIAS:
                    self._default = self._composed[alias]  # for DefaultCounter
            return self._composed[alias]

    def _compose(self, alias: str) -> Counter:
        if alias in self._composing:
            way = " asks for ".join(repr(each) for each in [*self._composing, alias])
            raise CounterConfigError(f"COUNTERS: the middleware of {way}")
        self._composing.append(alias)
        try:
            return definition(alias).compose(self.backend(alias))
        finally:
            self._composing.remove(alias)

    def backend(self, alias: str) -> Counter:
        """Return the counter of an alias without its middleware: the very one that they wrap.

        For administrators, who must learn of an outage, and of what is stored now.
        """
        with self._lock:
            if alias not in self._built:
                self._built[alias] = definition(alias).build()
            return self._built[alias]

    def __iter__(self) -> Iterator[str]:
        """Yield the aliases."""
        return iter(_entries())

    def reset(self) -> None:
        """Close all counters. Their next use composes them anew, from the settings then."""
        with self._lock:
            outermost = {**self._built, **self._composed}
            self._composed, self._built = {}, {}
            vars(self).pop("_default", None)
        for each in outermost.values():
            each.close()


class DefaultCounter(ConnectionProxy):  # type: ignore[type-arg]  # generic in its stubs alone
    """The counter of "default", whichever it is now."""


# Operations are found without a function of Python, for those of ConnectionProxy cost an increment
# a tenth of its time. It still finds what they do not: a counter not composed yet, all other names.
for _name in vars(Counter):
    if not _name.startswith("_"):
        setattr(DefaultCounter, _name, property(attrgetter(f"_connections._default.{_name}")))

counters = Counters()
counter = cast(Counter, DefaultCounter(counters, DEFAULT_ALIAS))  # type: ignore[arg-type]


def definition(alias: str) -> Definition:
    """Return the entry of an alias; raise CounterConfigError for one that is badly formed."""
    entries = _entries()
    if alias not in entries:
        raise CounterConfigError(f"COUNTERS has no alias {alias!r}, it has {list(entries)}")
    entry = entries[alias]
    blank = Definition(alias)
    if not isinstance(entry, dict):
        raise blank.error(f"must be a dict, not {type(entry).__name__}")
    for name, value in entry.items():
        if name not in SETTINGS_TYPES:
            raise blank.error(f"unknown key {name!r}, it has {list(SETTINGS_TYPES)}")
        kind, words = SETTINGS_TYPES[name]
        if not isinstance(value, kind):
            raise blank.error(f"{name} must be {words}, not {type(value).__name__}")
    for path in entry.get("MIDDLEWARE", ()):
        if not isinstance(path, str):
            raise blank.error(f"MIDDLEWARE must hold dotted paths, not {path!r}")
    try:
        check_key(entry.get("KEY_PREFIX", blank.key_prefix))
    except ValueError as error:
        raise blank.error(f"KEY_PREFIX: {error}") from error
    return Definition(alias, **{name.lower(): value for name, value in entry.items()})


def _entries() -> dict[str, Any]:
    entries = getattr(settings, "COUNTERS", {DEFAULT_ALIAS: {}})
    if not isinstance(entries, dict):
        raise CounterConfigError(f"COUNTERS must be a dict, not {type(entries).__name__}")
    return entries
