"""QAOA layers, circuits of a user's own, and ansatze chosen by name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from ansatze_truth import ROUNDING, basis_state, expectation, one, state
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.optimize import minimize

from varq import names, spec
from varq.algorithms import VQE
from varq.ansatze.alternating import Alternating
from varq.ansatze.choose import as_ansatz
from varq.ansatze.conserving import GivensLayers
from varq.ansatze.coupled_cluster import UCCSD, KUpCCGSD
from varq.ansatze.custom import Circuit
from varq.ansatze.layered import HamiltonianVariational, HardwareEfficient
from varq.problems.lattice import TransverseFieldIsing
from varq.problems.molecule import Molecule


def diagonal(terms: Any, wires: int) -> np.ndarray:
    out = np.zeros((2**wires, 2**wires))
    for weight, where in terms:
        product = np.eye(2**wires)
        for wire in where:
            product = product @ one("Z", wire, wires)
        out += weight * product
    return out


def ring(wires: int) -> tuple[Any, ...]:
    """MaxCut of a ring, -cut up to a constant."""
    return tuple((0.5, (i, (i + 1) % wires)) for i in range(wires))


# -- QAOA ---------------------------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(seed=st.integers(0, 100), depth=st.integers(1, 3))
def test_alternating_layers_are_exponentials_of_cost_and_mixer(seed: int, depth: int) -> None:
    rng, wires = np.random.default_rng(seed), 4
    terms = [(float(rng.normal()), tuple(rng.permutation(wires)[: rng.integers(1, 5)])) for _ in range(5)]
    ansatz = Alternating(terms, wires, depth)
    params = rng.uniform(-2, 2, ansatz.shape)
    cost, mixer = diagonal(ansatz.terms, wires), sum(one("X", k, wires) for k in range(wires))
    want = np.full(16, 0.25, dtype=complex)
    for gamma, beta in params.T:
        want = expm(-1j * beta * mixer) @ expm(-1j * gamma * cost) @ want
    assert np.abs(state(ansatz, params, wires) - want).max() < ROUNDING


@pytest.mark.parametrize(("depth", "ratio"), [(1, 3 / 4), (2, 5 / 6)])
def test_rings_reach_the_known_ratio(depth: int, ratio: float) -> None:
    """(2p + 1) / (2p + 2) of the edges of a ring longer than 2p (Farhi, Goldstone and Gutmann, section V)."""
    wires = 2 * depth + 4
    ansatz, matrix = Alternating(ring(wires), wires, depth), diagonal(ring(wires), wires)
    lowest = _descend(lambda x: expectation(ansatz, x.reshape(2, depth), wires, matrix), ansatz.init(0).ravel())
    assert (wires / 2 - lowest) / wires == pytest.approx(ratio, abs=1e-6)


def _descend(function: Any, start: np.ndarray) -> float:
    return float(minimize(function, start, method="BFGS", options={"gtol": 1e-6}).fun)


def test_the_ramp_lowers_the_cost_the_more_the_deeper() -> None:
    terms = ((0.5, (0, 1)), (0.5, (1, 2)), (-0.3, (0,)), (0.2, (2, 3)), (0.4, (0, 3)))
    matrix = diagonal(terms, 4)
    values = [expectation(a, a.init(0), 4, matrix) for a in (Alternating(terms, 4, p) for p in (1, 5, 40))]
    assert 0 > values[0] > values[1] > values[2]
    assert values[2] < 0.97 * np.linalg.eigvalsh(matrix)[0]


def test_the_start_is_a_linear_ramp_scaled_by_the_largest_coefficient() -> None:
    start = Alternating(((0.5, (0, 1)), (-2.0, (1,))), 2, 2).init(3)
    assert np.allclose(start, [[0.075, 0.225], [-0.45, -0.15]], rtol=0, atol=1e-15)
    assert np.isfinite(Alternating((), 2, 2).init(3)).all()


def test_it_is_made_from_a_diagonal_hamiltonian() -> None:
    hamiltonian = 0.5 * qml.Z(0) @ qml.Z(1) - 1.5 * qml.Z(2) + 4 * qml.I(0)
    made = Alternating.for_problem(SimpleNamespace(wires=3, hamiltonian=hamiltonian), depth=4)
    assert set(made.terms) == {(0.5, (0, 1)), (-1.5, (2,))}
    assert (made.wires, made.depth) == (3, 4)
    with pytest.raises(ValueError, match="needs a diagonal cost"):
        Alternating.for_problem(SimpleNamespace(wires=3, hamiltonian=qml.X(0) @ qml.Z(1)))
    with pytest.raises(ValueError, match="needs a problem with a hamiltonian"):
        Alternating.for_problem(SimpleNamespace(wires=3))


def test_terms_are_checked() -> None:
    with pytest.raises(ValueError, match="terms must be at most 1"):
        Alternating(((1.0, (0, 2)),), 2)
    with pytest.raises(ValueError, match="must each name different wires"):
        Alternating(((1.0, (0, 0)),), 2)
    with pytest.raises(ValueError, match="must each name different wires, at least one"):
        Alternating(((1.0, ()),), 2)
    with pytest.raises(TypeError, match="pairs of a number and a tuple of wires"):
        Alternating((1.0,), 2)
    with pytest.raises(TypeError, match="terms must be a real number"):
        Alternating((("a", (0,)),), 2)
    with pytest.raises(TypeError, match="terms must be of type tuple or list"):
        Alternating(3, 2)
    with pytest.raises(ValueError, match="depth must be at least 1"):
        Alternating(((1.0, (0,)),), 2, depth=0)


# -- a circuit of one's own ---------------------------------------------------------------------------------------


def turn(params: Any) -> None:
    qml.RY(params[0], 0)
    qml.CNOT([0, 1])


class Turner:
    """A callable that is no plain function."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, params: Any) -> None:
        self.calls += 1
        turn(params)


def test_a_function_is_called_only_in_the_circuit() -> None:
    turner = Turner()
    ansatz = Circuit(turner, shape=1, wires=2)
    assert ansatz.init(0).shape == (1,)
    assert turner.calls == 0
    vector = state(ansatz, np.array([np.pi]), 2)
    assert turner.calls == 1
    assert np.abs(vector - basis_state([1, 1])).max() < ROUNDING


def test_a_plain_function_is_known_by_its_source() -> None:
    one_spec, same = Circuit(turn, 1, 2), Circuit(turn, (1,), 2)
    assert one_spec == same
    assert spec.identity(one_spec) == spec.identity(same)
    assert spec.identity(one_spec)[0] != spec.identity(Circuit(turn, 1, 2, start=[0.5]))[0]
    again = spec.loads(spec.dumps(one_spec), objects={"turn": turn})
    assert again == one_spec
    with pytest.raises(LookupError, match="made with the function turn"):
        spec.loads(spec.dumps(one_spec).replace(__name__, "elsewhere"))


@pytest.mark.parametrize("more", [{}, {"start": [0.5]}, {"name": "turner"}])
def test_its_wires_are_the_problem_s_where_it_has_none_of_its_own(more: dict[str, Any]) -> None:
    free, own = Circuit(turn, 1, **more), Circuit(turn, 1, 2, **more)
    problem = TransverseFieldIsing(2)
    assert as_ansatz(free, problem) == own
    made = [VQE(problem=problem, ansatz=ansatz) for ansatz in (free, own)]
    assert made[0].ansatz.wires == 2
    assert spec.dumps(made[0]) == spec.dumps(made[1])
    if "name" not in more:
        assert spec.identity(made[0]) == spec.identity(made[1])
    assert np.array_equal(free.init(3), own.init(3))
    assert as_ansatz(free, TransverseFieldIsing(3)).wires == 3  # it may be given again
    with pytest.raises(ValueError, match=r"ansatz must act on the problem's 3 wires"):
        as_ansatz(own, TransverseFieldIsing(3))


def test_where_no_problem_tells_the_wires() -> None:
    free = Circuit(turn, 1)
    with pytest.raises(ValueError, match=r"is drawn on its wires\. Got turn with wires=None.*wires=\.\.\."):
        free.draw()
    with pytest.raises(ValueError, match="wires"):
        as_ansatz(free, SimpleNamespace())
    assert np.abs(state(free, np.array([np.pi]), 2) - basis_state([1, 1])).max() < ROUNDING
    assert spec.loads(spec.dumps(free), objects={"turn": turn}) == free


def test_a_named_callable_is_handed_in_again() -> None:
    ansatz = Circuit(Turner(), shape=(1,), wires=2, start=[0.3], name="turner")
    assert ansatz.title == "turner"
    assert not spec.identity(ansatz)[1]
    text = spec.dumps(ansatz)
    with pytest.raises(LookupError, match="kept under the name 'turner'"):
        spec.loads(text)
    again = spec.loads(text, objects={"turner": spec.unwrap(ansatz.function)})
    assert again == ansatz
    assert np.array_equal(again.init(0), [0.3])
    assert Circuit(Turner(), (1,), 2, [0.3], "turner") != ansatz


def test_an_unnamed_callable_cannot_be_written_down() -> None:
    with pytest.raises(LookupError, match="cannot be written down"):
        spec.loads(spec.dumps(Circuit(Turner(), 1, 2)))


def test_scalar_parameters_are_allowed() -> None:
    ansatz = Circuit(lambda angle: qml.RX(angle, 0), shape=(), wires=1)
    assert ansatz.init(0).shape == ()
    assert ansatz.size == 1
    assert abs(state(ansatz, np.array(np.pi), 1)[1]) == pytest.approx(1)


def test_circuit_arguments_are_checked() -> None:
    with pytest.raises(TypeError, match="function must be callable"):
        Circuit(3, 1, 2)
    with pytest.raises(TypeError, match="shape must be of type"):
        Circuit(turn, "3", 2)
    with pytest.raises(TypeError, match="shape must be an integer"):
        Circuit(turn, (1.5,), 2)
    with pytest.raises(ValueError, match=r"start must have shape \(2,\)\. Got shape \(1,\)"):
        Circuit(turn, 2, 2, start=[0.1])
    with pytest.raises(ValueError, match=r"start must be finite\. Got nan"):
        Circuit(turn, 1, 2, start=[np.nan])
    with pytest.raises(ValueError, match="wires must be at least 1"):
        Circuit(turn, 1, 0)
    with pytest.raises(ValueError, match="name must not be an empty string"):
        Circuit(turn, 1, 2, name="")
    with pytest.raises(ValueError, match="Pass Circuit"):
        Circuit.for_problem(SimpleNamespace(wires=2))


# -- by name ------------------------------------------------------------------------------------------------------

MOLECULE = SimpleNamespace(wires=4, electrons=(1, 1), orbitals=2, mapping="jordan-wigner")
GRAPH = SimpleNamespace(wires=2, hamiltonian=0.5 * qml.Z(0) @ qml.Z(1))
CHAIN = SimpleNamespace(wires=2, parts=(("zz", qml.Z(0) @ qml.Z(1)), ("x", qml.X(0) + qml.X(1))))


@pytest.mark.parametrize(
    ("name", "problem", "want"),
    [
        ("uccsd", MOLECULE, UCCSD((1, 1), 2)),
        ("UCCSD", MOLECULE, UCCSD((1, 1), 2)),
        ("KUpCCGSD", MOLECULE, KUpCCGSD((1, 1), 2)),
        ("k-UpCCGSD", MOLECULE, KUpCCGSD((1, 1), 2)),
        ("givens_layers", MOLECULE, GivensLayers((1, 1), 2)),
        ("GivensLayers", MOLECULE, GivensLayers((1, 1), 2)),
        ("hardware_efficient", GRAPH, HardwareEfficient(2)),
        ("Hardware Efficient", MOLECULE, HardwareEfficient(4)),
        ("alternating", GRAPH, Alternating(((0.5, (0, 1)),), 2)),
        (
            "HamiltonianVariational",
            CHAIN,
            HamiltonianVariational((("zz", ((1.0, "ZZ"),)), ("x", ((1.0, "XI"), (1.0, "IX"))))),
        ),
    ],
)
def test_names_are_resolved_against_the_problem(name: str, problem: Any, want: Any) -> None:
    assert as_ansatz(name, problem) == want


def test_an_ansatz_is_returned_as_it_is() -> None:
    ansatz = UCCSD((1, 1), 2)
    assert as_ansatz(ansatz, MOLECULE) is ansatz


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ansatz must act on the problem's 2 wires\. Got UCCSD \(3 angles\) on 4"):
        as_ansatz(UCCSD((1, 1), 2), GRAPH)
    with pytest.raises(ValueError, match="UCCSD needs a problem of electrons"):
        as_ansatz("uccsd", GRAPH)
    with pytest.raises(ValueError, match="needs a diagonal cost"):
        as_ansatz("alternating", SimpleNamespace(wires=2, hamiltonian=qml.X(0)))
    with pytest.raises(ValueError, match="Pass Circuit"):
        as_ansatz("circuit", GRAPH)
    with pytest.raises(TypeError, match="ansatz must be an ansatz or the name of one"):
        as_ansatz(3, GRAPH)
    with pytest.raises(TypeError, match="ansatz must be an ansatz or the name of one"):
        as_ansatz(UCCSD, MOLECULE)


@pytest.mark.parametrize("ansatz", [UCCSD((1, 1), 2), KUpCCGSD((1, 1), 2), GivensLayers((1, 1), 2)], ids=repr)
@pytest.mark.parametrize("mapping", ["parity", "bravyi-kitaev"])
def test_circuits_of_electrons_are_refused_on_other_maps(ansatz: Any, mapping: str) -> None:
    match = f"{type(ansatz).__name__} is a circuit for the Jordan-Wigner map.*mapping='{mapping}'.*jordan-wigner"
    with pytest.raises(ValueError, match=match):
        as_ansatz(ansatz, Molecule.load("H2", mapping=mapping))
    assert as_ansatz(ansatz, Molecule.load("H2")) is ansatz


@pytest.mark.parametrize("kind", [UCCSD, KUpCCGSD, GivensLayers])
def test_circuits_of_other_electrons_are_refused(kind: Any) -> None:
    for electrons, orbitals in (((2, 0), 2), ((1, 1), 3)):
        with pytest.raises(ValueError, match=r"problem's electrons=\(1, 1\) and orbitals=2\. Got .* Make it with"):
            as_ansatz(kind(electrons, orbitals), MOLECULE)
    assert as_ansatz(kind((2, 0), 2), SimpleNamespace(wires=4)) == kind((2, 0), 2)


def test_a_circuit_that_reads_beyond_its_shape_is_refused() -> None:
    calls = []

    def reaching(params: Any) -> None:
        calls.append(params)
        qml.RX(jnp.sin(params[0, 1]), 0)
        qml.RY(params[0, 3], 1)

    ansatz = Circuit(reaching, (2, 3), wires=2)
    assert calls == []
    with pytest.raises(ValueError, match=r"shape must hold .* reaching reads\. Got shape=\(2, 3\): index 3 is out"):
        as_ansatz(ansatz, GRAPH)
    with pytest.raises(ValueError, match=r"Got shape=\(8,\): too many indices"):
        as_ansatz(Circuit(reaching, 8, wires=2), GRAPH)
    calls.clear()
    fitting = Circuit(reaching, (1, 4), wires=2)
    with qml.queuing.AnnotatedQueue() as queue:
        as_ansatz(fitting, GRAPH)
        as_ansatz(fitting, GRAPH)
    assert len(calls) == 1
    assert len(queue) == 0


def test_a_circuit_that_only_cannot_take_zeros_is_accepted() -> None:
    def normalized(params: Any) -> None:
        if not np.any(params):
            raise ZeroDivisionError
        qml.RX(params[0], 0)

    assert as_ansatz(Circuit(normalized, 2, wires=2), GRAPH).shape == (2,)


def test_unknown_names_list_the_close_ones() -> None:
    with pytest.raises(ValueError, match=r"ansatz must be one of .* Did you mean 'uccsd'"):
        as_ansatz("ucsd", MOLECULE)
    assert {"uccsd", "circuit", "alternating"} <= set(names.names("ansatz"))
