"""Sweeps over algorithms that are no VQE: each cell is the run of its own spec."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import varq
from varq.algorithms import QAOA, QPE, Memory, PhaseEstimation, Shor
from varq.algorithms.correction import Repetition
from varq.problems import EigenPhase, MaxCut
from varq.simulator.kept import Kept
from varq.study.table import Table

QUIET: dict[str, Any] = {"store": None, "progress": False}
GATE = EigenPhase(np.diag([1, np.exp(2.0j)]), state=1)
EXACT = 1e-12
FAR = 6  # standard errors of one estimate at a fixed seed: densities have further peaks, a few in a thousand are beyond
STATIONARY = 1e-6  # of a value where the optimizer stops
ROUNDING = 1e-10  # one compiled function for several cells and one for each differ by rounding


def swept(task: Any, over: dict[str, Any]) -> Table:
    study = varq.sweep(task, over, **QUIET)
    study.finish()
    return study.table()


def test_phases_over_applications_and_seeds() -> None:
    table = swept(PhaseEstimation(problem=GATE), {"applications": [64, 1024], "seed": range(4)})
    assert set(table["state"]) == {"done"}
    alone = varq.run(PhaseEstimation(problem=GATE, applications=1024, seed=3), **QUIET)
    assert table["value"][-1] == alone.value
    few, many = (np.asarray(table["stderr"])[np.asarray(table["applications"]) == n] for n in (64, 1024))
    assert max(many) < min(few)
    assert np.all(np.abs(table["deviation"]) < FAR * np.asarray(table["stderr"]))


def test_policies_are_values() -> None:
    policies = ["greedy", "semiclassical", "higgins"]
    table = swept(PhaseEstimation(problem=GATE, applications=256), {"policy": policies})
    tasks = [PhaseEstimation(problem=GATE, applications=256, policy=policy) for policy in policies]
    assert table["value"].tolist() == [varq.run(task, **QUIET).value for task in tasks]
    assert len(set(table["value"])) == 3
    assert np.all(np.abs(table["deviation"]) < FAR * np.asarray(table["stderr"]))


@pytest.mark.full
def test_batch_classics() -> None:
    assert np.all(np.asarray(swept(Shor(15), {"seed": range(3)})["value"]) % 2 == 1), "3 or 5"
    read = swept(QPE(problem=GATE, shots=100), {"bits": [3, 5, 7]})
    assert np.all(np.abs(read["deviation"]) <= np.pi / 2.0 ** np.array([3, 5, 7]) + EXACT)


@pytest.mark.full
def test_depths_of_qaoa_never_get_worse() -> None:
    table = swept(QAOA(problem=MaxCut([(0, 1), (1, 2), (2, 3), (3, 0), (0, 2)])), {"depth": [1, 2, 3]})
    assert table["value"][0] >= table["value"][1] >= table["value"][2] > table["reference"][0]


def test_cells_of_qaoa_on_one_graph_share_one_compiled_function(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Kept[Any] = Kept(lambda program: 0, most_entries=8)
    monkeypatch.setattr("varq.node.together._programs", made)
    ring, triangle = MaxCut([(k, (k + 1) % 6) for k in range(6)]), MaxCut([(0, 1), (1, 2), (2, 0)])
    starts = [np.array([[gamma], [beta]]) for gamma, beta in ((0.6, -0.3), (0.7, -0.2), (0.5, -0.4))]
    study = varq.sweep(QAOA(problem=ring), {"initial": starts, "repeat": [0, 1]}, **QUIET)
    assert [batch.seats for batch in study.layout.batches] == [6]
    assert study.finish()["done"] == 6
    (program,) = made._values.values()
    assert program._slopes._cache_size() == 1
    table = study.table()
    assert np.asarray(table["value"]) == pytest.approx(-4.5, abs=STATIONARY), "three quarters of the edges of a ring"
    for start, value, run in zip(starts, table["value"][::2], table["run"][::2], strict=True):
        alone = varq.run(QAOA(problem=ring, initial=start), **QUIET)
        assert abs(value - alone.value) < ROUNDING
        together = varq.spec.loads(study.store.find(run).result or "", study.store.array)
        assert together.details["probabilities"] == pytest.approx(alone.details["probabilities"], abs=1e-6)
        assert together.details["best_cut"] == alone.details["best_cut"] == 6
    apart = varq.sweep([QAOA(problem=graph, repeat=k) for k in range(2) for graph in (ring, triangle)], **QUIET)
    assert [batch.cells for batch in apart.layout.batches] == [(0, 2), (1, 3)], "the circuit has the graph's edges"


@pytest.mark.qec
def test_memories_over_strength_and_distance() -> None:
    task = Memory(Repetition(3), 0.02, "code-capacity", rounds=1, shots=20_000)
    table = swept(task, {"p": [0.05, 0.2], "code.distance": [3, 5]})
    p, d, rate = (np.asarray(table[name]) for name in ("p", "code.distance", "value"))
    for n, exact in ((3, lambda q: 3 * q**2 - 2 * q**3), (5, lambda q: 10 * q**3 - 15 * q**4 + 6 * q**5)):
        at = d == n
        wanted = exact(2 * p[at] / 3)  # X and Y flip what a repetition code keeps
        assert np.all(np.abs(rate[at] - wanted) < 5 * np.asarray(table["stderr"])[at])
