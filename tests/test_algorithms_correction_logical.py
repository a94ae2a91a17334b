"""Decoding while a circuit runs: noise, faults, tables and frames against brute force; what the answer is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from hypothesis import given
from hypothesis import strategies as st

import varq
from varq import spec
from varq.algorithms.correction import (
    Asked,
    Code,
    ErrorModel,
    FaultTracker,
    FewestFaults,
    FiveQubit,
    LogicalTeleportation,
    Lookup,
    Patch,
    Repetition,
    RotatedSurface,
    Script,
    StabilizerCode,
    Steane,
    Stopwatch,
    code_model,
    decoded,
)
from varq.algorithms.correction.faults import pauli_mechanisms
from varq.algorithms.correction.hops import BARE
from varq.algorithms.correction.noise import PRESETS, as_noise
from varq.devices.catalog import open_service
from varq.devices.service import run_now
from varq.keys import Key
from varq.node.nodes import Nodes
from varq.protocol import Progress, Reply, Sample, Stop
from varq.simulator import from_host
from varq.store.records import Row

EXACT = 1e-10  # linear algebra in float64
SIGMAS = 4  # a false alarm in one of 16,000, for each number; the seed is fixed
QUIET: dict[str, Any] = {"store": None, "progress": False}
PAULIS = {"I": np.eye(2), "X": qml.X(0).matrix(), "Y": qml.Y(0).matrix(), "Z": qml.Z(0).matrix()}
SILENT = as_noise("code-capacity").rates(0)
PHASES = StabilizerCode(stabilizers=("XXI", "IXX"), logical_x="XII", logical_z="ZZZ", distance=3, flagged=False)
"""The repetition code with X and Z exchanged."""


def matrix(string: str) -> np.ndarray:
    found = np.eye(1)
    for letter in string:
        found = np.kron(found, PAULIS[letter])
    return found


# -- noise and faults -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wires", [1, 2])
def test_coins_are_depolarizing_channels(wires: int) -> None:
    """On halves of Bell pairs each Pauli error is another basis state: their law says the whole channel."""

    @qml.qnode(qml.device("varq.qubit", wires=5))
    def circuit() -> Any:
        for w in range(wires):
            qml.Hadamard(w)
            qml.CNOT([w, w + 2])
        Script(SILENT, ancilla=4, coin=4).depolarize(range(wires), 0.3)
        for w in range(wires):
            qml.CNOT([w, w + 2])
            qml.Hadamard(w)
        return qml.probs(wires=[*range(wires), *range(2, 2 + wires)])

    errors = 4**wires - 1
    np.testing.assert_allclose(circuit(), [0.7, *[0.3 / errors] * errors], atol=EXACT)


@pytest.mark.parametrize(
    "channel",
    [qml.BitFlip(0.2, 0), qml.PhaseFlip(0.2, 0), qml.DepolarizingChannel(0.3, 0), qml.PauliError("Y", 0.1, 0)],
)
def test_a_channel_is_a_product_of_independent_errors(channel: Any) -> None:
    state = np.array([[0.7, 0.2 - 0.1j], [0.2 + 0.1j, 0.3]])
    found = state
    for chance, string in pauli_mechanisms(channel):
        found = (1 - chance) * found + chance * matrix(string) @ found @ matrix(string)
    wanted = sum(k @ state @ k.conj().T for k in channel.kraus_matrices())
    np.testing.assert_allclose(found, wanted, atol=EXACT)


GATES = [qml.Hadamard, qml.S, qml.X, qml.CNOT, qml.CZ, qml.CY, qml.SWAP]


@given(
    st.lists(st.tuples(st.sampled_from(GATES), st.permutations(range(3))), max_size=12),
    st.lists(st.sampled_from("IXYZ"), min_size=3, max_size=3),
    st.lists(st.sampled_from("IXYZ"), min_size=3, max_size=3),
)
def test_faults_go_through_clifford_gates_as_matrices_say(gates: Any, error: list[str], asked: list[str]) -> None:
    """U E = E' U: the tracker says whether E' anticommutes with a Pauli string."""
    tracker = FaultTracker()
    tracker.add(0.1, "".join(error), range(3))
    whole = np.eye(8, dtype=complex)
    for gate, wires in gates:
        made = gate(wires[: gate.num_wires] if gate.num_wires > 1 else wires[0])
        tracker.apply(made)
        whole = qml.matrix(made, wire_order=range(3)) @ whole
    moved = whole @ matrix("".join(error)) @ whole.conj().T
    pauli = matrix("".join(asked))
    sign = -1 if tracker.parity("".join(asked), range(3)) else 1
    np.testing.assert_allclose(moved @ pauli, sign * pauli @ moved, atol=EXACT)


def memory(script: Script, code: Code, rounds: int) -> tuple[list[Any], Any]:
    """A syndrome circuit; its detectors and the logical bit."""
    patch = Patch(code, tuple(range(code.wires)))
    script.begin(patch, "Z")
    detectors = [d for _ in range(rounds) for d in script.round(patch)]
    found, raw = script.read(patch, "Z")
    return detectors + found, raw


@pytest.mark.qec
@pytest.mark.flagless
@pytest.mark.parametrize("code", [Repetition(3), RotatedSurface(3)], ids=lambda c: c.title)
def test_faults_are_those_of_stim(code: Code) -> None:
    """The same circuit, translated for Stim with its noise channels, has the same error model."""
    from varq.algorithms.correction.error_models import merged
    from varq.algorithms.correction.faults import stim_model
    from varq.algorithms.correction.stim_tapes import to_stim

    script = Script(as_noise("uniform").rates(0.01), ancilla=code.wires, coin=None)
    with qml.queuing.AnnotatedQueue() as queue:
        detectors, raw = memory(script, code, rounds=2)
    tape = qml.tape.QuantumScript.from_queue(queue)
    circuit = to_stim(tape, detectors=[sorted(d) for d in detectors], observables=[sorted(raw)])
    theirs = merged(circuit.detector_error_model(approximate_disjoint_errors=True))
    masks = [script.mask(d) for d in detectors]
    mine = ErrorModel.from_masks(script.tracker.probabilities, masks, [script.mask(raw)], [len(detectors)])
    ours = merged(stim_model(mine))
    assert ours.keys() == theirs.keys()
    np.testing.assert_allclose([ours[k] for k in ours], [theirs[k] for k in ours], rtol=1e-6)


def test_the_surface_code_keeps_its_distance_with_one_ancilla() -> None:
    """No two faults of a noisy circuit flip the logical bit unseen."""
    code = RotatedSurface(3)
    script = Script(as_noise("uniform").rates(0.01), ancilla=9, coin=10)
    with qml.queuing.AnnotatedQueue():
        detectors, raw = memory(script, code, rounds=2)
    masks = [script.mask(d) for d in detectors]
    model = ErrorModel.from_masks(script.tracker.probabilities, masks, [script.mask(raw)], [len(detectors)])
    answers: dict[bytes, set[bool]] = {bytes(len(detectors)): {False}}
    for seen, logical in zip(model.detectors, model.observables, strict=True):
        answers.setdefault(seen.tobytes(), set()).add(bool(logical[0]))
    assert all(len(found) == 1 for found in answers.values())


# -- the table --------------------------------------------------------------------------------------------------------


def brute_force(model: ErrorModel) -> dict[tuple[bytes, bytes], float]:
    """The law of detectors and observables, over all sets of faults."""
    law: dict[tuple[bytes, bytes], float] = {}
    for happened in product([False, True], repeat=len(model.probabilities)):
        chosen = np.array(happened)
        chance = float(np.prod(np.where(chosen, model.probabilities, 1 - model.probabilities)))
        seen, logical = (np.logical_xor.reduce(x[chosen], axis=0) for x in (model.detectors, model.observables))
        law[seen.tobytes(), logical.tobytes()] = law.get((seen.tobytes(), logical.tobytes()), 0.0) + chance
    return law


@given(st.integers(0, 10_000))
def test_the_table_is_that_of_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = ErrorModel(rng.uniform(0, 0.4, 6), rng.random((6, 3)) < 0.5, rng.random((6, 2)) < 0.5, (2, 1))
    law, table = brute_force(model), Lookup().from_dem(model)
    for bits in product([False, True], repeat=3):
        chances = {o: law.get((bytes(bits), bytes(o)), 0.0) for o in product([False, True], repeat=2)}
        answer = tuple(table.decode_batch([bits])[0].tolist())
        assert chances[answer] >= max(chances.values()) - EXACT
        table.reset()
        table.push(bits[:2])
        early = {o: sum(law.get((bytes((*bits[:2], b)), bytes(o)), 0.0) for b in (False, True)) for o in chances}
        assert early[tuple(table.corrections().tolist())] >= max(early.values()) - EXACT
        table.push(bits[2:])
        assert tuple(table.corrections().tolist()) == answer
    best: dict[bytes, float] = {}
    for (seen, _), chance in law.items():
        best[seen] = max(best.get(seen, 0.0), chance)
    assert abs(table.failure - (1 - sum(best.values()))) < EXACT


def test_the_table_of_a_repetition_code_is_the_majority() -> None:
    p = 0.03
    q = 2 * p / 3  # of X or Y
    assert abs(Lookup().from_dem(code_model(Repetition(3), data=p, basis="Z")).failure - (3 * q**2 - 2 * q**3)) < EXACT


CODES = [Repetition(3), Steane(), FiveQubit(), RotatedSurface(3)]


def single_errors(code: Code) -> list[str]:
    letters = "X" if isinstance(code, Repetition) else "XYZ"
    return ["I" * q + x + "I" * (code.wires - q - 1) for q in range(code.wires) for x in letters]


@pytest.mark.parametrize("code", CODES, ids=lambda c: c.title)
def test_every_error_of_one_qubit_is_corrected(code: Code) -> None:
    table = Lookup().from_dem(code_model(code, data=0.001))
    errors = single_errors(code)
    found = table.decode_batch([code.syndrome(e) for e in errors])
    np.testing.assert_array_equal(found, [code.logical_flips(e) for e in errors])


@pytest.mark.qec
@pytest.mark.flagless
def test_stim_reads_what_the_model_writes() -> None:
    from varq.algorithms.correction.faults import stim_model

    model = code_model(Steane(), rounds=1, data=0.02, measurement=0.01, basis="Z")
    dem = stim_model(model)
    mine, theirs, text = (Lookup().from_dem(m) for m in (model, dem, str(dem)))
    every = np.array(list(product([False, True], repeat=6)))
    np.testing.assert_array_equal(mine.decode_batch(every), theirs.decode_batch(every))
    np.testing.assert_array_equal(mine.decode_batch(every), text.decode_batch(every))


# -- in the circuit ---------------------------------------------------------------------------------------------------


def logical_state(code: Code) -> np.ndarray:
    """A state of the code with three different logical expectation values."""
    size = 2**code.wires
    whole = np.eye(size, dtype=complex)
    for string in code.stabilizers:
        whole = (whole + matrix(string) @ whole) / 2
    zero = (np.eye(size) + matrix(code.logical_z)) @ whole @ np.random.default_rng(1).normal(size=size)
    zero = zero / np.linalg.norm(zero)
    return 0.8 * zero + 0.6 * np.exp(0.7j) * (matrix(code.logical_x) @ zero)


@pytest.mark.flagless
@pytest.mark.parametrize(
    "code",
    [FiveQubit(), *(pytest.param(c, marks=pytest.mark.full) for c in (Steane(), RotatedSurface(3)))],
    ids=lambda c: c.title,
)
def test_the_frame_mends_any_logical_state(code: Code) -> None:
    """Syndrome, decoder, conditional logical operators: all logical expectation values are as before the error."""
    count, wires = len(code.stabilizers), code.wires
    state = logical_state(code)
    asked = Asked(
        Lookup().from_dem(code_model(code, data=0.01)),
        [frozenset({k}) for k in range(count)],
        [count],
        [frozenset()] * 2,
    )
    logical = [
        qml.pauli.string_to_pauli_word(s, wire_map={k: k for k in range(wires)})
        for s in (code.logical_x, code.logical_z)
    ]

    @qml.qnode(qml.device("varq.qubit", wires=wires + 2), interface="jax")
    def circuit(turns: Any) -> Any:
        qml.StatePrep(state, wires=range(wires))
        for w in range(wires):
            qml.RX(np.pi * turns[w, 0], w)
            qml.RZ(np.pi * turns[w, 1], w)
        script = Script(SILENT, ancilla=wires, coin=wires + 1)
        patch = Patch(code, tuple(range(wires)))
        patch.known = [None] * count
        script.round(patch)
        flips_x, flips_z = from_host(asked, *script.bits, answers=2)
        for w in range(wires):
            qml.cond(flips_z, PAULI_GATES[code.logical_x[w]])(w)
            qml.cond(flips_x, PAULI_GATES[code.logical_z[w]])(w)
        return [qml.expval(p) for p in logical], qml.expval(qml.prod(*logical) * 1j)

    turns = {"I": (0, 0), "X": (1, 0), "Y": (1, 1), "Z": (0, 1)}
    before = [np.vdot(state, matrix(s) @ state) for s in (code.logical_x, code.logical_z)]
    product_of = 1j * np.vdot(state, matrix(code.logical_x) @ matrix(code.logical_z) @ state)
    for error in ["I" * wires, *single_errors(code)]:
        found, both = circuit(np.array([turns[letter] for letter in error], float))
        np.testing.assert_allclose([*found, both], [*before, product_of], atol=1e-6)


PAULI_GATES = {"I": qml.Identity, "X": qml.X, "Y": qml.Y, "Z": qml.Z}


@pytest.mark.flagless
def test_python_is_asked_once_for_each_shot() -> None:
    seen = []

    def count(bits: Any) -> Any:
        seen.append(bits.copy())
        return bits.sum(axis=1, keepdims=True) % 2

    @qml.set_shots(50)
    @qml.qnode(qml.device("varq.qubit", wires=3, seed=4))
    def circuit() -> Any:
        for w in range(2):
            qml.Hadamard(w)
        bits = [qml.measure(w) for w in range(2)]
        (odd,) = from_host(count, *bits)
        qml.cond(odd, qml.X)(2)
        return qml.sample(bits), qml.sample(wires=2)

    bits, last = circuit()
    np.testing.assert_array_equal(bits.sum(axis=1) % 2, np.ravel(last))
    np.testing.assert_array_equal(np.concatenate(seen), bits)


@pytest.mark.flagless
@pytest.mark.parametrize("listened", [True, False])
def test_the_answer_decides_on_the_gate(listened: bool) -> None:
    """The rate of wrong bits, with gates that follow the decoder and without, is that of a sum over all faults."""
    task = LogicalTeleportation(p=0.03, rounds=1, noise="phenomenological", shots=2000, listened=listened, seed=3)
    result = varq.run(task, **QUIET)
    assert result.reference is not None
    spread = np.sqrt(result.reference * (1 - result.reference) / 2000)
    assert abs(result.value - result.reference) < SIGMAS * spread
    assert result.details["errors"] == round(result.value * 2000)
    assert (result.details["changed"] > 0) == listened
    latency = result.details["latency"]
    assert 0 < latency["mean"] <= latency["worst"]


@pytest.mark.flagless
@pytest.mark.parametrize("noise", ["phenomenological", "uniform"])
def test_without_the_decoder_errors_are_three_times_as_many(noise: str) -> None:
    tasks = [LogicalTeleportation(p=0.005, noise=noise, listened=on) for on in (True, False)]
    on, off = (task.reference() for task in tasks)
    assert on is not None
    assert off is not None
    assert off > 3 * on
    assert on < tasks[0].bare() / 3, "the code beats a bare qubit"


@pytest.mark.flagless
def test_one_fault_is_never_too_many() -> None:
    """With two rounds the rate falls as the square of p where every operation fails; with one it does not."""
    rates = {r: [LogicalTeleportation(p=p, rounds=r).reference() for p in (1e-5, 2e-5)] for r in (1, 2)}
    slopes = {r: float(np.log2(b / a)) for r, (a, b) in rates.items() if a and b}
    assert abs(slopes[2] - 2) < 0.01
    assert abs(slopes[1] - 1) < 0.01


@pytest.mark.flagless
def test_a_bare_qubit_flips_as_often_as_it_waits() -> None:
    p, rounds = 0.04, 3
    found = LogicalTeleportation(p=p, rounds=rounds, noise="code-capacity", hops=2).bare()
    # Each of its three stays has `rounds` layers of noise; errors of the empty patch are a part of its random state.
    assert abs(found - (1 - (1 - 4 * p / 3) ** (3 * rounds)) / 2) < EXACT


@pytest.mark.flagless
def test_the_other_basis_is_the_same() -> None:
    """X and Z exchanged in code and state."""
    common: dict[str, Any] = {"p": 0.03, "rounds": 1, "noise": "phenomenological"}
    want = LogicalTeleportation(code=Repetition(3), state="1", **common).reference()
    found = LogicalTeleportation(code=PHASES, state="-", **common).reference()
    assert want is not None
    assert found is not None
    assert abs(found - want) < EXACT


@pytest.mark.full
@pytest.mark.flagless
@pytest.mark.parametrize(
    "more",
    [
        {"code": PHASES, "state": "-", "rounds": 1, "noise": "phenomenological"},
        {"hops": 2, "rounds": 1, "noise": "phenomenological"},
        {"noise": "uniform"},
        {"noise": "uniform", "listened": False, "state": "0"},
    ],
    ids=["phases", "hops", "uniform", "off"],
)
def test_rates_are_those_of_a_sum_over_all_faults(more: dict[str, Any]) -> None:
    shots = 4000
    result = varq.run(LogicalTeleportation(p=0.02, shots=shots, seed=5, **more), **QUIET)
    want = result.reference
    assert want is not None
    assert abs(result.value - want) < SIGMAS * np.sqrt(want * (1 - want) / shots)


@pytest.mark.full
@pytest.mark.flagless
def test_a_steane_code_carries_its_states() -> None:
    for state in ("1", "+"):
        task = LogicalTeleportation(code=Steane(), state=state, p=0.0, rounds=1, noise="phenomenological", shots=20)
        assert varq.run(task, **QUIET).value == 0.0


@pytest.mark.qec
@pytest.mark.flagless
def test_matching_serves_in_the_loop() -> None:
    task = LogicalTeleportation(p=0.02, rounds=1, noise="phenomenological", decoder="matching", shots=500)
    lookup = LogicalTeleportation(p=0.02, rounds=1, noise="phenomenological").reference()
    assert lookup is not None
    result = varq.run(task, **QUIET)
    assert result.reference is None
    assert result.value < lookup + SIGMAS * np.sqrt(2 * lookup / 500)


@pytest.mark.flagless
def test_the_usual_decoder_is_a_table_where_one_is_small_enough() -> None:
    usual = [LogicalTeleportation(**more).resolve(None, None).decoder for more in ({}, {"hops": 2}, {"rounds": 4})]
    assert usual == [Lookup(), FewestFaults(), FewestFaults()]
    assert LogicalTeleportation(hops=2).reference() is None


@pytest.mark.full
@pytest.mark.qec
@pytest.mark.flagless
def test_two_hops_with_the_usual_decoder_do_better_than_without() -> None:
    """As on paper: what a bare qubit loses on its way is exact, and gates that follow raw bits err more often."""
    task = LogicalTeleportation(hops=2, p=0.02, noise="phenomenological", shots=2000)
    found = varq.run(task, **QUIET)
    deaf = varq.run(replace(task, listened=False), **QUIET)
    assert found.value + SIGMAS * found.stderr < found.details["bare"]
    assert deaf.value > found.value + SIGMAS * np.hypot(found.stderr, deaf.stderr)


@pytest.mark.qec
@pytest.mark.flagless
def test_a_decoder_that_does_not_fit_is_refused() -> None:
    """A fault of three detectors, of which no other faults are parts."""
    from varq.algorithms.correction import Matching
    from varq.algorithms.correction.faults import stim_model

    model = ErrorModel(np.array([0.1]), np.ones((1, 3)), np.ones((1, 1)), (3,))
    with pytest.raises(ValueError, match="Matching needs faults of at most two detectors"):
        Matching().from_dem(stim_model(model))


@pytest.mark.flagless
def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    task = LogicalTeleportation(code=BARE, p=0.2, rounds=1, noise="code-capacity", shots=90, batch=30)
    whole = varq.run(task, **QUIET)
    part = varq.run(task, store=tmp_path, progress=False, stop=Stop(steps=1))
    assert part.steps == 1
    rest = varq.resume(part.run_id, stop=Stop(), store=tmp_path, progress=False)
    assert (rest.value, rest.details["errors"], rest.steps) == (whole.value, whole.details["errors"], 3)


@pytest.mark.flagless
def test_what_clocks_said_is_no_part_of_the_answer() -> None:
    """Two processes that record one batch, as after a lease was taken over, have the same row but for its times."""
    task = LogicalTeleportation(code=BARE, p=0.2, rounds=1, noise="code-capacity", shots=30).resolve(None, None)
    plan, key = task.plan(Nodes()), Key.from_seed(0)
    request = plan.method.ask(plan.method.init(plan.start, key))
    replies = []
    for k in range(2):
        reply = plan.evaluate(request, key)
        assert reply.timings is not None
        replies.append(replace(reply, timings={**reply.timings, "latency_worst": 1.0 + k}))
    rows = [Row(0, "step", "{}", "", spec.dumps(reply), "", None, None, 0.0, 1) for reply in replies]
    assert rows[0].reply != rows[1].reply
    assert rows[0].same_as(rows[1])
    assert rows[0].same_as(replace(rows[0], reply=spec.dumps(replace(replies[0], timings=None))))
    assert not rows[0].same_as(replace(rows[0], reply=spec.dumps(replace(replies[0], tracked={"changed": 2.0}))))


@pytest.mark.flagless
def test_bits_that_were_found_again_tell_nothing_of_the_decoder() -> None:
    """A process that died had run the circuit and not written its reply: here nobody sees the decoder at work."""
    task = LogicalTeleportation(code=BARE, p=0.2, rounds=1, noise="code-capacity", shots=30).resolve(None, None)
    dead, here = task.plan(Nodes()), task.plan(Nodes())
    assert dead.prepare is not None
    assert here.prepare is not None
    key = Key.from_seed(0)
    state = here.method.init(here.start, key)
    request = here.method.ask(state)
    assert isinstance(request, Sample)
    bits = run_now(open_service("varq.qubit"), dead.prepare(request, key, 1.0).circuits)
    state, info = here.method.tell(state, here.prepare(request, key, 1.0).decode(bits))
    details = here.conclude(Progress(state=state)).details
    assert details["errors"] == info["errors"] == int((bits[0][:, -1] != 1).sum())
    assert details["latency"] == dict.fromkeys(("mean", "p99", "worst", "answer"))
    assert (details["simulated_round"], details["changed"], details["keeps_up"]) == (None, None, None)


@pytest.mark.flagless
def test_what_batches_told_is_averaged_over_those_that_told_it() -> None:
    plan = LogicalTeleportation(code=BARE, rounds=1, noise="code-capacity", shots=60, batch=20).resolve(None, None)
    method = plan.plan(Nodes()).method
    state = method.init(np.zeros(0), Key.from_seed(0))
    for mean in (3.0, None, 6.0):
        told = None if mean is None else {"latency_mean": mean, "latency_worst": mean}
        state, _ = method.tell(state, Reply(outcomes=np.ones((20, 1), np.uint8), timings=told))
    assert dict(state.told) == {"latency_mean": 4.5, "latency_worst": 6.0}


def test_latency_is_noted_for_each_round() -> None:
    watch = Stopwatch()
    table = Lookup().from_dem(code_model(Repetition(3), rounds=1, basis="Z"))
    asked = Asked(table, [frozenset({k}) for k in range(4)], [2, 2], [frozenset({0})], watch)
    asked(np.zeros((5, 4), np.int8))
    latency = watch.take()
    assert latency is not None
    assert latency.rounds == 10
    assert 0 < latency.mean <= latency.worst
    assert latency.p99 <= latency.worst < latency.total
    assert watch.take() is None


def test_presets_that_circuits_take() -> None:
    for name in PRESETS:
        if name == "si1000":
            continue
        assert LogicalTeleportation(p=0.001, noise=name).noise == PRESETS[name]


TABLE = Lookup().from_dem(code_model(Repetition(3), basis="Z"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LogicalTeleportation(code="steane"), "code must be"),
        (lambda: LogicalTeleportation(code=FiveQubit()), "stabilizers of X alone and of Z alone"),
        (lambda: LogicalTeleportation(code=Repetition(4)), "distance must be odd"),
        (lambda: LogicalTeleportation(code=Repetition(-3)), "distance must be at least 3"),
        (lambda: LogicalTeleportation(state="2"), "state must be one of"),
        (lambda: LogicalTeleportation(state="+"), "basis must be one in which"),
        (lambda: LogicalTeleportation(hops=0), "hops must be at least 1"),
        (lambda: LogicalTeleportation(rounds=0), "rounds must be at least 1"),
        (lambda: LogicalTeleportation(p=1.5), "p must be at most 1"),
        (lambda: LogicalTeleportation(p=-0.1), "p must be at least 0"),
        (lambda: LogicalTeleportation(noise="white"), "noise must be one of"),
        (lambda: LogicalTeleportation(noise="si1000"), "noise must have no idling"),
        (lambda: LogicalTeleportation(code=Steane(), noise="uniform"), "needs flag qubits"),
        (lambda: LogicalTeleportation(decoder="oracle"), "decoder must be one of"),
        (lambda: LogicalTeleportation(decoder=3), "decoder must have from_dem"),
        (lambda: LogicalTeleportation(round_time=0), "round_time must be greater than 0"),
        (lambda: LogicalTeleportation(batch=0), "batch must be at least 1"),
        (lambda: varq.run(LogicalTeleportation(device="default.qubit"), **QUIET), "device that asks it while"),
        (lambda: varq.run(LogicalTeleportation(rounds=4, decoder="lookup"), **QUIET), "look-up table takes at most 22"),
        (lambda: Lookup(most=0), "most must be at least 1"),
        (lambda: Lookup().from_dem(3), "dem must be an ErrorModel"),
        (lambda: Lookup().from_dem("repeat 3 {"), "flattened detector error model"),
        (lambda: Lookup().from_dem("error(0.1) D0"), "needs an observable"),
        (lambda: TABLE.decode_batch(np.zeros((2, 3))), r"detectors must have shape \(any, 2\)"),
        (lambda: (TABLE.reset(), TABLE.push([0, 0, 1])), "has 2 detectors. Got 3"),
        (lambda: code_model(Repetition(3), basis="X"), "has no stabilizer of X alone"),
        (lambda: code_model(Repetition(3), rounds=-1), "rounds must be at least 0"),
        (lambda: code_model(Repetition(3), data=0.8), "data must be at most 0.75"),
        (lambda: code_model("steane"), "code must be"),  # type: ignore[arg-type]
        (lambda: ErrorModel(np.array([1.2]), np.ones((1, 1)), np.ones((1, 1)), (1,)), "must lie between 0 and 1"),
        (lambda: ErrorModel(np.array([0.2]), np.ones((1, 1)), np.ones((1, 1)), (2,)), "rounds must add up to the 1"),
        (lambda: pauli_mechanisms(qml.AmplitudeDamping(0.1, 0)), "must be a Pauli channel"),
        (lambda: FaultTracker().apply(qml.T(0)), "through Clifford gates"),
        (lambda: Asked(object(), [], [], []), "must have reset"),
        (lambda: Asked(TABLE, [frozenset({0})], [2], []), "rounds must add up to the 1"),
        (
            lambda: Asked(TABLE, [frozenset({0}), frozenset({1})], [2], [frozenset()] * 2)(np.zeros((1, 2), np.int8)),
            "must answer for 2 logical bits. Got 1",
        ),
        (lambda: decoded(None, [], frozenset()), "at least one measured value"),
        (lambda: from_host(len, answers=0), "at least one answer"),
        (lambda: from_host(3), "must be a function"),  # type: ignore[arg-type]
        (lambda: Patch(Repetition(3), (0, 1)), "wires must be 3 different ones"),
        (lambda: Patch("code", (0, 1)), "code must be"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_are_named(call: Callable[[], Any], message: str) -> None:
    with qml.queuing.AnnotatedQueue(), pytest.raises((ValueError, TypeError), match=message):
        call()
