"""The molecules that ship with the package: which points there are, where their atoms stand, and their numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from types import MappingProxyType
from typing import Any

from varq import checks
from varq.data import FOLDER
from varq.problems import fcidump
from varq.problems.chemistry import Atom
from varq.problems.integrals import Integrals

__all__ = ["GEOMETRIES", "SAME_POINT", "WATER", "atoms", "available", "family", "find", "integrals"]

SAME_POINT = 1e-9  # angstrom or degrees; coordinates closer than this are one point
WATER = 0.9584  # angstrom; both O-H distances of the water that ships


def _chain(symbols: str) -> Callable[[float], tuple[Atom, ...]]:
    """Atoms on a line, equally spaced."""
    return lambda spacing: tuple((s, (0.0, 0.0, k * spacing)) for k, s in enumerate(symbols.split()))


def _triangle(side: float) -> tuple[Atom, ...]:
    """Three protons at the corners of an equilateral triangle around the origin."""
    radius, turns = side / math.sqrt(3), (0.0, 2 * math.pi / 3, 4 * math.pi / 3)
    return tuple(("H", (radius * math.cos(turn), radius * math.sin(turn), 0.0)) for turn in turns)


def _linear_hydride(bond: float) -> tuple[Atom, ...]:
    return ("Be", (0.0, 0.0, 0.0)), ("H", (0.0, 0.0, bond)), ("H", (0.0, 0.0, -bond))


def _water(degrees: float) -> tuple[Atom, ...]:
    y, z = WATER * math.sin(math.radians(degrees) / 2), WATER * math.cos(math.radians(degrees) / 2)
    return ("O", (0.0, 0.0, 0.0)), ("H", (0.0, y, z)), ("H", (0.0, -y, z))


GEOMETRIES = MappingProxyType(
    {
        "H2": _chain("H H"),
        "LiH": _chain("Li H"),
        "H3+": _triangle,
        "H4": _chain("H H H H"),
        "H6": _chain("H H H H H H"),
        "BeH2": _linear_hydride,
        "H2O": _water,
        "N2": _chain("N N"),
    }
)
"""Where the atoms are, in angstrom, as a function of the molecule's coordinate (angstrom, for H2O degrees)."""


@cache
def _table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "energies.json").read_text(encoding="utf-8"))["molecules"]
    return found


def available() -> dict[str, tuple[float, ...]]:
    """The points of each molecule by name: bond lengths in angstrom, for H2O angles in degrees."""
    return {name: tuple(row[entry["coordinate"]] for row in entry["points"]) for name, entry in _table().items()}


def family(name: str) -> dict[str, Any]:
    """The table's entry for a molecule: coordinate, default, basis, charge, active space, points.

    Raises:
        ValueError: if no molecule of that name ships; lists the close names.
    """
    known = checks.choice(
        "name", name, _table(), "Other molecules: Molecule.from_geometry, from_fcidump, from_integrals, from_pyscf."
    )
    entry: dict[str, Any] = _table()[known]
    return entry


def find(name: str, bond: float | None, angle: float | None) -> tuple[dict[str, Any], float | None, float | None]:
    """The row of a point with its energies, its bond in angstrom and its angle in degrees (None where it has none).

    Args:
        name: of the molecule.
        bond: None for the default.
        angle: None for the default.

    Raises:
        ValueError: if the point does not ship; names its neighbors and the line that computes it.
    """
    entry = family(name)
    bent = entry["coordinate"] == "angle"
    if not bent and angle is not None:
        raise ValueError(f"angle must be None: {name} has none. Got {angle}. Its coordinate is bond, in angstrom.")
    if bent and bond is not None and abs(bond - entry["bond"]) > SAME_POINT:
        raise ValueError(
            f"bond must be {entry['bond']} angstrom for the {name} that ships, or None. Got {bond}. "
            "Its coordinate is angle, in degrees; other bonds: Molecule.from_geometry."
        )
    asked = angle if bent else bond
    value = float(entry["default"] if asked is None else asked)
    for row in entry["points"]:
        if abs(row[entry["coordinate"]] - value) <= SAME_POINT:
            return row, entry["bond"] if bent else row["bond"], row["angle"] if bent else None
    raise ValueError(_absent(name, entry, value))


def _absent(name: str, entry: dict[str, Any], value: float) -> str:
    coordinate, unit = entry["coordinate"], "degrees" if entry["coordinate"] == "angle" else "angstrom"
    points = sorted(row[coordinate] for row in entry["points"])
    nearest = " and ".join(
        f"{p:g}" for p in [*[p for p in points if p < value][-1:], *[p for p in points if p > value][:1]]
    )
    said = f"{name} does not ship at {coordinate}={value:.10g} {unit}. The nearest points are {nearest}."
    if not value > 0:
        return f"{coordinate} must be greater than 0. {said}"
    text = "; ".join(f"{symbol} {x:.8g} {y:.8g} {z:.8g}" for symbol, (x, y, z) in atoms(name, value))
    space = entry["active_space"] and tuple(entry["active_space"])
    more = "".join(f", {k}={v!r}" for k, v in (("charge", entry["charge"]), ("active_space", space)) if v)
    return (
        f"{said} Any other is computed with the extra chem (pip install 'varq[chem]'): "
        f"Molecule.from_geometry('{text}', basis={entry['basis']!r}{more})"
    )


def atoms(name: str, value: float) -> tuple[Atom, ...]:
    """Symbols and positions in angstrom; `value` is the molecule's coordinate.

    Example:
        >>> atoms("LiH", 1.6)
        (('Li', (0.0, 0.0, 0.0)), ('H', (0.0, 0.0, 1.6)))
    """
    checks.choice("name", name, GEOMETRIES)
    return GEOMETRIES[name](value)


@cache
def integrals(file: str) -> Integrals:
    """The integrals in one of the files that ship."""
    return fcidump.read(FOLDER / file)
