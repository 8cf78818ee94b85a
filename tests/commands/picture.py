"""The picture of `counter watch` in the README. `python -m tests.commands.picture` draws it."""

import os
import signal
import threading
from html import escape
from itertools import groupby
from pathlib import Path
from random import Random

import pyte
import redis

from tests.commands.runs import Manage, terminal
from tests.servers import ServerProcess, valkey_binary

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "watch.svg"
COLUMNS, LINES = 80, 24
CELL_WIDTH, CELL_HEIGHT, MARGIN = 8.4, 18, 14
COLOURS = {"default": "#d4d4d4", "green": "#7ec699", "cyan": "#6cb6d9", "brown": "#d9a05b"}
NO_BREAK = "&#160;"  # of several spaces, SVG shows one
SLUGS = ["django", "python", "redis", "valkey", "docs", "blog", "jobs", "talks", "shop", "status"]


def svg(screen: pyte.Screen) -> str:
    """Return a terminal's screen as a picture, without what is empty at its end."""
    used = max(y for y, line in enumerate(screen.display) if line.strip()) + 1
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN, used * CELL_HEIGHT + 2 * MARGIN
    box = f'viewBox="0 0 {width:g} {height}" width="{width:g}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        "<title>manage.py counter watch</title>",
        f'<rect width="{width:g}" height="{height}" rx="8" fill="#1e1e1e"/>',
        '<g font-family="monospace" font-size="14">',
    ]
    for y in range(used):
        cells = [(x, screen.buffer[y][x]) for x in range(COLUMNS)]
        for (colour, bold), run in groupby(cells, key=lambda cell: (cell[1].fg, cell[1].bold)):
            each = list(run)
            text = "".join(character.data for _, character in each)
            if text.strip():
                parts.append(_text(each[0][0], y, text, colour, bold))
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _text(x: int, y: int, text: str, colour: str, bold: bool) -> str:
    left = MARGIN + (x + len(text) - len(text.lstrip())) * CELL_WIDTH
    text = text.strip()
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{left:g}" y="{MARGIN + (y + 0.75) * CELL_HEIGHT:g}" '
        f'textLength="{len(text) * CELL_WIDTH:g}" lengthAdjust="spacingAndGlyphs" '
        f'fill="{COLOURS[colour]}"{weight}>{escape(text).replace(" ", NO_BREAK)}</text>'
    )


def watched(manage: Manage, frames: int) -> pyte.Screen:
    """Return the screen as it is after that many frames."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    master, slave = terminal()
    with manage.start("watch", stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        shown = b""
        while shown.count(b"PER SECOND") < frames or not shown.endswith(b"\x1b[J"):
            shown += os.read(master, 65_536)
        stream.feed(shown)
        process.send_signal(signal.SIGINT)
        process.wait()
    os.close(master)
    return screen


def draw() -> None:
    """Count clicks for a while, watch them, and keep the picture."""
    random = Random(7)
    with ServerProcess(valkey_binary()) as server, redis.Redis(port=server.port) as client:
        for number, slug in enumerate(SLUGS):
            client.set(f"counter:clicks:{slug}", 90_000 // (number + 1))
        client.set("counter:credits:team-7", 50_000)
        ended = threading.Event()

        def click() -> None:
            while not ended.wait(0.01):
                slug = SLUGS[min(int(random.expovariate(0.5)), len(SLUGS) - 1)]
                client.incrby(f"counter:clicks:{slug}", random.randrange(1, 9))
                client.decrby("counter:credits:team-7", 2)

        clicks = threading.Thread(target=click)
        clicks.start()
        screen = watched(Manage(server.url, "counter"), frames=4)
        ended.set()
        clicks.join()
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg(screen), "utf-8")


if __name__ == "__main__":
    draw()
