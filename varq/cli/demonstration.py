"""`varq demo`: a molecule taken apart, start to finish, in a minute."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from varq import plots
from varq.algorithms.variational import VQE
from varq.cli.console import note, say, table
from varq.cli.mistakes import asked
from varq.cli.running import finished
from varq.cli.stores import DEFAULT_FOLDER, line
from varq.plots.units import CHEMICAL_ACCURACY
from varq.problems.molecule import Molecule
from varq.protocol import Result
from varq.session.opening import UNSET
from varq.session.session import Session

__all__ = ["BONDS", "demo"]

BONDS = (1.0, 1.3, 1.6, 2.25, 3.0)  # angstrom; the equilibrium is near 1.6, and at 3.0 Hartree-Fock is far off
_GOOD, _BAD = 0, 1


@dataclass(frozen=True)
class _Point:
    bond: float
    hartree_fock: float
    result: Result

    @property
    def deviation(self) -> float:
        return _number(self.result.deviation)

    @property
    def good(self) -> bool:
        return abs(self.deviation) < CHEMICAL_ACCURACY


def demo(out: Path, store: Path | None, began: float) -> int:
    """Run LiH at five bond lengths, print the table, draw the curve; 1 if one deviates by chemical accuracy or more.

    Args:
        out: where to draw.
        store: folder of the store; None for the default.
        began: when the command was given, by `time.perf_counter()`.
    """
    note("LiH, 12 qubits, 4 electrons: UCCSD and L-BFGS-B, exactly simulated, at five bond lengths.")
    with Session(store=UNSET if store is None else store) as session:
        points = [_point(session, bond, store) for bond in BONDS]
        kept = session.store.path
    with asked(str(out)):
        axes = plots.curve(_columns(points))
        axes.set_title("LiH, STO-3G: UCCSD-VQE")
        plots.save(axes, out)
    say()
    _table(points)
    good = _verdict(points)
    say(f"The dissociation curve is in {out}.  {time.perf_counter() - began:.0f} s in all.")
    _next(points, kept, store)
    return _GOOD if good else _BAD


def _point(session: Session, bond: float, store: Path | None) -> _Point:
    problem = Molecule.load("LiH", bond=bond)
    run = session.start(VQE(problem=problem, ansatz="uccsd", optimizer="L-BFGS-B"))
    return _Point(bond, float(problem.energies["hf"]), finished(run, store))


def _columns(points: Sequence[_Point]) -> dict[str, list[float]]:
    """The curve: HF and exact energies at every length that ships, VQE's where it ran."""
    found = {p.bond: _number(p.result.value) for p in points}
    shipped = [Molecule.load("LiH", bond=bond) for bond in Molecule.available()["LiH"]]
    return {
        "bond": [_number(m.bond) for m in shipped],
        "HF": [m.energies["hf"] for m in shipped],
        "VQE": [found.get(_number(m.bond), math.nan) for m in shipped],
        "exact": [m.energies["exact"] for m in shipped],
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _table(points: Sequence[_Point]) -> None:
    rows = [
        [
            f"{p.bond:.2f}",
            *(f"{e:.6f}" for e in (p.hartree_fock, _number(p.result.value), _number(p.result.reference))),
            _milli(p),
        ]
        for p in points
    ]
    table(["bond/Å", "HF/Ha", "VQE/Ha", "exact/Ha", "VQE - exact/mHa"], rows, right=range(5))


def _milli(point: _Point) -> str:
    return f"{1e3 * point.deviation:+.3f}" + ("" if point.good else " (!)")


def _verdict(points: Sequence[_Point]) -> bool:
    good = all(p.good for p in points)
    worst = max(points, key=lambda p: abs(p.deviation))
    words = "Every energy is" if good else "Not every energy is"
    where = f"the largest deviation is {1e3 * worst.deviation:+.3f} mHa, at {worst.bond} Å"
    say(f"{words} within chemical accuracy (1.6 mHa): {where}.", "green" if good else "bold red")
    return good


def _next(points: Sequence[_Point], kept: Path | None, store: Path | None) -> None:
    if kept is None:
        note("The runs were kept in memory only. --store DIR names a folder that can be written.")
        return
    middle = points[len(points) // 2]
    run_id = middle.result.run_id
    where = "" if store is None or store == DEFAULT_FOLDER else f" --store {shlex.quote(str(store))}"
    note(f"The runs are kept in {kept}; `varq demo` takes them from there the next time.  Go on with:")
    for command, why in (
        (f"varq list{where}", "all runs"),
        (line("show", run_id, store), f"the one at {middle.bond} Å: result, spec, versions"),
        (line("plot", run_id, store), "its convergence, as a picture"),
    ):
        note(f"  {command:<24} {why}")
