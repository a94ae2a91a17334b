"""Names: the tables of contents, the table of `varq.names`, and what importing the root loads."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys

import house
import pytest
from house import Module

from varq import names

HEAVY = ("jax", "jaxlib", "pennylane", "scipy", "matplotlib", "optax")
ROOT_NAMES = 40  # more than a reader takes in at once; the rest is reached through varq.algorithms and the like


def tables() -> list[Module]:
    """The packages whose `__init__` is a lazy table of contents."""
    return [m for m in house.modules().values() if m.is_package and _assigned(m.tree, "_HOME") is not None]


def _assigned(tree: ast.Module, name: str) -> ast.expr | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [name]:
            return node.value
    return None


def _type_imports(tree: ast.Module) -> dict[str, str]:
    """name -> module of the imports under `if TYPE_CHECKING:`."""
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    return {a.asname or a.name: n.module or "" for n in block.body if isinstance(n, ast.ImportFrom) for a in n.names}


def test_the_public_packages_have_tables_of_contents() -> None:
    expected = {"varq", "varq.problems", "varq.ansatze", "varq.optimizers", "varq.algorithms"}
    assert {m.name for m in tables()} >= expected


@pytest.mark.parametrize("package", tables(), ids=lambda m: m.name)
def test_the_three_lists_of_a_table_agree(package: Module) -> None:
    home = ast.literal_eval(_assigned(package.tree, "_HOME") or ast.Dict())
    public = ast.literal_eval(_assigned(package.tree, "__all__") or ast.List())
    lazy = [name for name in public if name != "__version__"]
    assert home == _type_imports(package.tree)
    assert lazy == sorted(home), "__all__ lists the names of _HOME, sorted"


@pytest.mark.parametrize("package", tables(), ids=lambda m: m.name)
def test_every_name_of_a_table_is_there(package: Module) -> None:
    module = importlib.import_module(package.name)
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in dir(module)
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name  # noqa: B018  reading it is the test
    shadows = {name for name in module.__all__ if f"{package.name}.{name}" in house.modules()}
    assert not shadows, f"a module and a name of the same package share a name: {shadows}"


def test_the_root_has_few_names() -> None:
    module = importlib.import_module("varq")
    assert len(module.__all__) <= ROOT_NAMES


@pytest.mark.parametrize("row", sorted(names.TABLE))
def test_every_row_of_the_table_resolves(row: str) -> None:
    kind, name = row.split(":")
    found = names.find(kind, name)
    assert found is not None
    if kind in ("problem", "ansatz", "optimizer", "algorithm", "request"):
        assert found.kind == row
        assert isinstance(found.version, int)


def test_every_spec_has_a_row() -> None:
    missing = []
    for module in house.modules().values():
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ClassDef):
                continue
            for entry in node.body:
                if isinstance(entry, ast.AnnAssign) and ast.unparse(entry.target) == "kind" and entry.value is not None:
                    row = ast.literal_eval(entry.value)
                    target = f"{module.name}:{node.name}"
                    if names.TABLE.get(row) != target:
                        missing.append(
                            f"{module.at(node)}: {target} has the kind {row!r}, whose row is elsewhere or absent"
                        )
    assert not missing, "\n".join(missing)


def _loaded_by(code: str) -> list[str]:
    script = f"import sys\n{code}\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return list(ast.literal_eval(done.stdout.splitlines()[-1]))


def test_importing_the_root_loads_nothing_heavy() -> None:
    assert _loaded_by("import varq; dir(varq); varq.__version__") == []


def test_the_packages_alone_load_nothing_heavy() -> None:
    code = "import varq.problems, varq.ansatze, varq.optimizers, varq.algorithms, varq.names"
    assert _loaded_by(code) == []


def test_asking_the_command_for_help_loads_nothing_heavy() -> None:
    code = (
        "sys.argv = ['varq', '--help']\n"
        "from varq.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    assert _loaded_by(code) == []
