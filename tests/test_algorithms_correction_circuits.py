"""Memory circuits: how many faults a logical error takes, beside Stim's own circuits, and what goes wrong where."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from varq.algorithms.correction.codes import Code, FiveQubit, Repetition, RotatedSurface, StabilizerCode, Steane
from varq.algorithms.correction.decoders import Matching, error_model
from varq.algorithms.correction.error_models import merged
from varq.algorithms.correction.memory_circuits import memory_circuit
from varq.algorithms.correction.noise import PRESETS, Noise, as_noise

pytestmark = [pytest.mark.qec, pytest.mark.flagless]

SIGMAS = 4.0  # between two counted rates, at fixed seeds
NOISE = ("phenomenological", "uniform", "si1000")


def lightest(circuit: Any) -> int:
    """The least number of faults that flip the observable and no detector, by enumeration up to 3; else 4."""
    found: dict[frozenset[int], set[bool]] = {}
    for detectors, observables in merged(circuit.detector_error_model()):
        found.setdefault(frozenset(detectors), set()).add(bool(observables))
    if True in found.get(frozenset(), ()):
        return 1
    if any(len(flips) > 1 for flips in found.values()):
        return 2
    flips = {detectors: next(iter(both)) for detectors, both in found.items()}
    for (one, first), (two, second) in combinations(flips.items(), 2):
        if (third := flips.get(one ^ two)) is not None and third != (first ^ second):
            return 3
    return 4


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("code", [Repetition(3), RotatedSurface(3), Steane(), FiveQubit()], ids=lambda c: c.title)
def test_no_fewer_faults_than_the_distance_make_a_logical_error(code: Code, noise: str) -> None:
    for basis in code.bases:
        assert lightest(memory_circuit(code, 0.003, noise, basis=basis)) == code.distance


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize(
    "code",
    [Repetition(5), Repetition(7), RotatedSurface(5), pytest.param(RotatedSurface(7), marks=pytest.mark.full)],
    ids=lambda c: c.title,
)
def test_larger_circuits_keep_the_distance(code: Code, noise: str) -> None:
    for basis in code.bases:
        assert len(memory_circuit(code, 0.003, noise, basis=basis).shortest_graphlike_error()) == code.distance


def test_without_flags_two_faults_are_enough() -> None:
    """What the flags are for: one fault of an ancilla becomes an error of two data qubits."""
    for code in (Steane(), FiveQubit()):
        bare = StabilizerCode(
            stabilizers=code.stabilizers,
            logical_x=code.logical_x,
            logical_z=code.logical_z,
            distance=3,
            flagged=False,
        )
        assert lightest(memory_circuit(bare, 0.003)) == 2


@pytest.mark.parametrize(
    ("task", "code"),
    [("surface_code:rotated_memory_z", RotatedSurface(3)), ("repetition_code:memory", Repetition(3))],
)
def test_rates_agree_with_those_of_stims_own_circuits(task: str, code: Code) -> None:
    import stim

    p, shots = 0.01, 100_000
    theirs = stim.Circuit.generated(
        task,
        distance=3,
        rounds=3,
        after_clifford_depolarization=p,
        before_round_data_depolarization=p,
        before_measure_flip_probability=p,
        after_reset_flip_probability=p,
    )
    ours = memory_circuit(code, p)
    assert ours.num_detectors == theirs.num_detectors
    rates = []
    for circuit in (ours, theirs):
        detectors, flips = circuit.compile_detector_sampler(seed=11).sample(shots, separate_observables=True)
        decoding = Matching(correlated=False).from_dem(error_model(circuit, Matching()))
        rates.append(float((decoding.decode_batch(detectors) != flips).mean()))
    spread = (sum(r * (1 - r) for r in rates) / shots) ** 0.5
    assert abs(rates[0] - rates[1]) < SIGMAS * spread


@pytest.mark.parametrize("code", [RotatedSurface(3), Steane(), FiveQubit()], ids=lambda c: c.title)
@pytest.mark.parametrize("noise", ["uniform", "si1000"])
def test_without_faults_nothing_fires(code: Code, noise: str) -> None:
    for basis in code.bases:
        circuit = memory_circuit(code, 0.0, noise, rounds=4, basis=basis)
        detectors, flips = circuit.compile_detector_sampler(seed=1).sample(20, separate_observables=True)
        assert not detectors.any()
        assert not flips.any()


def test_gates_of_cz_alone() -> None:
    """The five-qubit code needs turns of its data between layers; a Y, two."""
    y = StabilizerCode(
        stabilizers=("YZZYI", "IYZZY", "YIYZZ", "ZYIYZ"), logical_x="Y" * 5, logical_z="Z" * 5, distance=3
    )
    for code in (FiveQubit(), RotatedSurface(3), y):
        circuit = memory_circuit(code, 0.001, "si1000")
        gates = {line.name for line in circuit.flattened()}
        assert "CZ" in gates
        assert not gates & {"CX", "CY"}
        assert lightest(circuit) == 3
    assert "CY" in {line.name for line in memory_circuit(y, 0.001).flattened()}


def test_presets_put_their_faults_where_they_say() -> None:
    capacity = memory_circuit(RotatedSurface(3), 0.01, "code-capacity")
    assert {i.name for i in capacity.flattened() if i.gate_args_copy() and "ERROR" in i.name} == set()
    assert {i.name for i in capacity.flattened() if i.name.startswith("DEPOLARIZE")} == {"DEPOLARIZE1"}
    noisy = {
        (i.name, round(i.gate_args_copy()[0], 12))
        for i in memory_circuit(RotatedSurface(3), 0.001, "si1000").flattened()
        if i.name in ("DEPOLARIZE1", "DEPOLARIZE2", "X_ERROR")
    }
    # Gidney et al., Quantum 5, 605 (2021): gates p and p / 10, idling p / 10, waiting 2 p, reset 2 p, outcomes 5 p.
    assert noisy == {
        ("DEPOLARIZE2", 0.001),
        ("DEPOLARIZE1", 0.0001),
        ("DEPOLARIZE1", 0.002),
        ("X_ERROR", 0.002),
        ("X_ERROR", 0.005),
    }


def test_detectors_know_their_round() -> None:
    circuit = memory_circuit(Steane(), 0.001, rounds=4)
    places = circuit.get_detector_coordinates()
    assert sorted({place[-1] for place in places.values()}) == [0, 1, 2, 3, 4]
    flags = [place for place in places.values() if place[0] % 1]
    assert len(flags) == 4 * 6


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"rounds must be at least 1. Got 0"):
        memory_circuit(Repetition(3), 0.1, rounds=0)
    with pytest.raises(ValueError, match=r"p must be at most 1.* Got 1.5. It is a probability"):
        memory_circuit(Repetition(3), 1.5)
    with pytest.raises(ValueError, match=r"p must be at least 0.* Got -0.1"):
        memory_circuit(Repetition(3), -0.1)
    with pytest.raises(ValueError, match=r"noise must be one of .*'si1000'.* Got 'si100'. Did you mean 'si1000'"):
        memory_circuit(Repetition(3), 0.1, "si100")
    with pytest.raises(TypeError, match=r"noise must be of type Noise.* Give one of"):
        memory_circuit(Repetition(3), 0.1, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"basis must be one in which the repetition code .* Got 'X'. Use 'Z'"):
        memory_circuit(Repetition(3), 0.1, basis="X")
    with pytest.raises(TypeError, match=r"code must be of type Code. Got 3 .*Give RotatedSurface"):
        memory_circuit(3, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"p must leave each fault of the noise 'si1000' a probability.*at most 0.2"):
        as_noise("si1000").rates(0.3)
    with pytest.raises(ValueError, match=r"two must be at least 0.* Got -1"):
        Noise(two=-1)
    with pytest.raises(ValueError, match=r"gates must be one of 'cx', 'cz'. Got 'iswap'"):
        Noise(gates="iswap")
    assert set(PRESETS) == {"code-capacity", "phenomenological", "uniform", "si1000"}
