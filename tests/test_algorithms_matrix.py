"""Every optimizer on every problem that it can solve: it comes as near to the exact answer as its kind does."""

from __future__ import annotations

import dataclasses
from typing import Any

import optax
import pennylane as qml
import pytest
from optimizer_rows import OPTIMIZERS

import varq
from varq.algorithms import QAOA, VQE
from varq.ansatze import Circuit, HardwareEfficient
from varq.optimizers import SPSA, ExcitationSolve, NaturalGradient, Optax, Rotosolve, Scipy
from varq.problems import Hubbard, MaxCut, Molecule, Operator, TransverseFieldIsing
from varq.protocol import Stop

EXACT = 1e-10  # linear algebra: how far below the exact answer an expectation value may lie
CHEMICAL = 1.6e-3  # chemical accuracy, in hartree: what methods with gradients, or with models of the cost, reach
SEARCHED = 1e-2  # what methods reach that compare values, at points in a simplex, on lines or at random
STEPS, SEARCH = 150, 800  # requests of the one kind, and of the other

SEARCHING = ("Nelder-Mead", "Powell", "SPSA", "SPSA blocking")


def tilted(x: Any) -> None:
    qml.RY(x[0], 0)
    qml.CRY(x[1], [0, 1])


TASKS = {
    "H2": VQE(problem=Molecule.load("H2"), ansatz="uccsd"),
    "Hubbard dimer": VQE(problem=Hubbard(2, interaction=4.0), ansatz="uccsd"),
    "Ising chain": VQE(problem=TransverseFieldIsing(2), ansatz=HardwareEfficient(wires=2, depth=1), seed=5),
    "MaxCut of a triangle": QAOA(problem=MaxCut([(0, 1), (1, 2), (2, 0)]), depth=1, initial=[[0.2], [0.2]]),
    "operator": VQE(problem=Operator(qml.Z(0) @ qml.Z(1) + 0.5 * qml.X(0)), ansatz=Circuit(tilted, (2,)), seed=3),
}
ONLY = {
    "dogleg": ("H2",),  # the others start where the cost is not convex
    "Rotosolve": ("Ising chain",),  # gates of one frequency
    "ExcitationSolve": ("H2", "Hubbard dimer", "Ising chain"),  # and excitations
}
CASES = [(task, name) for task in TASKS for name in OPTIMIZERS if task in ONLY.get(name, TASKS)]


def made() -> dict[str, Any]:
    return {"transformation": optax.adam(0.1)}


def optimizer(name: str) -> Any:
    """A row of the table; its schedule ends with the steps that there are here."""
    known = (ExcitationSolve, NaturalGradient, Optax, Rotosolve, Scipy, SPSA)
    expression = OPTIMIZERS[name].replace("decay_steps=7", f"decay_steps={STEPS}")
    return eval(expression, {"made": made, **{kind.__name__: kind for kind in known}})


@pytest.mark.parametrize(("task", "name"), CASES)
def test_every_optimizer_solves_every_problem_that_it_can(task: str, name: str) -> None:
    rule = Stop(steps=SEARCH if name in SEARCHING else STEPS)
    asked = dataclasses.replace(TASKS[task], optimizer=optimizer(name))
    result = varq.run(asked, stop=rule, store=None, progress=False)
    assert -EXACT < result.deviation < (SEARCHED if name in SEARCHING else CHEMICAL)


@pytest.mark.parametrize("task", TASKS)
def test_the_problems_leave_something_to_be_found(task: str) -> None:
    """Where a method that does not move would pass, the rows above say nothing."""
    result = varq.run(TASKS[task], stop=Stop(steps=1), store=None, progress=False)
    assert result.deviation > SEARCHED
