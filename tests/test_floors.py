"""Imports point down: every module stands on a floor and knows only what is below it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "batchgen"
FLOORS = (
    ("__init__", "__main__"),
    ("cli",),
    ("frames",),
    ("report", "difference", "starting", "review"),
    ("estimating", "evaluation"),
    ("api", "simulated", "progress"),
    ("engine", "results", "cluster"),
    ("job",),
    ("answers",),
    ("providers", "storage", "mail"),
    ("prompts", "money", "source", "transport"),
    ("attachments",),
    ("text", "files", "stores", "tokens", "pace", "simulator"),
    ("values", "errors", "nearest", "secret", "version", "extras"),
)
"""The rooms of the package from the top floor down. A room knows rooms of lower floors only."""

FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
OWNED = {
    "httpx": {"transport.httpx_client", "transport.file_client", "stores.web"},
    "httptools": {"transport.http1"},
    "aiohappyeyeballs": {"transport.dial"},
    "tenacity": {"pace.retry"},
    "tqdm": {"progress.bar"},
    "click": {"cli"},
    "jinja2": {"prompts.template", "prompts.template_bounds", "report.html"},
    "jsonschema_rs": {"answers.schema"},
    "selectolax": {"mail.html", "mail.html_rows"},
    "sqlite3": None,
    "tiktoken": {"tokens.vocabularies"},
    "duckdb": {"review.table"},
    "starlette": {"review.server"},
    "uvicorn": {"review.server"},
    "h11": {"simulator.http1"},
    "PIL": {"attachments.pictures"},
    "pypdfium2": {"attachments.pdf"},
    "ray": {"cluster.ray_nodes"},
}
"""Libraries that are imported in one place (None: see the journal's own modules)."""


def modules():
    """Yield (dotted name below the package, its tree)."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        yield name, ast.parse(path.read_text(encoding="utf-8"))


TREES = {}


def imported(tree):
    """Yield the dotted names that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            submodules = [name for name in below if name.removeprefix("batchgen.") in TREES]
            yield from submodules
            if len(submodules) < len(below):
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


TREES |= modules()


@pytest.mark.parametrize("library", [name for name, homes in OWNED.items() if homes])
def test_a_library_has_one_home(library):
    """So that it can be replaced there."""
    homes = {name for name, tree in TREES.items() if any(i.split(".")[0] == library for i in imported(tree))}
    allowed = OWNED[library]
    assert {home for home in homes if home not in allowed and home.split(".")[0] not in allowed} == set()


def test_the_simulator_knows_nothing_of_what_it_tests():
    """It imports values and errors only, so that a mistake cannot cancel itself out."""
    for name, tree in TREES.items():
        if name.startswith("simulator"):
            ours = {i for i in imported(tree) if i.startswith("batchgen.") and not i.startswith("batchgen.simulator")}
            assert ours <= {"batchgen.values", "batchgen.errors"}, name


def test_only_the_commands_import_the_simulator():
    """A run knows an endpoint, not who serves it."""
    users = {
        name
        for name, tree in TREES.items()
        if not name.startswith("simulator") and any(i.startswith("batchgen.simulator") for i in imported(tree))
    }
    assert users <= {"cli.simulate", "simulated"}


def test_protocol_code_does_no_input_or_output():
    """Providers know no sockets, files, clocks of their own or loops; a file to be uploaded is named, not opened."""
    for name, tree in TREES.items():
        if name.startswith("providers"):
            roots = {i.split(".")[0] for i in imported(tree)}
            forbidden = {"socket", "asyncio", "anyio", "httpx", "httptools", "os", "pathlib", "sqlite3"}
            assert not roots & forbidden - ({"pathlib"} if name == "providers.batch_api" else set()), name


def known(name):
    """Return the modules of the package that a module imports, also inside functions and for types only."""
    found = set()
    for target in imported(TREES[name]):
        if target == "batchgen":
            found.add("__init__")
        elif target.startswith("batchgen."):
            found.add(target.removeprefix("batchgen."))
    return found


def room(name):
    """Return the room of a module: the folder below the package, or the module itself at its root."""
    return name.split(".")[0] or "__init__"


def test_every_room_stands_on_a_floor():
    """A new room is written into the table; a room that has gone leaves it."""
    assert {room(name) for name in TREES} == set(FLOOR_OF)


@pytest.mark.parametrize("name", sorted(TREES))
def test_imports_point_down(name):
    """To a lower floor, or to the room itself; where an import stands makes no difference."""
    upward = {
        target
        for target in known(name)
        if room(target) != room(name) and FLOOR_OF[room(target)] <= FLOOR_OF[room(name)]
    }
    assert upward == set()


def test_imports_make_no_circles():
    """Module by module, what is imported inside a function or for types only included."""
    graph = {name: known(name) - {name} for name in TREES}
    done, path = set(), []

    def visit(name):
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for target in sorted(graph[name]):
            visit(target)
        path.pop()
        done.add(name)

    for name in graph:
        visit(name)


def test_no_module_is_too_long_to_hold_in_the_head():
    """Past 400 lines a file is split along a noun."""
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path.name


def test_no_constructor_takes_more_than_eight_arguments():
    """Past eight a class has more than one job."""
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                assert len(arguments) <= 9, (name, node.lineno)  # self is one of them


def test_a_class_name_means_one_thing():
    """In the whole package; names that begin with an underscore are a module's own."""
    homes = {}
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(name)
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_no_test_is_annotated():
    """All or none: what a test takes are fixtures and cases, whose types say nothing to its reader."""
    annotated = [
        (path.name, node.name)
        for path in sorted(Path(__file__).parent.rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        if node.returns or any(argument.annotation for argument in [*node.args.args, *node.args.kwonlyargs])
    ]
    assert annotated == []
