"""Every template of PennyLane for qubits on the device, and every kind of measurement, against default.qubit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from pennylane.exceptions import DeviceError
from pennylane.operation import Operator
from simulator_tapes import EVERY

from varq.simulator.precision import double

pytestmark = pytest.mark.flagless  # NumPy's arrays go in and come out

EXACT = 1e-10  # linear algebra in float64
SLOPE = 1e-6  # central differences of step 1e-4 err by its square
ANGLES = np.random.default_rng(3).normal(size=64)
SUM = qml.dot([0.25, 0.75], [qml.Z(2), qml.X(2) @ qml.X(3)])
BITS = np.array([1, 1, 0, 0])


def unit(size: int) -> Any:
    """A random state of real amplitudes."""
    found = np.random.default_rng(size).normal(size=size)
    return found / np.linalg.norm(found)


def block(weights: Any, wires: Any) -> None:
    qml.CNOT(wires)
    qml.RY(weights[0], wires[0])
    qml.RY(weights[1], wires[1])


def stepped(time: Any, x: Any, wires: Any) -> None:
    block(time * x, wires)


def tree(kind: Any) -> Callable[[], Any]:
    """A network of blocks of two wires on four."""

    def made() -> Any:
        count = kind.get_n_blocks(range(4), 2)
        return kind(range(4), 2, block, 2, template_weights=ANGLES[: 2 * count].reshape(count, 2))

    return made


TEMPLATES: dict[str, Callable[[], Any]] = {
    "Adder": lambda: qml.Adder(3, [0, 1, 2], mod=7, work_wires=[3, 4]),
    "AllSinglesDoubles": lambda: qml.AllSinglesDoubles(ANGLES[:3], range(4), BITS, [[0, 2], [1, 3]], [[0, 1, 2, 3]]),
    "AmplitudeAmplification": lambda: qml.AmplitudeAmplification(
        qml.prod(qml.Hadamard(0), qml.Hadamard(1)), qml.FlipSign([1, 0], [0, 1]), iters=2
    ),
    "AmplitudeEmbedding": lambda: qml.AmplitudeEmbedding(unit(8), [1, 3, 2]),
    "BasisEmbedding": lambda: qml.BasisEmbedding([1, 0, 1], [0, 2, 3]),
    "CommutingEvolution": lambda: qml.CommutingEvolution(qml.X(0) @ qml.X(1) + qml.Z(0) @ qml.Z(1), 0.7),
    "CosineWindow": lambda: qml.CosineWindow([0, 1, 2]),
    "FABLE": lambda: qml.FABLE(np.random.default_rng(1).uniform(-1, 1, (2, 2)), [0, 1, 2]),
    "GQSP": lambda: qml.GQSP(qml.RX(0.7, 1), ANGLES[:9].reshape(3, 3), control=0),
    "IQP": lambda: qml.IQP(ANGLES[:3], 4, [[[0], [1, 2]], [[0, 1, 3]], [[2, 3]]], spin_sym=True),
    "HilbertSchmidt": lambda: qml.HilbertSchmidt(qml.RZ(0.4, 1), qml.Hadamard(0)),
    "LocalHilbertSchmidt": lambda: qml.LocalHilbertSchmidt([qml.CZ([2, 3])], [qml.CZ([0, 1])]),
    "MERA": tree(qml.MERA),
    "MPS": tree(qml.MPS),
    "TTN": tree(qml.TTN),
    "MPSPrep": lambda: qml.MPSPrep(
        [np.array([[1.0, 0.0], [0.0, 1.0]]) / np.sqrt(2), np.array([[0.6, 0.8], [0.8, -0.6]])], [0, 1], work_wires=[2]
    ),
    "ModExp": lambda: qml.ModExp([0, 1], [2, 3], 3, mod=4, work_wires=[4, 5]),
    "MultiplexerStatePreparation": lambda: qml.MultiplexerStatePreparation(unit(4), [0, 2]),
    "Multiplier": lambda: qml.Multiplier(3, [0, 1], mod=4, work_wires=[2, 3]),
    "OutAdder": lambda: qml.OutAdder([0], [1], [2, 3]),
    "OutMultiplier": lambda: qml.OutMultiplier([0], [1], [2, 3]),
    "OutPoly": lambda: qml.OutPoly(lambda x, y: x + 2 * y, input_registers=([0], [1]), output_wires=[2, 3]),
    "SemiAdder": lambda: qml.SemiAdder([0, 1], [2, 3], work_wires=[4]),
    "ParticleConservingU2": lambda: qml.ParticleConservingU2(ANGLES[:14].reshape(2, 7), range(4), init_state=BITS),
    "PrepSelPrep": lambda: qml.PrepSelPrep(SUM, control=[0]),
    "QDrift": lambda: qml.QDrift(SUM, 0.7, n=3, seed=5),
    "QFT": lambda: qml.QFT([2, 0, 1]),
    "QROM": lambda: qml.QROM(["01", "11", "00", "10"], [0, 1], [2, 3], None),
    "QROMStatePreparation": lambda: qml.QROMStatePreparation(unit(4), [0, 1], [2, 3, 4]),
    "QSVT": lambda: qml.QSVT(
        qml.BlockEncode(np.diag([0.3, 0.6]), [0, 1]), [qml.PCPhase(float(a), 2, [0, 1]) for a in ANGLES[:3]]
    ),
    "QuantumMonteCarlo": lambda: qml.QuantumMonteCarlo(
        unit(4) ** 2, lambda i: np.sin(i / 4) ** 2, target_wires=[0, 1, 2], estimation_wires=[3, 4]
    ),
    "Qubitization": lambda: qml.Qubitization(SUM, control=[0]),
    "Superposition": lambda: qml.Superposition(unit(2), [[0, 1, 1], [1, 0, 1]], [0, 1, 2], 3),
    "TrotterizedQfunc": lambda: qml.TrotterizedQfunc(0.3, ANGLES[:2], qfunc=stepped, n=2, order=2, wires=[0, 1]),
    "TwoLocalSwapNetwork": lambda: qml.TwoLocalSwapNetwork(
        range(4), lambda index, wires, param: qml.CRX(param, wires), ANGLES[:6], fermionic=True, shift=False
    ),
    "UCCSD": lambda: qml.UCCSD(ANGLES[:3], range(4), [[0, 1, 2], [1, 2, 3]], [[[0, 1], [2, 3]]], BITS),
    "kUpCCGSD": lambda: qml.kUpCCGSD(ANGLES[:6].reshape(1, 6), range(4), k=1, delta_sz=0, init_state=BITS),
    "BBQRAM": lambda: qml.BBQRAM([[0], [1]], [0], [1], [2, 3, 4, 5]),
    "HybridQRAM": lambda: qml.HybridQRAM([[0], [1], [1], [0]], [0, 1], [2], [3, 4, 5, 6, 7], k=1),
    "SelectOnlyQRAM": lambda: qml.SelectOnlyQRAM([[0, 1], [1, 1]], [0], [1, 2]),
}
"""Those that `simulator_tapes.EVERY` does not draw."""

USUAL = ("AllSinglesDoubles", "AmplitudeEmbedding", "IQP", "MPS", "QFT", "QROM", "UCCSD", "kUpCCGSD")
"""Those that the gate runs."""

OTHERS = {
    "CVNeuralNetLayers",  # of modes of light
    "DisplacementEmbedding",
    "Interferometer",
    "SqueezingEmbedding",
    "QutritBasisStatePreparation",
    "SumOfSlatersPrep",  # decomposed by PennyLane's graph alone, which is off unless asked for
}


def kinds(kind: type) -> Iterator[type]:
    for below in kind.__subclasses__():
        yield below
        yield from kinds(below)


def test_no_template_is_left_out() -> None:
    """One that PennyLane adds is missed here."""
    known = {k.__name__ for k in kinds(Operator) if k.__module__.startswith("pennylane.templates")}
    known = {name for name in known if hasattr(qml, name)}
    assert known - set(EVERY) == set(TEMPLATES) | OTHERS


@pytest.mark.parametrize("name", [n if n in USUAL else pytest.param(n, marks=pytest.mark.full) for n in TEMPLATES])
def test_templates(name: str) -> None:
    def circuit() -> Any:
        for wire in range(4):
            qml.RY(0.3 + wire, wire)
        TEMPLATES[name]()
        return qml.state()

    found, truth = (qml.QNode(circuit, qml.device(d, wires=8))() for d in ("varq.qubit", "default.qubit"))
    np.testing.assert_allclose(found, truth, atol=EXACT)


def test_polynomial_circuits_within_others() -> None:
    """The adjoint, the controlled form and a derivative by its weights."""
    pattern = [[[0]], [[0, 1], [1]]]

    def circuit(weights: Any) -> Any:
        for wire in range(3):
            qml.RY(0.3 + wire, wire)
        qml.IQP(weights, 2, pattern)
        qml.adjoint(qml.IQP(ANGLES[:2], 2, pattern))
        qml.ctrl(qml.IQP(ANGLES[2:4], 2, pattern), control=2, control_values=[0])
        return qml.expval(qml.Z(0) @ qml.X(2))

    ours, theirs = (qml.QNode(circuit, qml.device(d, wires=3)) for d in ("varq.qubit", "default.qubit"))
    weights = np.array([0.4, -0.7])
    np.testing.assert_allclose(ours(weights), theirs(weights), atol=EXACT)
    step = 1e-4
    with double():
        slope = jax.grad(ours)(jnp.asarray(weights))
    for k, move in enumerate(step * np.eye(2)):
        np.testing.assert_allclose(slope[k], (ours(weights + move) - ours(weights - move)) / (2 * step), atol=SLOPE)


def test_what_default_qubit_refuses_is_refused() -> None:
    def circuit() -> Any:
        qml.SumOfSlatersPrep(unit(2), [0, 1, 2], (1, 6))
        return qml.state()

    with pytest.raises(DeviceError, match="does not provide a decomposition"):
        qml.QNode(circuit, qml.device("default.qubit", wires=8))()
    with pytest.raises(DeviceError, match=r"SumOfSlatersPrep.*or give its matrix with qml\.QubitUnitary"):
        qml.QNode(circuit, qml.device("varq.qubit", wires=8))()


MEASUREMENTS = {
    "ExpectationMP",
    "VarianceMP",
    "ProbabilityMP",
    "StateMP",
    "DensityMatrixMP",
    "PurityMP",
    "VnEntropyMP",
    "MutualInfoMP",
    "SampleMP",
    "CountsMP",
    "ClassicalShadowMP",
    "ShadowExpvalMP",
}


def test_no_measurement_is_left_out() -> None:
    """The first eight are drawn by `simulator_tapes` and compared in `test_simulator_device`; the others need shots.

    PennyLane 0.45 has no `vn_entanglement_entropy`, which is `vn_entropy` of one of two parts.
    """
    assert {n for n in qml.measurements.__dict__ if n.endswith("MP")} == MEASUREMENTS
