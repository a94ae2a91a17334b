"""Verification: right costs pass, and each thing that is wrong on purpose is found and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
import pytest

from varq.ansatze import HardwareEfficient
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.node.verification import Report, VerificationError, verify
from varq.problems import Molecule, fermion
from varq.problems.pauli import PauliSum
from varq.protocol import Many, Reply, Request, ValueAndGrad

SHAPE = (2, 2)
FREQUENCIES = np.array([1.0, 2.0, 1.0, 3.0])
NUMBER = fermion.number(2)
SPIN = fermion.spin_z(2)


@dataclass(frozen=True)
class Waves:
    """A cost with a known gradient, which `spoil` may change, and noise of a known size."""

    spoil: Callable[[Any], Any] = np.asarray
    noise: float | None = None

    def evaluate(self, request: Request, key: Key) -> Reply:
        if isinstance(request, Many):
            return Reply(parts=tuple(self.evaluate(p, key.fold(k)) for k, p in enumerate(request.parts)))
        x = request.x.ravel()  # type: ignore[union-attr]
        draws = (self.noise or 0.0) * key.generator().normal(size=1 + x.size)
        value = float(np.cos(FREQUENCIES * x + 0.3).sum() + draws[0])
        if not isinstance(request, ValueAndGrad):
            return Reply(value=value, stderr=self.noise, executions=1)
        grad = self.spoil((-FREQUENCIES * np.sin(FREQUENCIES * x + 0.3) + draws[1:]).reshape(SHAPE))
        stderr = None if self.noise is None else np.full(SHAPE, self.noise)
        return Reply(value=value, stderr=self.noise, grad=grad, grad_stderr=stderr, executions=3)


def only_entry(factor: float) -> Callable[[Any], Any]:
    return lambda grad: grad * np.array([[1.0, 1.0], [factor, 1.0]])


def failure(*args: Any, **kwargs: Any) -> Report:
    with pytest.raises(VerificationError, match="checks failed") as caught:
        verify(*args, **kwargs)
    return caught.value.report


# -- the gradient ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [None, 0.003, 0.02])
def test_right_gradients_pass_at_any_point(noise: float | None) -> None:
    for seed in range(50):
        report = verify(Waves(noise=noise), SHAPE, seed)
        assert report.passed
        assert [f.name for f in report.findings] == ["gradient"]
        assert np.all(np.abs(report.x) <= np.pi)


@pytest.mark.parametrize(
    ("spoil", "wrong"),
    [
        (only_entry(1 + 1e-4), ["(1, 0)"]),
        (only_entry(-1.0), ["(1, 0)"]),
        (only_entry(float("nan")), ["(1, 0)"]),
        (lambda grad: grad[:, ::-1] * [[1, 1], [0, 0]] + grad * [[0, 0], [1, 1]], ["(0, 0)", "(0, 1)"]),
    ],
    ids=["off by 1e-4", "sign", "nan", "order"],
)
def test_a_wrong_gradient_is_found_and_its_entries_are_named(spoil: Any, wrong: list[str]) -> None:
    (finding,) = failure(Waves(spoil), SHAPE, 0).findings
    # The direction through all entries shows it too.
    assert finding.text.startswith(f"{len(wrong) + 1} of 5 slopes are wrong")
    assert finding.text.count("entry") == len(wrong)
    assert all(f"entry {entry}: the gradient says" in finding.text for entry in wrong)


def test_a_gradient_of_zeros_is_found() -> None:
    assert "5 of 5 slopes are wrong" in failure(Waves(np.zeros_like), SHAPE, 0).findings[0].text


@pytest.mark.parametrize("seed", range(5))
def test_a_gradient_of_the_wrong_sign_is_found_under_noise(seed: int) -> None:
    finding = failure(Waves(np.negative, noise=0.01), SHAPE, seed).findings[0]
    assert "slopes are wrong" in finding.text


def test_one_wrong_entry_of_many_is_found() -> None:
    size = 200

    class Long:
        def evaluate(self, request: Request, key: Key) -> Reply:
            if isinstance(request, Many):
                assert len(request.parts) < size
                return Reply(parts=tuple(self.evaluate(p, key) for p in request.parts))
            x = request.x  # type: ignore[union-attr]
            grad = np.cos(x)
            grad[137] *= 1.01
            return Reply(value=float(np.sin(x).sum()), grad=grad)

    finding = failure(Long(), (size,), 3).findings[0]
    assert "the direction through all entries" in finding.text


def test_a_cost_without_parameters_has_no_gradient_to_check() -> None:
    cost = Nodes("default.qubit").cost(lambda x: qml.Hadamard(0), qml.X(0), wires=1, shape=(0,))
    assert verify(cost, (0,), 0).findings == ()


def test_a_tiny_step_under_noise_is_refused() -> None:
    with pytest.raises(ValueError, match=r"step must be large enough .* Use a step of 0\."):
        verify(Waves(noise=0.01), SHAPE, 0, step=1e-5)


@pytest.mark.parametrize("device", ["varq.qubit", "lightning.qubit", "default.qubit"])
@pytest.mark.parametrize("shots", [None, 2000])
def test_costs_on_devices_pass(device: str, shots: int | None) -> None:
    molecule = Molecule.load("H2")

    def circuit(x: Any) -> None:
        qml.BasisState(np.array([1, 1, 0, 0]), wires=range(4))
        qml.DoubleExcitation(x[0], wires=[0, 1, 2, 3])
        qml.SingleExcitation(x[1] + x[0], wires=[0, 2])
        qml.SingleExcitation(x[1], wires=[1, 3])

    cost = Nodes(device, shots=shots).cost(circuit, molecule.pauli, wires=4, shape=(2,))
    kept = {"electrons": (NUMBER, 2), "S_z": SPIN}
    report = verify(cost, (2,), 1, observable=molecule.pauli, conserved=kept)
    names = [f.name for f in report.findings]
    assert names == ["hermiticity", "gradient", *(f"{c} {q}" for q in kept for c in (CONSERVED, SYMMETRY))]
    assert report.passed
    assert report.executions > 0
    assert str(report).count("\n") == len(names) - 1


CONSERVED, SYMMETRY = "conservation of", "symmetry under"


def test_single_precision_needs_a_tolerance() -> None:
    cost = Nodes(precision="single").cost(lambda x: qml.RY(x[0], 0), qml.Z(0), wires=1, shape=(1,))
    assert verify(cost, (1,), 0, tolerance=1e-3).passed


# -- what is measured ------------------------------------------------------------------------------------------------


def test_an_observable_that_is_not_hermitian_is_found() -> None:
    for observable in (PauliSum.from_words({"XZ": 1.0, "YI": 0.5j}), qml.X(0) @ qml.Z(1) + 0.5j * qml.Y(0)):
        finding = failure(Waves(), SHAPE, 0, observable=observable).findings[0]
        assert "imaginary coefficient is 0.5" in finding.text
    lowering = qml.ops.op_math.Prod(qml.Projector([1], wires=0), qml.X(0))
    assert "from its adjoint by 1" in failure(Waves(), SHAPE, 0, observable=lowering).findings[0].text


def test_a_circuit_that_does_not_conserve_is_found() -> None:
    ansatz = HardwareEfficient(wires=4, depth=1)
    for shots in (None, 500):
        cost = Nodes("default.qubit", shots=shots).cost(ansatz, NUMBER, wires=4, shape=ansatz.shape)
        failed = [f.name for f in failure(cost, ansatz.shape, 0, conserved={"N": NUMBER}).findings if not f.passed]
        assert failed == ["conservation of N"]


def test_the_variance_is_that_of_the_state() -> None:
    cost = Nodes("default.qubit").cost(lambda x: [qml.RY(x[0], 0), qml.X(1)], qml.Z(0), wires=4, shape=(1,))
    finding = failure(cost, (1,), 0, at=[0.8], conserved={"N": NUMBER}).findings[-1]
    chance = np.sin(0.4) ** 2
    assert f"Mean {1 + chance:.6g}, variance {chance * (1 - chance):.3g}; a share of {chance:.3g} is" in finding.text


def test_another_value_than_the_expected_one_is_found() -> None:
    cost = Nodes("default.qubit").cost(lambda x: [qml.X(0), qml.RZ(x[0], 0)], qml.Z(0), wires=4, shape=(1,))
    assert verify(cost, (1,), 0, conserved={"N": NUMBER}).passed
    finding = failure(cost, (1,), 0, conserved={"N": (NUMBER, 2)}).findings[-1]
    assert "Mean 1, variance 0; a share of 1 is not 2" in finding.text


def test_a_noisy_device_may_leak() -> None:
    def noisy(x: Any) -> None:
        qml.X(0)
        qml.RZ(x[0], 0)
        qml.BitFlip(0.05, wires=1)

    cost = Nodes("default.mixed").cost(noisy, qml.Z(0), wires=4, shape=(1,))
    assert verify(cost, (1,), 0, conserved={"N": NUMBER}, leakage=0.06).passed
    assert "a share of 0.05 is not 1" in failure(cost, (1,), 0, conserved={"N": NUMBER}).findings[-1].text


def test_what_may_all_be_noise_is_told_and_not_checked() -> None:
    """A circuit that conserves nothing: on a device of unknown noise, no share of other outcomes shows that."""
    cost = Nodes("default.mixed", shots=50).cost(lambda x: qml.RX(x[0], 0), qml.Z(0), wires=4, shape=(1,))
    report = verify(cost, (1,), 0, conserved={"N": (NUMBER, 2)}, leakage=1.0)
    assert (report.findings[-1].passed, report.passed) == (None, True)
    assert str(report.findings[-1]).startswith("conservation of N: not checked. Mean 0.")
    failure(cost, (1,), 0, conserved={"N": (NUMBER, 2)}, leakage=0.99)


def test_a_hamiltonian_that_changes_a_conserved_quantity_is_found() -> None:
    wrong = Molecule.load("H2").pauli + PauliSum.from_words({"XIII": 0.01})
    cost = Nodes("default.qubit").cost(lambda x: qml.RZ(x[0], 0), wrong, wires=4, shape=(1,))
    report = failure(cost, (1,), 0, observable=wrong, conserved={"N": NUMBER})
    assert [f.name for f in report.findings if not f.passed] == ["symmetry under N"]
    with pytest.raises(
        VerificationError, match=r"1 of 4 checks failed.\nsymmetry under N: FAILED. The largest word of"
    ):
        verify(cost, (1,), 0, observable=wrong, conserved={"N": NUMBER})


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"at": [0.0]}, ValueError, r"at must have shape \(2, 2\)"),
        ({"tolerance": 0.0}, ValueError, "tolerance must be greater than 0"),
        ({"step": -1.0}, ValueError, "step must be greater than 0"),
        ({"observable": "ZZ"}, TypeError, r"observable must be of type Operator.*Give a PauliSum"),
        ({"conserved": {"S": qml.X(0)}}, ValueError, r"conserved\['S'\] must be a real sum of words of I and Z"),
        ({"conserved": {"N": (NUMBER, "two")}}, TypeError, r"conserved\['N'\] must be a real number"),
        ({"conserved": {"N": NUMBER}, "leakage": 2.0}, ValueError, "leakage must be at most 1"),
        ({"conserved": {"N": NUMBER}, "shots": 0}, ValueError, "shots must be at least 1"),
        ({"key": "seed"}, TypeError, "key must be a varq Key or an integer seed"),
    ],
)
def test_wrong_arguments_are_named(arguments: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        verify(Waves(), SHAPE, **{"key": 0, **arguments})
