"""Habits that a machine can check: sizes, docstrings, words that must not appear, and what tests owe their readers."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import house
import pytest
from house import Module

LONGEST_FILE = 500
LONGEST_FUNCTION = 80

# Spelled apart, so that this file does not hold them itself.
FORBIDDEN = {
    "a path of one machine": r"(?<![\w.])/(?:wo" r"rk|fa" r"rm|ro" r"ot|tm" r"p/w)/\w",
    "a folder outside the repository": r"\.\./(?:sha" r"red|\.libr" r"ary)",
    "a registry's host": r"\bpyp" r"i\.org|pythonhos" r"ted|registry\.np" r"mjs|deb\.deb" r"ian",
    "unfinished work": r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b",
}
READ = (".py", ".md", ".toml", ".ipynb", ".yml", ".yaml", ".sh", ".txt", ".cfg", ".ini", ".cff")

modules = pytest.mark.parametrize(
    "module", sorted(house.modules().values(), key=lambda m: m.name), ids=lambda m: m.name
)
in_tests = pytest.mark.parametrize("module", house.tests(), ids=lambda m: m.name)


@modules
def test_files_and_functions_are_short(module: Module) -> None:
    assert module.text.count("\n") <= LONGEST_FILE, f"{module.name} is too long; is a room missing?"
    long = [
        f"{module.at(f)}: {f.name} has {size} lines"
        for f in house.functions(module.tree)
        if (size := (f.end_lineno or 0) - f.lineno + 1) > LONGEST_FUNCTION
    ]
    assert not long, "\n".join(long)


@modules
def test_public_names_have_docstrings(module: Module) -> None:
    assert ast.get_docstring(module.tree), f"{module.name} has no docstring"
    bare = [f"{module.at(n)}: {n.name}" for n in _public(module.tree) if not ast.get_docstring(n)]
    assert not bare, "no docstring:\n" + "\n".join(bare)


def _public(tree: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node)


@modules
def test_what_a_module_lists_it_defines(module: Module) -> None:
    listed = [
        node.value
        for node in module.tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    if not listed or module.is_package:
        return
    defined = {n.name for n in module.tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    for node in module.tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {ast.unparse(t) for t in targets}
    absent = set(ast.literal_eval(listed[0])) - defined
    assert not absent, f"{module.name}.__all__ lists what it does not define: {sorted(absent)}"


@modules
def test_nothing_global_is_changed(module: Module) -> None:
    if module.name == "varq.simulator.compile_cache":
        return  # the one place that sets JAX's compile cache, once, if nobody has
    pattern = r"jax\.config\.update|np\.random\.seed|os\.environ\[[^\]]+\]\s*=|os\.putenv"
    if "warnings.catch_warnings" not in module.text:
        pattern += r"|warnings\.(simplefilter|filterwarnings)"
    found = re.search(pattern, module.text)
    assert found is None, f"{module.name}: {found.group(0) if found else ''} changes a setting of the whole process"


@modules
def test_nothing_is_left_undone(module: Module) -> None:
    bodies = [
        f"{module.at(f)}: {f.name}"
        for f in house.functions(module.tree)
        if any(isinstance(n, ast.Name) and n.id == "NotImplementedError" for n in ast.walk(f))
    ]
    assert not bodies, "\n".join(bodies)


def _texts() -> list[Path]:
    return [p for p in house.tree_files() if p.suffix in READ or p.name == "Makefile" or p.parent.name == ".ci"]


def test_no_forbidden_words() -> None:
    found = []
    for path in _texts():
        text = path.read_text(encoding="utf-8")
        for what, pattern in FORBIDDEN.items():
            for hit in re.finditer(pattern, text):
                line = text.count("\n", 0, hit.start()) + 1
                found.append(f"{path.relative_to(house.ROOT)}:{line}: {what}: {hit.group(0)!r}")
    assert not found, "\n".join(found)


def test_notebooks_are_stripped() -> None:
    kept = []
    for path in house.tree_files():
        if path.suffix == ".ipynb":
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            kept += [path.name for c in cells if c.get("outputs") or c.get("execution_count")]
    assert not kept, f"outputs are stored in {sorted(set(kept))}; strip them"


@in_tests
def test_expected_errors_name_their_message(module: Module) -> None:
    bare = []
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("pytest.raises", "pytest.warns")
            and "match" not in {k.arg for k in node.keywords}
            and not any("SystemExit" in ast.unparse(a) or "KeyboardInterrupt" in ast.unparse(a) for a in node.args)
        ):
            bare.append(f"{module.at(node)}: {ast.unparse(node)}")
    assert not bare, "no match=:\n" + "\n".join(bare)


@in_tests
def test_every_test_asserts_something(module: Module) -> None:
    helpers = {f.name for f in house.functions(module.tree) if _asserts(f, set()) and not f.name.startswith("test_")}
    idle = [
        f"{module.at(f)}: {f.name}"
        for f in house.functions(module.tree)
        if f.name.startswith("test_") and not _asserts(f, helpers)
    ]
    assert not idle, "asserts nothing:\n" + "\n".join(idle)


def _asserts(function: ast.AST, helpers: set[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).split(".")[-1]
            if called in helpers or called in ("raises", "warns", "fail") or called.startswith(("assert_", "check")):
                return True
    return False


def test_each_test_file_names_its_room() -> None:
    rooms = {name.split(".")[1] for name in house.modules() if name.count(".") >= 1}
    known = rooms | {"house", "notebooks", "benchmarks", "readme"}
    strays = [
        m.path.name
        for m in house.tests()
        if m.name.startswith("test_") and not any(f"{m.name}_".startswith(f"test_{r}_") for r in known)
    ]
    assert not strays, f"a test file is called test_<room>[_<what>].py: {strays}"
