"""Several eigenphases at once: the signal of a state that is prepared anew for each experiment, taken apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import NDArray

from varq import checks
from varq.algorithms.phases.belief import Law
from varq.algorithms.phases.policy import Setting
from varq.keys import Key
from varq.protocol import Array, Experiment, Finished, Outcome, Reason, Reply

__all__ = ["Spectrum"]

POINTS = 4096  # of the density that is drawn
CERTAIN = 1e3  # times the error of the whole signal: how well its value at power 0 is known
UNSEEN = 1e-6  # a weight of which the signal tells no phase
TURN = 2 * math.pi


@dataclass(frozen=True)
class Spectrum:
    """Find several eigenphases and their weights from the signal g(p) = sum_k w_k exp(i p phase_k).

    Cosine and sine of each power 1, 2, ..., P are measured equally often, with the state prepared anew each time.  The
    phases come from the signal's shift invariance (ESPRIT: Roy and Kailath, IEEE Trans. ASSP 37, 984 (1989)), are then
    fitted with the weights by least squares, and get standard errors from its curvature.  The approach is that of
    O'Brien, Tarasinski and Terhal, New J. Phys. 21, 023022 (2019).  Phases closer than about pi / P are one.  Weights
    are not negative and add up to 1; the phase of a weight of 0 has an infinite standard error.

    Args:
        count: how many eigenphases there are.
        repeats: of each of the two settings of each power; P is the largest for which the applications suffice.

    Raises:
        ValueError: for a count or repeats below 1.

    Example:
        >>> Spectrum(2).count
        2
    """

    count: int = 2
    repeats: int = 32
    kind: ClassVar[str] = "policy:spectrum"
    version: ClassVar[int] = 1
    fresh: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("count", "repeats"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), 1))

    def method(self, setting: Setting, together: int | None) -> SpectrumMethod:
        """The method for a budget and a noise."""
        return SpectrumMethod(self, setting, together)


@dataclass(frozen=True, eq=False)
class _Counted:
    """Outcomes so far: sums of signs at each power for cosine and sine, and how many experiments there were."""

    signs: Array
    done: int


class SpectrumMethod:
    """`Spectrum` at work.

    Args:
        spec: the policy.
        setting: its budget, and the visibility by which the signal has shrunk.
        together: most experiments in one request; None for all.

    Raises:
        ValueError: if applications or shots do not reach a power of twice the number of phases.
    """

    def __init__(self, spec: Spectrum, setting: Setting, together: int | None) -> None:
        self._spec, self._law = spec, _known(setting.law)
        longest, least = (math.isqrt(1 + 4 * (setting.applications // spec.repeats)) - 1) // 2, 2 * spec.count
        shots = math.inf if setting.experiments is None else setting.experiments
        for name, given, enough, need in (
            ("applications", setting.applications, longest >= least, spec.repeats * least * (least + 1)),
            ("shots", shots, shots >= 2 * spec.repeats * least, 2 * spec.repeats * least),
        ):
            if not enough:
                raise ValueError(
                    f"{name} must be at least {need:,} to tell {checks.counted(spec.count, 'phase')} apart with "
                    f"repeats={spec.repeats}. Got {given:,}. Give more, or fewer repeats."
                )
        self.longest = longest = int(min(longest, shots // (2 * spec.repeats)))
        self._powers = np.repeat(np.arange(1, longest + 1), 2 * spec.repeats)
        self._sines = np.tile(np.repeat([0, 1], spec.repeats), longest)
        self._count = len(self._powers)
        self._together = self._count if together is None else together

    def init(self, start: Array, key: Key) -> _Counted:
        """Nothing counted."""
        return _Counted(np.zeros((self.longest, 2)), 0)

    def _next(self, told: _Counted) -> slice:
        return slice(told.done, min(self._count, told.done + self._together))

    def ask(self, told: _Counted) -> Experiment | Finished:
        """As many of the remaining experiments as go together."""
        at = self._next(told)
        if at.start >= at.stop:
            return Finished(Reason.CONVERGED, f"all {self._count} experiments are done")
        return Experiment(self._powers[at].astype(np.int64), self._sines[at] * (math.pi / 2))

    def tell(self, told: _Counted, reply: Reply) -> tuple[_Counted, Mapping[str, Any]]:
        """Count the outcomes."""
        at = self._next(told)
        assert reply.outcomes is not None
        signs = told.signs.copy()
        np.add.at(signs, (self._powers[at] - 1, self._sines[at]), 1.0 - 2.0 * reply.outcomes)
        after = _Counted(signs, at.stop)
        return after, {"applications": int(self._powers[: at.stop].sum())}

    def conclude(self, told: _Counted) -> Outcome:
        """The eigenphases that all finished powers tell, those of largest weight first; nothing of too few powers."""
        spent = {"applications": int(self._powers[: told.done].sum()), "experiments": told.done}
        if not told.done:
            return Outcome(details=spent)
        grid = np.arange(POINTS, dtype=np.float64) * (TURN / POINTS)
        longest = told.done // (2 * self._spec.repeats)
        if longest < 2 * self._spec.count:
            flat = {"grid": grid, "density": np.full(POINTS, 1 / TURN), "interval": (0.025 * TURN, 0.975 * TURN)}
            return Outcome(details={**flat, **spent})
        seen = self._law.visibility(np, np.arange(1, longest + 1))[0]
        signal = told.signs[:longest] / self._spec.repeats / seen[:, None]
        weight = seen * math.sqrt(self._spec.repeats)
        fit = _fitted(signal[:, 0] + 1j * signal[:, 1], weight, self._spec.count)
        order = np.argsort(-fit.weights)
        shares = np.asarray(fit.weights[order], dtype=np.float64)
        phases = np.asarray(np.mod(fit.phases[order], TURN), dtype=np.float64)
        widths = np.asarray(fit.phase_errors[order], dtype=np.float64)
        details = {
            "phases": phases,
            "weights": shares,
            "phases_stderr": widths,
            "weights_stderr": fit.weight_errors[order],
            "grid": grid,
            "density": _drawn(grid, phases, shares, widths),
            "interval": tuple(float(x) for x in np.mod(phases[0] + np.array([-1.96, 1.96]) * widths[0], TURN)),
            **spent,
            "longest": longest,
        }
        return Outcome(float(phases[0]), float(widths[0]), None, details)


def _known(law: Law) -> Law:
    if len(law.prior) > 1:
        raise ValueError(
            "The policy 'spectrum' needs a noise that is known. Got noise='estimated'. Give contrast and coherence."
        )
    return law


@dataclass(frozen=True, eq=False)
class _Fit:
    phases: Array
    weights: Array
    phase_errors: Array
    weight_errors: Array


def _fitted(signal: NDArray[np.complex128], scale: Array, count: int) -> _Fit:
    """Phases and weights of a signal at powers 1, 2, ...; `scale` is one over its standard error at each power."""
    powers = np.arange(1, len(signal) + 1)
    phases = _shifted(signal, count)
    waves = np.exp(1j * np.outer(powers, phases)) * scale[:, None]
    stacked = np.concatenate([waves.real, waves.imag])
    weights, _ = scipy.optimize.nnls(stacked, np.concatenate([(signal * scale).real, (signal * scale).imag]))
    weights = np.maximum(weights, 1e-3)

    certain = CERTAIN * float(np.linalg.norm(scale))

    def away(x: Array) -> Array:
        gap = (np.exp(1j * np.outer(powers, x[:count])) @ x[count:] - signal) * scale
        # One more datum in place of a bound: the signal of power 0 is 1, and every weight keeps its own bound.
        return np.concatenate([gap.real, gap.imag, [(x[count:].sum() - 1) * certain]])

    start = np.concatenate([phases, weights / weights.sum()])
    low = np.concatenate([np.full(count, -np.inf), np.zeros(count)])
    found = scipy.optimize.least_squares(away, start, bounds=(low, np.inf), x_scale="jac")
    covariance = np.linalg.pinv(found.jac.T @ found.jac)
    shares = found.x[count:] / found.x[count:].sum()
    onto = np.eye(count) - shares[:, None]  # how shares follow the weights that they are made of
    spread = np.diagonal(onto @ covariance[count:, count:] @ onto.T)
    phase_errors = np.sqrt(np.maximum(np.diagonal(covariance)[:count], 0.0))
    phase_errors = np.where(shares < UNSEEN, np.inf, phase_errors)
    return _Fit(found.x[:count], shares, phase_errors, np.sqrt(np.maximum(spread, 0.0)))


def _shifted(signal: NDArray[np.complex128], count: int) -> Array:
    """Phases from shift invariance: the signal space of the Hankel matrix, moved on by one power, is turned by them."""
    both = np.concatenate([np.conj(signal[::-1]), [1.0], signal])
    half = len(signal) + 1
    hankel = scipy.linalg.hankel(both[:half], both[half - 1 :])
    space = np.linalg.svd(hankel)[0][:, :count]
    turned = np.linalg.lstsq(space[:-1], space[1:], rcond=None)[0]
    return np.asarray(np.angle(np.linalg.eigvals(turned)), dtype=np.float64)


def _drawn(grid: Array, phases: Array, weights: Array, widths: Array) -> Array:
    """A density of normal distributions around the circle."""
    away = np.mod(grid[:, None] - phases + math.pi, TURN) - math.pi
    bells = np.exp(-((away / np.maximum(widths, TURN / len(grid))) ** 2) / 2)
    density = bells / bells.sum(axis=0) @ weights
    return np.asarray(density * (len(grid) / TURN))
