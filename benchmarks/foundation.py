"""The figures of the README, measured: one command, one table.

    python benchmarks/foundation.py [NAME ...]

Names: start, overhead, demo, sweep, descent, spectra.  Without a name, all of them (about eight minutes on two cores).
`spectra` walks the tables of tests/data; the molecules there that do not ship need PySCF (the extra `chem`).
Each line says what was measured, what it must be, and whether it is.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from varq import Optax, Session, Stop, problems
from varq.algorithms import VQE
from varq.algorithms.task import Task, minimization
from varq.optimizers import ExcitationSolve
from varq.problems import fci
from varq.problems.fermion import sector
from varq.protocol import Reply

DEVICE = "varq.qubit"  # of sessions; `varq demo` takes varq's default, which is the same
MILLI = 1e3
MAPPINGS = ("jordan-wigner", "parity", "bravyi-kitaev")
MOLECULES = {
    "H2": {"bond": 0.7414},
    "H4": {"bond": 1.0},
    "LiH": {"bond": 1.595},
    "H2O": {"angle": 104.5},
    "BeH2": {"bond": 1.33},
}
SHIPPED = {f"{name}/sto-3g": name for name in ("H2", "LiH", "H3+", "BeH2", "H2O")}
SHIPPED |= {"H4-chain/sto-3g": "H4", "H6-chain/sto-3g": "H6", "N2/cc-pvdz/cas(6,6)": "N2"}
ANOTHER = 1e-6  # hartree; Hartree-Fock energies further apart are of two solutions


@dataclass(frozen=True)
class Line:
    """One measured figure: what it is, its value, the bound it must stay below, and the unit of both."""

    what: str
    value: float
    bound: float
    unit: str

    def __str__(self) -> str:
        verdict = "ok" if self.value < self.bound else "MISSED"
        return f"{self.what:58} {self.value:10.4g} < {self.bound:<8g} {self.unit:5} {verdict}"


def seconds_of(command: list[str], repeats: int = 5) -> float:
    """The median wall time of a command."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def start() -> Iterator[Line]:
    """How long a person waits for the first sign of life."""
    varq = os.path.join(os.path.dirname(sys.executable), "varq")
    yield Line("varq --help", seconds_of([varq, "--help"]), 0.5, "s")
    yield Line("python -c 'import varq'", seconds_of([sys.executable, "-c", "import varq"]), 0.5, "s")


@dataclass(frozen=True, eq=False)
class Bowl(Task):
    """A quadratic in 92 dimensions, as cheap as an evaluation can be: what is left is the loop."""

    kind: ClassVar[str] = "algorithm:bowl"
    title: ClassVar[str] = "bowl"
    size: ClassVar[int] = 92

    def resolve(self, device: Any, shots: int | None) -> Bowl:
        """As it is."""
        return self

    def plan(self, nodes: Any) -> Any:
        """Adam on x.x."""
        return minimization(
            method=Optax("adam", learning_rate=0.01).method(),
            start=np.ones(self.size),
            evaluate=lambda request, key: Reply(value=float(request.x @ request.x), grad=2 * request.x, executions=1),
            sampled=False,
            reference=lambda: 0.0,
            stop=Stop(steps=10**6),
            title=self.title,
            unit="",
        )


def overhead(steps: int = 500, rounds: int = 7) -> Iterator[Line]:
    """The loop with its journal on disk, less the method and the evaluation alone; medians of alternating rounds."""
    plan = Bowl().plan(None)
    method = plan.method
    with tempfile.TemporaryDirectory() as folder, Session(device=DEVICE, store=folder, progress=False) as session:
        run = session.start(Bowl())
        run.step(steps)
        state = method.init(plan.start, None)
        whole, bare, alone = [], [], []
        for _ in range(rounds):
            began = time.perf_counter()
            run.step(steps)
            whole.append((time.perf_counter() - began) / steps)
            began = time.perf_counter()
            for _ in range(steps):
                request = method.ask(state)
                state, _ = method.tell(state, plan.evaluate(request, None))
            bare.append((time.perf_counter() - began) / steps)
            began = time.perf_counter()
            for _ in range(steps):
                plan.evaluate(request, None)
            alone.append((time.perf_counter() - began) / steps)
    extra = statistics.median(w - b for w, b in zip(whole, bare, strict=True))
    yield Line("loop with journal over ask, evaluate, tell (92 parameters)", extra * MILLI, 0.2, "ms")
    all_of_it = statistics.median(w - a for w, a in zip(whole, alone, strict=True))
    yield Line("the same with Adam's own ask and tell", all_of_it * MILLI, 0.2, "ms")


def demo() -> Iterator[Line]:
    """`varq demo` as a newcomer has it, then where it was compiled before, then where its runs are finished."""
    varq = os.path.join(os.path.dirname(sys.executable), "varq")
    with tempfile.TemporaryDirectory() as folder:
        # What the user has compiled, or where a shell keeps it, must not help.  macOS looks for it beside the home.
        cache = {"HOME" if sys.platform == "darwin" else "XDG_CACHE_HOME": os.path.join(folder, "cache")}
        clean = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"} | cache
        for what, bound, store in (
            ("varq demo: new store, empty compile cache", 90.0, "first"),
            ("varq demo: new store, warm compile cache", 10.0, "second"),
            ("varq demo: the same store again, its runs are found", 10.0, "second"),
        ):
            began = time.perf_counter()
            command = [varq, "demo", "--store", store]
            subprocess.run(command, cwd=folder, env=clean, check=True, capture_output=True)
            yield Line(what, time.perf_counter() - began, bound, "s")


def molecule(name: str) -> Any:
    """The shipped point near equilibrium."""
    return problems.Molecule.load(name, **MOLECULES[name])


def sweep() -> Iterator[Line]:
    """UCCSD with ExcitationSolve: one sweep over the parameters, from Hartree-Fock."""
    with Session(device=DEVICE, store=None, progress=False) as session:
        for name in ("LiH", "BeH2", "H2O"):
            task = VQE(problem=molecule(name), ansatz="uccsd", optimizer=ExcitationSolve(sweeps=1))
            began = time.perf_counter()
            result = session.run(task)
            spent = time.perf_counter() - began
            what = f"UCCSD + ExcitationSolve, one sweep, {name} ({spent:.0f} s)"
            yield Line(what, result.deviation * MILLI, 1.6, "mHa")


def descent() -> Iterator[Line]:
    """UCCSD with L-BFGS-B from Hartree-Fock, against exact diagonalization."""
    bounds = {"H2": 1e-3, "H4": 0.12, "LiH": 0.02, "H2O": 0.12, "BeH2": 0.6}
    with Session(device=DEVICE, store=None, progress=False) as session:
        for name, bound in bounds.items():
            began = time.perf_counter()
            result = session.run(VQE(problem=molecule(name), ansatz="uccsd", optimizer="L-BFGS-B"))
            spent = time.perf_counter() - began
            yield Line(
                f"UCCSD + L-BFGS-B, {name} ({result.steps} gradients, {spent:.0f} s)",
                result.deviation * MILLI,
                bound,
                "mHa",
            )


def spectra() -> Iterator[Line]:
    """Lowest eigenvalues against energies computed elsewhere, and the time to map a 20-qubit molecule."""
    yield from molecules()
    yield from lattices()
    h1, h2 = random_integrals(10)
    for mapping in MAPPINGS:
        times = []
        for _ in range(5):
            began = time.perf_counter()
            molecule = problems.Molecule.from_integrals(h1, h2, 0.0, (5, 5), mapping=mapping)
            terms = len(molecule.pauli.x)
            times.append(time.perf_counter() - began)
        yield Line(f"20 qubits by {mapping} ({terms} terms)", statistics.median(times), 0.3, "s")


def molecules() -> Iterator[Line]:
    """Molecules of the tests' table, 4 to 14 qubits, among them open shells: the worst of each family and map.

    Those that do not ship need PySCF, and a minute or two; what is left out is counted.
    """
    families: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in table("molecules"):
        families[row["id"].split("/")[0]].append(row)
    left = 0
    for family, rows in families.items():
        found = [(row["energies"]["exact"], molecule) for row in rows if (molecule := shipped(row))]
        if importlib.util.find_spec("pyscf"):
            others = [row for row in rows if not shipped(row)]
            found += [(row["energies"]["exact"], molecule) for row in others if (molecule := computed(row))]
        left += len(rows) - len(found)
        if found:
            yield from of_family(family, found)
    print(f"({left} of {sum(map(len, families.values()))} rows of the table were left out)")


def of_family(family: str, found: list[tuple[float, Any]]) -> Iterator[Line]:
    """The lowest eigenvalue in the right sector, by three maps, against the table and against full CI."""
    determinants = [fci.lowest(molecule.data) for _, molecule in found]
    inside = 0.0
    for mapping in MAPPINGS:
        worst = 0.0
        for (known, molecule), exact in zip(found, determinants, strict=True):
            mapped = replace(molecule, mapping=mapping)
            (lowest,) = mapped.pauli.lowest(sector=sector(mapped.electrons, mapped.orbitals, mapping))
            worst, inside = max(worst, abs(lowest - known)), max(inside, abs(lowest - exact))
        yield Line(f"{family} by {mapping}, {len(found)} rows: against the table", worst, 1e-8, "Ha")
    yield Line(f"{family}, the worst of the maps: against full CI", inside, 1e-8, "Ha")


def shipped(row: dict[str, Any]) -> Any:
    """The molecule of a row as it ships with varq; None if it does not."""
    family, basis, where, *space = row["id"].split("/")
    name, (argument, _, point) = SHIPPED.get("/".join([family, basis, *space])), where.partition("=")
    if name is None or float(point) not in problems.Molecule.available()[name]:
        return None
    return problems.Molecule.load(name, **{"angle" if argument == "angle" else "bond": float(point)})


def computed(row: dict[str, Any]) -> Any:
    """The molecule of a row by PySCF; None where it has a lower Hartree-Fock solution than the table's."""
    atoms = [(symbol, tuple(place)) for symbol, place in row["geometry"]]
    given = [row[key] for key in ("basis", "charge", "spin", "active_space")]
    with warnings.catch_warnings():  # some active spaces of the table cut through a shell, which varq tells
        warnings.filterwarnings("ignore", message="active_space cuts through a degenerate shell")
        molecule = problems.Molecule.from_geometry(atoms, *given)
    return None if molecule.hf_energy < row["energies"]["hf"] - ANOTHER else molecule


def lattices() -> Iterator[Line]:
    """Finite lattices of the tests' table, 4 to 20 wires: the worst of each family.  Spins know no maps."""
    families: dict[str, list[float]] = defaultdict(list)
    for row in table("lattices"):
        if not row["per_site"]:
            model = lattice(row)
            electrons = model.sector() if row["family"] == "Hubbard" else None
            (lowest,) = model.pauli.lowest(sector=electrons)
            families[row["id"].split("/")[0]].append(abs(lowest - row["energy"]))
    for family, off in families.items():
        yield Line(f"{family}, {len(off)} rows: against the table", max(off), 1e-8, "")


def lattice(row: dict[str, Any]) -> Any:
    """The model of a row, as the table's conventions have it."""
    given, (name, *_) = row["parameter"], row["id"].split("/")
    if row["family"] == "TFIM":
        return problems.TransverseFieldIsing(given["n"], field=given["g"], periodic=given["pbc"])
    if row["family"] == "Heisenberg":
        ring = name == "Majumdar-Ghosh"
        return problems.Heisenberg(given["n"], periodic=ring or given["pbc"], second_coupling=0.5 if ring else 0.0)
    if name.endswith("-open"):
        rows, columns = name.split("-")[1].split("x")
        return problems.Hubbard(shape=(int(rows), int(columns)), interaction=given["U"])
    electrons = (given["nup"], given["ndn"])
    ring = name == "Hubbard-ring"
    return problems.Hubbard(given["L"], periodic=ring, interaction=given["U"], electrons=electrons)


def table(name: str) -> list[dict[str, Any]]:
    """The rows of a table of the tests, whose source it names."""
    path = Path(__file__).parents[1] / "tests" / "data" / f"{name}.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows


def random_integrals(orbitals: int) -> tuple[Any, Any]:
    """Integrals with the eight-fold symmetry of real orbitals and nothing else: the most terms there can be."""
    rng = np.random.default_rng(0)
    h1 = rng.normal(size=(orbitals, orbitals))
    h2 = rng.normal(size=(orbitals,) * 4)
    h2 = h2 + h2.transpose(1, 0, 2, 3)
    h2 = h2 + h2.transpose(0, 1, 3, 2)
    return h1 + h1.T, h2 + h2.transpose(2, 3, 0, 1)


FIGURES: dict[str, Callable[[], Iterator[Line]]] = {
    figure.__name__: figure for figure in (start, overhead, demo, sweep, descent, spectra)
}


def main(names: list[str]) -> int:
    """Print the figures asked for; 1 if one is missed."""
    if unknown := [name for name in names if name not in FIGURES]:
        raise SystemExit(f"Unknown figures {unknown}. Known: {list(FIGURES)}.")
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, on {DEVICE}")
    missed = 0
    for name in names or FIGURES:
        for line in FIGURES[name]():
            print(line, flush=True)
            missed += line.value >= line.bound
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
