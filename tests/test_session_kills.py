"""SIGKILL, for real, on every optimizer: the run carried on is the run undisturbed, and nothing is executed twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from varq.optimizers.catalog import METHODS
from varq.testing.kills import POINTS, Kill

# A run that dies at each named point in turn.  The third life has replayed two steps, and so on.
CHAIN = tuple(Kill(point, step) for step, point in enumerate(POINTS, start=1))
STEPS = 7
LONG = 40  # so that a life is long beside the moments at which it ends

OPTIMIZERS = {
    **{name: f"Scipy({name!r})" for name in METHODS},
    "BFGS without gradient": "Scipy('BFGS', gradient=False)",
    "optax adam": "Optax('adam', learning_rate=0.1)",
    "optax schedule": "Optax('adam', learning_rate=Optax.schedule('cosine_decay_schedule', 0.1, decay_steps=7))",
    "optax object": "Optax.of(made()['transformation'], name='transformation')",
    "optax chain": "Optax.chain(Optax('clip_by_global_norm', max_norm=1.0), Optax('sgd', learning_rate=0.1))",
    "SPSA": "SPSA()",
    "SPSA blocking": "SPSA(blocking=True)",
    "Rotosolve": "Rotosolve()",
    "ExcitationSolve": "ExcitationSolve()",
    "NaturalGradient": "NaturalGradient()",
}

HARNESS = """
import itertools, json, sys, warnings
from pathlib import Path
warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)  # no JAX computation has started in the parent
import optax
import pennylane
from varq import Stop
from varq.algorithms import VQE
from varq.ansatze import HardwareEfficient, UCCSD
from varq.optimizers import ExcitationSolve, NaturalGradient, Optax, Rotosolve, Scipy, SPSA
from varq.problems import Molecule, TransverseFieldIsing
from varq.testing.kills import Kill, chain_of_kills, random_kills

pennylane.device("lightning.qubit", wires=1)  # import it once, and not in every child

def made():
    return {"transformation": optax.adam(0.1)}

names, kills, steps, shots = json.loads(sys.argv[1])
for name, expression in names.items():
    def task():
        if "Excitation" in name:
            problem, ansatz = Molecule.load("H2"), "uccsd"
        else:
            problem, ansatz = TransverseFieldIsing(2), HardwareEfficient(wires=2, depth=1)
        optimizer = eval(expression)
        return VQE(problem=problem, ansatz=ansatz, optimizer=optimizer, shots=shots, seed=5, stop=Stop(steps=steps))
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
            "rows": len(straight.rows),
            "same_trace": killed.trace() == straight.trace(),
            "same_end": (killed.value, killed.reason) == (straight.value, straight.reason),
            "extra": sum(killed.executed.values()) - sum(straight.executed.values()),
            "twice": {step: n for step, n in killed.executed.items() if n > straight.executed[step]},
        }), flush=True)
        return killed.lives - 1
    if isinstance(kills, int):
        while kills > 0:
            kills -= report(random_kills(task, folder(), kills, seed=kills, longest=0.1, objects=objects))
    else:
        planned = tuple(Kill(point, step) for point, step in kills if step < len(straight.rows) - 1)
        report(chain_of_kills(task, folder(), planned, objects))
"""


def run_harness(
    folder: Path, names: dict[str, str], kills: object, shots: int | None = None, steps: int = STEPS
) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-c", HARNESS, json.dumps([names, kills, steps, shots])],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def groups(size: int) -> list[dict[str, str]]:
    items = list(OPTIMIZERS.items())
    return [dict(items[k : k + size]) for k in range(0, len(items), size)]


@pytest.mark.parametrize("names", groups(7), ids=lambda names: f"{next(iter(names))} to {list(names)[-1]}")
def test_a_run_killed_at_every_named_point_is_the_run_undisturbed(tmp_path: Path, names: dict[str, str]) -> None:
    found = run_harness(tmp_path, names, [(kill.point, kill.step) for kill in CHAIN])
    assert [entry["name"] for entry in found] == list(names)
    for entry in found:
        assert entry["same_trace"], entry
        assert entry["same_end"], entry
        # Only what had not reached the journal when the process died is executed again: the one step of
        # "after execute", which is step 2 of the chain.
        lost = [str(kill.step) for kill in CHAIN if kill.point == "after execute" and kill.step < entry["rows"] - 1]
        assert entry["twice"] == dict.fromkeys(lost, 2), entry


def test_a_sampled_run_draws_the_same_shots_after_a_kill(tmp_path: Path) -> None:
    names = {"SPSA": "SPSA()", "COBYLA": "Scipy('COBYLA')"}
    for entry in run_harness(tmp_path, names, [("after journal", 2), ("inside tell", 5)], shots=200):
        assert entry["same_trace"], entry
        assert entry["same_end"], entry
        assert entry["twice"] == {}, entry


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fifty_kills_at_random_moments(tmp_path: Path, name: str) -> None:
    found = run_harness(tmp_path, {name: OPTIMIZERS[name]}, 50, steps=LONG)
    assert sum(entry["deaths"] for entry in found) >= 50
    for entry in found:
        assert entry["same_trace"], entry
        assert entry["same_end"], entry
        # What is in the journal is never executed again, so a death costs the one execution that it interrupts at most.
        assert 0 <= entry["extra"] <= entry["deaths"], entry


def test_kills_are_checked() -> None:
    with pytest.raises(ValueError, match="point must be one of"):
        Kill("during lunch", 3)
    with pytest.raises(ValueError, match="step must be at least 0"):
        Kill("inside tell", -1)
