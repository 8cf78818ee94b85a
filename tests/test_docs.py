"""The Python code of the README and the documentation runs.

The blocks of a file are run one after another and share their names, on counters in memory. A
block of settings only defines them; an `await` needs no function around it.
"""

import ast
import asyncio
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.test import Client, override_settings
from django.urls import path

from django_counter import Budget, Timer
from django_counter.ratelimit import Decision
from django_counter.ratelimit.decisions import Standing

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FILES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
MEMORY = {"default": {"BACKEND": "django_counter.backends.memory.MemoryCounter"}}

# What a fence may say that it holds. Only "python" is run.
LANGUAGES = {"python", "console", "shell", "sh", "text", "ini", "toml", "html", "json", "lua"}
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*).*\n(?P<code>(?:.*\n)*?) *```$", re.M)

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


class Block(NamedTuple):
    """What stands between two fences."""

    language: str
    code: str
    line: int  # of its first line of code


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a Markdown text."""
    return [
        Block(
            found["language"],
            textwrap.dedent(found["code"]),
            text.count("\n", 0, found.start("code")) + 1,
        )
        for found in FENCE.finditer(text)
    ]


def run(text: str, name: str) -> dict[str, Any]:
    """Run the Python blocks of a text; return the names that they leave."""
    names: dict[str, Any] = {"__name__": "documentation"}
    python = [block for block in blocks(text) if block.language == "python"]
    assert python, f"{name} has no Python block"
    for block in python:
        # The line numbers of a traceback are those of the file.
        lines = "\n" * (block.line - 1) + block.code
        code = compile(lines, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        waiting = eval(code, names)
        if inspect.iscoroutine(waiting):
            asyncio.run(waiting)
    return names


@each_file
def test_the_code_runs(path: Path) -> None:
    with override_settings(COUNTERS=MEMORY):
        run(path.read_text("utf-8"), str(path))


def test_the_operations_of_ninja_answer() -> None:
    page = ROOT / "docs" / "frameworks.md"
    with override_settings(COUNTERS=MEMORY):
        api = run(page.read_text("utf-8"), str(page))["api"]
        with override_settings(ROOT_URLCONF=(path("api/", api.urls),)):
            key = {"X-Api-Key": "a-long-secret"}
            assert Client().get("/api/search?q=a", headers=key).status_code == 200
            assert Client().get("/api/search?q=a").status_code == 401
            assert Client().get("/api/report").status_code == 200


@each_file
def test_every_block_has_a_known_language(path: Path) -> None:
    text = path.read_text("utf-8")
    found = blocks(text)
    assert [block for block in found if block.language not in LANGUAGES] == []
    assert len(re.findall(r"^ *```", text, re.M)) == 2 * len(found)
    assert "~~~" not in text
    assert re.findall(r"^ +(?:>>>|import \w|from \S+ import ).*", FENCE.sub("", text), re.M) == []


@each_file
def test_nothing_is_installed_by_a_name_that_another_project_has(path: Path) -> None:
    installed = re.findall(r"pip install (?:-\S+ )*(\S+)", path.read_text("utf-8"))
    assert [what for what in installed if "django-counter" in what] == []


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        ("README.md", Budget),
        ("README.md", Timer),
        ("docs/rate-limits.md", Decision),
        ("docs/rate-limits.md", Standing),
    ],
)
def test_each_field_is_in_a_table(page: str, kind: Any) -> None:
    rows = re.findall(r"^\|.*", (ROOT / page).read_text("utf-8"), re.M)
    named = set(re.findall(r"`(\w+)(?:=\w+)?`", "\n".join(rows)))
    assert set(kind._fields) <= named


# The runner itself.


def test_blocks_share_their_names_and_await() -> None:
    text = """
# Title

```python
COUNTERS = {"default": {"BACKEND": "somewhere.else.Backend"}}
```

```console
$ rm -rf everything
```

1. In a list:

   ```python
   from django_counter import counter

   counter.increment("visits", 5)
   ```

```python
visits = await counter.aincrement("visits")
```
"""
    with override_settings(COUNTERS=MEMORY):
        names = run(text, "text")
    assert names["visits"] == 6
    assert names["COUNTERS"]["default"]["BACKEND"] == "somewhere.else.Backend"


def test_an_error_has_the_line_of_the_file() -> None:
    text = "Title\n\n```python\nfine = 1\nassert fine == 2\n```\n"
    with pytest.raises(AssertionError) as caught:
        run(text, "text")
    assert caught.tb.tb_next is not None
    last = caught.traceback[-1]
    assert (str(last.path), last.lineno + 1) == ("text", 5)


@pytest.mark.parametrize("text", ["", "Words.", "```console\n$ true\n```\n"])
def test_a_text_without_python_fails(text: str) -> None:
    with pytest.raises(AssertionError, match="text has no Python block"):
        run(text, "text")
