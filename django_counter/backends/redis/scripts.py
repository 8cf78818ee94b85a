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
    source = files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")
    return Script(hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(), source)
