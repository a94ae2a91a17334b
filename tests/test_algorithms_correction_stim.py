"""Tapes as Stim circuits and back: the same laws of outcomes and detectors on simulators that share no code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from varq.algorithms.correction.codes import FiveQubit, Repetition, RotatedSurface, Steane
from varq.algorithms.correction.memory_circuits import memory_circuit
from varq.algorithms.correction.stim_tapes import GATES, from_stim, to_stim
from varq.simulator.outcomes import outcome

pytestmark = [pytest.mark.qec, pytest.mark.flagless]

SHOTS = 4_000
SIGMAS = 5.0


def tape_of(circuit: Callable[[], Any], *measurements: Any) -> Any:
    with qml.queuing.AnnotatedQueue() as queue:
        circuit()
    made = qml.tape.QuantumScript.from_queue(queue)
    return qml.tape.QuantumScript(made.operations, [*made.measurements, *measurements])


def law(bits: Any, width: int) -> np.ndarray:
    places = np.asarray(bits, dtype=np.int64) @ (1 << np.arange(width)[::-1])
    return np.bincount(places, minlength=1 << width) / len(bits)


def close(sampled: np.ndarray, exact: np.ndarray, shots: int) -> bool:
    return bool((np.abs(sampled - exact) < SIGMAS * np.sqrt((exact * (1 - exact) + 1 / shots) / shots)).all())


@pytest.mark.parametrize("name", sorted(GATES))
def test_each_gate_is_what_stim_calls_so(name: str) -> None:
    """Unitary matrices of both, up to a phase."""
    import stim

    kinds = {"Adjoint(S)": qml.adjoint(qml.S(0)), "Adjoint(SX)": qml.adjoint(qml.SX(0))}
    kinds |= {"Adjoint(ISWAP)": qml.adjoint(qml.ISWAP([0, 1]))}
    gate = kinds.get(name)
    if gate is None:
        maker = getattr(qml, name)
        gate = maker(wires=[0, 1][: maker.num_wires or 1])
    tape = qml.tape.QuantumScript([gate])
    circuit = to_stim(tape)
    theirs = stim.Tableau.from_circuit(circuit).to_unitary_matrix(endian="big")
    ours = qml.matrix(gate, wire_order=list(range(len(gate.wires))))
    assert abs(abs(np.trace(theirs.conj().T @ ours)) - len(ours)) < 1e-5  # Stim's matrices are single precision


def test_random_circuits_have_the_same_law_both_ways() -> None:
    """Outcomes with resets and conditions on parities: Stim's samples beside exact laws of varq.qubit."""
    import stim

    rng = np.random.default_rng(5)
    for _ in range(4):

        def circuit() -> list[Any]:
            bits: list[Any] = []
            for _ in range(14):
                kind = rng.integers(6)
                one, two = (int(w) for w in rng.choice(3, 2, replace=False))
                if kind == 0:
                    qml.Hadamard(one)
                elif kind == 1:
                    (qml.S, qml.SX, qml.X)[rng.integers(3)](one)
                elif kind == 2:
                    (qml.CNOT, qml.CZ, qml.CY)[rng.integers(3)]([one, two])
                elif kind == 3 and len(bits) < 4:
                    bits.append(qml.measure(one, reset=bool(rng.integers(2))))
                elif bits:
                    wanted = outcome(lambda a, b: 1 - (a ^ b), bits[0], bits[-1]) if len(bits) > 1 else bits[0]
                    qml.cond(wanted, (qml.X, qml.Y, qml.Z)[rng.integers(3)])(two)
            return bits

        with qml.queuing.AnnotatedQueue() as queue:
            bits = circuit()
        tape = qml.tape.QuantumScript(
            qml.tape.QuantumScript.from_queue(queue).operations, [qml.sample(wires=[0, 1, 2])]
        )
        converted = to_stim(tape)
        sampled = law(converted.compile_sampler(seed=2).sample(SHOTS), converted.num_measurements)
        again = from_stim(stim.Circuit(str(converted)))
        exact_tape = qml.tape.QuantumScript(again.tape.operations, [qml.probs(op=list(again.measured))])
        (exact,) = qml.execute([exact_tape], qml.device("varq.qubit", wires=3))
        assert len(again.measured) == len(bits) + 3
        assert close(sampled, np.asarray(exact, dtype=np.float64), SHOTS)


def test_a_bell_pair_with_detectors_and_observables() -> None:
    def circuit() -> Any:
        qml.Hadamard("a")
        qml.CNOT(["a", "b"])
        qml.BitFlip(0.2, "a")
        qml.PauliError("XZ", 0.1, ["b", "a"])
        return qml.measure("a"), qml.measure("b", reset=True)

    with qml.queuing.AnnotatedQueue() as queue:
        first, second = circuit()
    tape = qml.tape.QuantumScript(qml.tape.QuantumScript.from_queue(queue).operations, [qml.counts(wires=["b"])])
    made = to_stim(tape, detectors={(1.0, 2.0): [first, second]}, observables=[[second, -1], 0])
    assert made.get_detector_coordinates() == {0: [1.0, 2.0]}
    assert (made.num_measurements, made.num_observables) == (3, 2)
    rate = made.compile_detector_sampler(seed=1).sample(SHOTS).mean()
    assert close(np.array([rate]), np.array([0.2 * 0.9 + 0.8 * 0.1]), SHOTS)
    plain = to_stim(tape, detectors=[[first, second], [outcome(lambda a, b: a ^ b, first, second), 0]])
    assert [str(i) for i in plain if i.name == "DETECTOR"] == ["DETECTOR rec[-3] rec[-2]", "DETECTOR rec[-2]"]


@pytest.mark.parametrize("code", [Repetition(3), FiveQubit()], ids=lambda c: c.title)
def test_memories_fire_the_same_detectors_on_varqs_simulator(code: Any) -> None:
    """Errors of the data before the second round, run through the circuit's gates on `varq.qubit`."""
    import stim

    circuit = memory_circuit(code, 0.0, rounds=2) if code.matchable else _without_products(code)
    for wire in (0, code.wires - 1):
        for letter, gate in (("X", qml.X),) if wire else (("Y", qml.Y),):
            wrong = stim.Circuit()
            ticks = 0
            for line in circuit.flattened():
                ticks += line.name == "TICK"
                if line.name == "TICK" and ticks == circuit.num_ticks // 2 + 1:
                    wrong.append(letter, [wire])
                wrong.append(line)
            translated = from_stim(wrong, shots=20)
            assert any(isinstance(op, gate) for op in translated.tape.operations)
            device = qml.device("varq.qubit", wires=circuit.num_qubits, seed=1)
            (outcomes,) = qml.execute([translated.tape], device)
            fired, flipped = translated.parities(np.asarray(outcomes).reshape(20, -1))
            # Stim's own sampler compares with a run that has the same gates, the error among them.
            converter = circuit.compile_m2d_converter()
            records = wrong.compile_sampler(seed=3).sample(5)
            theirs, flips = converter.convert(measurements=records, separate_observables=True)
            assert (fired == theirs[0]).all()
            assert (theirs == theirs[0]).all()
            if code.matchable:
                assert (flipped == flips[0]).all()


def _without_products(code: Any) -> Any:
    """The rounds of a code's memory alone: no products of Paulis, which one qubit cannot measure."""
    import stim

    made = stim.Circuit()
    for line in memory_circuit(code, 0.0, "phenomenological", rounds=2).flattened():
        if line.name == "MPP" or line.name == "OBSERVABLE_INCLUDE":
            continue
        if line.name == "DETECTOR":
            continue
        made.append(line)
    many = len(code.stabilizers)
    for k in range(many):
        made.append("DETECTOR", [stim.target_rec(k - many), stim.target_rec(k - 2 * many)])
    return made


def test_noise_has_the_same_law_on_a_density_matrix() -> None:
    import stim

    circuit = stim.Circuit(
        "R 0 1\nH 0\nDEPOLARIZE1(0.2) 0\nCX 0 1\nDEPOLARIZE2(0.3) 0 1\nX_ERROR(0.1) 1\nY_ERROR(0.15) 0\n"
        "Z_ERROR(0.2) 0\nE(0.25) X0 Y1\nPAULI_CHANNEL_1(0.1, 0.05, 0.2) 1\n"
        "PAULI_CHANNEL_2(0.1, 0, 0, 0, 0, 0.02, 0, 0, 0, 0, 0, 0, 0, 0, 0.03) 0 1\nH 0\nS 1\nH_YZ 1\nM 0 1"
    )
    translated = from_stim(circuit)
    operations = [op for op in translated.tape.operations if not isinstance(op, qml.ops.MidMeasure)]
    tape = qml.tape.QuantumScript(operations, [qml.probs(wires=[0, 1])])
    (exact,) = qml.execute([tape], qml.device("default.mixed", wires=2))
    sampled = law(circuit.compile_sampler(seed=4).sample(SHOTS), 2)
    assert close(sampled, np.asarray(exact), SHOTS)
    silent = from_stim(circuit, noise=False)
    assert not any(isinstance(op, qml.operation.Channel) for op in silent.tape.operations)


def mechanisms(circuit: Any) -> dict[tuple[str, ...], float]:
    """What single faults flip, and how likely each is: all that a decoder is told of a circuit."""
    found = {}
    for line in circuit.detector_error_model().flattened():
        if line.type == "error":
            found[tuple(sorted(map(str, line.targets_copy())))] = line.args_copy()[0]
    return found


@pytest.mark.parametrize("code", [Repetition(3), RotatedSurface(3), Steane(), FiveQubit()], ids=lambda c: c.title)
@pytest.mark.parametrize("noise", ["code-capacity", "phenomenological", "uniform", "si1000"])
def test_there_and_back_a_memory_is_the_same(code: Any, noise: str) -> None:
    circuit = memory_circuit(code, 0.01, noise, rounds=2)
    translated = from_stim(circuit)
    again = translated.circuit()
    there, back = mechanisms(circuit), mechanisms(again)
    assert there.keys() == back.keys()
    assert max(abs(there[name] - back[name]) for name in there) < 1e-12
    assert again.get_detector_coordinates() == circuit.get_detector_coordinates()


def test_products_are_measured_without_harm() -> None:
    """A Bell pair by two products; the second round finds what the first one did, and all stay eigenstates."""
    import stim

    circuit = stim.Circuit("MPP X0*X1 Z0*Z1 Y0*Y1\nMPP Z0*Z1*Z2 X0*X1 Y0*Y1\nM 2")
    translated = from_stim(circuit)
    tape = qml.tape.QuantumScript(translated.tape.operations, [qml.probs(op=list(translated.measured))])
    (exact,) = qml.execute([tape], qml.device("varq.qubit", wires=4))
    sampled = law(circuit.compile_sampler(seed=4).sample(SHOTS), 7)
    assert close(sampled, np.asarray(exact), SHOTS)


def test_bases_of_measurements_and_resets() -> None:
    import stim

    circuit = stim.Circuit("RX 0\nRY 1\nMX 0\nMY 1\nMRX 0\nH 2\nR 2\nM 2\nS 0\nMY 0")
    translated = from_stim(circuit)
    tape = qml.tape.QuantumScript(translated.tape.operations, [qml.probs(op=list(translated.measured))])
    (exact,) = qml.execute([tape], qml.device("varq.qubit", wires=3))
    sampled = law(circuit.compile_sampler(seed=4).sample(200), 5)
    assert set(np.flatnonzero(sampled)) == set(np.flatnonzero(np.asarray(exact) > 1e-9)) == {0}


def test_a_surface_code_becomes_a_tape_of_reused_ancillas() -> None:
    translated = from_stim(memory_circuit(RotatedSurface(3), 0.01, rounds=2), noise=False)
    assert len(translated.tape.wires) == 17
    assert len(translated.measured) == 2 * 8 + 9
    assert (len(translated.detectors), len(translated.observables)) == (4 + 8 + 4, 1)
    with pytest.raises(ValueError, match=r"outcomes must have shape \(any, 25\)"):
        translated.parities(np.zeros((1, 3)))


def test_what_stim_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match=r"tape must be of type QuantumScript.*construct_tape"):
        to_stim(3)
    with pytest.raises(ValueError, match=r"Stim simulates Clifford gates.* Got RX.*run the tape on varq.qubit"):
        to_stim(tape_of(lambda: qml.RX(0.3, 0)))
    with pytest.raises(ValueError, match=r"Stim simulates Clifford gates.* Got T"):
        to_stim(tape_of(lambda: qml.T(0)))
    with pytest.raises(ValueError, match=r"Stim simulates Clifford gates.* Got QubitChannel"):
        to_stim(tape_of(lambda: qml.QubitChannel([np.diag([1, 0.8]), np.array([[0, 0.6], [0, 0]])], wires=0)))
    with pytest.raises(ValueError, match=r"Stim keeps every outcome.* with postselect"):
        to_stim(tape_of(lambda: qml.measure(0, postselect=1)))
    with pytest.raises(ValueError, match=r"Stim measures qubits. Got expval.* at the end of the tape"):
        to_stim(qml.tape.QuantumScript([qml.X(0)], [qml.expval(qml.Z(0))]))
    with pytest.raises(ValueError, match=r"Stim has X, Y and Z under a condition. Got H"):
        to_stim(tape_of(lambda: qml.cond(qml.measure(0), qml.Hadamard)(1)))
    with pytest.raises(ValueError, match=r"conditions on parities of outcomes alone"):
        to_stim(tape_of(lambda: qml.cond(qml.measure(0) & qml.measure(1), qml.X)(1)))
    with pytest.raises(ValueError, match=r"A condition must be 0 or 1"):
        to_stim(tape_of(lambda: qml.cond(qml.measure(0) + qml.measure(1), qml.X)(1)))
    measured = qml.tape.QuantumScript([], [qml.sample(wires=[0])])
    with pytest.raises(
        ValueError, match=r"outcome must be at most 0. Got 3. The tape has 1 measurement, -1 is the last"
    ):
        to_stim(measured, detectors=[[3]])
    with qml.queuing.AnnotatedQueue():
        stranger = qml.measure(0)
    with pytest.raises(ValueError, match=r"An outcome must come from the tape"):
        to_stim(measured, detectors=[[stranger]])


def test_what_pennylane_does_not_have_is_refused() -> None:
    import stim

    with pytest.raises(TypeError, match=r"circuit must be a stim.Circuit. Got str"):
        from_stim("H 0")
    with pytest.raises(ValueError, match=r"measurements of one qubit, and MPP. Got MXX. Write it with MPP"):
        from_stim(stim.Circuit("MXX 0 1"), noise=False)
    with pytest.raises(ValueError, match=r"measurements without noise of their own. Got MPP"):
        from_stim(stim.Circuit("MPP(0.1) X0*X1"))
    with pytest.raises(ValueError, match=r"outcomes that are not inverted. Got MPP"):
        from_stim(stim.Circuit("MPP !X0*X1"))
    with pytest.raises(ValueError, match=r"measurements without noise of their own.*Write X_ERROR before"):
        from_stim(stim.Circuit("M(0.1) 0"))
    with pytest.raises(ValueError, match=r"outcomes that are not inverted"):
        from_stim(stim.Circuit("M !0"))
    with pytest.raises(ValueError, match=r"Got C_XYZ. Decompose it first"):
        from_stim(stim.Circuit("C_XYZ 0"))
    with pytest.raises(ValueError, match=r"from_stim knows Pauli noise. Got ELSE_CORRELATED_ERROR"):
        from_stim(stim.Circuit("E(0.1) X0\nELSE_CORRELATED_ERROR(0.1) Z0"))
