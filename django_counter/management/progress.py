"""A bar on stderr, while something takes its time."""

import sys
from typing import Any

from tqdm import tqdm

from django_counter.management.console import Console


def bar(
    console: Console, words: str, *, unit: str, total: float | None = None, **options: Any
) -> Any:
    """Return a tqdm bar. It shows where stderr is a terminal, and with verbosity 1 or more."""
    return tqdm(
        desc=words,
        unit=f" {unit}",
        total=total,
        file=sys.stderr,  # Django would end each write of it with a new line
        disable=not (console.verbosity and console.stderr.isatty()),
        dynamic_ncols=True,
        **options,
    )
