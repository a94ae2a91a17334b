"""The memory experiment: its rates beside closed forms and exact ones, its life in a session, its bad input."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta

import varq
from varq import spec
from varq.algorithms import VQE
from varq.algorithms.correction import packages
from varq.algorithms.correction.belief import BPOSD
from varq.algorithms.correction.codes import FiveQubit, Repetition, RotatedSurface, Steane
from varq.algorithms.correction.decoders import Matching
from varq.algorithms.correction.fewest import FewestFaults
from varq.algorithms.correction.lookup import Lookup
from varq.algorithms.correction.memory import Memory, _Counting, per_round
from varq.algorithms.correction.noise import Noise
from varq.algorithms.correction.threshold import ThresholdStudy, threshold_study
from varq.algorithms.correction.window import Window
from varq.algorithms.short import memory
from varq.cli.specfile import read
from varq.keys import Key
from varq.problems import TransverseFieldIsing
from varq.protocol import Reason, Reply, Result, Stop
from varq.store.store import open_store

pytestmark = [pytest.mark.flagless]
needs_stim = pytest.mark.qec

SIGMAS = 4.0
QUIET: dict[str, Any] = {"store": None, "progress": False}


def binomial_tail(n: int, p: float) -> float:
    """The probability that more than half of n bits are flipped."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n // 2 + 1, n + 1))


@needs_stim
@pytest.mark.parametrize("distance", [3, 5])
@pytest.mark.parametrize("decoder", [None, Lookup()], ids=["matching", "lookup"])
def test_data_errors_alone_are_lost_by_majority(distance: int, decoder: Any) -> None:
    """Depolarizing noise flips a bit with 2 p / 3, and a majority of flips is what a code cannot know."""
    p = 0.15
    task = Memory(Repetition(distance), p, "code-capacity", decoder=decoder, shots=60_000)
    result = varq.run(task, **QUIET)
    wanted = binomial_tail(distance, 2 * p / 3)
    assert result.reference == pytest.approx(wanted, abs=1e-10)
    assert abs(result.value - wanted) < SIGMAS * result.stderr
    low, high = result.details["interval"]
    assert low < result.value < high


@needs_stim
def test_one_perfect_round_of_a_surface_code_is_lost_as_often_as_counting_says() -> None:
    """All 4^9 errors of the data, decoded by a table of the lightest error of each syndrome."""
    code, p = RotatedSurface(3), 0.08
    flips = [np.flatnonzero([letter == "Z" for letter in s]) for s in code.stabilizers if "Z" in s]
    lost = np.zeros((2, 1 << len(flips)))
    for error in range(1 << code.wires):
        bits = np.array([error >> q & 1 for q in range(code.wires)])
        weight = int(bits.sum())
        place = sum(int(bits[f].sum() % 2) << k for k, f in enumerate(flips))
        lost[int(bits[:3].sum() % 2), place] += (2 * p / 3) ** weight * (1 - 2 * p / 3) ** (code.wires - weight)
    wanted = 1 - lost.max(axis=0).sum()
    result = varq.run(Memory(code, p, "code-capacity", rounds=1, decoder=Lookup(), shots=1_000), **QUIET)
    assert result.reference == pytest.approx(wanted, abs=1e-10)


@needs_stim
@pytest.mark.parametrize("code", [Repetition(3), RotatedSurface(3), FiveQubit(), Steane()], ids=lambda c: c.title)
def test_rates_agree_with_the_exact_ones(code: Any) -> None:
    for basis in code.bases:
        task = Memory(code, 0.02, "phenomenological", rounds=1, basis=basis, shots=40_000)
        result = varq.run(task, **QUIET)
        assert result.reference is not None
        assert abs(result.deviation) < SIGMAS * result.stderr


@needs_stim
@pytest.mark.parametrize("code", [Steane(), FiveQubit()], ids=lambda c: c.title)
def test_with_flags_the_rate_falls_as_the_square_of_the_noise(code: Any) -> None:
    rates = [varq.run(Memory(code, p, shots=100_000), **QUIET).value for p in (0.0005, 0.002)]
    assert 16 / 2 < rates[1] / rates[0] < 16 * 2  # a factor of 4 in p; linear loss would give 4


@needs_stim
def test_a_run_that_was_stopped_goes_on_to_the_same_result(tmp_path: Any) -> None:
    task = Memory(RotatedSurface(3), 0.01, shots=9_000, batch=2_000, seed=4)
    whole = varq.run(task, **QUIET)
    assert (whole.steps, whole.details["shots"], whole.reason) == (5, 9_000, Reason.CONVERGED)
    store = tmp_path / "store"
    first = varq.run(task, store=store, progress=False, stop=Stop(steps=2))
    assert (first.reason, first.details["shots"]) == (Reason.STEPS, 4_000)
    again = varq.run(task, store=store, progress=False, stop=Stop())
    assert (again.value, again.stderr, again.details["failures"]) == (
        whole.value,
        whole.stderr,
        whole.details["failures"],
    )
    assert again.run_id == first.run_id
    assert varq.run(task, store=store, progress=False).steps == 5


@needs_stim
def test_one_memory_of_two_stores_is_merged(tmp_path: Any) -> None:
    """Two machines that did the same batches have the same rows, though no two decoders take equally long."""
    task = Memory(Repetition(3), 0.05, shots=4_000, batch=1_000, seed=4)
    here, there = (varq.run(task, store=tmp_path / name, progress=False) for name in ("here", "there"))
    assert (here.run_id, here.value, here.details["failures"]) == (there.run_id, there.value, there.details["failures"])
    with open_store(tmp_path / "here") as store:
        report = store.merge([tmp_path / "there"])
        assert (report.rows, report.equal) == (0, 4)
        assert store.verify() == []
        replies = [spec.loads(row.reply) for row in store.rows(here.run_id)]
    assert all(reply.timings["decode_seconds"] > 0 for reply in replies)


def test_batches_that_an_earlier_version_recorded_are_counted() -> None:
    told = {"batch_failures": 2.0, "batch_shots": 10.0, "decode_seconds": 0.5}
    method = _Counting(shots=20, batch=10, failures=None)
    state, _ = method.tell(method.init(None, Key.from_seed(0)), Reply(value=0.2, tracked=told))
    assert (state.shots, state.failures, state.seconds) == (10, 2, 0.5)


@needs_stim
def test_a_run_ends_after_enough_failures() -> None:
    result = varq.run(Memory(Repetition(3), 0.05, failures=20, batch=500), **QUIET)
    assert result.details["failures"] >= 20
    assert result.steps < 200
    assert "logical errors seen" in result.message


@needs_stim
def test_no_failure_still_has_an_error_bar() -> None:
    result = varq.run(Memory(RotatedSurface(5), 1e-5, shots=1_000), **QUIET)
    assert result.value == 0.0
    assert 0 < result.stderr < 2e-3
    low, high = result.details["interval"]
    assert (low, result.details["failures"]) == (0.0, 0)
    assert 1e-4 < high < 5e-3


@needs_stim
def test_choices_that_nobody_made() -> None:
    chosen = {
        Repetition(3): Matching(correlated=False),
        RotatedSurface(5): Matching(correlated=True),
        Steane(): FewestFaults(),
    }
    for code, decoder in chosen.items():
        resolved = Memory(code, 0.001).resolve("varq.qubit", None)
        assert (resolved.decoder, resolved.rounds, resolved.shots) == (decoder, code.distance, 100_000)
        assert resolved.device is None
    assert Memory(Steane(), 0.001, "phenomenological").resolve(None, 10).decoder == Lookup()
    assert isinstance(Memory(Steane(), 0.001, rounds=9).resolve(None, None).decoder, BPOSD)
    window = Memory(RotatedSurface(5), 0.001, decoder=Window("matching", 10, 5), rounds=20).resolve(None, None)
    assert window.decoder == Window(Matching(correlated=True), 10, 5)


def test_one_round_tells_all_where_it_is_never_wrong() -> None:
    for noise in ("code-capacity", Noise(data=2, waiting=1, readout=1)):
        assert Memory(RotatedSurface(5), 0.001, noise).resolve(None, None).rounds == 1
        assert Memory(RotatedSurface(5), 0.001, noise, rounds=4).resolve(None, None).rounds == 4
    for rate in ("one", "two", "idle", "reset", "measure"):
        assert Memory(RotatedSurface(5), 0.001, Noise(**{"data": 1, rate: 0.1})).resolve(None, None).rounds == 5


@needs_stim
def test_the_short_form_and_a_file_say_the_same(tmp_path: Any) -> None:
    short = memory(RotatedSurface(3), 0.01, noise="si1000", shots=2_000, decoder="lookup", rounds=1, **QUIET)
    path = tmp_path / "memory.toml"
    path.write_text(
        'algorithm = "memory"\np = 0.01\nnoise = "si1000"\nshots = 2000\nrounds = 1\ndecoder = "lookup"\n'
        '[code]\nkind = "rotated-surface"\ndistance = 3\n'
    )
    assert varq.run(read(path).task, **QUIET).run_id == short.run_id
    assert short.details["shots"] == 2_000


def test_memories_are_specs() -> None:
    task = Memory(RotatedSurface(3), 0.01, Noise(two=1, measure=2), decoder=Window(Lookup(), 4, 2), basis="X")
    assert spec.loads(spec.dumps(task)) == task
    assert Memory(Repetition(3), 0.01) == Memory(Repetition(3), 0.01, "uniform")
    assert Memory(Repetition(3), 0.01) != Memory(Repetition(3), 0.02)


def test_the_rate_of_a_round_is_that_of_an_odd_number_of_flips() -> None:
    for each, rounds in ((0.01, 1), (0.02, 7), (0.3, 3)):
        odd = sum(math.comb(rounds, k) * each**k * (1 - each) ** (rounds - k) for k in range(1, rounds + 1) if k % 2)
        assert per_round(odd, rounds) == pytest.approx(each, abs=1e-12)
    assert per_round(0.7, 3) == 0.5


def test_bad_input() -> None:
    with pytest.raises(TypeError, match=r"code must be of type Code. Got 'surface'"):
        Memory("surface", 0.01)
    with pytest.raises(ValueError, match=r"p must be at most 1.* Got 2.0. It is a probability"):
        Memory(Repetition(3), 2)
    with pytest.raises(ValueError, match=r"p must leave each fault of the noise 'uniform' a probability"):
        Memory(Repetition(3), 0.9)
    with pytest.raises(ValueError, match=r"noise must be one of .* Got 'depolarizing'"):
        Memory(Repetition(3), 0.1, "depolarizing")
    with pytest.raises(ValueError, match=r"rounds must be at least 1. Got 0"):
        Memory(Repetition(3), 0.1, rounds=0)
    with pytest.raises(ValueError, match=r"shots must be at least 1. Got 0"):
        Memory(Repetition(3), 0.1, shots=0)
    with pytest.raises(ValueError, match=r"failures must be at least 1. Got 0"):
        Memory(Repetition(3), 0.1, failures=0)
    with pytest.raises(ValueError, match=r"basis must be one in which the repetition code"):
        Memory(Repetition(3), 0.1, basis="X")
    with pytest.raises(ValueError, match=r"decoder must be one of .* Got 'union-find'"):
        Memory(Repetition(3), 0.1, decoder="union-find")
    with pytest.raises(ValueError, match=r"simulated by Stim: device and precision have no meaning.*'varq.qubit'"):
        Memory(Repetition(3), 0.1, device="varq.qubit")
    with pytest.raises(ValueError, match=r"rounds must be at least 1. Got 0"):
        per_round(0.1, 0)
    with pytest.raises(ValueError, match=r"codes and ps must not be empty. Got 0 codes and 1 strengths"):
        threshold_study([], [0.1])


@needs_stim
@pytest.mark.parametrize("decoder", [Matching(), Window("matching", 4, 2)], ids=str)
def test_a_decoder_that_does_not_fit_the_code_is_refused(decoder: Any) -> None:
    with pytest.raises(ValueError, match=r"does not fit the Steane code: it pairs flipped stabilizers up"):
        varq.run(Memory(Steane(), 0.01, decoder=decoder), **QUIET)


def test_without_the_packages_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stim", "pymatching", "ldpc"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(
        ModuleNotFoundError, match=r"needs the package stim. Install it with: pip install 'varq\[qec\]'"
    ):
        varq.run(Memory(Repetition(3), 0.1), **QUIET)
    with pytest.raises(ModuleNotFoundError, match=r"needs the package pymatching.*'varq\[qec\]'"):
        packages.pymatching()
    with pytest.raises(ModuleNotFoundError, match=r"belief propagation needs the package ldpc.*'varq\[ldpc\]'"):
        packages.ldpc()


# -- studies of several memories -----------------------------------------------------------------------------------


def made(where: float = 0.1, nu: float = 1.5, spread: float = 1e-4, distances: Any = (3, 5, 7)) -> ThresholdStudy:
    """A study whose rates follow the law that is fitted."""
    rows = [(d, p) for d in distances for p in np.linspace(0.08, 0.12, 7)]
    scaled = [(p - where) * d ** (1 / nu) for d, p in rows]
    rates = tuple(0.1 + 1.2 * x + 0.8 * x * x for x in scaled)
    return ThresholdStudy(
        tuple(d for d, _ in rows), tuple(float(p) for _, p in rows), rates, (spread,) * len(rows), (1,) * len(rows)
    )


def test_a_threshold_is_found_again() -> None:
    found = made().threshold()
    assert found.p == pytest.approx(0.1, abs=1e-6)
    assert found.exponent == pytest.approx(1.5, abs=1e-3)
    assert found.chi2 < 1e-6
    assert 0 < found.stderr < 1e-3
    assert made().threshold(low=0.09, each_round=True).p == pytest.approx(0.1, abs=1e-6)


def test_a_threshold_of_rounds_is_found_where_some_shots_tell_nothing() -> None:
    """Rates of a round follow the law; a shot has as many rounds as the distance, and the noisiest half fail."""
    each = made()
    rates = tuple((1 - (1 - 2 * e) ** d) / 2 for d, e in zip(each.distances, each.rates, strict=True))
    lost = 3
    study = ThresholdStudy(
        (*each.distances, 3, 5, 7),
        (*each.ps, *[0.3] * lost),
        (*rates, 0.5, 0.51, 0.5),
        (1e-4,) * (len(rates) + lost),
        (*each.distances, 3, 5, 7),
    )
    found = study.threshold(each_round=True)
    assert found.p == pytest.approx(0.1, abs=1e-6)
    assert found.exponent == pytest.approx(1.5, abs=1e-3)
    assert study.per_round(0.3)[5] == (0.5, math.inf)
    with pytest.raises(ValueError, match=r"in \[0.2, 1\] with fewer than half of the shots in error. Got 0"):
        study.threshold(low=0.2, each_round=True)


def counted(task: Memory, failures: int, shots: int, run: str) -> tuple[Memory, Result]:
    """A memory, and what a run of it could have come to."""
    details = {"failures": failures, "shots": shots, "rounds": task.rounds or task.code.distance}
    return task, Result(
        run, task.title, failures / shots, 0.1, None, Reason.CONVERGED, None, 1, 1, 0.0, details=details
    )


def test_memories_of_several_seeds_are_one() -> None:
    first, second, third = (Memory(Repetition(3), 0.02, seed=k) for k in range(3))
    runs = [counted(first, 3, 100, "a"), counted(third, 1, 50, "c"), counted(second, 6, 150, "b")]
    study = ThresholdStudy.of([*runs, runs[1], counted(Memory(Repetition(5), 0.02), 2, 300, "d")])
    assert (study.distances, study.ps, study.rounds) == ((3, 5), (0.02, 0.02), (3, 5))
    assert study.rates == (10 / 300, 2 / 300)
    assert study.stderrs[0] == pytest.approx(float(beta(10.5, 290.5).std()), rel=1e-12)
    assert [result.run_id for result in study.results] == ["a", "c", "b", "d"]


@pytest.mark.parametrize(
    "other",
    [
        Memory(Repetition(5), 0.02, "phenomenological"),
        Memory(RotatedSurface(5), 0.02, basis="X"),
        Memory(RotatedSurface(3), 0.02),
        Memory(Repetition(3), 0.02, rounds=7),
        Memory(Repetition(3), 0.02, decoder="lookup"),
    ],
    ids=["noise", "basis", "code", "rounds", "decoder"],
)
def test_memories_of_several_kinds_are_no_study(other: Memory) -> None:
    runs = [counted(Memory(Repetition(3), 0.02), 3, 100, "a"), counted(other, 5, 100, "b")]
    with pytest.raises(ValueError, match=r"must differ in code, p, rounds and seed alone.*Make a study of each"):
        ThresholdStudy.of(runs)


def test_two_codes_of_one_distance_are_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    monkeypatch.setattr("varq.algorithms.correction.threshold.run", lambda task, **_: ran.append(task))
    with pytest.raises(ValueError, match=r"those of one distance in p and seed.*RotatedSurface.*Make a study of each"):
        threshold_study([Repetition(3), RotatedSurface(3)], [0.02])
    assert not ran


def test_one_point_of_a_study_stands_there_once() -> None:
    with pytest.raises(ValueError, match=r"once. Got distance 3 twice at p = 0.02. Give runs to ThresholdStudy.of"):
        ThresholdStudy((3, 5, 3), (0.02, 0.02, 0.02), (0.1, 0.05, 0.2), (0.01,) * 3, (3, 5, 3))
    with pytest.raises(ValueError, match=r"must be equally long. Got \[2, 1, 2, 2, 2\]"):
        ThresholdStudy((3, 5), (0.02,), (0.1, 0.05), (0.01, 0.01), (3, 5))
    # What rounding tells apart is one noise strength, here as where a rate is asked for.
    runs = [counted(Memory(Repetition(3), p), 3, 100, run) for p, run in ((0.3, "a"), (0.1 + 0.2, "b"))]
    study = ThresholdStudy.of(runs)
    assert (study.distances, study.rates) == ((3,), (6 / 200,))


def test_lambda_is_found_again() -> None:
    """Rates of a round that fall by 3 with each two of distance."""
    distances, each = (3, 5, 7), (0.009, 0.003, 0.001)
    rates = tuple((1 - (1 - 2 * e) ** d) / 2 for d, e in zip(distances, each, strict=True))
    study = ThresholdStudy(distances, (0.01,) * 3, rates, (1e-4, 1e-4, 1e-4), distances)
    for suppression in (study.suppression(0.01), study.suppression(0.01, 3), study.suppression(0.01, 5)):
        assert suppression.value == pytest.approx(3, abs=1e-9)
    two = study.per_round(0.01)
    (first, spread), (second, other) = two[3], two[5]
    wanted = first / second * math.hypot(spread / first, other / second)
    assert study.suppression(0.01, 3).stderr == pytest.approx(wanted, rel=1e-9)
    assert str(study.suppression(0.01, 3)).startswith("3 +- ")


@needs_stim
def test_a_study_runs_each_cell_once(tmp_path: Any) -> None:
    options: dict[str, Any] = {"shots": 20_000, "store": tmp_path / "store"}
    codes = [Repetition(3), Repetition(5)]
    study = threshold_study(codes, [0.02, 0.04], **options)
    assert study.distances == (3, 3, 5, 5)
    assert study.suppression(0.02, 3).value > study.suppression(0.04, 3).value > 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = threshold_study(codes, [0.02, 0.04], **options)
    assert [r.run_id for r in again.results] == [r.run_id for r in study.results]
    assert again.rates == study.rates


@needs_stim
def test_a_sweep_of_memories_is_a_study_too(tmp_path: Any) -> None:
    tasks = [Memory(code, p=p, shots=20_000) for code in (Repetition(3), Repetition(5)) for p in (0.02, 0.04)]
    swept = varq.sweep(tasks, name="memories", store=tmp_path / "store", progress=False)
    assert ThresholdStudy.of(swept).rates == ()
    swept.finish()
    found = ThresholdStudy.of(swept)
    alone = threshold_study([Repetition(3), Repetition(5)], [0.02, 0.04], shots=20_000)
    assert (found.distances, found.ps, found.rates) == (alone.distances, alone.ps, alone.rates)
    with pytest.raises(TypeError, match=r"each spec must be of type Memory.*Give pairs of a Memory and its result"):
        ThresholdStudy.of([(VQE(problem=TransverseFieldIsing(2)), found.results[0])])


@needs_stim
@pytest.mark.full
def test_the_threshold_of_the_surface_code_under_data_errors() -> None:
    """Matching alone sees flips with 2 p / 3, and tolerates 10.3 % of them: Wang, Harrington, Preskill (2003)."""
    ps = [0.145, 0.15, 0.155, 0.16, 0.165]
    study = threshold_study(
        [RotatedSurface(d) for d in (11, 15, 19)],
        ps,
        noise="code-capacity",
        rounds=1,
        decoder=Matching(correlated=False),
        shots=40_000,
    )
    found = study.threshold()
    assert abs(found.p * 2 / 3 - 0.1031) < 0.003  # distances are finite


def test_bad_studies() -> None:
    with pytest.raises(ValueError, match=r"distance must be one of \[3, 5, 7\]. Got 9"):
        made().curve(9)
    with pytest.raises(ValueError, match=r"p must be one of .* Got 0.5"):
        made().per_round(0.5)
    with pytest.raises(ValueError, match=r"distance and distance \+ 2 must be among \[3, 5, 7\]. Got 7"):
        made().suppression(0.08, 7)
    with pytest.raises(ValueError, match=r"A threshold needs six points of two distances .* Got 3"):
        made().threshold(low=0.115)
    silent = ThresholdStudy((3, 5), (0.1, 0.1), (0.1, 0.0), (0.01, 0.01), (3, 5))
    with pytest.raises(ValueError, match=r"Lambda needs logical errors at two distances or more"):
        silent.suppression(0.1)
