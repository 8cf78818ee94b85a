"""The shape of the package, on its syntax trees: who imports whom, what happens at import."""

import ast
import functools
import graphlib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

import django_counter

FOLDER = Path(django_counter.__file__).parent
ROOT = "django_counter"

CONTRACT = (
    "django_counter.arguments",
    "django_counter.base",
    "django_counter.batch",
    "django_counter.exceptions",
    "django_counter.values",
)
# What a module, and all below it, may import of this package. The longest name counts.
LAYERS: dict[str, tuple[str, ...]] = {
    "django_counter.exceptions": (),
    "django_counter.values": (),
    "django_counter.arguments": ("django_counter.values",),
    "django_counter.batch": (
        "django_counter.arguments",
        "django_counter.exceptions",
        "django_counter.values",
    ),
    "django_counter.base": ("django_counter.batch", "django_counter.values"),
    "django_counter.idempotency": (
        "django_counter.arguments",
        "django_counter.exceptions",
        "django_counter.values",
    ),
    "django_counter.regulars": (),
    "django_counter.backends": (),
    "django_counter.backends.memory": (
        *CONTRACT,
        "django_counter.idempotency",
    ),
    "django_counter.backends.redis": (
        *CONTRACT,
        "django_counter.idempotency",
        "django_counter.regulars",
        "django_counter.backends.redis",
    ),
    "django_counter.middleware": (
        *CONTRACT,
        "django_counter.idempotency",
        "django_counter.middleware",
        "django_counter.rare_log",
        "django_counter.sender",
        "django_counter.signals",
    ),
    "django_counter.rare_log": (),
    "django_counter.sender": (),
    "django_counter.middleware.fallback": (
        *CONTRACT,
        "django_counter.handler",
        "django_counter.middleware",
    ),
    "django_counter.handler": CONTRACT,
    "django_counter.checks": (
        "django_counter.exceptions",
        "django_counter.backends",
        "django_counter.handler",
        "django_counter.middleware",
    ),
    "django_counter.signals": (),
    "django_counter.ratelimit": (
        "django_counter.backends.memory",
        *CONTRACT,
        "django_counter.handler",
        "django_counter.idempotency",
        "django_counter.rare_log",
        "django_counter.regulars",
        "django_counter.ratelimit",
        "django_counter.sender",
        "django_counter.signals",
    ),
    "django_counter.administration": ("django_counter.handler", "django_counter.ratelimit"),
    "django_counter.contrib": (
        "django_counter.exceptions",
        "django_counter.handler",
        "django_counter.ratelimit",
    ),
    "django_counter.management": (
        *CONTRACT,
        "django_counter.administration",
        "django_counter.backends",
        "django_counter.handler",
        "django_counter.management",
        "django_counter.ratelimit",
    ),
    "django_counter.models": ("django_counter.values",),
    "django_counter.migrations": ("django_counter.models",),
    "django_counter.admin": (
        "django_counter.admin",
        *CONTRACT,
        "django_counter.administration",
        "django_counter.handler",
        "django_counter.models",
        "django_counter.ratelimit",
    ),
    "django_counter.testing": ("django_counter.handler", "django_counter.ratelimit"),
    "django_counter.pytest_plugin": ("django_counter.testing",),
    "django_counter.apps": (
        "django_counter.checks",
        "django_counter.contrib",
        "django_counter.handler",
        "django_counter.ratelimit",
    ),
    "django_counter": (
        *CONTRACT,
        "django_counter.handler",
    ),
}
# Outside of the standard library; the others import nothing else.
LIBRARIES: dict[str, set[str]] = {
    "django_counter.exceptions": {"django"},
    "django_counter.backends.redis": {"django", "django_redis", "hiredis", "redis"},
    "django_counter.handler": {"django"},
    "django_counter.checks": {"django", "django_redis", "redis"},
    "django_counter.apps": {"django"},
    "django_counter.signals": {"django"},
    "django_counter.ratelimit": {"asgiref", "django"},
    "django_counter.ratelimit.addresses": {"django", "python_ipware"},
    "django_counter.ratelimit.headers": {"django", "http_sf"},
    "django_counter.contrib.drf": {"django", "python_ipware", "rest_framework"},
    "django_counter.contrib.ninja": {"django", "ninja"},
    "django_counter.management": {"django", "tqdm"},
    "django_counter.models": {"django"},
    "django_counter.migrations": {"django"},
    "django_counter.admin": {"django"},
    "django_counter.testing": {"django"},
    "django_counter.pytest_plugin": {"pytest"},
}
# For types only, or only where an optional package is installed, or once settings are there.
LATE_IMPORTS = {"django_counter.apps", "django_counter.contrib.drf", "django_counter.pytest_plugin"}
# What these build on reads settings when it is imported.
READS_SETTINGS = ("django_counter.admin", "django_counter.contrib", "django_counter.models")
WITHOUT_DRIVER = [
    "django_counter",
    *CONTRACT,
    "django_counter.handler",
    "django_counter.idempotency",
    "django_counter.backends.memory",
    "django_counter.middleware",
]


def name_of(path: Path) -> str:
    parts = [ROOT, *path.relative_to(FOLDER).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(FOLDER.rglob("*.py"))}
SCRIPTS = sorted(FOLDER.rglob("*.lua"))

each_module = pytest.mark.parametrize("module", MODULES)
each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)


@functools.cache
def imports(module: str) -> list[str]:
    """Return the full names that a module imports, wherever it does."""
    names = []
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            assert node.module
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            names += [name if name in MODULES else node.module for name in submodules]
    return names


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def place(module: str, places: dict[str, object]) -> str:
    """Return the longest of the names that a module is or is below."""
    return max((name for name in places if inside(module, name)), key=len, default="")


@each_module
def test_imports_point_one_way(module: str) -> None:
    layer = place(module, dict(LAYERS))
    assert layer != ROOT or module == ROOT, f"{module} has no place in LAYERS"
    for name in imports(module):
        if inside(name, ROOT):
            assert any(inside(name, allowed) for allowed in LAYERS[layer]), name


@each_module
def test_nothing_inside_imports_the_root(module: str) -> None:
    assert ROOT not in imports(module)


@each_module
def test_a_module_imports_the_libraries_of_its_layer(module: str) -> None:
    libraries = {name.partition(".")[0] for name in imports(module)} - sys.stdlib_module_names
    assert libraries - {ROOT} <= LIBRARIES.get(place(module, dict(LIBRARIES)), set())


@each_module
def test_imports_stand_at_the_top(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    everywhere = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert module in LATE_IMPORTS or all(node in tree.body for node in everywhere)


def test_no_modules_import_each_other() -> None:
    graph = {name: {other for other in imports(name) if other in MODULES} for name in MODULES}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize(
    "module", [name for name, path in MODULES.items() if path.name == "__init__.py"]
)
def test_a_package_holds_imports_and_all_only(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign):
            assert ast.unparse(node.targets[0]) == "__all__"
        elif isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant)
        else:
            assert isinstance(node, ast.ImportFrom)


@each_module
def test_a_module_says_what_it_is(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    assert not tree.body or ast.get_docstring(tree)


# Fails where a module, while it is imported, reads a setting, connects, or opens what is no code.
IMPORTING = """
import importlib, sys
import django.conf

def refuse(event, arguments):
    if event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.fork"):
        raise RuntimeError(f"{event} at import")
    if event == "open" and str(arguments[0]).endswith((".lua", ".toml", ".json", ".cfg")):
        raise RuntimeError(f"{arguments[0]} is read at import")

sys.addaudithook(refuse)
importlib.import_module(sys.argv[1])
assert not django.conf.settings.configured, "settings are read at import"
print(*sys.modules)
"""


def modules_after(module: str) -> set[str]:
    """Import a module in a new process without settings; return what is imported then."""
    environment = {**os.environ}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTING, module],
        env=environment,
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stdout.split())


@each_module
def test_a_module_can_be_imported_without_settings(module: str) -> None:
    if any(inside(module, each) for each in READS_SETTINGS):
        return
    assert module in modules_after(module)


@pytest.mark.parametrize("module", WITHOUT_DRIVER)
def test_what_needs_no_server_imports_no_driver(module: str) -> None:
    assert modules_after(module).isdisjoint({"redis", "django_redis", "hiredis"})


def test_there_are_scripts() -> None:
    assert SCRIPTS


@each_script
def test_a_script_has_under_20_lines_of_code(script: Path) -> None:
    lines = [line.strip() for line in script.read_text("utf-8").splitlines()]
    code = [line for line in lines if line and not line.startswith("--")]
    assert 0 < len(code) < 20


@each_script
def test_a_script_begins_with_keys_argv_and_returns(script: Path) -> None:
    lines = script.read_text("utf-8").splitlines()
    header = "\n".join(itertools.takewhile(lambda line: line.startswith("-- "), lines))
    code = script.read_text("utf-8").removeprefix(header)
    assert "-- KEYS: " in header
    assert "-- Returns: " in header
    assert ("ARGV: " in header) == ("ARGV" in code)


@each_script
def test_a_script_is_ascii(script: Path) -> None:
    assert script.read_text("utf-8").isascii()


def test_the_package_says_that_it_is_typed() -> None:
    assert (FOLDER / "py.typed").is_file()
