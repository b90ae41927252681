"""The package's structure: no circular imports, use cases without adapters, and unique module names."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import conduit

PACKAGE = Path(conduit.__file__).parent
# What builds the adapters, and what is written for one: Celery's worker. No other module imports any.
BUILDERS = {"bootstrap", "worker", "outbox_worker"}


def _modules() -> dict[str, Path]:
    """The package's modules by their dotted names; a package stands for its ``__init__``. Migrations are scripts."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if "migrations" not in parts:
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def _imports(name: str) -> Iterator[str]:
    """The package's modules that a module imports, also inside functions and only for types."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in MODULES:
                    yield inner
                elif node.module in MODULES:
                    yield str(node.module)


IMPORTS = {name: set(_imports(name)) - {name} for name in MODULES}


def test_the_modules_are_found() -> None:
    assert len(MODULES) > 60
    assert "conduit.ports" in IMPORTS["conduit.articles"]
    assert {f"conduit.{name}" for name in BUILDERS} <= MODULES.keys()


def test_there_are_no_circular_imports() -> None:
    """Repeatedly removes the modules that import none of the rest. What stays is a circle."""
    left = dict(IMPORTS)
    while free := [name for name, imported in left.items() if not imported & left.keys()]:
        for name in free:
            del left[name]
    while outer := [name for name in left if not any(name in imported for imported in left.values())]:
        for name in outer:  # imports a circle, but is not part of one
            del left[name]
    assert {name: sorted(imported & left.keys()) for name, imported in left.items()} == {}


def _loaded(name: str) -> set[str]:
    """The modules of the package that one loads, also through what it imports."""
    found: set[str] = set()
    due = {name}
    while due:
        found |= due
        due = set().union(*(IMPORTS[one] for one in due)) - found
    return found


def test_only_what_builds_the_adapters_imports_any() -> None:
    importing = {name for name, imported in IMPORTS.items() if any(map(_is_adapter, imported))}
    assert {name for name in importing if not _is_adapter(name)} == {f"conduit.{name}" for name in BUILDERS}


@pytest.mark.slow
def test_use_cases_ports_and_services_load_no_adapter() -> None:
    """Not even indirectly: only the builders, and the programs that use them, do."""
    builders = {f"conduit.{name}" for name in BUILDERS}
    names = [name for name in MODULES if not _is_adapter(name) and not _loaded(name) & builders]
    assert {f"conduit.{name}" for name in ("ports", "services", "articles", "users", "covers", "routes")} <= {*names}
    code = (
        f"import sys, {', '.join(names)}\n"
        "print(*[name for name in sys.modules if name.startswith('conduit.adapters.')])"
    )
    run = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.split() == []


def _is_adapter(name: str) -> bool:
    return name.startswith("conduit.adapters")


def test_no_module_has_the_name_of_another_or_of_the_standard_library() -> None:
    names = [name.rpartition(".")[2] for name in MODULES if not name.endswith("__main__")]
    assert sorted({name for name in names if names.count(name) > 1}) == []
    assert sorted(sys.stdlib_module_names & set(names)) == []


# Rows by name ------------------------------------------------------------------------------------------------

# Variables that hold one row, by convention.
ROW_NAMES = {"row", "person", "comment", "article", "user", "former"}


def _row_names(function: ast.AST) -> set[str]:
    """The variables that hold one row: by their names, assigned from ``.first(…)``, or looping over ``.all(…)``."""
    names = set(ROW_NAMES)
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.NamedExpr) and _calls(node.value, "first"):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.For | ast.comprehension) and _calls(node.iter, "all"):
            names |= {node.target.id} if isinstance(node.target, ast.Name) else set()
    return names


def _calls(node: ast.AST, method: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method


def _position(index: ast.AST) -> bool:
    """A constant number, or a slice."""
    return isinstance(index, ast.Slice) or (isinstance(index, ast.Constant) and isinstance(index.value, int))


def _is_named(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def _by_position(tree: ast.AST) -> Iterator[ast.expr]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        names = _row_names(function)
        for node in ast.walk(function):
            if isinstance(node, ast.Starred) and (_calls(node.value, "first") or _is_named(node.value, names)):
                yield node
            if not isinstance(node, ast.Subscript) or not _position(node.slice):
                continue
            of = node.value
            one_of_rows = isinstance(of, ast.Subscript) and isinstance(of.value, ast.Name) and of.value.id == "rows"
            if one_of_rows or _calls(of, "first") or _is_named(of, names):
                yield node


@pytest.mark.parametrize("name", MODULES)
def test_no_row_is_read_by_position(name: str) -> None:
    """What the heuristics above can see; a row that is unpacked by an assignment is not seen."""
    assert [f"{MODULES[name].name}:{node.lineno} {ast.unparse(node)}" for node in _by_position(TREES[name])] == []


@pytest.mark.parametrize(
    "code",
    [
        "row[0]",
        "row[1:3]",
        "rows[-1][0]",
        "rows[0][1]",
        "found = reader.first(SQL)\n    found[2]",
        "[one[0] for one in reader.all(SQL)]",
        "reader.first(SQL)[0]",
        "Comment(*row)",
        "[Comment(*one) for one in reader.all(SQL)]",
    ],
)
def test_a_row_read_by_position_is_found(code: str) -> None:
    assert list(_by_position(ast.parse(f"def use(row, rows, reader):\n    {code}")))


@pytest.mark.parametrize(
    "code", ["rows[0]", "rows[1:]", "row.id", "row[name]", "match[1]", "names[0]", "use(*names)", "use(*rows)"]
)
def test_others_are_not_reported(code: str) -> None:
    assert not list(_by_position(ast.parse(f"def use(row, rows, name, match, names):\n    {code}")))
