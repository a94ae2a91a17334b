"""SIGKILL, for real, on every optimizer and every policy of phase estimation: nothing shows, or is executed twice."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from harness import printed
from optimizer_rows import OPTIMIZERS

import varq
from varq.algorithms import QAOA, QPE, PhaseEstimation, Shor
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.optimizers import SPSA
from varq.problems import EigenPhase, MaxCut
from varq.protocol import Stop, Value, ValueAndGrad
from varq.session.session import Session
from varq.testing.executions import counted
from varq.testing.kills import POINTS, Kill

# A run that dies at each named point in turn.  The third life has replayed two steps, and so on.
CHAIN = tuple(Kill(point, step) for step, point in enumerate(POINTS, start=1))
TWICE = CHAIN[1].step  # the one that dies after its execution and before the journal has it
STEPS = 7
LONG = 40  # so that a life is long beside the moments at which it ends

PHASE = "PhaseEstimation(problem=gate, applications={}, policy={!r}, together={})"
POLICIES = {
    "greedy": PHASE.format(64, "greedy", None),
    "greedy, four at once": PHASE.format(128, "greedy", 4),
    "look-ahead": PHASE.format(64, "look-ahead", None),
    "semiclassical": PHASE.format(255, "semiclassical", None),
    "higgins": PHASE.format(42, "higgins", None),
    "robust": PHASE.format(100, "robust", 3),
    "random-walk": PHASE.format(64, "random-walk", None),
    "spectrum": PHASE.format(640, "spectrum", 30),
}
BATCHES = {"qpe": "QPE(problem=gate, bits=3, shots=20)"}

HARNESS = """
import dataclasses, itertools, json, sys, warnings
from pathlib import Path
warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)  # no JAX computation has started in the parent
import numpy as np
import optax
import pennylane
from varq import Stop
from varq.algorithms import QAOA, QPE, VQE, PhaseEstimation, Shor
from varq.ansatze import HardwareEfficient, UCCSD
from varq.optimizers import ExcitationSolve, NaturalGradient, Optax, Rotosolve, Scipy, SPSA
from varq.problems import EigenPhase, Molecule, TransverseFieldIsing
from varq.testing.kills import Kill, chain_of_kills, random_kills

gate = EigenPhase(np.diag([1, np.exp(2.0j)]), state=1)
pennylane.device("lightning.qubit", wires=1)  # import it once, and not in every child

def made():
    return {"transformation": optax.adam(0.1)}

from varq.problems import MaxCut
ring, eigen = MaxCut([(0, 1), (1, 2), (2, 0)]), EigenPhase(pennylane.T(0), state=1)

names, kills, steps, shots, device = json.loads(sys.argv[1])
for name, expression in names.items():
    def task():
        if "device=device" in expression:  # whole
            return eval(expression)
        if name in ("ExcitationSolve", "dogleg"):  # of which one has to start where the energy is convex
            problem, ansatz = Molecule.load("H2"), "uccsd"
        else:
            problem, ansatz = TransverseFieldIsing(2), HardwareEfficient(wires=2, depth=1)
        optimizer, stop = eval(expression), Stop(steps=steps)
        if hasattr(optimizer, "plan"):  # an algorithm of its own
            return dataclasses.replace(optimizer, device=device, seed=5, stop=stop)
        return VQE(
            problem=problem, ansatz=ansatz, optimizer=optimizer, device=device, shots=shots, seed=5, stop=stop
        )
    counter = itertools.count()
    def folder():
        made = Path(f"{name.replace(' ', '_')}-{next(counter)}")
        made.mkdir()
        return made
    objects = made if "object" in name else None
    straight = chain_of_kills(task, folder(), objects=objects)
    def report(killed):
        print(json.dumps({
            "name": name,
            "deaths": killed.lives - 1,
            "steps": sum(row.role == "step" for row in straight.rows),
            "same_trace": killed.trace() == straight.trace(),
            "same_end": (killed.value, killed.reason) == (straight.value, straight.reason),
            "executed": straight.executed,
            "again": {step: n - straight.executed[step] for step, n in killed.executed.items()},
            "outside": straight.outside + killed.outside,
        }), flush=True)
        return killed.lives - 1
    if isinstance(kills, int):
        longest = 0.1
        while kills > 0:
            deaths = report(random_kills(task, folder(), kills, seed=next(counter), longest=longest, objects=objects))
            kills -= deaths
            if deaths < 5:  # its lives are over too soon
                longest /= 2
    else:
        report(chain_of_kills(task, folder(), tuple(Kill(point, step) for point, step in kills), objects))
"""


def run_harness(
    folder: Path,
    names: dict[str, str],
    kills: object,
    shots: int | None = None,
    steps: int = STEPS,
    device: str = "varq.qubit",
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = printed(HARNESS, folder, json.dumps([names, kills, steps, shots, device]))
    assert list(dict.fromkeys(entry["name"] for entry in found)) == list(names)
    for entry in found:
        assert entry["same_trace"], entry
        assert entry["same_end"], entry
        assert entry["outside"] == 0, entry  # neither plans nor replay nor references run circuits
        assert all(entry["executed"].get(str(step), 0) >= 1 for step in range(entry["steps"])), entry
    return found


def killed_at_every_point(folder: Path, names: dict[str, str], device: str) -> None:
    for entry in run_harness(folder, names, [(kill.point, kill.step) for kill in CHAIN], device=device):
        assert entry["deaths"] == len(POINTS), entry
        # Only what had not reached the journal when the process died is executed again.
        again = {int(step): n for step, n in entry["again"].items() if n}
        assert again == {TWICE: entry["executed"][str(TWICE)]}, entry


HALVES = [dict(list(OPTIMIZERS.items())[k::2]) for k in range(2)]
COMPILED = ("L-BFGS-B", "SPSA blocking", "NaturalGradient")


@pytest.mark.parametrize("names", HALVES, ids=["even", "odd"])
def test_a_run_killed_at_every_named_point_is_the_run_undisturbed(tmp_path: Path, names: dict[str, str]) -> None:
    """On a device that runs each circuit by itself: to trace and compile them in each life takes four times as long."""
    killed_at_every_point(tmp_path, names, "lightning.qubit")


def test_so_it_is_with_every_policy_of_phase_estimation(tmp_path: Path) -> None:
    killed_at_every_point(tmp_path, POLICIES, "lightning.qubit")


def test_what_is_one_batch_of_shots_is_drawn_once(tmp_path: Path) -> None:
    """Killed where it draws them, it draws the same ones again; killed later, none."""
    kills = [(point, 0) for point in POINTS[:3]]
    for entry in run_harness(tmp_path, BATCHES, kills, device="default.qubit"):
        assert entry["deaths"] == len(kills), entry
        assert entry["again"] == {"0": entry["executed"]["0"]}, entry


@pytest.mark.parametrize("names", [COMPILED, pytest.param(tuple(OPTIMIZERS), marks=pytest.mark.full)], ids=len)
def test_so_it_is_where_circuits_are_compiled(tmp_path: Path, names: tuple[str, ...]) -> None:
    killed_at_every_point(tmp_path, {name: OPTIMIZERS[name] for name in names}, "varq.qubit")


ALGORITHMS = {
    "QAOA": "QAOA(problem=ring, device=device, stop=Stop(steps=3))",
    "QAOA of an iterate": "QAOA(problem=ring, optimizer=SPSA(), device=device, stop=Stop(steps=3))",
    "QPE": "QPE(problem=eigen, bits=3, device=device)",
    "QPE of shots": "QPE(problem=eigen, bits=3, device=device, shots=50)",
    "PhaseEstimation": "PhaseEstimation(problem=eigen, device=device, applications=64)",
    "Shor": "Shor(15, base=7, backend='gates', control='qft', device=device, shots=4)",
}


def test_every_circuit_of_an_algorithm_is_one_of_its_steps(tmp_path: Path) -> None:
    kills = [("after journal", 0), ("inside tell", 0)]
    for entry in run_harness(tmp_path, ALGORITHMS, kills, device="lightning.qubit"):
        assert entry["deaths"] == 2, entry
        assert not any(entry["again"].values()), entry


@pytest.mark.parametrize(
    ("name", "device"),
    [(name, "lightning.qubit") for name in ALGORITHMS]
    + [(name, "varq.qubit") for name in ALGORITHMS if name != "Shor"],  # 18 wires and 12,000 gates: slow to compile
)
def test_to_look_at_a_run_executes_nothing(tmp_path: Path, name: str, device: str) -> None:
    known = {"QAOA": QAOA, "QPE": QPE, "PhaseEstimation": PhaseEstimation, "SPSA": SPSA, "Stop": Stop}
    known |= {
        "Shor": Shor,
        "ring": MaxCut([(0, 1), (1, 2), (2, 0)]),
        "eigen": EigenPhase(qml.T(0), state=1),
        "device": device,
    }
    task = eval(ALGORITHMS[name], known)
    runs: list[str] = []

    def looked() -> int:
        before = len(runs)
        found = varq.load(run.id, store=session.store, progress=False)
        assert len(found.record().history) == run.steps
        assert session.run(task, existing="return").steps == run.steps
        run.record()
        run.plan.reference()
        assert len(runs) == before
        return before

    with counted(lambda: runs.append("ran")), Session(store=tmp_path, progress=False) as session:
        run = session.start(task)
        run.step()
        assert looked() > 0
        result = run.finish()
        ran = looked()
    if not name.startswith("Phase"):  # of which one call of the device runs many circuits
        assert ran == result.executions
    assert np.sum(result.details.get("probabilities", 1.0)) == pytest.approx(1.0), "the law is in the result"


def test_a_sampled_run_draws_the_same_shots_after_a_kill(tmp_path: Path) -> None:
    names = {"SPSA": "SPSA()", "COBYLA": "Scipy('COBYLA')"}
    for entry in run_harness(tmp_path, names, [("after journal", 2), ("inside tell", 5)], shots=200):
        assert entry["deaths"] == 2, entry
        assert not any(entry["again"].values()), entry


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("device", "name"),
    [("lightning.qubit", name) for name in OPTIMIZERS] + [("varq.qubit", name) for name in COMPILED],
)
def test_fifty_kills_at_random_moments(tmp_path: Path, device: str, name: str) -> None:
    found = run_harness(tmp_path, {name: OPTIMIZERS[name]}, 50, steps=LONG, device=device)
    assert sum(entry["deaths"] for entry in found) >= 50
    for entry in found:
        # What is in the journal is never executed again, so a death costs the one execution that it interrupts at most.
        assert all(n >= 0 for n in entry["again"].values()), entry
        assert sum(entry["again"].values()) <= entry["deaths"] * max(entry["executed"].values()), entry


def test_whatever_runs_on_a_device_is_counted() -> None:
    """By a plan, a reference, a replay: what asks for it makes no difference."""
    runs: list[str] = []
    key, x = Key.from_seed(0), np.array([0.3])
    with counted(lambda: runs.append("ran")):
        for device in ("default.qubit", "lightning.qubit", "varq.qubit"):
            cost = Nodes(device).cost(lambda x: qml.RX(x[0], 0), qml.Z(0), wires=1, shape=(1,))
            assert runs == []  # nothing of it was to make the cost
            for request in (Value(x), ValueAndGrad(x)):
                cost.evaluate(request, key)
                assert runs == ["ran"]
                runs.clear()
    cost.evaluate(Value(x), key)


def test_kills_are_checked() -> None:
    with pytest.raises(ValueError, match="point must be one of"):
        Kill("during lunch", 3)
    with pytest.raises(ValueError, match="step must be at least 0"):
        Kill("inside tell", -1)
