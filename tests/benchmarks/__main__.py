"""Run the benchmark: `make bench`, with QUICK=1 for a glance, ONLY=decisions for one table."""

import os
import sys

from tests.benchmarks import run

if __name__ == "__main__":
    sys.exit(run.main(os.environ.get("ONLY", "").replace(",", " ").split()))
