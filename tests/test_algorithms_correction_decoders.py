"""Decoders against enumeration, against each other, and round by round against all at once."""

from __future__ import annotations

import math
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from varq import spec
from varq.algorithms.correction.belief import BPOSD
from varq.algorithms.correction.codes import FiveQubit, Repetition, RotatedSurface, Steane
from varq.algorithms.correction.decoders import Matching, as_decoder, error_model
from varq.algorithms.correction.error_models import merged, rounds_of
from varq.algorithms.correction.fewest import FewestFaults
from varq.algorithms.correction.lookup import Lookup, fault_law, read_model
from varq.algorithms.correction.memory_circuits import memory_circuit
from varq.algorithms.correction.window import Window

pytestmark = [pytest.mark.qec, pytest.mark.flagless]

EXACT = 1e-12  # sums of probabilities
SIGMAS = 4.0
NEAR = 1.1  # what fewer faults than may happen lose of the exact decoder's rate, both computed: less than a tenth
WINDOWED = 1.05  # what is lost where twice the distance is looked at: what a window cannot see is rarer than d faults
INEXACT = 1.3  # of two decoders that neglect different things: loops of the graph, or what correlates


def sampled(circuit: Any, decoder: Any, shots: int, seed: int = 3) -> tuple[Any, Any, Any]:
    dem = error_model(circuit, decoder)
    detectors, flips = circuit.compile_detector_sampler(seed=seed).sample(shots, separate_observables=True)
    return decoder.from_dem(dem), detectors, flips


def enumerated(dem: Any) -> np.ndarray:
    """The law of detectors and observables by adding up all sets of faults."""
    law = np.zeros((1 << dem.num_detectors, 1 << dem.num_observables))
    faults = list(merged(dem).items())
    for happened in product((0, 1), repeat=len(faults)):
        detectors = observables = 0
        probability = 1.0
        for one, ((fired, flipped), p) in zip(happened, faults, strict=True):
            probability *= p if one else 1 - p
            if one:
                for d in fired:
                    detectors ^= 1 << d
                for o in flipped:
                    observables ^= 1 << o
        law[detectors, observables] += probability
    return law


@pytest.mark.parametrize("p", [0.02, 0.3, 0.5, 0.7])
def test_the_law_of_the_exact_decoder_is_that_of_all_sets_of_faults(p: float) -> None:
    dem = memory_circuit(Repetition(3), p, "phenomenological", rounds=2).detector_error_model()
    assert len(merged(dem)) <= 14
    law = fault_law(read_model(dem))
    np.testing.assert_allclose(law, enumerated(dem), atol=EXACT)
    decoding = Lookup().from_dem(dem)
    fired = (np.arange(len(law))[:, None] >> np.arange(dem.num_detectors) & 1).astype(bool)
    found = decoding.decode_batch(fired)[:, 0].astype(int)
    np.testing.assert_allclose(law[np.arange(len(law)), found], law.max(axis=1), atol=EXACT)


def test_the_law_of_independent_faults_that_almost_surely_happen() -> None:
    import stim

    dem = stim.DetectorErrorModel("error(0.9) D0 L0\nerror(0.8) D0 D1\nerror(0.4) D1 L0")
    np.testing.assert_allclose(fault_law(read_model(dem)), enumerated(dem), atol=EXACT)


def test_a_majority_of_bits_is_what_decoders_find_where_only_data_fail() -> None:
    """One round of data errors: each decoder must be the majority vote."""
    circuit = memory_circuit(Repetition(5), 0.1, "code-capacity", rounds=1)
    for decoder in (Matching(), Lookup()):
        decoding = decoder.from_dem(error_model(circuit, decoder))
        for flipped in product((0, 1), repeat=5):
            first = [a ^ b for a, b in pairwise(flipped)]
            fired = np.array([first + [0] * 4], dtype=bool)  # perfect outcomes: nothing new at the end
            wanted = bool(flipped[0]) != (sum(flipped) > 2)
            assert bool(decoding.decode_batch(fired)[0, 0]) == wanted


def sigmas(lost: Any, other: Any, factor: float = 1.0) -> float:
    """By how many standard errors a rate is above `factor` times another one, both of the same shots."""
    difference = np.asarray(lost, dtype=float).ravel() - factor * np.asarray(other, dtype=float).ravel()
    return float(difference.mean() / max(difference.std() / math.sqrt(len(difference)), EXACT))


def test_no_decoder_beats_the_exact_one() -> None:
    circuit = memory_circuit(RotatedSurface(3), 0.01, rounds=2)
    best, detectors, flips = sampled(circuit, Lookup(), 60_000)
    least = (best.decode_batch(detectors) != flips).any(axis=1)
    for decoder in (Matching(correlated=False), Matching(correlated=True), Window("matching", width=2, commit=1)):
        other = decoder.from_dem(error_model(circuit, decoder))
        lost = (other.decode_batch(detectors) != flips).any(axis=1)
        assert sigmas(lost, least) > -SIGMAS


@pytest.mark.parametrize("faults", [1, 2, 3])
@pytest.mark.parametrize("code", [Steane(), FiveQubit(), Repetition(3)], ids=lambda c: c.title)
def test_the_fewest_faults_come_close_to_the_exact_decoder(code: Any, faults: int) -> None:
    circuit = memory_circuit(code, 0.02, "phenomenological", rounds=2)
    dem = error_model(circuit, FewestFaults())
    law = fault_law(read_model(dem))
    every = (np.arange(len(law))[:, None] >> np.arange(dem.num_detectors) & 1).astype(bool)
    found = FewestFaults(faults).from_dem(dem).decode_batch(every)[:, 0].astype(int)
    least, lost = 1 - law.max(axis=1).sum(), 1 - law[np.arange(len(law)), found].sum()
    assert 0 < least < 0.03
    assert least - EXACT < lost < NEAR * least


@pytest.mark.parametrize("code", [Steane(), FiveQubit()], ids=lambda c: c.title)
def test_the_fewest_faults_are_found_for_each_single_fault_of_flagged_circuits(code: Any) -> None:
    for basis in ("X", "Z"):
        circuit = memory_circuit(code, 0.001, basis=basis)
        dem = error_model(circuit, FewestFaults())
        decoding = FewestFaults().from_dem(dem)
        fired = np.zeros((len(merged(dem)), dem.num_detectors), dtype=bool)
        for k, (detectors, _) in enumerate(merged(dem)):
            fired[k, list(detectors)] = True
        flips = np.array([[bool(flipped)] for _, flipped in merged(dem)])
        np.testing.assert_array_equal(decoding.decode_batch(fired), flips)


def test_the_table_of_few_faults_is_searched_further() -> None:
    """One fault in the table and two searched; a pattern of more is given up."""
    import stim

    lines = ["error(0.1) D0 L0"] + [f"error(0.1) D{k} D{k + 1}" for k in range(0, 18, 2)]
    dem = stim.DetectorErrorModel("\n".join(lines))
    decoding = FewestFaults(faults=1).from_dem(dem)
    fired = np.zeros((2, 20), dtype=bool)
    fired[0, [1, 2, 3]] = True  # of the first line, the second and the third
    fired[1, [1, 2, 3, 4, 5]] = True  # and of a fourth one: the flip is missed
    np.testing.assert_array_equal(decoding.decode_batch(fired[:, : dem.num_detectors]), [[True], [False]])


@pytest.mark.ldpc
def test_belief_propagation_comes_close_to_matching_on_a_surface_code() -> None:
    circuit = memory_circuit(RotatedSurface(3), 0.01)
    matching, detectors, flips = sampled(circuit, Matching(correlated=False), 10_000)
    other = BPOSD().from_dem(error_model(circuit, BPOSD()))
    lost = [d.decode_batch(detectors) != flips for d in (matching, other)]
    assert sigmas(lost[1], lost[0], INEXACT) < SIGMAS


@pytest.mark.ldpc
def test_belief_propagation_takes_windows_and_rounds() -> None:
    circuit = memory_circuit(FiveQubit(), 0.02, "phenomenological", rounds=8)
    whole, detectors, flips = sampled(circuit, BPOSD(order=0), 4_000)
    sliding = Window(BPOSD(), width=4, commit=2).from_dem(error_model(circuit, BPOSD()))
    lost = [d.decode_batch(detectors) != flips for d in (whole, sliding)]
    assert sigmas(lost[1], lost[0], INEXACT) < SIGMAS


def test_correlations_help_from_distance_five_on() -> None:
    circuit = memory_circuit(RotatedSurface(5), 0.008)
    plain, detectors, flips = sampled(circuit, Matching(correlated=False), 30_000)
    usual = Matching().from_dem(error_model(circuit, Matching()))
    lost = [d.decode_batch(detectors) != flips for d in (plain, usual)]
    assert sigmas(lost[1], lost[0]) < -SIGMAS
    assert Matching().settled(3) == Matching(correlated=False)
    assert Matching().settled(5) == Matching(correlated=True)


def pushed(decoding: Any, rounds: Any, shot: Any) -> Any:
    decoding.reset()
    for where in rounds:
        decoding.push(shot[where])
    return decoding.corrections()


@pytest.mark.parametrize(
    "decoder",
    [Matching(), Lookup(), Window("matching", width=4, commit=2), Window(Lookup(), width=3, commit=1)],
    ids=str,
)
def test_rounds_one_by_one_give_what_all_at_once_give(decoder: Any) -> None:
    circuit = memory_circuit(Repetition(3), 0.05, rounds=9)
    decoding, detectors, _ = sampled(circuit, decoder, 200)
    rounds = rounds_of(error_model(circuit, decoder))
    found = np.array([pushed(decoding, rounds, shot) for shot in detectors])
    np.testing.assert_array_equal(found, decoding.decode_batch(detectors))
    assert found.any()


def test_corrections_of_a_part_by_matching_suppose_that_nothing_follows() -> None:
    circuit = memory_circuit(Repetition(3), 0.05, rounds=3)
    decoding, detectors, _ = sampled(circuit, Matching(), 50)
    first = rounds_of(error_model(circuit, Matching()))[0]
    for shot in detectors:
        decoding.reset()
        decoding.push(shot[first])
        alone = np.zeros_like(shot)
        alone[first] = shot[first]
        np.testing.assert_array_equal(decoding.corrections(), decoding.decode_batch(alone[None])[0])


@pytest.mark.parametrize("correlated", [False, True])
def test_a_window_of_twice_the_distance_loses_little(correlated: bool) -> None:
    """Shots are the same for both, so that the ratio is known better than the rates."""
    circuit = memory_circuit(RotatedSurface(3), 0.008, rounds=30)
    whole, detectors, flips = sampled(circuit, Matching(correlated), 8_000)
    sliding = Window(Matching(correlated), width=6, commit=3).from_dem(error_model(circuit, Matching()))
    lost = [d.decode_batch(detectors) != flips for d in (whole, sliding)]
    assert sigmas(lost[1], lost[0], WINDOWED) < SIGMAS


def test_a_window_that_holds_all_rounds_is_the_decoder_inside() -> None:
    circuit = memory_circuit(RotatedSurface(3), 0.01, rounds=4)
    whole, detectors, _ = sampled(circuit, Matching(correlated=False), 500)
    wide = Window(Matching(correlated=False), width=9, commit=3).from_dem(error_model(circuit, Matching()))
    np.testing.assert_array_equal(wide.decode_batch(detectors), whole.decode_batch(detectors))


def test_a_stream_is_longer_than_its_model() -> None:
    window = Window(Matching(correlated=False), width=6, commit=3)
    short, long = (memory_circuit(Repetition(3), 0.03, rounds=n) for n in (24, 60))
    stretched = window.from_dem(error_model(short, window), rounds=61)
    whole, detectors, _ = sampled(long, window, 400)
    assert stretched.rounds == whole.rounds == 61
    np.testing.assert_array_equal(stretched.decode_batch(detectors), whole.decode_batch(detectors))
    with pytest.raises(ValueError, match=r"here multiples of 3 rounds more. Got 37 more. Make the model of 18 rounds"):
        window.from_dem(error_model(short, window), rounds=62)
    brief = error_model(memory_circuit(Repetition(3), 0.03, rounds=4), window)
    with pytest.raises(ValueError, match=r"here no more: none of its windows are equal"):
        window.from_dem(brief, rounds=50)


def test_detectors_need_not_stand_in_the_order_of_rounds() -> None:
    import stim

    text = "error(0.1) D0 D1\nerror(0.2) D1 L0\nerror(0.05) D0 D2\nerror(0.1) D2 L0"
    late = stim.DetectorErrorModel(f"{text}\ndetector(0, 2) D0\ndetector(0, 1) D1\ndetector(0, 0) D2")
    whole = Lookup().from_dem(late)
    sliding = Window(Lookup(), width=3, commit=1).from_dem(late)
    shots = np.array(list(product((False, True), repeat=3)))
    np.testing.assert_array_equal(sliding.decode_batch(shots), whole.decode_batch(shots))


@pytest.mark.parametrize("decoder", [Matching(), Lookup(most=12), BPOSD(), Window("lookup", 4, 2)], ids=str)
def test_decoders_are_specs(decoder: Any) -> None:
    assert spec.loads(spec.dumps(decoder)) == decoder
    assert as_decoder(decoder) is decoder


def test_bad_input() -> None:
    import stim

    with pytest.raises(ValueError, match=r"decoder must be one of .*'matching'.* Got 'mwpm'"):
        as_decoder("mwpm")
    with pytest.raises(TypeError, match=r"decoder must have from_dem\(dem\). Got 3. Give one of"):
        as_decoder(3)
    with pytest.raises(TypeError, match=r"decoder must have from_dem\(dem\). Got <class"):
        as_decoder(Matching)
    with pytest.raises(ValueError, match=r"commit must be at most 3. Got 4. What lies between"):
        Window("matching", width=4, commit=4)
    with pytest.raises(ValueError, match=r"most must be at most 26. Got 40"):
        Lookup(most=40)
    with pytest.raises(ValueError, match=r"method must be one of 'minimum_sum', 'product_sum'. Got 'max'"):
        BPOSD(method="max")
    with pytest.raises(TypeError, match=r"dem must be a stim.DetectorErrorModel. Got Circuit"):
        Matching().from_dem(stim.Circuit("M 0"))
    circuit = memory_circuit(RotatedSurface(3), 0.01)
    with pytest.raises(ValueError, match=r"A look-up table takes at most 22 detectors and observables. Got 24 and 1"):
        Lookup().from_dem(circuit.detector_error_model())
    with pytest.raises(
        ValueError, match=r"FewestFaults has keys of at most 62 detectors and observables. Got 120 and 1"
    ):
        FewestFaults().from_dem(memory_circuit(RotatedSurface(5), 0.01).detector_error_model())
    with pytest.raises(ValueError, match=r"faults must be at most 3. Got 4"):
        FewestFaults(4)
    with pytest.raises(ValueError, match=r"Matching needs faults of at most two detectors. Got one of \["):
        Matching().from_dem(circuit.detector_error_model())
    with pytest.raises(ValueError, match=r"does not fit this circuit: each fault must come apart"):
        error_model(stim.Circuit("X_ERROR(0.1) 0\nM 0\n" + "DETECTOR rec[-1]\n" * 3), Matching())
    with pytest.raises(ValueError, match=r"A window needs the round of each detector as its last coordinate"):
        Window("lookup", 2, 1).from_dem(stim.DetectorErrorModel("error(0.1) D0 D1"))
    long = stim.DetectorErrorModel("error(0.1) D0 D2\ndetector(0) D0\ndetector(1) D1\ndetector(2) D2")
    with pytest.raises(ValueError, match=r"width - commit must be at least 2, .* Got width 3 and commit 2"):
        Window("lookup", 3, 2).from_dem(long)


def test_detectors_of_another_circuit_are_refused() -> None:
    circuit = memory_circuit(Repetition(3), 0.01, rounds=6)
    for decoder in (Matching(), Window("matching", 4, 2)):
        decoding, detectors, _ = sampled(circuit, decoder, 1)
        with pytest.raises(ValueError, match=r"detectors must have shape \(any, 14\). Got shape \(1, 9\)"):
            decoding.decode_batch(np.zeros((1, 9), dtype=bool))
        with pytest.raises(ValueError, match=r"round must have shape \(2,\). Got shape \(3,\)"):
            decoding.push([False] * 3)
        pushed(decoding, rounds_of(error_model(circuit, decoder)), detectors[0])
        with pytest.raises(ValueError, match=r"All 7 rounds were pushed. Call reset\(\) before the next shot"):
            decoding.push([False] * 2)
