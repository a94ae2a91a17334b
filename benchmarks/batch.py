"""Figures of batch phase estimation and of Shor's algorithm, beside what they must be and where that is from.

    python benchmarks/batch.py [textbook] [sine] [circuits] [permutation] [gates]

textbook, sine: the Holevo variance V of one shot with N = 2^t - 1 applications, averaged over all phases, from the
exact law of the outcomes, and sampled over phases and outcomes with its standard error.
circuits: the law of the circuits on varq.qubit beside the closed form.
permutation, gates: seconds from the call to the factors, compilation included, with an empty compile cache.
"""

from __future__ import annotations

import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pennylane as qml

from varq.algorithms import qpe, shor
from varq.algorithms.fourier_law import holevo_variance, outcome_law
from varq.circuits.adders import Registers, multiply
from varq.node.nodes import Nodes
from varq.problems import EigenPhase

SEED, RUNS, SIGMAS = 0, 10_000, 4.0
TURN = 2 * math.pi
GRIFFITHS = "Griffiths and Niu, PRL 76, 3228 (1996)"
BERRY = "Berry et al., PRA 80, 052114 (2009)"
BEAUREGARD = "Beauregard, Quantum Inf. Comput. 3, 175 (2003)"
GOAL = "our goal"


@dataclass(frozen=True)
class Line:
    """One figure: what it is, what was measured, what it must be, whether it is, and the source of the bound."""

    what: str
    value: str
    must: str
    met: bool
    source: str

    def __str__(self) -> str:
        return f"{self.what:52} {self.value:>26}   {self.must:32} {'ok' if self.met else 'MISSED':7} {self.source}"


def sampled(bits: int, state: str, rng: np.random.Generator) -> tuple[float, float]:
    """The Holevo variance over random phases and one outcome each, and its standard error."""
    size, cosines = 1 << bits, []
    for _ in range(RUNS // 500):
        phases = rng.uniform(0, TURN, 500)
        rows = np.array([outcome_law([phase], [1.0], bits, state) for phase in phases])
        found = (rng.random((500, 1)) * rows.sum(axis=1)[:, None] >= np.cumsum(rows, axis=1)).sum(axis=1)
        cosines.append(np.cos(TURN * np.minimum(found, size - 1) / size - phases))
    errors = np.concatenate(cosines)
    sharpness = float(errors.mean())
    return sharpness**-2 - 1, 2 * sharpness**-3 * float(errors.std(ddof=1)) / math.sqrt(len(errors))


def textbook() -> Iterator[Line]:
    """The uniform input state: V = (1 + 1/N)^2 - 1."""
    rng = np.random.default_rng(SEED)
    for bits in range(3, 11):
        most = (1 << bits) - 1
        want = (1 + 1 / most) ** 2 - 1
        gap = abs(holevo_variance(bits) - want)
        yield Line(
            f"textbook QPE, t = {bits}: exact V", f"{want:.6e} + {gap:.0e}", "off by 1e-10", gap < 1e-10, GRIFFITHS
        )
        value, error = sampled(bits, "uniform", rng)
        met = abs(value - want) < SIGMAS * error
        yield Line(
            f"textbook QPE, t = {bits}: sampled V", f"{value:.4e} ({error:.1e})", "within 4 s.e.", met, GRIFFITHS
        )


def sine() -> Iterator[Line]:
    """The best input state: V / tan^2(pi / (N + 2)), the Heisenberg limit."""
    rng = np.random.default_rng(SEED)
    for bits in range(3, 11):
        limit = math.tan(math.pi / ((1 << bits) + 1)) ** 2
        ratio = holevo_variance(bits, "sine") / limit
        # The ratio is 1, and a difference of nearly equal numbers tells it to a part in 1e7.
        met = 1 - 1e-6 < ratio <= 1.01
        yield Line(f"sine-state QPE, t = {bits}: V over the limit", f"{ratio:.9f}", "1 to 1.01", met, BERRY)
        value, error = sampled(bits, "sine", rng)
        met = abs(value - limit) < SIGMAS * error
        yield Line(f"sine-state QPE, t = {bits}: sampled V", f"{value:.4e} ({error:.1e})", "within 4 s.e.", met, BERRY)


def circuits() -> Iterator[Line]:
    """The law of the outcomes, from the circuits and in closed form."""
    problem = EigenPhase.from_phases([0.7, 3.9], [0.8, 0.2])
    for state, control in (("uniform", "qft"), ("sine", "qft"), ("uniform", "semiclassical")):
        details = qpe(problem, bits=6, state=state, control=control, store=None, progress=False).details
        found = np.zeros(64)
        found[details["outcomes"]] = details["frequencies"]
        gap = float(np.abs(found - details["law"]).max())
        what = f"{state} state, {control} control, t = 6: law of the circuit"
        yield Line(
            what, f"off by {gap:.1e}", "closed form to 1e-10", gap < 1e-10, "Cleve et al., Proc. A 454, 339 (1998)"
        )


def permutation() -> Iterator[Line]:
    """Multiplications as permutations of basis states."""
    for number, bound in ((15, 5.0), (21, 5.0), (33, 5.0), (35, 5.0), (64507, 20.0)):
        yield factored(number, bound, "permutation")


def gates() -> Iterator[Line]:
    """Beauregard's circuit: seconds, and that it multiplies as the permutation does."""
    yield factored(15, 60.0, "gates")
    registers = Registers.after(1, 4)
    rng = np.random.default_rng(SEED)
    worst = spilt = 0.0
    for factor in (2, 4, 7, 8, 11, 13, 14):
        weights = rng.normal(size=(2, 15)) + 1j * rng.normal(size=(2, 15))
        weights /= np.linalg.norm(weights)
        state = np.zeros((2, 16, 64), complex)
        state[:, :15, 0] = weights
        found = simulated(factor, registers, state.ravel()).reshape(2, 16, 64)
        want = np.zeros((2, 16), complex)
        want[0, :15] = weights[0]
        want[1, factor * np.arange(15) % 15] = weights[1]
        worst = max(worst, float(np.abs(found[:, :, 0] - want).max()))
        spilt = max(spilt, float(np.abs(found[:, :, 1:]).max()))
    what = "N = 15, all bases, all residues: gates"  # 15 itself is none: the register never holds it
    yield Line(what, f"off by {worst:.1e}", "the permutation to 1e-10", worst < 1e-10, BEAUREGARD)
    yield Line("the same: sums and ancilla afterwards", f"{spilt:.1e}", "zero to 1e-10", spilt < 1e-10, BEAUREGARD)


def simulated(factor: int, registers: Registers, state: np.ndarray) -> np.ndarray:
    """A state after a controlled modular multiplication, on varq.qubit."""

    def circuit(x: np.ndarray, number: int, bits: tuple[int, ...]) -> None:
        multiply(factor, 15, 0, registers)

    def first(x: np.ndarray) -> None:
        qml.StatePrep(state, wires=range(11))
        circuit(x, 0, ())

    return Nodes("varq.qubit").rounds(first, circuit, 0, 11).state(lambda: first(np.zeros(0)))


def factored(number: int, bound: float, backend: str) -> Line:
    """The seconds that factoring a number takes."""
    began = time.perf_counter()
    result = shor(number, backend=backend, seed=SEED, store=None, progress=False)
    spent = time.perf_counter() - began
    details = result.details
    factors = details["factors"] or (1, number)
    right = factors[0] * factors[1] == number and factors[0] > 1 and details["method"] == "quantum"
    what = f"{number} = {factors[0]} x {factors[1]} by {backend}, {details['qubits']} qubits, {result.steps} bases"
    return Line(what, f"{spent:.2f} s", f"at most {bound:g} s", right and spent <= bound, GOAL)


FIGURES: dict[str, Callable[[], Iterator[Line]]] = {
    figure.__name__: figure for figure in (textbook, sine, circuits, permutation, gates)
}


def main(names: list[str]) -> int:
    """Print the figures asked for; 1 if one is missed."""
    if unknown := [name for name in names if name not in FIGURES]:
        raise SystemExit(f"Unknown figures {unknown}. Known: {list(FIGURES)}.")
    import jax

    folder = tempfile.TemporaryDirectory()
    jax.config.update("jax_compilation_cache_dir", folder.name)
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    missed = 0
    for name in names or FIGURES:
        for line in FIGURES[name]():
            print(line, flush=True)
            missed += not line.met
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
