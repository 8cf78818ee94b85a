"""One table, in a process of its own: `python -m tests.benchmarks.table NAME PATH-OF-JSON`."""

import importlib
import json
import sys
from pathlib import Path

import django

from tests.benchmarks.results import from_environment


def main() -> None:
    name, path = sys.argv[1:]
    django.setup()
    section = importlib.import_module(f"tests.benchmarks.{name}").measure(from_environment())
    Path(path).write_text(json.dumps(section.as_json()))


if __name__ == "__main__":
    main()
