"""Bar charts of the tables, that can be read on light and on dark pages."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

INK = "#7a8088"  # for text and lines, on white and on black
PEER, OURS = "#9aa3ad", "#2f81f7"
OURS_BEGIN = ("counter.", "RateLimit", "BufferedMiddleware", "@rate_limit")
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "django-counter",  # the same names of shapes each time
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "savefig.transparent": True,
}


def draw(name: str, section: dict[str, Any], folder: Path) -> list[tuple[str, str]]:
    """Draw the tables of a section that say which column; return file names and titles."""
    drawn = []
    chosen = [table for table in section["tables"] if table["chart"] is not None]
    for number, table in enumerate(chosen, 1):
        file = f"performance-{name}-{number}.svg" if len(chosen) > 1 else f"performance-{name}.svg"
        _draw(table, folder / file)
        drawn.append((file, f"{table['title']}: {table['columns'][table['chart']]}"))
    return drawn


def _draw(table: dict[str, Any], path: Path) -> None:
    column = table["chart"]
    rows = [row for row in reversed(table["rows"]) if row[column] is not None]
    names = [row[0] for row in rows]
    values = [row[column] if isinstance(row[column], list) else [row[column]] * 3 for row in rows]
    medians = [median for _, median, _ in values]
    errors = [[m - low for low, m, _ in values], [high - m for _, m, high in values]]
    colors = [OURS if name.startswith(OURS_BEGIN) else PEER for name in names]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 0.6 + 0.3 * len(rows)), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh(names, medians, color=colors, xerr=errors, ecolor=INK)
        axes.bar_label(bars, fmt="%.2f", padding=4)
        axes.set_xlabel(table["columns"][column])
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.1)
        # Without a date and a version, what was not measured anew does not change.
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
