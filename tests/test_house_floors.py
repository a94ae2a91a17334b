"""Imports point down: the floors of the house, without cycles and without side doors."""

from __future__ import annotations

import ast
from itertools import pairwise

import house
import pytest
from house import Module

FLOORS = {
    "varq.keys": 0,
    "varq.precision": 0,
    "varq.fingerprint": 0,
    "varq.spec": 0,
    "varq.content": 0,
    "varq.shown": 0,
    "varq.protocol": 0,
    "varq.names": 0,
    "varq.checks": 0,
    "varq.data": 0,
    "varq.problems": 0,
    "varq.ansatze": 1,
    "varq.circuits": 1,
    "varq.simulator": 1,
    "varq.devices": 1,
    "varq.node": 2,
    "varq.estimation": 2,
    "varq.optimizers": 2,
    "varq.store": 3,
    "varq.session": 4,
    "varq.algorithms": 5,
    "varq.study": 6,
    "varq.plots": 6,
    "varq.display": 6,
    "varq.testing": 6,
    "varq.cli": 7,
    "varq.__main__": 7,
}
"""Which floor each room is on; CONTRIBUTING.md shows the same table."""

SIDEWAYS = {
    "varq.names": {"varq.checks"},
    "varq.fingerprint": {"varq.names"},
    "varq.spec": {"varq.fingerprint", "varq.names", "varq.checks"},
    "varq.content": {"varq.spec"},
    "varq.shown": {"varq.names"},
    "varq.protocol": {"varq.checks", "varq.content", "varq.keys", "varq.shown", "varq.spec"},
    "varq.problems": {"varq.checks", "varq.data", "varq.keys", "varq.names", "varq.protocol", "varq.spec"},
    "varq.circuits": {"varq.simulator"},
    "varq.devices": {"varq.simulator"},
    "varq.node": {"varq.estimation"},
    "varq.optimizers": {"varq.estimation"},
    "varq.display": {"varq.plots"},
    "varq.study": {"varq.display"},
    "varq.__main__": {"varq.cli"},
}
"""The rooms of its own floor that a room may import."""

INSIDE_FUNCTIONS = {
    ("varq.precision", "jax.experimental"): "only jax before 0.8 needs it, and later ones warn on it",
    ("varq.simulator.precision", "jax.experimental"): "the same; the simulator stands without the rest of varq",
    ("varq.study.suited", "jax"): "the scheduler of a cluster imports this module, and needs no jax",
    ("*", "pyscf"): "the `chem` extra",
    ("*", "braket"): "the `braket` extra",
    ("*", "boto3"): "the `braket` extra",
    ("*", "botocore"): "the `braket` extra",
    ("*", "qiskit"): "the `aer` extra",
    ("*", "qiskit_aer"): "the `aer` extra",
    ("*", "qiskit_ibm_runtime"): "the `ibm` extra",
    ("*", "pyarrow"): "the `export` extra",
    ("*", "xarray"): "the `export` extra",
    ("*", "stim"): "the `qec` extra",
    ("*", "pymatching"): "the `qec` extra",
    ("*", "ldpc"): "the `ldpc` extra",
    ("*", "dask"): "the `dask` extra",
    ("*", "distributed"): "the `dask` extra",
    ("*", "ipywidgets"): "the `notebook` extra",
    ("*", "IPython"): "the `notebook` extra",
}
"""Imports that may stand inside a function, with the reason."""

DOORS = {"varq.names"}  # beside the packages' tables of contents, the one module that imports by name


def room(name: str) -> str:
    """The room that a module is in: `varq.store` of `varq.store.journal`."""
    return ".".join(name.split(".")[:2])


def code_modules() -> list[Module]:
    """All modules but the root, whose table of contents reaches every floor."""
    return [m for name, m in sorted(house.modules().items()) if name != "varq"]


@pytest.mark.parametrize("module", code_modules(), ids=lambda m: m.name)
def test_imports_point_down(module: Module) -> None:
    here = room(module.name)
    assert here in FLOORS, f"{here} has no floor. Give it one in FLOORS and in CONTRIBUTING.md."
    wrong = []
    for node, target in house.imports(module):
        if target.split(".")[0] != "varq":
            continue
        there = room(target)
        if there == "varq":
            wrong.append(f"{module.at(node)}: imports the package's root; import the defining module")
        elif there != here and there not in FLOORS:
            wrong.append(f"{module.at(node)}: imports {target}, which has no floor")
        elif there != here and FLOORS[there] > FLOORS[here]:
            wrong.append(f"{module.at(node)}: floor {FLOORS[here]} imports {target} on floor {FLOORS[there]}")
        elif there != here and FLOORS[there] == FLOORS[here] and there not in SIDEWAYS.get(here, set()):
            wrong.append(f"{module.at(node)}: imports {target} on its own floor; SIDEWAYS does not list that")
    assert not wrong, "\n".join(wrong)


def test_sideways_imports_have_no_cycle() -> None:
    done: set[str] = set()
    left = dict(SIDEWAYS)
    while left:
        free = [name for name, needs in left.items() if not (needs & left.keys()) - done]
        assert free, f"SIDEWAYS has a cycle among {sorted(left)}"
        for name in free:
            done.add(name)
            del left[name]


def test_modules_have_no_import_cycle() -> None:
    graph = {m.name: _imported(m) for m in code_modules()}
    cycle = _cycle(graph)
    assert not cycle, "Import cycle: " + " -> ".join(cycle)


def _imported(module: Module) -> set[str]:
    """The modules that importing `module` imports from this package; a package's lazy table does not count."""
    skipped = {id(n) for block in _type_checking(module.tree) for n in ast.walk(block)} if module.is_package else set()
    known = house.modules()
    return {t for node, t in house.imports(module) if id(node) not in skipped and t in known} - {module.name}


def _type_checking(tree: ast.Module) -> list[ast.If]:
    return [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]


def _cycle(graph: dict[str, set[str]]) -> list[str]:
    """A cycle of `graph` as a closed walk, or nothing."""
    colors: dict[str, str] = {}

    def visit(node: str, trail: list[str]) -> list[str]:
        colors[node] = "open"
        for below in sorted(graph.get(node, ())):
            if colors.get(below) == "open":
                return [*trail[trail.index(below) :], below]
            if below not in colors and (found := visit(below, [*trail, below])):
                return found
        colors[node] = "done"
        return []

    for name in sorted(graph):
        if name not in colors and (found := visit(name, [name])):
            return found
    return []


def test_the_search_for_cycles_finds_one() -> None:
    cycle = _cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()})
    assert cycle == ["b", "c", "b"]
    assert all(y in {"b": {"c"}, "c": {"b"}}[x] for x, y in pairwise(cycle))
    assert _cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("module", code_modules(), ids=lambda m: m.name)
def test_no_import_inside_a_function(module: Module) -> None:
    wrong = []
    for function in house.functions(module.tree):
        for node in ast.walk(function):
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            targets = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for target in targets:
                allowed = (module.name, target) in INSIDE_FUNCTIONS or ("*", target.split(".")[0]) in INSIDE_FUNCTIONS
                if not allowed:
                    wrong.append(f"{module.at(node)}: {function.name} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_each_extra_is_imported_in_one_place() -> None:
    places: dict[str, set[str]] = {}
    for module in code_modules():
        for _, target in house.imports(module):
            top = target.split(".")[0]
            if ("*", top) in INSIDE_FUNCTIONS:
                places.setdefault(top, set()).add(module.name)
    spread = {top: sorted(found) for top, found in places.items() if len(found) > 1}
    assert not spread, f"An optional package has one module that imports it: {spread}"


def test_only_names_and_tables_of_contents_import_by_name() -> None:
    wrong = [
        m.name
        for m in code_modules()
        if not m.is_package
        and m.name not in DOORS
        and any(t.split(".")[0] == "importlib" and t != "importlib.metadata" for _, t in house.imports(m))
    ]
    assert not wrong, f"varq/names.py is the one door that leads up; these use importlib too: {wrong}"
    dunder = [m.name for m in code_modules() if m.name not in DOORS and "__import__" in m.text]
    assert not dunder


def test_contributing_shows_the_same_floors() -> None:
    text = (house.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = {}
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip("| \n").split("|")]
        if line.startswith("|") and cells[0].isdigit():
            shown.update({name.strip(" `"): int(cells[0]) for name in cells[1].split(",")})
    assert shown == FLOORS


def test_every_room_is_on_disk() -> None:
    absent = set(FLOORS) - {room(name) for name in house.modules()}
    assert not absent, f"FLOORS and CONTRIBUTING.md name rooms that are not there: {sorted(absent)}"
