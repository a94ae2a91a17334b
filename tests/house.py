"""What the tests of the house itself share: where things stand and what the sources say, read without importing."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"varq": "varq", "varq.algorithms": "algorithms", "varq.ansatze": "ansatze"}
"""Packages whose folder is not where their name says, and the root: as in pyproject's package-dir."""


@dataclass(frozen=True)
class Module:
    """One source file of the package."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    def at(self, node: ast.AST) -> str:
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


@cache
def tree_files() -> tuple[Path, ...]:
    """Every file of the working tree that git tracks or would track; symbolic links are left out."""
    asked = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    found = [ROOT / name for name in listed.stdout.split("\0") if name] if listed.returncode == 0 else list(_walked())
    return tuple(sorted(p for p in found if p.is_file() and not p.is_symlink()))


def _walked() -> Iterator[Path]:
    """The files of a source tree that came without its history."""
    for top in (*FOLDERS.values(), "tests", "notebooks", "benchmarks", "docs", ".ci"):
        yield from (p for p in (ROOT / top).rglob("*") if "__pycache__" not in p.parts)
    yield from ROOT.iterdir()


@cache
def modules() -> dict[str, Module]:
    """The package's modules by dotted name."""
    found = {}
    for path in tree_files():
        parts = path.relative_to(ROOT).with_suffix("").parts
        if path.suffix != ".py" or parts[0] not in FOLDERS.values():
            continue
        names = parts if parts[0] == "varq" else ("varq", *parts)
        name = ".".join(names[:-1] if names[-1] == "__init__" else names)
        text = path.read_text(encoding="utf-8")
        found[name] = Module(name, path, text, ast.parse(text))
    return found


@cache
def tests() -> tuple[Module, ...]:
    """The test files."""
    return tuple(
        Module(path.stem, path, text, ast.parse(text))
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for text in [path.read_text(encoding="utf-8")]
    )


def imports(module: Module) -> Iterator[tuple[ast.AST, str]]:
    """Every import of a module, wherever it stands, as (node, imported module); a module imported as a name counts."""
    known = modules()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            inner = [f"{base}.{alias.name}" for alias in node.names]
            for target in sorted({name if name in known else base for name in inner}):
                yield node, target


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a tree, methods and inner ones too."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
