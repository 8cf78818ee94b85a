"""Test the built wheel on every legal pair of Python and Django whose interpreter is there."""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import nox

PAIRS = [
    ("3.11", "5.2"),  # Django 6 needs Python 3.12
    ("3.12", "5.2"),
    ("3.12", "6.0"),
    ("3.12", "6.1"),
    ("3.13", "5.2"),
    ("3.13", "6.0"),
    ("3.13", "6.1"),
]
# The oldest and the newest have the whole suite, the pages in a browser too; the others its core.
ENDS = (PAIRS[0], PAIRS[-1])
CORE = [
    "tests/admin",
    "tests/commands/test_command.py",
    "tests/contract",
    "tests/ratelimit/test_decorator.py",
    "tests/ratelimit/test_middleware.py",
    "tests/test_docs.py",
    "tests/test_models.py",
]
# The oldest that setup.cfg allows; the first pair has them.
OLDEST_DRIVERS = ["redis==5.1.*", "hiredis==3.2.*"]
ROOT = Path(__file__).parent
DIST = ROOT / ".nox" / "dist"
FROM_WHEEL = (
    "import pathlib, sys, django_counter as package;"
    "sys.exit(not pathlib.Path(package.__file__).is_relative_to(sys.prefix))"
)

# pyenv's PATH reaches only the versions it has activated.
PYENV = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
os.environ["PATH"] += "".join(f"{os.pathsep}{path}" for path in PYENV.glob("versions/3.*/bin"))

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the sdist, and the wheel from it."""
    session.install("build")
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(DIST), silent=True)


@nox.session(requires=["wheel"])
@nox.parametrize(
    "python,django",
    [nox.param(*pair, id="Python {}, Django {}".format(*pair)) for pair in PAIRS],
)
def tests(session: nox.Session, django: str) -> None:
    """Run the tests, without the heavy ones, where the checkout cannot be imported."""
    [built] = DIST.glob("*.whl")
    pair = (session.python, django)
    drivers = OLDEST_DRIVERS if pair == PAIRS[0] else []
    chosen = session.posargs or ([] if pair in ENDS else CORE)
    session.install(f"{built}[test]", f"Django=={django}.*", *drivers)
    with TemporaryDirectory() as folder:
        shutil.copytree(ROOT, folder, ignore=ignored, dirs_exist_ok=True)
        with session.chdir(folder):
            session.run("python", "-c", FROM_WHEEL)
            session.run("python", "-m", "pytest", "-n", "auto", "-m", "not heavy", *chosen)


def ignored(folder: str, names: list[str]) -> set[str]:
    """Leave out the package, hidden files, and what the checkout's own runs left."""
    left = {"__pycache__", "build", "dist", "db.sqlite3"}
    if Path(folder) == ROOT:
        left |= {name for name in names if name.startswith((".", "django_counter"))}
    return left
