"""Each table in a new process with a new server; then the JSON, the page and the charts."""

import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks import machine, page
from tests.benchmarks.goals import TABLES
from tests.benchmarks.server import new_server, pin

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "performance.json"


def main(only: list[str]) -> int:
    unknown = set(only) - set(TABLES)
    if unknown:
        print(f"There is no table {', '.join(unknown)}. They are {', '.join(TABLES)}.")
        return 2
    core = pin()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"tables": {}}
    results["machine"] = machine.described(core)
    failed = []
    for name in only or TABLES:
        try:
            section = measured(name)
        except subprocess.CalledProcessError:  # it has printed why
            failed.append(name)
            continue
        results["tables"][name] = section
        print(page.section(name, section), flush=True)
    results["tables"] = {
        name: results["tables"][name] for name in TABLES if name in results["tables"]
    }
    print(page.goals(results, only or TABLES))
    if os.environ.get("QUICK"):
        print("QUICK=1: nothing is written.")
    else:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        page.write(results)
    if failed:
        print(f"Not measured: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


def measured(name: str) -> dict[str, Any]:
    """Return what one table has measured."""
    began = time.monotonic()
    with new_server() as server, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "section.json"
        environment = {
            **os.environ,
            "BENCH_PORT": str(server.port),
            "BENCH_REDIS_URL": server.url,
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings",
        }
        command = [sys.executable, "-m", "tests.benchmarks.table", name, str(path)]
        subprocess.run(command, env=environment, cwd=ROOT, check=True)
        section: dict[str, Any] = json.loads(path.read_text())
    section["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    section["seconds"] = round(time.monotonic() - began)
    return section
