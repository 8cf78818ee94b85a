"""Fixtures of views behind limits.

A test module takes them with `pytest_plugins = ["tests.ratelimit.site_fixtures"]`.
"""

import asyncio

import pytest

from django_counter.ratelimit.limit import declared
from tests.ratelimit.sites import Site


@pytest.fixture(params=["sync", "async"])
def site(request: pytest.FixtureRequest, runner: asyncio.Runner, name: str) -> Site:
    return Site(runner if request.param == "async" else None, name)


@pytest.fixture
def forgotten() -> None:
    """The limits of a module's views, as if no other test had asked them."""
    for limit in list(declared):
        limit.forget()
