"""Phase estimation against its published constants: one command, one table.

    python benchmarks/phases.py [NAME ...] [--runs SHARE]

Names: textbook, default, ahead, policies, coherence, readout, both, wrong, cover, two, circuits, energy, speed.
Without a name, all of them (about twenty minutes on two cores); `--runs 0.1` takes a tenth of the runs.

N is the number of applications of the controlled unitary in all experiments of a run, V the Holevo variance averaged
over posterior densities ("avg"), beside that of the sampled errors ("smp"), each with its standard error.  A bound
holds if the mean minus two standard errors does.  Sources of the anchors:

    floor pi^2 = 9.87            V >= tan^2(pi / (N + 2)): Berry and Wiseman, Phys. Rev. Lett. 85, 5098 (2000)
    textbook 2 N + 1             exact: the Fejer kernel of N + 1 points has the sharpness N / (N + 1)
    adaptive 22-26               Higgins et al., Nature 450, 393 (2007): overhead 1.56
    non-adaptive 40              Higgins et al., New J. Phys. 11, 073023 (2009): overhead 2.03
    robust 190-260               Kimmel, Low and Yoder, Phys. Rev. A 92, 062315 (2015), as implemented here
    Ramsey 2 e / (N T c^2)       Fisher information of the best fixed power T / 2
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import varq
from varq.algorithms import VQE, PhaseEstimation, phase_estimation, phase_study
from varq.algorithms.phases import Greedy, Higgins, LookAhead, RandomWalk, Robust, Semiclassical
from varq.algorithms.phases.study import Study
from varq.problems import EigenPhase, Molecule
from varq.problems.eigenphase import circular_difference

SEED = 0
MANY, FEWER = 10_000, 2_000  # runs for N up to 1024, and above
GATE = EigenPhase(np.diag([1, np.exp(2.0j)]), state=1)
QUIET: dict[str, Any] = {"store": None, "progress": False}


BERRY = "own goal; least 9.87: Berry, Wiseman, PRL 85, 5098 (2000)"
FEJER = "Fejer kernel: (1 + 1/N)^2 - 1"
FISHER = "own goal; over 2 e / (N T c^2), the Fisher information at the power T / 2"
BAYES = "own goal; a posterior of the true law covers as it says"
PUBLISHED = {
    "Higgins()": "22 to 26: Higgins et al., Nature 450, 393 (2007)",
    "Higgins(adaptive=False)": "40: Higgins et al., NJP 11, 073023 (2009)",
    "Robust()": "190 to 260: Kimmel, Low, Yoder, PRA 92, 062315 (2015), as implemented here",
    "RandomWalk()": "Granade, Wiebe, arXiv:2208.04526, which gives no V N^2",
}


@dataclass(frozen=True)
class Line:
    """One figure: what it is, its value and standard error, between which bounds it must lie, and where these are from.

    A bound that is varq's own goal names what it was set beside.
    """

    what: str
    value: float
    stderr: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    note: str = ""
    source: str = ""

    @property
    def held(self) -> bool:
        """Whether the value lies between its bounds, within two standard errors."""
        return self.value - 2 * self.stderr <= self.high and self.value + 2 * self.stderr >= self.low

    def __str__(self) -> str:
        bounds = [f">= {self.low:g}"] * (self.low > -math.inf) + [f"<= {self.high:g}"] * (self.high < math.inf)
        verdict = ("ok" if self.held else "MISSED") if bounds else ""
        spread = f"+- {self.stderr:.2g}" if self.stderr else ""
        line = f"{self.what:58} {self.value:10.5g} {spread:10} {' '.join(bounds):16} {verdict:7}{self.note:24}"
        return f"{line} {self.source}".rstrip()


def _task(policy: Any, applications: int, **options: Any) -> PhaseEstimation:
    return PhaseEstimation(problem=GATE, policy=policy, applications=applications, **options)


def _study(share: float, policy: Any, applications: int, runs: int | None = None, **options: Any) -> Study:
    noise = {k: options.pop(k) for k in ("coherence", "contrast", "noise") if k in options}
    most = runs or (MANY if applications <= 1024 else FEWER)
    return phase_study(_task(policy, applications, **noise), max(100, int(most * share)), seed=SEED, **options)


def _scaled(study: Study, unit: float) -> tuple[float, float, str]:
    (value, spread), (other, width) = study.averaged, study.sampled
    return value * unit, spread * unit, f" smp {other * unit:.4g} +- {width * unit:.2g}"


def textbook(share: float) -> Iterator[Line]:
    """The exact variance of 2^t - 1 applications: the Fejer kernel of N + 1 points has the sharpness N / (N + 1)."""
    for bits in range(3, 11):
        n = 2**bits - 1
        study = _study(share, Semiclassical(), n)
        want = (1 + 1 / n) ** 2 - 1
        yield Line(
            f"textbook, t = {bits}: |V - ((1 + 1/N)^2 - 1)|", abs(study.averaged[0] - want), high=1e-10, source=FEJER
        )
        # Few errors are large, and those make the variance: its standard error comes from the law, not from the sample.
        spread = 2 * ((n + 1) / n) ** 3 * math.sqrt(n) / (n + 1) / math.sqrt(len(study.phases))
        gap = abs(study.sampled[0] - want) / spread
        yield Line(f"textbook, t = {bits}: standard errors of the sampled V from it", gap, high=4, source=FEJER)


def default(share: float) -> Iterator[Line]:
    """The default policy without noise; the floor is 9.87 (Berry and Wiseman, Phys. Rev. Lett. 85, 5098 (2000))."""
    for exponent in range(6, 13):
        n = 2**exponent
        value, spread, note = _scaled(_study(share, Greedy(), n), n**2)
        yield Line(f"default policy, N = {n}: V N^2", value, spread, high=21.5, note=note, source=BERRY)


def ahead(share: float) -> Iterator[Line]:
    """The policy that looks two experiments ahead, without noise and with it, beside the default one."""
    for exponent in range(6, 13):
        n = 2**exponent
        value, spread, note = _scaled(_study(share, LookAhead(), n), n**2)
        yield Line(f"look-ahead, N = {n}: V N^2", value, spread, high=20, note=note, source=BERRY)
    for name, noise in (("T = 128", {"coherence": 128.0}), ("5 %", {"contrast": 0.9})):
        (one, spread), (other, width) = (_study(share, p, 1024, **noise).averaged for p in (LookAhead(), Greedy()))
        ratio = one / other
        yield Line(
            f"look-ahead over default, {name}, N = 1024: V", ratio, ratio * math.hypot(spread / one, width / other)
        )


def policies(share: float) -> Iterator[Line]:
    """The others, beside 22-26 adaptive, 40 not (Higgins et al. 2007, 2009), 190-260 robust (Kimmel et al. 2015)."""
    for (name, source), policy in zip(
        PUBLISHED.items(), (Higgins(), Higgins(adaptive=False), Robust(), RandomWalk()), strict=True
    ):
        for n in (256, 1024):
            study = _study(share, policy, n)
            spent = float(study.applications.mean())
            # Sampled, as the published ones are.
            (value, spread), (other, width) = study.sampled, study.averaged
            note = f" avg {other * spent**2:.4g} +- {width * spent**2:.2g}"
            what = f"{name}, N = {spent:.0f}: V N^2, sampled"
            yield Line(what, value * spent**2, spread * spent**2, note=note, source=source)


def coherence(share: float) -> Iterator[Line]:
    """Decoherence alone; the Ramsey bound 2 e / (N T) is the Fisher information of the best fixed power, T / 2."""
    for factor, bound in ((8, 2.0), (32, 1.35)):
        n = 128 * factor
        study = _study(share, Greedy(), n, coherence=128.0)
        value, spread, note = _scaled(study, 1 / study.ramsey)
        what = f"T = 128, N = {factor} T: V over the Ramsey bound"
        yield Line(what, value, spread, high=bound, note=note, source=FISHER)


def readout(share: float) -> Iterator[Line]:
    """Bits that are flipped with a probability of 5 %."""
    for exponent, bound in ((8, 65), (10, 80), (12, 95)):
        n = 2**exponent
        value, spread, note = _scaled(_study(share, Greedy(), n, contrast=0.9), n**2)
        yield Line(f"5 % readout error, N = {n}: V N^2", value, spread, high=bound, note=note, source=BERRY)


def both(share: float) -> Iterator[Line]:
    """Decoherence and readout error."""
    for factor, bound in ((8, 3.3), (32, 2.4)):
        n = 128 * factor
        study = _study(share, Greedy(), n, coherence=128.0, contrast=0.9)
        value, spread, note = _scaled(study, 1 / study.ramsey)
        what = f"T = 128 and 5 %, N = {factor} T: V over the Ramsey bound"
        yield Line(what, value, spread, high=bound, note=note, source=FISHER)


def wrong(share: float) -> Iterator[Line]:
    """Noise that is other than the policy believes, by a factor of two; sampled, since densities are then wrong."""
    runs = 20_000
    for name, true, believed in (
        ("T = 128 believed 256", {"coherence": 128.0}, {"coherence": 256.0}),
        ("T = 128 believed 64", {"coherence": 128.0}, {"coherence": 64.0}),
        ("5 % believed 10 %", {"contrast": 0.9}, {"contrast": 0.8}),
        ("5 % believed 2.5 %", {"contrast": 0.9}, {"contrast": 0.95}),
    ):
        floors = []
        for n in (256, 1024, 4096):
            matched = _study(share, Greedy(), n, runs, **true).sampled
            task = _task(Greedy(), n, **believed)
            study = phase_study(task, max(100, int(runs * share)), seed=SEED, **true)
            value, spread = study.sampled
            ratio = value / matched[0]
            relative = math.hypot(spread / value, matched[1] / matched[0])
            yield Line(f"{name}, N = {n}: V over the matched one", ratio, ratio * relative, high=3, source="own goal")
            floors.append((value, spread))
        for k, n in enumerate((256, 1024)):
            (first, width), (last, narrow) = floors[k : k + 2]
            fall = first / last
            error = fall * math.hypot(width / first, narrow / last)
            what = f"{name}: V falls from N = {n} to {4 * n} by a factor of"
            yield Line(what, fall, error, low=2, source="own goal; 4 for V ~ 1/N")


def cover(share: float) -> Iterator[Line]:
    """Credible intervals."""
    for name, noise in (("no noise", {}), ("5 %", {"contrast": 0.9}), ("T = 128", {"coherence": 128.0})):
        for n in (64, 256, 1024):
            found, spread = _study(share, Greedy(), n, whole=True, **noise).coverage(0.95)
            what = f"95 % credible intervals, {name}, N = {n}: cover"
            yield Line(what, found, spread, low=0.93, high=0.97, source=BAYES)


def two(share: float) -> Iterator[Line]:
    """Two eigenphases of weights 0.8 and 0.2, 0.3 apart, in several runs."""
    problem = EigenPhase.from_phases([1.0, 1.3], [0.8, 0.2])
    away, off = [], []
    for seed in range(max(5, int(50 * share))):
        found = phase_estimation(problem, policy="spectrum", applications=60_000, seed=seed, **QUIET).details
        away.append(float(np.max(np.abs(circular_difference(found["phases"], [1.0, 1.3])))) * found["longest"])
        off.append(float(np.max(np.abs(found["weights"] - [0.8, 0.2]))))
    own = "own goal"
    yield Line("two eigenphases: largest phase error times the longest power", max(away), high=4, source=own)
    squares = float(np.mean(np.square(off)))
    yield Line("two eigenphases: root mean square weight error", math.sqrt(squares), high=0.05, source=own)
    few = float(np.mean(np.array(off) <= 0.05))
    yield Line("two eigenphases: share of runs with a weight error <= 0.05", few, low=0.95, source=own)


def circuits(share: float) -> Iterator[Line]:
    """The same variances whether outcomes are drawn or measured, for the same eight phases."""
    runs = max(200, int(4000 * share))
    phases = np.resize(np.random.default_rng(SEED).uniform(0, 2 * math.pi, 8), runs)
    policies = (Semiclassical(), Higgins(), Higgins(adaptive=False), Greedy(), LookAhead(), Robust(), RandomWalk())
    for policy, n in zip(policies, (15, 42, 42, 32, 32, 42, 24), strict=True):
        drawn = phase_study(_task(policy, n), runs, phases=phases, seed=SEED)
        for way in ("loop", "circuit", "device"):
            few = phases if way != "device" else phases[: max(200, runs // 10)]
            study = phase_study(_task(policy, n), len(few), phases=few, seed=SEED + 1, through=way)
            for what in ("sampled", "averaged"):
                (value, spread), (other, width) = getattr(study, what), getattr(drawn, what)
                same = math.isclose(value, other, rel_tol=1e-9)
                gap = 0.0 if same else abs(value - other) / math.hypot(spread, width)
                line = f"{policy!r:.30}, {way} against law, {what}: s.e. apart"
                yield Line(line, gap, high=4, source="one law, two samples")


def energy(share: float) -> Iterator[Line]:
    """H2 from a variational run that is stopped when it is 10 mHa above, with a flat prior."""
    h2 = Molecule.load("H2")
    run = varq.start(VQE(problem=h2, optimizer=varq.Optax("adam", learning_rate=0.001)), **QUIET)
    while (above := run.step(1).value - h2.reference()) > 0.01:
        pass
    problem = EigenPhase.from_hamiltonian(h2, state=run.spec.state(run.parameters))
    hits, spent, began = [], [], time.perf_counter()
    for seed in range(max(20, int(200 * share))):
        result = phase_estimation(problem, applications=8192, seed=seed, **QUIET)
        hits.append(abs(result.details["energy"] - h2.reference()) < 1e-3)
        spent.append(result.details["applications"])
    each = (time.perf_counter() - began) / len(hits)
    note = f" {1e3 * above:.1f} mHa above after {run.steps} steps; {each:.2g} s a run"
    share_within = float(np.mean(hits))
    yield Line("H2 from a VQE stopped early: share within 1 mHa", share_within, low=0.95, note=note, source="own goal")
    note = f" of exp(-i H {problem.time:.3f}): an evolution of {np.mean(spent) * problem.time:.0f} / hartree in all"
    yield Line("H2 from a VQE stopped early: applications a run", float(np.mean(spent)), note=note)


def speed(share: float) -> Iterator[Line]:
    """Seconds after compiling."""
    for what, policy, n, runs, bound in (
        ("1e5 adaptive runs of 12 rounds", Higgins(repeats=4), 28, 100_000, 2.0),
        ("2000 default runs at N = 1024", Greedy(), 1024, 2000, 10.0),
    ):
        times = []
        for _ in range(4):
            began = time.perf_counter()
            phase_study(_task(policy, n), runs, seed=SEED)
            times.append(time.perf_counter() - began)
        yield Line(
            f"{what}: seconds (first call {times[0]:.1f})", float(np.median(times[1:])), high=bound, source="own goal"
        )


TABLES: dict[str, Callable[[float], Iterator[Line]]] = {
    f.__name__: f
    for f in (textbook, default, ahead, policies, coherence, readout, both, wrong, cover, two, circuits, energy, speed)
}


def main() -> int:
    """Print the lines asked for as they are measured; 1 if one is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*TABLES, []])
    parser.add_argument("--runs", type=float, default=1.0, metavar="SHARE", help="share of the runs")
    given = parser.parse_args()
    missed = 0
    for name in given.names or TABLES:
        print(f"# {name}: {TABLES[name].__doc__}", flush=True)
        for line in TABLES[name](given.runs):
            print(line, flush=True)
            missed += not line.held
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
