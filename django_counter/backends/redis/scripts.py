"""The Lua scripts of this package."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Script(NamedTuple):
    """A script as EVALSHA and EVAL take it."""

    digest: str
    source: str


@cache
def script(name: str) -> Script:
    """Return a script of the folder lua/ by the name of its file."""
    source = _source(name)
    return _script(_source("draw") + source if name == "take" else source)


@cache
def script_once(name: str) -> Script:
    """Return the same script for calls with an idempotency key, as lua/once.lua has it."""
    return _script(f"local function apply()\n{_source(name)}end\n{_source('once')}")


def _script(source: str) -> Script:
    return Script(hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(), source)


def _source(name: str) -> str:
    return files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")
