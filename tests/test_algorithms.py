"""VQE, QAOA, phase estimation: specs that come back, answers beside independent truths, bad input named."""

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest

import varq
from varq import spec
from varq.algorithms import QAOA, VQE, Minimize, PhaseEstimation, minimize, phase_estimation, qaoa, vqe
from varq.algorithms.approximate import KEPT, _distribution, cut_details
from varq.algorithms.phases.posterior import TWO_PI
from varq.ansatze import Circuit, HardwareEfficient
from varq.node.verification import VerificationError
from varq.optimizers import Rotosolve, Scipy
from varq.problems import EigenPhase, Heisenberg, Hubbard, MaxCut, Molecule, Operator, TransverseFieldIsing
from varq.protocol import Reason, Reply, Stop

CHEMICAL = 1.594e-3  # hartree: 1 kcal/mol
EXACT = 1e-9
OPTIMIZED = 1e-5  # what a gradient method's own tolerance leaves
SIGMAS = 5

QUIET: dict[str, Any] = {"store": None, "progress": False}
RING = MaxCut([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)])


def turned(shots: int, diff_method: str = "best") -> Any:
    """A QNode with shots."""

    @qml.qnode(qml.device("default.qubit", wires=1, seed=1), diff_method=diff_method)
    def node(x: Any) -> Any:
        qml.RX(x[0], 0)
        return qml.expval(qml.Z(0))

    return qml.set_shots(node, shots)


def tilted(x: Any) -> None:
    qml.RY(x[0], 0)
    qml.CRY(x[1], [0, 1])


PROBLEMS = [
    (Molecule.load("H2"), "uccsd", EXACT),
    (Molecule.load("H2", bond=2.0), "kupccgsd", OPTIMIZED),
    (Molecule.load("H2", mapping="parity"), HardwareEfficient(wires=4, depth=3), CHEMICAL),
    # As many layers as half of a ring reach its ground state: Ho and Hsieh, SciPost Phys. 6, 029 (2019).
    (TransverseFieldIsing(4, periodic=True), "hamiltonian-variational", OPTIMIZED),
    (Hubbard(2, interaction=4.0), "uccsd", OPTIMIZED),
    (Operator(qml.Z(0) @ qml.Z(1) + 0.5 * qml.X(0)), Circuit(tilted, (2,), wires=2), OPTIMIZED),
]


@pytest.mark.parametrize(("problem", "ansatz", "tolerance"), PROBLEMS, ids=lambda p: getattr(p, "title", str(p)))
def test_the_energy_is_the_reference_or_above(problem: Any, ansatz: Any, tolerance: float) -> None:
    result = vqe(problem, ansatz=ansatz, seed=3, **QUIET)
    assert result.reference == pytest.approx(problem.reference(), abs=EXACT)
    assert -EXACT < result.deviation < tolerance
    assert result.stderr is None


def test_sampled_energies_have_error_bars() -> None:
    result = vqe(Molecule.load("H2"), shots=2000, stop=Stop(steps=15), seed=2, **QUIET)
    assert result.stderr > 0
    exact = varq.run(
        VQE(problem=Molecule.load("H2"), initial=result.parameters, optimizer="sgd", stop=Stop(steps=1)), **QUIET
    )
    assert abs(result.value - exact.value) < SIGMAS * result.stderr


def test_a_result_shows_its_plot_also_when_it_was_found_again(tmp_path: Path) -> None:
    for _ in range(2):
        result = vqe(Molecule.load("H2"), store=tmp_path, progress=False)
        page = result._repr_html_()
        assert "<table" in page
        assert "data:image/png;base64" in page
    with varq.Session(store=tmp_path, progress=False) as session:
        found = session.run(VQE(problem=Molecule.load("H2")))
    assert "<table" in found._repr_html_()
    assert pickle.loads(pickle.dumps(result)).value == result.value


def test_a_repeated_run_draws_other_samples() -> None:
    with varq.Session(store=None, progress=False) as session:
        task = VQE(problem=Molecule.load("H2"), shots=50, stop=Stop(steps=3))
        assert session.run(task).value != session.run(task, existing="repeat").value


def test_two_sampled_runs_in_one_session_are_the_runs_apart() -> None:
    tasks = [VQE(problem=Molecule.load("H2"), shots=50, seed=s, stop=Stop(steps=6)) for s in (1, 2)]
    apart = [varq.run(t, **QUIET).value for t in tasks]
    with varq.Session(store=None, progress=False) as session:
        runs = [session.start(t) for t in tasks]
        for _ in range(6):
            for run in runs:
                run.step()
        assert [run.finish().value for run in runs] == apart


def test_quantities_are_tracked() -> None:
    lih = Molecule.load("H2")
    task = VQE(problem=lih, track={"n": sum(0.5 * (qml.I(w) - qml.Z(w)) for w in range(4))}, stop=Stop(steps=3))
    run = varq.start(task, **QUIET)
    run.finish()
    assert run.history["n"] == pytest.approx([2, 2, 2], abs=EXACT)
    assert spec.identity(task)[0] == spec.identity(VQE(problem=lih))[0]


@pytest.mark.parametrize("shots", [None, 4000])
def test_qaoa_tracks_quantities(shots: int | None) -> None:
    cut = sum(0.5 * (qml.I(a) - qml.Z(a) @ qml.Z(b)) for a, b in RING.edges)
    task = QAOA(problem=RING, shots=shots, optimizer="adam", track={"size": cut}, stop=Stop(steps=3), seed=2)
    run = varq.start(task, **QUIET)
    result = run.finish()
    noise = 0.0 if shots is None else 5 * np.sqrt(len(RING.edges)) / np.sqrt(shots)
    assert run.history["size"] == pytest.approx(-run.history["value"], abs=EXACT + noise)
    assert result.details["expected_cut"] == pytest.approx(-result.value, abs=EXACT + noise)


def test_a_quantity_asked_for_too_late_is_said() -> None:
    with varq.Session(store=None, progress=False) as session:
        session.run(VQE(problem=Molecule.load("H2")))
        with pytest.warns(UserWarning, match=r"is recorded without z: .*existing='repeat'"):
            session.run(VQE(problem=Molecule.load("H2"), track={"z": qml.Z(0)}))


@pytest.mark.parametrize(
    "task",
    [
        VQE(problem=Molecule.load("LiH", bond=1.6), optimizer=varq.Optax("adam", learning_rate=0.1), seed=3),
        VQE(problem=TransverseFieldIsing(3), track={"z": qml.Z(0)}, stop=Stop(steps=2)),
        QAOA(problem=RING, depth=2, shots=100),
        PhaseEstimation(problem=EigenPhase(np.diag([1, 1j]), state=1), coherence=10.0),
    ],
    ids=lambda t: t.kind,
)
def test_specs_come_back_from_their_text(task: Any) -> None:
    resolved = task.resolve("lightning.qubit", task.shots)
    arrays: dict[str, Any] = {}
    back = spec.loads(spec.dumps(resolved, arrays), arrays.__getitem__)
    assert spec.identity(back) == spec.identity(resolved)
    assert back == resolved
    assert back.stop == task.stop


def test_names_are_resolved_before_hashing() -> None:
    problem = Molecule.load("H2")
    short = VQE(problem=problem).resolve("lightning.qubit", None)
    long = VQE(problem=problem, ansatz="UCCSD", optimizer="l-bfgs-b", initial=np.zeros(3)).resolve(
        "lightning.qubit", None
    )
    assert spec.identity(short) == spec.identity(long)


def test_the_shots_of_a_session_are_as_good_as_ones_own() -> None:
    problem = EigenPhase(np.eye(2))
    own = PhaseEstimation(problem=problem, shots=100).resolve(None, 100)
    sessions = PhaseEstimation(problem=problem).resolve(None, 100)
    assert spec.identity(own) == spec.identity(sessions)
    assert PhaseEstimation(problem=problem).resolve(None, None).applications == 1024


@pytest.mark.parametrize("coherence", [1e-300, 1e-3])
def test_without_coherence_nothing_is_learned(coherence: float) -> None:
    problem = EigenPhase(np.diag([1, 1j]), state=1)
    result = phase_estimation(problem, coherence=coherence, applications=4, **QUIET)
    assert result.stderr > 1


def test_what_cannot_be_written_down_equals_itself() -> None:
    one, two = (VQE(problem=RING, device=qml.device("default.qubit")) for _ in range(2))
    assert {one: 1, two: 2}[one] == 1
    assert one != two


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: VQE(problem="H2"), "problem must have a Hamiltonian"),
        (lambda: vqe(Molecule.load("H2"), optimiser="adam"), r"vqe\(\) takes .*Did you mean optimizer"),
        (lambda: vqe(Molecule.load("H2"), stroe=None), r"takes .*store.*Got 'stroe'. Did you mean store"),
        (lambda: qaoa(RING, dept=3), r"qaoa\(\) takes .*Did you mean depth"),
        (lambda: phase_estimation(EigenPhase(np.eye(2)), aplications=3), r"phase_estimation\(\) .*applications"),
        (lambda: minimize(np.sum, [0.1], gradients="jax"), r"minimize\(\) takes .*Did you mean gradient"),
        (lambda: VQE(problem=Molecule.load("H2"), ansatz="ucsd"), "'uccsd'"),
        (lambda: VQE(problem=Molecule.load("H2"), optimizer="adm"), "'adam'"),
        (lambda: VQE(problem=Molecule.load("H2"), initial=[np.nan] * 3), "initial must be finite"),
        (lambda: vqe(Molecule.load("H2"), initial=np.zeros(5), **QUIET), r"initial must have shape \(3,\)"),
        (lambda: VQE(problem=Molecule.load("H2"), track=[qml.Z(0)]), "track must be of type Mapping"),
        (lambda: vqe(Molecule.load("H2"), ansatz=HardwareEfficient(wires=3, depth=1), **QUIET), "wires"),
        (lambda: vqe(RING, ansatz="uccsd", **QUIET), "electrons"),
        (lambda: vqe(Molecule.load("H2", mapping="parity"), ansatz="uccsd", **QUIET), "jordan-wigner"),
        (
            lambda: vqe(Molecule.load("H2"), optimizer="rotosolve", **QUIET),
            "assumes that the cost .* Use ExcitationSolve",
        ),
        (lambda: vqe(Molecule.load("H2"), optimizer="natural-gradient", shots=10, **QUIET), "needs shots=None"),
        (lambda: VQE(problem=Molecule.load("H2"), track={"value": qml.Z(0)}), "history's own columns"),
        (lambda: VQE(problem=Molecule.load("H2"), track={"z": qml.Z(9)}), "must act on the problem's 4 wires"),
        (lambda: QAOA(problem=Molecule.load("H2")), "problem must be a MaxCut"),
        (lambda: qaoa(RING, optimizer="rotosolve", **QUIET), "Rotosolve assumes"),
        (lambda: QAOA(problem=RING, depth=0), "depth must be at least 1"),
        (lambda: QAOA(problem=RING, depth=2, initial=np.zeros(2)), r"initial must have shape \(2, 2\)"),
        (lambda: PhaseEstimation(problem=RING), "problem must be an EigenPhase"),
        (lambda: PhaseEstimation(problem=EigenPhase(np.eye(2)), applications=0), "applications must be at least 1"),
        (
            lambda: PhaseEstimation(problem=EigenPhase(np.eye(2)), applications=10**12),
            "applications must be at most 4194304.*density",
        ),
        (lambda: vqe(TransverseFieldIsing(10**9), **QUIET), "wires must be at most 63. Got 1000000000"),
        (lambda: vqe(Heisenberg(shape=(10**5, 10**5)), **QUIET), "must be at most 63. Got 10000000000. Larger"),
        (lambda: vqe(Hubbard(10**9), **QUIET), "must be at most 63. Got 2000000000"),
        (lambda: qaoa(MaxCut([(0, 10**9)]), **QUIET), "nodes must be at most 63"),
        (lambda: varq.run(VQE), "A session runs specs: .* Got <class"),  # type: ignore[arg-type]
        (lambda: PhaseEstimation(problem=EigenPhase(np.eye(2)), coherence=0), "coherence must be greater than 0"),
        (lambda: PhaseEstimation(problem=EigenPhase(np.eye(2)), contrast=1.5), "contrast must be at most 1"),
    ],
)
def test_bad_input_is_named(build: Any, match: str) -> None:
    with pytest.raises((ValueError, TypeError), match=match):
        build()


def test_frequencies_that_a_person_knows_are_taken() -> None:
    ansatz = Circuit(lambda x: [qml.RY(angle, 0) for angle in x], shape=2, wires=1)
    common: dict[str, Any] = {"problem": Operator(qml.Z(0)), "ansatz": ansatz}
    for frequencies in (((1.0,), (1.0,)), (1.0, 2.0)):
        optimizer = Rotosolve(frequencies=frequencies)
        assert VQE(optimizer=optimizer, **common).resolve("default.qubit", None).optimizer == optimizer
    with pytest.raises(ValueError, match=r"are not single frequencies.*one tuple for each parameter, where you know"):
        VQE(optimizer=Rotosolve(), **common).resolve("default.qubit", None)
    layers = HardwareEfficient(wires=1, depth=1)
    own = Rotosolve(frequencies=((1.0,), (0.5, 1.0)))
    assert VQE(Operator(qml.Z(0)), layers, optimizer=own).resolve("default.qubit", None).optimizer == own
    with pytest.raises(ValueError, match=r"have frequencies \(1.0,\)"):
        VQE(Operator(qml.Z(0)), layers, optimizer=Rotosolve(frequencies=((1.0,), (0.5,)))).resolve(
            "default.qubit", None
        )


@pytest.mark.flagless
def test_qaoa_on_a_ring_reaches_its_closed_form() -> None:
    # Depth p cuts (2p + 1)/(2p + 2) of a long ring's edges: Farhi, Goldstone and Gutmann, arXiv:1411.4028, section 4.
    ring = MaxCut([(k, (k + 1) % 8) for k in range(8)])
    for depth in (1, 2, 3):
        result = qaoa(ring, depth=depth, **QUIET)
        assert result.details["expected_cut"] / 8 == pytest.approx((2 * depth + 1) / (2 * depth + 2), abs=1e-4)


def test_qaoa_against_brute_force() -> None:
    result = qaoa(RING, depth=2, **QUIET)
    assert result.reference == -4
    assert result.details["best_cut"] == 4
    assert RING.cut(result.details["best_bits"]) == 4
    assert result.details["approximation_ratio"] == pytest.approx(result.details["expected_cut"] / 4)
    assert result.value == pytest.approx(-result.details["expected_cut"], abs=EXACT)
    assert np.sum(result.details["cut_probabilities"]) == pytest.approx(1, abs=EXACT)


def test_the_best_string_of_an_exact_law_is_one_that_it_makes_probable() -> None:
    """Every string has a probability, but of the 64 that most prefer few cut edges none cuts more than four."""
    ring = MaxCut([(k, (k + 1) % 8) for k in range(8)])
    index = np.arange(2**8)
    strings = (index[:, None] >> np.arange(7, -1, -1)) & 1
    cuts = (strings != np.roll(strings, 1, axis=1)).sum(axis=1)
    law = np.exp(-cuts) / np.exp(-cuts).sum()
    details = cut_details(ring, *_distribution(Reply(law=law)), KEPT)
    assert details["best_cut"] == np.sort(cuts)[:KEPT].max() == 4
    assert ring.cut(details["best_bits"]) == 4
    assert details["best_bits"] in details["bitstrings"]
    assert details["expected_cut"] == pytest.approx(law @ cuts, abs=EXACT)


@pytest.mark.flagless
def test_a_qaoa_that_does_badly_says_so() -> None:
    """With its mixer turned around, the best layer avoids cut edges as much as it preferred them."""
    ring = MaxCut([(k, (k + 1) % 8) for k in range(8)])
    best = qaoa(ring, **QUIET)
    assert best.details["best_cut"] == 8
    turned = qaoa(ring, initial=best.parameters * [[1], [-1]], optimizer="sgd", stop=Stop(steps=1), **QUIET)
    assert turned.details["expected_cut"] == pytest.approx(8 - best.details["expected_cut"], abs=1e-6)
    assert turned.details["best_cut"] == max(turned.details["values"]) == 4


def test_qaoa_with_shots() -> None:
    result = qaoa(RING, depth=1, shots=300, stop=Stop(steps=10), **QUIET)
    exact = qaoa(RING, depth=1, initial=result.parameters, optimizer="sgd", stop=Stop(steps=1), **QUIET)
    assert abs(result.value - exact.value) < SIGMAS * result.stderr
    assert np.sum(result.details["probabilities"]) == pytest.approx(1)


@pytest.mark.parametrize("phase", [2.0, 0.0, 1e-4, TWO_PI - 1e-4, math.pi])
def test_a_phase_is_found_wherever_it_is(phase: float) -> None:
    problem = EigenPhase(np.diag([1, np.exp(1j * phase)]), state=1)
    errors = []
    for seed in range(12):
        result = phase_estimation(problem, applications=256, seed=seed, **QUIET)
        errors.append(result.deviation / result.stderr)
        assert 0 <= result.value < TWO_PI
        assert result.details["applications"] <= 256
    # The posterior has heavier tails than a Gaussian; the root mean square over twelve runs is near one.
    assert np.sqrt(np.mean(np.square(errors))) < 3


def test_experiments_may_be_limited() -> None:
    problem = EigenPhase(np.diag([1, 1j]), state=1)
    result = phase_estimation(problem, shots=7, **QUIET)
    assert (result.details["experiments"], result.reason) == (7, Reason.CONVERGED)


def test_a_noisy_function_is_estimated_afresh() -> None:
    device = qml.device("default.qubit", wires=1, seed=3)

    @qml.set_shots(100)
    @qml.qnode(device)
    def flat(x: Any) -> Any:
        qml.RY(np.pi / 3, 0)
        qml.RZ(x[0], 0)
        return qml.expval(qml.Z(0))

    result = minimize(flat, np.array([0.1]), optimizer="spsa", stop=Stop(steps=20), **QUIET)
    assert result.stderr == pytest.approx(np.sqrt(0.75 / 100 / 16), rel=0.6)  # 16 estimates fix it to a sixth
    assert abs(result.value - 0.5) < SIGMAS * result.stderr


def test_minimize_takes_a_users_own_qnode() -> None:
    @qml.qnode(qml.device("default.qubit", wires=1))
    def energy(x: Any) -> Any:
        qml.RY(x[0], 0)
        return qml.expval(qml.X(0))

    result = minimize(energy, np.array([0.1]), **QUIET)
    assert result.value == pytest.approx(-1, abs=OPTIMIZED)
    differenced = minimize(energy, np.array([0.1]), gradient="finite-diff", **QUIET)
    assert differenced.value == pytest.approx(-1, abs=OPTIMIZED)


@pytest.mark.parametrize(
    ("cost", "match"),
    [
        (lambda x: x, "cost must return one real number"),
        (lambda x: float(np.sin(x[0])), "plain NumPy or Python numbers"),
    ],
)
def test_costs_that_do_not_fit_say_so(cost: Any, match: str) -> None:
    with pytest.raises(TypeError, match=match):
        minimize(cost, np.array([0.1, 0.2]), optimizer="bfgs" if "NumPy" in match else "cobyla", **QUIET)


def test_function_costs_refuse_what_they_cannot_answer() -> None:
    def bowl(x: Any) -> Any:
        return x @ x

    with pytest.raises(TypeError, match="values and gradients only"):
        varq.run(Minimize(bowl, np.ones(2), optimizer="natural-gradient"), **QUIET)


def test_differences_of_noise_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shot noise drowns any slope\. Got a noisy cost\. Use optimizer='spsa'"):
        minimize(lambda x: float(x[0] ** 2), [0.3], gradient="finite-diff", noisy=True, **QUIET)


@pytest.mark.parametrize("method", ["trust-exact", "trust-ncg", "Newton-CG", Scipy("BFGS", gradient=False)])
def test_methods_that_difference_samples_over_tiny_steps_are_refused(method: Any) -> None:
    for task in (
        VQE(problem=Molecule.load("H2"), optimizer=method),
        QAOA(problem=RING, optimizer=method),
        Minimize(turned(shots=1000), np.array([0.3]), optimizer=method),
    ):
        with pytest.raises(ValueError, match=r"must difference values over at least 0.022 rad .* 1000 shots"):
            task.resolve("varq.qubit", 1000)
    assert VQE(problem=Molecule.load("H2"), optimizer=method).resolve("varq.qubit", None)


def test_a_step_that_is_seen_through_the_noise_is_taken() -> None:
    wide = Scipy("BFGS", {"eps": 0.3}, gradient=False)
    assert QAOA(problem=RING, optimizer=wide).resolve("varq.qubit", 1000).optimizer.differences == 0.3


def test_slopes_that_pennylane_differences_in_the_noise_are_refused() -> None:
    with pytest.raises(ValueError, match=r"finite-diff must difference samples .* Got h=1e-07"):
        minimize(turned(shots=1000, diff_method="finite-diff"), [0.3], optimizer="adam", **QUIET)


@pytest.mark.parametrize("grouping", ["qubit-wise", "commuting"])
def test_energies_of_either_grouping_lie_within_their_error_bars(grouping: str) -> None:
    h2 = Molecule.load("H2")
    task = VQE(problem=h2, grouping=grouping, optimizer="spsa", shots=4000, stop=Stop(steps=1), seed=3)
    result = varq.run(task, **QUIET)
    ansatz = task.resolve("default.qubit", 4000).ansatz

    @qml.qnode(qml.device("default.qubit", wires=4))
    def energy() -> Any:
        ansatz(result.parameters)
        return qml.expval(h2.hamiltonian)

    assert abs(result.value - float(energy())) < SIGMAS * result.stderr


def test_commuting_groups_are_fewer() -> None:
    h2 = Molecule.load("H2")
    with varq.Session(shots=1000, store=None, progress=False) as session:
        forecasts = [session.forecast(VQE(problem=h2, grouping=g)) for g in ("qubit-wise", "commuting")]
    assert forecasts[1].circuits < forecasts[0].circuits


def test_a_verified_run_is_checked_first() -> None:
    with varq.Session(store=None, progress=False) as session:
        assert session.start(VQE(problem=Molecule.load("H2")), verify=True).finish().deviation < EXACT

    def leaking(x: Any) -> None:
        qml.RX(x[0], 0)

    class Promising(Circuit):
        """Says that it keeps the electrons, and does not."""

        electrons = (1, 1)

    bad = VQE(problem=Molecule.load("H2"), ansatz=Promising(leaking, (1,), wires=4))
    with varq.Session(store=None, progress=False) as session, pytest.raises(VerificationError, match="electrons"):
        session.start(bad, verify=True)


def test_a_cut_can_be_verified_and_a_plain_function_says_that_it_cannot() -> None:
    with varq.Session(store=None, progress=False) as session:
        assert session.start(QAOA(problem=RING, depth=1), verify=True).steps == 0
        with pytest.raises(ValueError, match=r"verify=True checks the circuits of a VQE or QAOA. Got 'minimize"):
            session.start(Minimize(lambda x: x @ x, np.ones(1)), verify=True)
