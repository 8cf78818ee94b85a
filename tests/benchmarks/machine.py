"""On what was measured: the machine, and the versions of all that took part."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.servers import redis_binary, valkey_binary

PACKAGES = (
    "django-counter",
    "Django",
    "django-redis",
    "redis",
    "hiredis",
    "limits",
    "throttled-py",
    "pyrate-limiter",
    "django-ratelimit",
    "django-smart-ratelimit",
    "djangorestframework",
    "coredis",
    "valkey-glide",
    "gunicorn",
)


def described(core: int) -> dict[str, Any]:
    """Return the machine, and the versions, by their names."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "core": core,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "server": _server(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def _server() -> str:
    binary = redis_binary() or valkey_binary()
    words = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    return words.stdout.split(" sha=")[0].strip()
