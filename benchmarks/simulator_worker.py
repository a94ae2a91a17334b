"""One side of `benchmarks/simulator.py`: one workload on one peer, in a process of its own.

    python benchmarks/simulator_worker.py WORKLOAD PEER PROBLEM.npz

Needs NumPy and the peer, nothing of varq, so that each peer can live in an environment of its own.  Prints one JSON
line with the seconds to the first value and gradient (tracing and compiling included, imports and the device's start
excluded), the value and the norm of the gradient by PennyLane's angles; then, for every line that it reads, the seconds
of a few more calls.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Measured = tuple[Callable[[Any], Any], Any]

TURN = 3  # calls in a row before it is the peer's turn, as an optimizer makes them; fewer if they take long
LONG = 0.2  # seconds

UNIT = {"tencirchem": 0.5}  # of a peer's angles in PennyLane's

INSIDE = ("varq.qubit", "default.qubit", "nothing.qubit")  # devices that JAX traces
IDLE = "nothing.qubit"  # varq.qubit's stages with an execution that does nothing: what PennyLane's tracing costs


def parameters(workload: str, size: tuple[int, ...]) -> Any:
    """The same point for every peer."""
    if workload == "layers":
        return np.random.default_rng(0).normal(size=size) * 0.3
    if workload == "qaoa":
        return np.stack([np.linspace(0.1, 0.6, size[1]), np.linspace(0.6, 0.1, size[1])])
    return 0.01 * np.cos(np.arange(size[0]))


def excitations(problem: Any) -> tuple[list[list[int]], list[list[int]]]:
    """Single ones (i, a) and double ones (i, j, a, b) from spin orbitals i < j to a < b; even ones have spin up."""
    return problem["singles"].tolist(), problem["doubles"].tolist()


def circuit(workload: str, problem: Any) -> tuple[Callable[[Any], None], Any]:
    """The PennyLane circuit as a user would write it, and its parameters."""
    import pennylane as qml

    wires = int(problem["wires"])
    if workload == "uccsd":
        singles, doubles = excitations(problem)
        occupied = np.arange(wires) < int(problem["electrons"])

        def uccsd(p: Any) -> None:
            qml.BasisState(occupied.astype(int), wires=range(wires))
            for k, pair in enumerate(doubles):
                qml.DoubleExcitation(p[k], wires=pair)
            for k, one in enumerate(singles):
                qml.SingleExcitation(p[len(doubles) + k], wires=one)

        return uccsd, parameters(workload, (len(singles) + len(doubles),))
    depth = int(problem["depth"])
    if workload == "layers":

        def layers(p: Any) -> None:
            for layer in range(depth):
                for w in range(wires):
                    qml.RY(p[layer, w, 0], w)
                    qml.RZ(p[layer, w, 1], w)
                for w in range(wires):
                    qml.CNOT([w, (w + 1) % wires])

        return layers, parameters(workload, (depth, wires, 2))
    edges = [(int(a), int(b)) for a, b in problem["edges"]]

    def qaoa(p: Any) -> None:
        for w in range(wires):
            qml.Hadamard(w)
        for k in range(depth):
            for a, b in edges:
                qml.IsingZZ(p[0, k], wires=[a, b])
            for w in range(wires):
                qml.RX(2 * p[1, k], wires=w)

    return qaoa, parameters(workload, (2, depth))


def observable(problem: Any) -> Any:
    """The Hamiltonian as PennyLane's."""
    import pennylane as qml

    letters = {"X": qml.X, "Y": qml.Y, "Z": qml.Z}
    words = []
    for word in problem["words"]:
        factors = [letters[letter](w) for w, letter in enumerate(str(word)) if letter != "I"]
        words.append(qml.prod(*factors) if len(factors) > 1 else factors[0] if factors else qml.I(0))
    return qml.Hamiltonian([float(c) for c in problem["coefficients"]], words)


def on_pennylane(workload: str, problem: Any, peer: str) -> Measured:
    """A PennyLane device through JAX: compiled where the device can be traced, else by its adjoint method."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    import pennylane as qml

    made, point = circuit(workload, problem)
    total = observable(problem)
    catalyst = peer == "catalyst"
    device = device_of(peer, int(problem["wires"]))

    def energy(p: Any) -> Any:
        made(p)
        return qml.expval(total)

    if catalyst:
        import catalyst as compiler

        both = compiler.qjit(compiler.value_and_grad(qml.qnode(device, diff_method="adjoint")(energy)))
    elif peer in INSIDE:
        both = jax.jit(jax.value_and_grad(qml.qnode(device, interface="jax", diff_method="best")(energy)))
    else:
        both = jax.value_and_grad(qml.qnode(device, interface="jax", diff_method="adjoint")(energy))
    return lambda p: jax.block_until_ready(both(jnp.asarray(p))), point


def device_of(peer: str, wires: int) -> Any:
    """The device; `IDLE` is varq.qubit without its simulator."""
    import pennylane as qml

    if peer != IDLE:
        return qml.device("lightning.qubit" if peer == "catalyst" else peer, wires=wires)
    import jax.numpy as jnp

    from varq.simulator.device import VarqQubit
    from varq.simulator.lowering import gather

    class Idle(VarqQubit):
        """Adds up the squares of the parameters: a gradient that no compiler knows beforehand.

        Sorted first, as XLA would otherwise fuse the squares into what the caller does with each parameter, which takes
        longer to compile than all of varq.qubit.
        """

        def execute(self, circuits: Any, execution_config: Any = None) -> Any:
            every = [[p for op in c.operations for p in op.data if np.ndim(p) == 0] for c in circuits]
            return tuple(jnp.sum(jnp.sort(gather(one)) ** 2) for one in every)

    return Idle(wires=wires, cache=False)


def on_tencirchem(problem: Any) -> Measured:
    """TenCirChem's UCCSD in the particle-number sector: the excitations of `circuit` in its order, an angle for each.

    They are those of fermions, with the signs of the orbitals between, which PennyLane's `DoubleExcitation` leaves out:
    as many gates and parameters, but another value, which `simulator.py` knows from elsewhere.  Angles are amplitudes,
    half of PennyLane's; orbitals of spin down come first.
    """
    from tencirchem import UCCSD, set_backend

    set_backend("jax")
    solver = UCCSD.from_integral(
        problem["h1"],
        problem["eri"],
        int(problem["electrons"]),
        e_core=float(problem["constant"]),
        pick_ex2=False,
        sort_ex2=False,
        epsilon=0,
        engine="civector",
        mo_coeff=np.eye(len(problem["h1"])),  # its own Hartree-Fock finds other orbitals for N2, now and then
        init_method="zeros",
        run_hf=False,
        run_mp2=False,
        run_ccsd=False,
        run_fci=False,
    )
    half = int(problem["wires"]) // 2
    at = [k // 2 + half * (k % 2 == 0) for k in range(2 * half)]
    singles, doubles = excitations(problem)
    solver.ex_ops = [(at[a], at[b], at[j], at[i]) for i, j, a, b in doubles] + [(at[a], at[i]) for i, a in singles]
    solver.param_ids = list(range(len(solver.ex_ops)))
    return solver.energy_and_grad, UNIT["tencirchem"] * parameters("uccsd", (solver.n_params,))


def on_qulacs(problem: Any) -> Measured:
    """Qulacs, the layered circuit alone."""
    from qulacs import Observable, ParametricQuantumCircuit, QuantumState

    wires, depth = int(problem["wires"]), int(problem["depth"])
    total = Observable(wires)
    for word, c in zip(problem["words"], problem["coefficients"], strict=True):
        total.add_operator(float(c), " ".join(f"{a} {w}" for w, a in enumerate(str(word)) if a != "I"))

    def both(p: Any) -> Any:
        made = ParametricQuantumCircuit(wires)
        for layer in range(depth):
            for w in range(wires):
                made.add_parametric_RY_gate(w, -p[layer, w, 0])
                made.add_parametric_RZ_gate(w, -p[layer, w, 1])
            for w in range(wires):
                made.add_CNOT_gate(w, (w + 1) % wires)
        state = QuantumState(wires)
        made.update_quantum_state(state)
        return total.get_expectation_value(state), -np.array(made.backprop(total))

    return both, parameters("layers", (depth, wires, 2))


def main() -> None:
    """Times the first call, then a turn of calls for each line."""
    workload, peer, path = sys.argv[1:4]
    problem = np.load(path, allow_pickle=False)
    if peer == "tencirchem":
        both, point = on_tencirchem(problem)
    elif peer == "qulacs":
        both, point = on_qulacs(problem)
    else:
        both, point = on_pennylane(workload, problem, peer)
    began = time.perf_counter()
    value, gradient = both(point)
    first = time.perf_counter() - began
    norm = UNIT.get(peer, 1.0) * float(np.linalg.norm(np.asarray(gradient)))
    print(json.dumps({"first": first, "value": float(value), "norm": norm}), flush=True)
    for turn, _ in enumerate(sys.stdin):
        seconds = []
        for call in range(TURN):
            moved = point * (1 + 1e-3 * (TURN * turn + call + 1))
            began = time.perf_counter()
            both(moved)
            seconds.append(time.perf_counter() - began)
            if sum(seconds) > LONG:
                break
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
