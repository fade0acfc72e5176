"""The house rules as tests: floors, purity, sizes, docstrings. Each rule is shown a violation first.

A rule is a function from a file's path and syntax tree to sentences that say what is wrong with it.
"""

import ast
import importlib.metadata
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.settings import SETTINGS

ROOT = Path(__file__).resolve().parent.parent

FLOORS = {
    "validator": set[str](),
    "storage": {"validator"},
    "eventbus": {"validator"},
    "cluster": {"eventbus", "validator"},
    "node": {"cluster", "storage", "eventbus", "validator"},
    "api": {"node", "eventbus", "validator"},
}
"""What each room may import besides itself."""

ROOF = ("node/__main__.py", "node/cli.py", "node/serve.py", "node/demo.py")
"""May import anything; imported only by each other. So is every `node/demo_*.py`."""

DRIVERS = {
    "cluster": {
        *("transport", "handshake", "link", "intake", "turns", "discovery", "connector", "service"),
        *("connection", "doorbell", "backpressure"),
        *("tls", "security"),
    },
    "storage": {
        *("data_dir", "peer_file", "salvage"),  # files
        *("journal_file", "journal_format", "restore"),  # SQLite's
        *("journal_writer", "journal"),  # a thread, and the store that has one
    },
}
"""The files of these rooms that may touch sockets, files, threads, tasks and clocks, and import others that
do; all others are pure."""

PURE_API = {
    *("access", "errors", "parse", "cursor", "origin", "heads", "rates", "views", "forms", "feed"),
    *("operation", "openapi", "reference_page"),  # what is said about routes
}

PURE_NODE = {"config", "settings", "values", "findings", "following"}

IMPURE_MODULES = {
    *(
        "trio",
        "asyncio",
        "socket",
        "select",
        "selectors",
        "ssl",
        "subprocess",
        "threading",
        "multiprocessing",
    ),
    *("time", "datetime", "os", "secrets", "uuid", "random"),
    *("sqlite3", "fcntl", "tempfile", "shutil"),
}
"""A pure file imports none of these and no driver, but may take the type `Random` from `random`, and a
driver's constants."""

CALENDAR = "cluster/certificate.py"
"""Pure, and may take `datetime`: certificates write times as dates. It reads no clock, says another rule."""

WALL_CLOCK = {
    *("time.time", "time.time_ns", "time.localtime", "time.gmtime"),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
}
WALL_CLOCK_READERS = {"node/node.py", "node/client.py", "node/commands.py"}
"""The node's one reader, the client that makes ids, the commands that show ages. So does the demo."""

FILE_LINES_MAX = 320
FUNCTION_LINES_MAX = 60

Rule = Callable[[str, ast.Module], Iterator[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def room_files() -> list[str]:
    """List the product's files, relative to the root."""
    return sorted(str(p.relative_to(ROOT)) for room in FLOORS for p in (ROOT / room).rglob("*.py"))


def is_roof(path: str) -> bool:
    return path in ROOF or path.startswith("node/demo_")


def is_pure(path: str) -> bool:
    room, stem = path.split("/")[0], Path(path).stem
    return (
        room == "validator"
        or (room in DRIVERS and stem not in DRIVERS[room] | {"__init__", "exports"})
        or (room == "api" and stem in PURE_API)
        or (room == "node" and stem in PURE_NODE)
    )


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield every imported module with a dotted name, `from m import n` as `m.n`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def called(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call whose target is a dotted name, by that name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield ast.unparse(node.func), node


# --- the rules ------------------------------------------------------------------------------------------


def imports_beyond_its_floor(path: str, tree: ast.Module) -> Iterator[str]:
    """A room imports only rooms below it, by plain absolute imports; nobody imports the roof."""
    room = path.split("/")[0]
    roof_modules = {p.removesuffix(".py").replace("/", ".") for p in room_files() if is_roof(p)}
    for name in imported(tree):
        top = name.split(".")[0]
        if not top or name.split(".")[0] in ("tests", "scripts"):
            yield f"imports {name}"
        if is_roof(path):
            continue
        if top in FLOORS and top != room and top not in FLOORS[room]:
            yield f"{room} imports {name}"
        if any(name == m or name.startswith(f"{m}.") for m in roof_modules):
            yield f"imports {name} of the roof"
    for name, _ in called(tree):
        if name in ("__import__", "import_module", "importlib.import_module"):
            yield f"imports by {name}, which no rule can follow"


def touches_the_world(path: str, tree: ast.Module) -> Iterator[str]:
    """A pure file imports nothing that does I/O, waits, tells the time or draws at random."""
    if is_pure(path):
        for name in imported(tree):
            top, _, rest = name.partition(".")
            if top == "datetime" and path == CALENDAR:
                continue
            if top in IMPURE_MODULES and name != "random.Random":
                yield f"is pure and imports {name}"
            elif rest.split(".")[0] in DRIVERS.get(top, ()) and not name.split(".")[-1].isupper():
                yield f"is pure and imports the driver {name}"


def hidden_clock_or_chance(path: str, tree: ast.Module) -> Iterator[str]:
    """Time and chance come in as arguments: no cache keeps its own time, no Random seeds itself."""
    for name, call in called(tree):
        if is_pure(path) and name.endswith(("TTLCache", "TLRUCache")):
            if not any(keyword.arg == "timer" for keyword in call.keywords):
                yield f"calls {name} without timer="
        elif is_pure(path) and name in ("Random", "random.Random") and not call.args:
            yield f"calls {name} without a seed"
        elif name.startswith("random.") and name not in ("random.Random", "random.SystemRandom"):
            yield f"calls {name}: the global generator"
    if not is_roof(path):
        yield from (
            f"imports {n}" for n in imported(tree) if n.startswith("random.") and n != "random.Random"
        )


def reads_the_wall_clock(path: str, tree: ast.Module) -> Iterator[str]:
    """One reader of the wall clock; a second one would be a second opinion."""
    if path in WALL_CLOCK_READERS or path.startswith("node/demo"):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = ".".join(ast.unparse(node).split(".")[-2:])
            if name in WALL_CLOCK:
                yield f"reads the wall clock by {name}"
    for name in imported(tree):
        if name in WALL_CLOCK:
            yield f"imports {name}"


def is_too_long(path: str, tree: ast.Module) -> Iterator[str]:
    """A file fits a few screens, a function fits one."""
    for node in ast.walk(tree):
        if isinstance(node, Function) and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX:
            yield f"{node.name} has {(node.end_lineno or 0) - node.lineno + 1} lines"
    lines = max((getattr(n, "end_lineno", 0) or 0 for n in ast.walk(tree)), default=0)
    if lines > FILE_LINES_MAX:
        yield f"has {lines} lines"


def lacks_a_docstring(path: str, tree: ast.Module) -> Iterator[str]:
    """Every file and every public name says what it is for."""
    if not ast.get_docstring(tree):
        yield "opens without a docstring"
    scopes: list[ast.Module | ast.ClassDef] = [tree]
    while scopes:
        for node in scopes.pop().body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                if not ast.get_docstring(node):
                    yield f"{node.name} has no docstring"
                if isinstance(node, ast.ClassDef):
                    scopes.append(node)


RULES: tuple[Rule, ...] = (
    imports_beyond_its_floor,
    touches_the_world,
    hidden_clock_or_chance,
    reads_the_wall_clock,
    is_too_long,
    lacks_a_docstring,
)

PLANTED: list[tuple[Rule, str, str]] = [
    (imports_beyond_its_floor, "validator/x.py", "import storage"),
    (imports_beyond_its_floor, "storage/x.py", "from eventbus import EventBus"),
    (imports_beyond_its_floor, "eventbus/x.py", "def f():\n    from storage.base import Store"),
    (imports_beyond_its_floor, "cluster/x.py", "if TYPE_CHECKING:\n    from node import Node"),
    (imports_beyond_its_floor, "node/x.py", "from api.errors import Problem"),
    (imports_beyond_its_floor, "api/x.py", "from storage import Store"),
    (imports_beyond_its_floor, "api/x.py", "import cluster.codec as c"),
    (imports_beyond_its_floor, "api/x.py", "from node.cli import main"),
    (imports_beyond_its_floor, "node/x.py", "from node import serve"),
    (imports_beyond_its_floor, "node/x.py", "from . import node"),
    (imports_beyond_its_floor, "cluster/x.py", "importlib.import_module('node')"),
    (imports_beyond_its_floor, "node/cli.py", "from tests import processes"),
    (touches_the_world, "validator/x.py", "import time"),
    (touches_the_world, "storage/x.py", "def f():\n    import trio"),
    (touches_the_world, "storage/memory.py", "import sqlite3"),
    (touches_the_world, "storage/memory.py", "from storage.journal_writer import JournalWriter"),
    (touches_the_world, "cluster/engine.py", "import cluster.link"),
    (touches_the_world, "cluster/x.py", "from random import choice"),
    (touches_the_world, "cluster/x.py", "import random"),
    (touches_the_world, "api/cursor.py", "from datetime import datetime"),
    (touches_the_world, "node/config.py", "import os.path"),
    (hidden_clock_or_chance, "cluster/x.py", "TTLCache(10, 60)"),
    (hidden_clock_or_chance, "cluster/x.py", "Random()"),
    (hidden_clock_or_chance, "cluster/link.py", "random.random()"),
    (hidden_clock_or_chance, "api/server.py", "from random import choice"),
    (reads_the_wall_clock, "cluster/service.py", "import time\ntime.time_ns()"),
    (reads_the_wall_clock, "api/app.py", "datetime.datetime.now()"),
    (reads_the_wall_clock, "node/admission.py", "clock = time.time"),
    (reads_the_wall_clock, "node/serve.py", "from time import time"),
    (is_too_long, "api/x.py", "def f():\n" + "    g()\n" * FUNCTION_LINES_MAX),
    (is_too_long, "api/x.py", "f()\n" * (FILE_LINES_MAX + 1)),
    (lacks_a_docstring, "api/x.py", "x = 1"),
    (lacks_a_docstring, "api/x.py", "'''A file.'''\nclass A:\n    '''One.'''\n    async def f(self): ..."),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    """No file of the product breaks a house rule."""
    broken: list[str] = []
    for path in room_files():
        broken += [f"{path}: {what}" for what in rule(path, ast.parse((ROOT / path).read_text()))]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("rule", "path", "source"), PLANTED, ids=lambda value: getattr(value, "__name__", None)
)
def test_every_rule_finds_what_it_forbids(rule: Rule, path: str, source: str) -> None:
    """A rule that cannot fail keeps nothing out."""
    assert list(rule(path, ast.parse(source)))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("cluster/x.py", "from random import Random\nRandom(7)\nTTLCache(1, 2, timer=t)\nimport eventbus"),
        ("node/cli.py", "import api, node.serve"),
        ("node/node.py", "import time\nimport cluster\ntime.time_ns()"),
        ("cluster/link.py", "import trio\ntrio.current_time()"),
        ("cluster/config.py", "from cluster.connection import WRITE_TIMEOUT_S"),
        ("storage/journal_file.py", "import os, sqlite3\nfrom storage.journal_format import X"),
        ("api/x.py", "def _f():\n" + "    g()\n" * (FUNCTION_LINES_MAX - 1)),
        ("api/x.py", "\n".join(["f()"] * FILE_LINES_MAX)),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    """The rules forbid no more than they say."""
    rules = [rule for rule in RULES if rule is not lacks_a_docstring]
    assert [what for rule in rules for what in rule(path, ast.parse(source))] == []


def test_the_rooms_are_all_there() -> None:
    """The rules look at every room, and a file that moves away does not slip out unseen."""
    assert {path.split("/")[0] for path in room_files()} == set(FLOORS)
    assert {f"{room}/{name}.py" for room in DRIVERS for name in DRIVERS[room]} <= set(room_files())
    assert {f"api/{name}.py" for name in PURE_API} <= set(room_files())
    assert set(ROOF) | WALL_CLOCK_READERS <= set(room_files())


def test_the_wheel_ships_exactly_the_rooms() -> None:
    """A room that is not in the wheel works here and nowhere else."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(FLOORS)


def test_no_dependency_ships_a_module_named_like_a_room() -> None:
    """Root folders are import names; whoever else ships one of them would be imported instead."""
    shippers = importlib.metadata.packages_distributions()
    assert {room: shippers[room] for room in FLOORS if set(shippers.get(room, ())) - {"dayfly"}} == {}
    assert not set(FLOORS) & sys.stdlib_module_names


def test_every_setting_is_in_the_readme() -> None:
    """What can be set can be found."""
    readme = (ROOT / "README.md").read_text()
    assert [s.name for s in SETTINGS if f"--{s.name}" not in readme] == []
