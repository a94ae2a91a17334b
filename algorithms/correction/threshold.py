"""Memories of several distances and noise strengths: suppression by distance, and the threshold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.optimize import curve_fit

from varq import checks, names
from varq.algorithms.correction.memory import Memory, jeffreys, per_round_with_error
from varq.algorithms.correction.memory_circuits import usual_rounds
from varq.protocol import Array, Result
from varq.session.api import run

__all__ = ["Suppression", "Threshold", "ThresholdStudy", "threshold_study"]


@dataclass(frozen=True)
class Suppression:
    """By what factor two more of distance make logical errors rarer.

    Args:
        value: the factor, Lambda.
        stderr: its standard error.
    """

    value: float
    stderr: float

    def __str__(self) -> str:
        return f"{self.value:.3g} +- {self.stderr:.2g}"


@dataclass(frozen=True)
class Threshold:
    """The noise below which a larger code is a better one.

    Args:
        p: where the curves of all distances cross.
        stderr: its standard error.
        exponent: nu, of x = (p - p_threshold) distance^(1/nu).
        exponent_stderr: its standard error.
        chi2: of the fit, over its degrees of freedom.
    """

    p: float
    stderr: float
    exponent: float
    exponent_stderr: float
    chi2: float


@dataclass(frozen=True, eq=False)
class ThresholdStudy:
    """What memories of several distances came to.

    Args:
        distances: of each memory, shape (n,).
        ps: noise strengths, shape (n,).
        rates: of logical errors per shot, shape (n,).
        stderrs: their standard errors, shape (n,).
        rounds: of each memory, shape (n,).
        title: of what.
        results: of the runs, one of each memory, or several that differ in their seeds.

    Raises:
        ValueError: if lengths differ, or if one distance has one noise strength twice.
    """

    distances: tuple[int, ...]
    ps: tuple[float, ...]
    rates: tuple[float, ...]
    stderrs: tuple[float, ...]
    rounds: tuple[int, ...]
    title: str = "memories"
    results: tuple[Result, ...] = ()

    def __post_init__(self) -> None:
        lengths = [len(column) for column in (self.distances, self.ps, self.rates, self.stderrs, self.rounds)]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"distances, ps, rates, stderrs and rounds must be equally long. Got {lengths}. Give one of each."
            )
        points = sorted(zip(self.distances, self.ps, strict=True))
        for (d, p), (other, at) in pairwise(points):
            if d == other and math.isclose(p, at):
                raise ValueError(
                    f"Each distance must have each noise strength once. Got distance {d} twice at p = {p:g}. "
                    "Give runs to ThresholdStudy.of, which adds up their failures and shots."
                )

    @classmethod
    def of(cls, runs: Any, title: str = "memories") -> ThresholdStudy:
        """From specs and their results, wherever they were run.

        Memories of one code at one noise strength, which differ in their seeds, count as one: their failures and shots
        are added.

        Args:
            runs: pairs of a `Memory` and its result; or a study of memories, `varq.sweep([Memory(...), ...])`, of which
                the cells that are done count.
            title: of what.

        Raises:
            TypeError: for a spec that is no `Memory`.
            ValueError: if a run has not counted anything, or if memories differ in more than code, p, rounds and seed,
                those of one distance in more than p and seed.
        """
        runs_by_id: dict[str, tuple[Memory, Result]] = {}
        pairs: Iterable[tuple[Any, Result]] = runs.results() if hasattr(runs, "results") else runs
        for task, result in pairs:
            checks.instance(
                "each spec", task, Memory, hint="Give pairs of a Memory and its result, or a study of them."
            )
            if result.value is None or result.stderr is None:
                raise ValueError(f"Each result must have a value. Got none from {task.title}. Let the run go on first.")
            runs_by_id[result.run_id] = (task, result)
        found = sorted(runs_by_id.values(), key=lambda pair: (pair[0].code.distance, pair[0].p))
        _check_alike([(task, int(result.details["rounds"])) for task, result in found])
        points: list[list[tuple[Memory, Result]]] = []
        for task, result in found:
            last = points[-1][0][0] if points else None
            if last is not None and last.code.distance == task.code.distance and math.isclose(last.p, task.p):
                points[-1].append((task, result))
            else:
                points.append([(task, result)])
        counts = [[sum(r.details[name] for _, r in point) for name in ("failures", "shots")] for point in points]
        rates, stderrs = tuple(zip(*(jeffreys(*count) for count in counts), strict=True)) or ((), ())
        return cls(
            distances=tuple(point[0][0].code.distance for point in points),
            ps=tuple(point[0][0].p for point in points),
            rates=rates,
            stderrs=stderrs,
            rounds=tuple(int(point[0][1].details["rounds"]) for point in points),
            title=title,
            results=tuple(result for _, result in found),
        )

    def curve(self, distance: int) -> tuple[Array, Array, Array]:
        """Noise strengths, rates per shot and standard errors of one distance, each shape (points,).

        Raises:
            ValueError: for a distance that was not run.
        """
        rows = [k for k, d in enumerate(self.distances) if d == distance]
        if not rows:
            raise ValueError(f"distance must be one of {sorted(set(self.distances))}. Got {distance}.")
        return tuple(np.array([column[k] for k in rows]) for column in (self.ps, self.rates, self.stderrs))  # type: ignore[return-value]

    def per_round(self, p: float) -> Mapping[int, tuple[float, float]]:
        """The rate of logical errors of one round and its standard error, by distance.

        Raises:
            ValueError: for a noise strength that was not run.
        """
        found = {}
        for d, at, rate, error, rounds in self._rows():
            if math.isclose(at, p):
                found[d] = per_round_with_error(rate, error, rounds)
        if not found:
            raise ValueError(f"p must be one of {sorted(set(self.ps))}. Got {p}.")
        return found

    def suppression(self, p: float, distance: int | None = None) -> Suppression:
        """Lambda at one noise strength: the rate per round of a distance over that of the next one.

        Args:
            p: the noise strength.
            distance: of the smaller code; None for a fit of rate = A / Lambda^((distance + 1) / 2) to all, which counts
                each logarithm by its standard error (Google Quantum AI, Nature 638, 920 (2025)).

        Raises:
            ValueError: if fewer than two distances were run, or a rate is zero.
        """
        rates = self.per_round(p)
        if distance is not None:
            if distance not in rates or distance + 2 not in rates:
                raise ValueError(
                    f"distance and distance + 2 must be among {sorted(rates)}. Got {distance}. Run both at p = {p:g}."
                )
            rates = {d: rates[d] for d in (distance, distance + 2)}
        if len(rates) < 2 or min(rate for rate, _ in rates.values()) <= 0:
            raise ValueError(
                f"Lambda needs logical errors at two distances or more. Got rates {[r for r, _ in rates.values()]} at "
                f"p = {p:g}. Take more shots, or stronger noise."
            )
        x = np.array([(d + 1) / 2 for d in rates])
        y = np.array([math.log(rate) for rate, _ in rates.values()])
        weights = np.array([(rate / error) ** 2 for rate, error in rates.values()])
        mean = (weights * x).sum() / weights.sum()
        spread = (weights * (x - mean) ** 2).sum()
        slope = float((weights * (x - mean) * y).sum() / spread)
        return Suppression(math.exp(-slope), math.exp(-slope) / math.sqrt(spread))

    def threshold(self, low: float = 0.0, high: float = 1.0, each_round: bool = False) -> Threshold:
        """Where the curves cross, by a fit of rate = A + B x + C x^2, x = (p - p_threshold) distance^(1/nu).

        The fit holds near the crossing: `low` and `high` say which noise strengths take part.  Rates of a shot and of a
        round cross at different places as long as distances are finite.  Where half of the shots or more are in error,
        nothing is known of a round: such points take part in a fit of shots alone.

        Args:
            low: least p.
            high: largest p.
            each_round: whether to fit rates of a round, in place of those of a shot.

        Raises:
            ValueError: if fewer than two distances or six points take part.
            RuntimeError: if the fit does not converge.

        References:
            Wang, Harrington and Preskill, Ann. Phys. 303, 31 (2003).
        """
        rows = [row[:4] for row in self._rows() if low <= row[1] <= high]
        if each_round:
            every = [(d, p, *per_round_with_error(r, e, n)) for d, p, r, e, n in self._rows() if low <= p <= high]
            rows = [row for row in every if math.isfinite(row[3])]
        if len(rows) < 6 or len({row[0] for row in rows}) < 2:
            which = " with fewer than half of the shots in error" if each_round else ""
            raise ValueError(
                f"A threshold needs six points of two distances or more in [{low:g}, {high:g}]{which}. "
                f"Got {len(rows)}. Run more noise strengths near the crossing."
            )
        d, p, rate, error = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))

        def law(x: Any, where: float, nu: float, a: float, b: float, c: float) -> Any:
            scaled = (x[1] - where) * x[0] ** (1 / nu)
            return a + b * scaled + c * scaled**2

        steep = float(np.polyfit(p, rate, 1)[0]) / float(np.mean(d)) ** 0.75
        start = (float(np.median(p)), 4 / 3, float(np.median(rate)), steep, 0.0)
        best, spread = curve_fit(law, np.array([d, p]), rate, start, sigma=error, absolute_sigma=True, maxfev=20_000)
        left = (law(np.array([d, p]), *best) - rate) / error
        errors = np.sqrt(np.diag(spread))
        freedom = max(len(rows) - 5, 1)
        return Threshold(
            float(best[0]), float(errors[0]), float(best[1]), float(errors[1]), float(left @ left) / freedom
        )

    def plot(self, **options: Any) -> Any:
        """Draw logical over physical errors; returns the matplotlib Axes."""
        return names.find("plot", "threshold")(self, **options)

    def _rows(self) -> list[tuple[int, float, float, float, int]]:
        return list(zip(self.distances, self.ps, self.rates, self.stderrs, self.rounds, strict=True))


def _check_alike(memories: Sequence[tuple[Memory, int]]) -> None:
    """Raise ValueError unless memories, each with its rounds, are of one kind, those of one distance all the more."""
    first: dict[Any, tuple[Memory, str]] = {}
    for task, rounds in memories:
        of_one_distance = (task.code, task.decoder, rounds)
        for scope, what in ((None, (task.noise, task.basis)), (task.code.distance, of_one_distance)):
            known, text = first.setdefault(scope, (task, repr(what)))
            if text != repr(what):
                raise ValueError(
                    "The memories of a study must differ in code, p, rounds and seed alone, those of one distance in p "
                    f"and seed. Got {known.title}, with {text}, and {task.title}, with {what!r}. Make a study of each."
                )


def threshold_study(
    codes: Sequence[Any],
    ps: Sequence[float],
    *,
    store: Any = None,
    progress: bool = False,
    existing: str = "return",
    **options: Any,
) -> ThresholdStudy:
    """Run a memory for each code and each noise strength, one after the other in this process.

    With a store, cells that were run before are not run again, and a study that was stopped goes on.  On several
    processes or machines, `varq.sweep` of such specs does the same: `ThresholdStudy.of` takes what it found.

    Args:
        codes: such as `[RotatedSurface(d) for d in (3, 5, 7)]`.
        ps: noise strengths.
        store: folder of the store; None keeps nothing.
        progress: whether to show a live line of each run.
        existing: what to do about a cell that was run before; see `varq.run`.
        **options: fields of `Memory`: `noise`, `shots`, `failures`, `decoder`, ...

    Raises:
        ValueError: if there is no code or no noise strength, or if two codes of one distance differ; nothing runs then.

    Example:
        >>> from varq.algorithms.correction import Repetition
        >>> study = threshold_study([Repetition(3), Repetition(5)], [0.02], shots=20_000)  # doctest: +SKIP
        >>> study.suppression(0.02).value > 1  # doctest: +SKIP
        True
    """
    if not len(codes) or not len(ps):
        raise ValueError(f"codes and ps must not be empty. Got {len(codes)} codes and {len(ps)} strengths. Give some.")
    tasks = [Memory(code, p=p, **options) for code in codes for p in ps]
    _check_alike([(task, task.rounds or usual_rounds(task.code, task.noise)) for task in tasks])
    runs = [(task, run(task, store=store, progress=progress, existing=existing)) for task in tasks]
    kinds = ", ".join(dict.fromkeys(_words(type(code).__name__) for code in codes)).capitalize()
    return ThresholdStudy.of(runs, title=f"{kinds}, {tasks[0].noise.name} noise")


def _words(name: str) -> str:
    """The words of a class's name: "rotated surface" of RotatedSurface."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
