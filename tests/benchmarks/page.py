"""The results as text: on the terminal, and in docs/performance.md between two marks."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import charts
from tests.benchmarks.goals import GOALS, TABLES, held

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- what `make bench` writes begins here -->", "<!-- and ends here -->"


def write(results: dict[str, Any]) -> None:
    """Write the part of the page that is measured, and its charts."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    parts = [measured_on(results["machine"]), goals(results)]
    for name, each in results["tables"].items():
        images = charts.draw(name, each, PAGE.parent / "images")
        shown = "\n".join(f"![{title}](images/{file})" for file, title in images)
        parts.append("\n\n".join(filter(None, [section(name, each), shown])))
    PAGE.write_text(before + BEGIN + "\n\n" + "\n\n".join(parts) + "\n\n" + END + after)


def measured_on(machine: dict[str, Any]) -> str:
    """Return what was measured on, in words."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"Measured on {machine['cpu']}, client and server on one of {machine['cores']} cores; "
        f"{machine['system']}, Python {machine['python']}, {machine['server']}, {packages}."
    )


def goals(results: dict[str, Any], names: Collection[str] = TABLES) -> str:
    """Return the goals of some tables, with the figures that are there."""
    rows = []
    for goal in GOALS:
        if goal.table not in names:
            continue
        figures = results["tables"].get(goal.table, {}).get("figures", {})
        value = figures.get(goal.figure)
        reached = "not measured" if value is None else "yes" if held(goal, value) else "no"
        rows.append([goal.subject, goal.text, value, figures.get(goal.raw), reached])
    return "## Goals\n\n" + table(["", "goal", "measured", "a raw socket", "reached"], rows)


def section(name: str, each: dict[str, Any]) -> str:
    """Return a section, with its tables and notes."""
    parts = [f"## {each['title']}"]
    for one in each["tables"]:
        parts += [f"### {one['title']}", table(one["columns"], one["rows"])]
    parts.append("\n".join(f"- {note}" for note in each["notes"]))
    parts.append(f"Measured {each['date']} in {each['seconds']} s: `ONLY={name} make bench`.")
    return "\n\n".join(parts)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table, aligned for those who read it on a terminal."""
    cells = [[shown(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    lines = [columns, rule, *cells]
    return "\n".join(_line(line, widths) for line in lines)


def shown(value: Any) -> str:
    """Return a cell: a number, or a median with its quartiles."""
    if value is None:
        return "-"
    if isinstance(value, list):
        low, median, high = map(number, value)
        return f"{median} ({low}-{high})"
    return value if isinstance(value, str) else number(value)


def number(value: float) -> str:
    """Return about three digits."""
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1])] + [cell.rjust(width) for cell, width in others]
    return f"| {' | '.join(padded)} |"
