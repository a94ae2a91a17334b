"""What `explain` says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pennylane as qml
import pytest
from jax.experimental.compilation_cache import compilation_cache

from varq.simulator import explain, explaining, measurements, timing
from varq.simulator.dense.engine import DenseEngine
from varq.simulator.lowering import lower
from varq.simulator.paths import Options, engine
from varq.simulator.roofline import Rates

pytestmark = pytest.mark.flagless  # computed in float64 blocks of their own

DEVICE = qml.device("varq.qubit", wires=6)


def conserving(x: Any) -> Any:
    qml.BasisState([1, 1, 0, 0, 0, 0], wires=range(6))
    qml.DoubleExcitation(x[0], wires=[0, 1, 2, 3])
    qml.SingleExcitation(x[1], wires=[0, 4])
    return qml.expval(qml.Z(0) @ qml.Z(3))


def repeated(x: Any) -> Any:
    for _ in range(4):
        for w in range(6):
            qml.RY(x[0], w)
        for w in range(6):
            qml.CNOT([w, (w + 1) % 6])
    return qml.expval(qml.Z(0))


def alternating(x: Any) -> Any:
    gamma, beta = x
    for w in range(6):
        qml.Hadamard(w)
    for _ in range(4):
        for w in range(6):
            qml.IsingZZ(gamma, wires=[w, (w + 2) % 6])
        for w in range(6):
            qml.RX(beta, w)
    return qml.expval(qml.Z(0) @ qml.Z(1))


def plain(x: Any) -> Any:
    qml.RX(x[0], 0)
    qml.CNOT([0, 4])
    qml.Rot(x[0], x[1], 0.3, wires=4)
    return qml.probs(wires=[0])


def measured(x: Any) -> Any:
    qml.RX(x[0], 0)
    outcome = qml.measure(0, reset=True)
    qml.cond(outcome, qml.RY)(x[1], 1)
    return qml.expval(qml.Z(1))


@pytest.mark.parametrize(
    ("circuit", "path", "said"),
    [
        (conserving, "sector", "amplitudes"),
        (repeated, "layers", "4 repeats of 12 gates cover 48 of 48 gates"),
        (alternating, "alternating", "a precomputed diagonal cost"),
        (plain, "general", "other measurements go by the whole state"),
        (measured, "measured", "every branch of outcomes is summed"),
    ],
)
def test_each_path_is_named(
    circuit: Callable[[Any], Any], path: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.perf_counter()
    found = explain(qml.QNode(circuit, DEVICE))(np.array([0.3, 0.4]))
    took = time.perf_counter() - began
    printed = capsys.readouterr().out
    assert printed == f"{found}\n"
    assert said in printed
    (part,) = found.parts
    assert part.path == path
    assert repr(found) == f"<Explanation: {path}>"
    assert part.facts["amplitudes"] <= 64
    assert {"trace", "compile", "run"} <= set(part.seconds)
    assert all(value > 0 for value in part.seconds.values())
    assert sum(part.seconds.values()) < took, "they are parts of it, none counted twice"
    assert part.expected is not None
    assert part.expected > 0
    # Of probabilities no gradient is run: nothing is said of one.
    assert ("gradient" in part.seconds) == (path != "general")
    assert (" ms for a value, by" in printed) == (path in ("general", "measured"))
    assert ("moved by a gradient" in printed) == (path not in ("general", "measured"))
    assert ("moved by a run" in printed) == (path in ("general", "measured"))
    assert (f"{part.facts.get('state_bytes', 0) / 2**20:,.3g} MiB of the state" in printed) == (path != "measured")


@pytest.mark.parametrize(
    ("results", "timed"),
    [
        (lambda: qml.probs(wires=[0, 1]), ["ProbabilityMP"]),
        (lambda: qml.vn_entropy(wires=[0]), ["VnEntropyMP"]),
        (lambda: (qml.expval(qml.Z(1)), qml.state()), ["StateMP"]),
        (lambda: (qml.expval(qml.Z(1)), qml.expval(qml.X(0))), []),
    ],
)
def test_what_is_measured_is_what_is_timed(
    results: Callable[[], Any], timed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left to the final state is measured on it; a gradient is promised only where one was run, else a run."""
    seen: list[str] = []
    on_state = measurements.on_state

    def spied(tape: Any, chosen: Any, state: Any) -> Any:
        seen.extend(type(tape.measurements[k]).__name__ for k in chosen)
        return on_state(tape, chosen, state)

    monkeypatch.setattr(measurements, "on_state", spied)

    def alone(x: Any) -> Any:  # of no other test: programs are kept
        qml.RX(x[0], 0)
        qml.Toffoli([0, 1, 2])
        qml.CRX(x[0], wires=[2, 1])
        return results()

    (part,) = explain(node(alone, 3))(X).parts
    assert seen == timed
    assert ("gradient" in part.seconds) == (not timed)
    assert part.expected is not None
    assert part.work == ("a value" if timed else "a value and gradient")


@pytest.mark.parametrize("circuit", [conserving, repeated, plain])
def test_a_batch_is_explained_as_a_whole(circuit: Callable[[Any], Any], capsys: pytest.CaptureFixture[str]) -> None:
    (one,) = explain(qml.QNode(circuit, DEVICE))(np.array([0.3, 0.4])).parts
    capsys.readouterr()
    (many,) = explain(qml.QNode(circuit, DEVICE))(np.array([[0.3, 0.1, 0.2], [0.4, 0.5, 0.6]])).parts
    assert "3 elements of a batch at once" in capsys.readouterr().out
    assert (many.facts["batch"], many.facts["columns"], "batch" in one.facts) == (3, 3, False)
    assert many.facts["amplitudes"] == one.facts["amplitudes"]
    for name in ("state_bytes", "bytes_per_gradient", "bytes_per_run", "operations_per_run"):
        assert many.facts[name] == 3 * one.facts[name]
    assert many.seconds.keys() == one.seconds.keys()


def test_the_sector_is_as_small_as_what_can_be_reached(capsys: pytest.CaptureFixture[str]) -> None:
    found = explain(qml.QNode(conserving, DEVICE))(np.array([0.3, 0.4]))
    assert found.parts[0].facts["amplitudes"] == 3  # 110000, and what two excitations make of it: 001100, 010010
    assert "sector" in capsys.readouterr().out


@pytest.fixture
def own_cache(tmp_path: Path) -> Iterator[None]:
    """A compile cache on disk of this test alone, which keeps whatever is compiled."""
    wanted: dict[str, Any] = {
        "jax_compilation_cache_dir": str(tmp_path),
        "jax_enable_compilation_cache": True,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    before = {name: getattr(jax.config, name) for name in wanted}

    def choose(values: dict[str, Any]) -> None:
        for name, value in values.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()

    choose(wanted)
    yield
    choose(before)


def test_programs_found_on_disk_are_counted(own_cache: None, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for _ in range(2):
        jax.clear_caches()  # type: ignore[no-untyped-call]
        found += explain(qml.QNode(conserving, DEVICE))(np.array([0.3, 0.4])).parts
    first, second = (part.hits for part in found)
    assert first == 0
    assert second > 0
    assert f"{second} programs found on disk" in capsys.readouterr().out


def test_one_listener_of_the_process_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before jax 0.8 no listener can be taken back, so that each one more would stay."""
    timing.timed({"run": lambda x: x + 1}, 1.0)
    more: list[Any] = []
    monkeypatch.setattr(jax.monitoring, "register_event_listener", more.append)
    timing.timed({"run": lambda x: x + 2}, 1.0)
    assert more == []
    assert timing._open == []


def test_another_device_is_refused() -> None:
    qnode = qml.QNode(plain, qml.device("default.qubit", wires=6))
    with pytest.raises(ValueError, match=r"explain takes a QNode on varq\.qubit\. Got default\.qubit"):
        explain(qnode)
    with pytest.raises(ValueError, match="Make the QNode with"):
        explain(plain)


def test_the_longer_bound_counts() -> None:
    rates = Rates(bandwidth=10.0, operations=100.0)
    assert rates.seconds(20.0, 100.0) == 2.0
    assert rates.seconds(20.0, 500.0) == 5.0


@pytest.mark.parametrize(("precision", "width"), [("double", 8), ("single", 4)])
def test_bytes_are_those_of_the_precision_that_is_asked_for(precision: str, width: int) -> None:
    device = qml.device("varq.qubit", wires=6, precision=precision)
    whole = explain(qml.QNode(repeated, device))(np.array([0.3])).parts[0].facts
    assert whole["state_bytes"] == 2 * width * 2**6
    assert whole["stored_bytes"] % whole["state_bytes"] == 0
    assert whole["stored_bytes"] > 0
    assert whole["bytes_per_gradient"] % (2 * width * 2**6) == 0
    sector = explain(qml.QNode(conserving, device))(np.array([0.3, 0.4])).parts[0].facts
    assert sector["arithmetic"] == "real"
    assert sector["state_bytes"] == width * 3


def test_bytes_halve_with_the_precision() -> None:
    moved = []
    for precision in ("double", "single"):
        device = qml.device("varq.qubit", wires=6, precision=precision)
        moved.append(explain(qml.QNode(repeated, device))(np.array([0.3])).parts[0].facts)
    for name in ("state_bytes", "stored_bytes", "bytes_per_gradient"):
        assert moved[0][name] == 2 * moved[1][name]


def hints(circuit: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """Its path, and what would make a circuit faster that may store nothing, if it were large."""
    monkeypatch.setattr(explaining, "_LARGE", 1)
    tape = qml.tape.make_qscript(circuit)(np.array([0.3, 0.4]))
    lowered, _ = lower(tape, range(6))
    options = Options(stored_bytes=0)
    chosen = engine(lowered, options)
    said = explaining._hints(lowered, chosen.path, chosen.facts, options, {}, None, False)
    return f"{chosen.path}: " + "; ".join(said)


def once(x: Any) -> None:
    """One layer, which is written out: what undoes it is as much work as to store its states."""
    gamma, beta = x
    for w in range(6):
        qml.Hadamard(w)
    for w in range(6):
        qml.IsingZZ(gamma, wires=[w, (w + 2) % 6])
    for w in range(6):
        qml.RX(beta, w)


def test_bytes_for_states_are_asked_for_where_states_would_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    looped, written = hints(alternating, monkeypatch), hints(once, monkeypatch)
    assert "stored_bytes above 0 would spare" in looped
    assert looped.split(":")[0] == written.split(":")[0] == "alternating"
    assert "stored_bytes" not in written


def test_matrices_vary_too(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.eye(2)
    assert "nothing varies" not in hints(lambda x: qml.QubitUnitary(matrix, wires=0), monkeypatch)
    assert "nothing varies" in hints(lambda x: qml.Hadamard(0), monkeypatch)


def rounds(x: Any, count: int = 4, postselect: int | None = None) -> Any:
    for k in range(count):
        qml.RY(x[0] + k, 0)
        qml.CNOT([0, 1])
        bit = qml.measure(1, reset=True, postselect=postselect)
        qml.cond(bit, qml.RX)(x[0], 0)
    return qml.expval(qml.Z(0))


def node(circuit: Callable[..., Any], wires: int = 2, shots: int | None = None, **options: Any) -> Any:
    modes = {k: options.pop(k) for k in ("postselect_mode",) if k in options}
    made = qml.QNode(circuit, qml.device("varq.qubit", wires=wires, **options), **modes)
    return made if shots is None else qml.set_shots(made, shots)


X = np.array([0.3])


@pytest.mark.parametrize(
    ("options", "postselect", "branches"),
    [({}, None, 2**4), ({"readout_error": 0.1}, None, 4**4), ({}, 1, 1), ({"readout_error": 0.1}, 0, 2**4)],
)
def test_branches_are_counted(options: dict[str, Any], postselect: int | None, branches: int) -> None:
    """Two outcomes for each measurement, with a readout error two records of each; postselection fixes the record."""
    (part,) = explain(node(rounds, **options))(X, postselect=postselect).parts
    assert part.facts["branches"] == part.facts["columns"] == branches
    assert part.facts["measurements"] == 4
    assert part.facts["gates"] == 4 * 3
    assert part.facts["steps"] == 4 * 4
    assert part.facts["held_bytes"] == branches * (2 * 8 * 2**2 + 4)  # states, and a byte for each outcome
    assert {"trace", "compile", "run", "gradient"} == set(part.seconds)
    assert part.work == "a value"
    assert part.expected is not None
    assert part.expected > 0
    assert any("4 rounds of 4 steps repeat, but stand one after the other" in hint for hint in part.hints)
    assert any("two records" in hint for hint in part.hints) == bool(options)
    assert any("branches, each a state of its own" in hint for hint in part.hints) == (branches >= 64)


def test_bytes_and_operations_of_a_measurement() -> None:
    """By hand: a state of one wire has 32 bytes; the gate reads and writes one, the measurement makes two of it."""

    def one(x: Any) -> Any:
        qml.RX(x[0], 0)
        return qml.expval(qml.measure(0))

    facts = explain(node(one, 1))(X).parts[0].facts
    assert facts["bytes_per_run"] == (1 + 1) * 32 + (1 + 2) * 32
    assert facts["operations_per_run"] == 2 * 4 * 4  # a real matrix of 4x4 on a vector of 4
    single = explain(node(one, 1, precision="single"))(X).parts[0].facts
    assert 2 * single["bytes_per_run"] == facts["bytes_per_run"]


def test_what_has_too_many_branches_is_explained_and_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    refused = node(rounds, max_branches=15)
    with pytest.raises(ValueError, match="max_branches=15"):
        refused(X)
    (part,) = explain(refused)(X).parts
    assert part.facts["branches"] == 16
    assert (part.seconds, part.expected) == ({}, None)
    printed = capsys.readouterr().out
    assert "more branches of outcomes than max_branches=15, so that it is refused" in printed
    assert "give the device max_branches=16, or set shots" in printed
    assert np.isfinite(node(rounds, max_branches=16)(X))  # as the hint says


def test_trajectories_and_their_loop() -> None:
    (part,) = explain(node(rounds, shots=100_000))(X, 12).parts
    assert part.facts["trajectories"] == 100_000
    assert "branches" not in part.facts
    assert part.facts["columns"] <= 100_000
    assert part.facts["held_bytes"] > part.facts["columns"] * 2 * 8 * 2**2
    assert "100,000 trajectories are drawn" in part.why
    assert "12 rounds of 4 steps are one loop" in part.why
    assert {"trace", "compile", "run"} == set(part.seconds)
    assert part.work == "all shots"
    assert not any("rounds" in hint for hint in part.hints)
    (short,) = explain(node(rounds, shots=10))(X).parts
    assert short.facts["columns"] == 10


def test_rounds_that_differ_are_no_loop() -> None:
    def uneven(x: Any) -> Any:
        for k in range(3):
            for _ in range(k):
                qml.RY(x[0], 0)
            qml.measure(k)
        return qml.probs(wires=[0])

    (part,) = explain(node(uneven, 3, shots=20))(X).parts
    assert "loop" not in part.why
    assert any("no three equal rounds follow each other" in hint for hint in part.hints)


def test_rejected_shots() -> None:
    def late(x: Any) -> Any:
        qml.RX(x[0], 0)
        qml.measure(0)
        qml.RX(x[0], 1)
        return qml.counts(qml.measure(1, postselect=1))

    for mode, again in (("fill-shots", True), ("hw-like", False)):
        (part,) = explain(node(late, shots=20, postselect_mode=mode))(X).parts
        assert any("drawn again until it is accepted" in hint for hint in part.hints) == again


@pytest.mark.parametrize("circuit", [plain, measured])
def test_random_numbers_stay_where_they_are(circuit: Callable[..., Any]) -> None:
    def sampled(x: Any) -> Any:
        return circuit(x), qml.sample(wires=range(6))

    found = []
    for look in (False, True):
        q = node(sampled, 6, shots=50, seed=11)
        if look:
            explain(q)(np.array([0.3, 0.4]))
        found.append(q(np.array([0.3, 0.4]))[1])
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("result", [lambda: qml.counts(wires=[0]), lambda: qml.classical_shadow(wires=[0, 1])])
def test_samples_of_the_final_state(result: Callable[[], Any]) -> None:
    """What runs is the state and samples of it; a gradient is not, so that none is promised."""

    def sampled(x: Any) -> Any:
        return conserving(x), result()

    (part,) = explain(node(sampled, 6, shots=30))(np.array([0.3, 0.4])).parts
    assert part.path == "sector"
    assert {"trace", "compile", "run"} == set(part.seconds)
    assert part.work == "all shots"
    assert part.expected is not None
    assert "moved by a gradient" not in str(part)


def layered(count: int, own: bool) -> Any:
    """Layers of a cost and a mixer, the phases of a layer by one number, or each by a number of its own."""

    def circuit(x: Any) -> Any:
        for k in range(count):
            shared = x[0] * (k + 1)
            for w in range(6):
                qml.IsingZZ(x[0] * (k + 1) if own else shared, wires=[w, (w + 2) % 6])
            for w in range(6):
                qml.RX(x[1], w)
        return qml.probs(wires=[0])

    return circuit


@pytest.mark.parametrize(
    ("count", "own", "path"), [(3, True, "layers"), (2, True, "general"), (3, False, "alternating")]
)
def test_what_hides_a_cost_is_said(count: int, own: bool, path: str) -> None:
    (part,) = explain(qml.QNode(layered(count, own), DEVICE))(np.array([0.3, 0.4])).parts
    assert part.path == path
    assert any("6 phases of a layer go by numbers of their own" in hint for hint in part.hints) == (path == "layers")
    assert any("in three layers or more" in hint for hint in part.hints) == (path == "general")


def test_slowness_is_measured_by_what_the_path_is_known_to_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"trace": 0.0, "compile": 0.0, "run": 0.0}
    monkeypatch.setattr(explaining, "_LARGE", 1)
    monkeypatch.setattr(explaining.roofline, "measured", lambda *_: Rates(1e9, 1e9))
    said = []
    for factor in (9.0, 11.0):
        monkeypatch.setattr(explaining, "timed", lambda *_: ({**times, "gradient": 0.0}, 0))
        (part,) = explain(qml.QNode(repeated, DEVICE))(np.array([0.3])).parts
        assert part.expected is not None
        slow = {**times, "gradient": factor * part.expected}
        monkeypatch.setattr(explaining, "timed", lambda *_, slow=slow: (slow, 0))
        (part,) = explain(qml.QNode(repeated, DEVICE))(np.array([0.3])).parts
        said.append([hint for hint in part.hints if "look for other work on its cores" in hint])
    assert said[0] == []
    assert "takes 11 times the expected time, where this path is known to take up to 5 times" in said[1][0]


def test_what_runs_is_named_where_an_observable_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[str] = []
    forward = DenseEngine.forward

    def spied(self: DenseEngine, *given: Any, **more: Any) -> Any:
        run.append(self.path)
        return forward(self, *given, **more)

    monkeypatch.setattr(DenseEngine, "forward", spied)
    monkeypatch.setattr("varq.simulator.sector.engine.observable", lambda *given: None)

    def alone(x: Any) -> Any:  # of no other test: engines are kept
        qml.BasisState([0, 1, 1, 0, 0], wires=range(5))
        qml.DoubleExcitation(x[0], wires=[1, 2, 3, 4])
        qml.SingleExcitation(x[1], wires=[1, 0])
        return qml.expval(qml.Z(1))

    (part,) = explain(node(alone, 5))(np.array([0.3, 0.4])).parts
    assert run
    assert {part.path} == set(run)
    assert part.facts["amplitudes"] == 2**5
    assert "the tables of an observable in their sector would be too large" in part.why
