"""Any observable as a problem, against PennyLane's matrices and LAPACK."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
import pytest
import scipy.sparse as sps

from varq import spec
from varq.problems.operator import Operator
from varq.problems.pauli import PauliSum

EXACT = 1e-12  # a few products of numbers of order one
LANCZOS = 1e-9  # eigenvalues from Krylov spaces against LAPACK

DRAW = np.random.default_rng(5)
RAW = DRAW.normal(size=(8, 8)) + 1j * DRAW.normal(size=(8, 8))
HERMITIAN = RAW + RAW.conj().T
PLUS = np.array([1, 1]) / np.sqrt(2)

OBSERVABLES = [
    qml.Z(0),
    0.5 * qml.Z(0) @ qml.X(1) - 2 * qml.Y(2) + 3 * qml.I(0),
    qml.Hamiltonian([1.0, 2.0], [qml.X(0), qml.Z(1)]),
    qml.Hermitian(HERMITIAN, wires=[2, 0, 1]),
    qml.Projector([1, 0], wires=[0, 1]),
    qml.Projector(PLUS, wires=0),
    2 * qml.Projector([1], wires=[0]) + qml.Z(1),
    qml.X(1) @ qml.Hermitian(np.diag([1.0, 3.0]), 0),
    qml.SparseHamiltonian(sps.csr_matrix(HERMITIAN), wires=[0, 1, 2]),
    qml.Hadamard(1),
]


@pytest.mark.parametrize("op", OBSERVABLES, ids=lambda op: op.name)
def test_every_observable_keeps_its_matrix(op: Any) -> None:
    problem = Operator(op)
    order = range(problem.wires)
    truth = op.sparse_matrix().toarray() if op.name == "SparseHamiltonian" else qml.matrix(op, wire_order=order)
    assert np.abs(problem.matrix.toarray() - truth).max() < EXACT * 10
    assert np.abs(qml.matrix(problem.hamiltonian, wire_order=order) - truth).max() < EXACT * 10
    assert abs(problem.reference() - np.linalg.eigvalsh(truth)[0]) < EXACT * 100
    again = spec.loads(spec.dumps(problem))
    assert spec.identity(again) == spec.identity(problem)
    assert repr(again) == repr(problem)


def test_equal_meaning_is_equal_identity() -> None:
    forms: list[Any] = [
        qml.Z(0) @ qml.X(1),
        {"ZX": 1},
        [(1.0, "ZX")],
        PauliSum.from_words({"ZX": 0.5}) * 2,
        np.kron(np.diag([1, -1]), [[0, 1], [1, 0]]),
        sps.csr_array(np.kron(np.diag([1, -1]), [[0, 1], [1, 0]])),
        qml.Z("a") @ qml.X("b"),
    ]
    assert len({spec.identity(Operator(form)) for form in forms}) == 1


def test_labels() -> None:
    named = Operator(qml.Z("b") @ qml.X("a"))
    assert named.labels == ("b", "a")
    assert named.op == ((1.0, "ZX"),)
    # Integer labels stay what they are: an observable that is followed must act on the wire it names.
    assert Operator(qml.Z(2)).op == ((1.0, "IIZ"),)
    assert Operator(qml.Z(2)).labels is None
    assert Operator(qml.Z(0), wires=3).op == ((1.0, "ZII"),)
    assert Operator(qml.Hermitian(np.diag([1.0, 2.0]), 0), wires=2).wires == 2


def test_large_matrices_stay_sparse() -> None:
    size = 1 << 11
    draw = sps.random_array((size, size), density=2e-3, rng=np.random.default_rng(1))
    matrix = draw + draw.T
    problem = Operator(matrix)
    assert problem.pauli is None
    assert problem.hamiltonian.name == "SparseHamiltonian"
    assert "sparse matrix" in repr(problem)
    lowest = sps.linalg.eigsh(matrix, k=1, which="SA")[0][0]
    assert abs(problem.reference() - lowest) < LANCZOS
    arrays: dict[str, Any] = {}
    again = spec.loads(spec.dumps(problem, arrays), arrays.__getitem__)
    assert spec.identity(again) == spec.identity(problem)
    assert abs(again.matrix - matrix).max() == 0


def test_a_projector_on_many_wires() -> None:
    state = qml.Projector([0] * 12, wires=range(12))
    problem = Operator(-1.0 * state)
    assert problem.matrix.nnz == 1
    assert abs(problem.reference() + 1) < LANCZOS


def test_references_out_of_reach_are_none() -> None:
    assert Operator(qml.X(0) @ qml.X(29)).reference() is None


def test_building_one_records_nothing() -> None:
    op = qml.Projector([0, 1], wires=[0, 1])
    with qml.queuing.AnnotatedQueue() as queue:
        _ = Operator(op).hamiltonian
    assert not queue.queue


def test_the_zero_operator() -> None:
    problem = Operator({}, wires=2)
    assert problem.reference() == 0
    assert spec.identity(spec.loads(spec.dumps(problem))) == spec.identity(problem)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Operator(1j * qml.X(0)), ValueError, "must be Hermitian.*of size 1"),
        (lambda: Operator(qml.S(0)), ValueError, "must be Hermitian.*of size 0.5"),
        (lambda: Operator(np.array([[0, 1], [0, 0]])), ValueError, "must be Hermitian.*of size 0.5"),
        (lambda: Operator(sps.eye_array(2048, k=1)), ValueError, "anti-Hermitian part has an element of size 0.5"),
        (lambda: Operator(np.eye(3)), ValueError, r"2\^n rows and columns.*\(3, 3\)"),
        (lambda: Operator(np.full((2, 2), np.nan)), ValueError, "op must be finite"),
        (lambda: Operator({"Z": np.inf}), ValueError, "coefficients must be finite"),
        (lambda: Operator(3), TypeError, "op must be an observable. Got int"),
        (lambda: Operator(qml.Z(1), wires=1), ValueError, "wires must be at least 2"),
        (lambda: Operator(np.eye(4), wires=1), ValueError, "wires must be at least 2"),
        (
            lambda: Operator(sps.eye_array(2048) + sps.eye_array(2048, k=1) + sps.eye_array(2048, k=-1), wires=12),
            ValueError,
            "wires must be 11",
        ),
        (lambda: Operator(qml.Z(100)), ValueError, "wires must be at most 63. Got 101"),
        (lambda: Operator({"Z": "a"}), TypeError, "coefficients must be an array .* it holds text"),
        (lambda: Operator(np.array([["a", "b"], ["b", "a"]])), TypeError, "an array of complex128. Got array"),
        (lambda: Operator(np.ones((2, 2, 2))), ValueError, r"op must have shape .* Got shape \(2, 2, 2\)"),
        (lambda: Operator(qml.Z(0), labels=("a", "b")), ValueError, "at most 1 wires"),
    ],
)
def test_bad_input_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
