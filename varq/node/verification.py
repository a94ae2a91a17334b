"""Checks of a cost before it is trusted: its gradient, its observable, and what its circuit claims to conserve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq import checks
from varq.estimation.groups import Group
from varq.estimation.steps import difference_step, sound_step
from varq.keys import Key, as_key
from varq.problems.pauli import PauliSum
from varq.protocol import Array, Evaluating, Many, Reply, Sample, Value, ValueAndGrad

__all__ = ["Finding", "Report", "VerificationError", "verify"]

SIGMAS = 5.0  # standard errors that two gradients may differ by: one false alarm in a million entries
EXACT_STEP = 4e-3  # of fourth-order differences: their error is h^4/30 = 1e-11, of rounding 1e-16/h = 1e-14
ENTRIES = 16  # of the gradient that are checked one by one; all of them together take part in one direction more
LEFT_OVER = 0.25  # of the second-order error, the most that fourth order leaves where differences converge at all
DENSE_WIRES = 10  # matrices up to a million entries
SYMMETRIC = 1e-10  # words of a commutator or imaginary parts below this, relative to the largest, are rounding
SHOWN = 3  # entries of the gradient that a message names


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        name: of the check.
        passed: whether all is well; None if it could not be checked.
        text: the numbers, and where it failed what to do.
    """

    name: str
    passed: bool | None
    text: str

    def __str__(self) -> str:
        return (
            f"{self.name}: {'not checked' if self.passed is None else 'ok' if self.passed else 'FAILED'}. {self.text}"
        )


@dataclass(frozen=True, eq=False)
class Report:
    """What `verify` found.

    Args:
        x: the parameters that it looked at.
        findings: of each check.
        executions: how many circuits ran for it.
    """

    x: Array
    findings: tuple[Finding, ...]
    executions: int

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(finding.passed is not False for finding in self.findings)

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings))


class VerificationError(RuntimeError):
    """A check of a cost failed; `report` holds all findings."""

    def __init__(self, report: Report) -> None:
        failed = [finding for finding in report.findings if finding.passed is False]
        super().__init__(f"{len(failed)} of {len(report.findings)} checks failed.\n" + "\n".join(map(str, failed)))
        self.report = report


def verify(
    cost: Evaluating,
    shape: Sequence[int],
    key: Key | int,
    *,
    observable: Any = None,
    conserved: Mapping[str, Any] | None = None,
    at: Any = None,
    step: float | None = None,
    tolerance: float = 1e-6,
    leakage: float = 0.0,
    shots: int = 1000,
) -> Report:
    """Check a cost at a random point.

    * **Gradient**: the cost's own (by whatever method its device has) against fourth-order central differences of its
      values, entry by entry (of more than 16, a random choice) and along a random direction through all entries. With
      shots, the difference must lie within five standard errors of both, and the step is large enough for the noise.
    * **Hermiticity** of `observable`.
    * **Conservation**: for each quantity, that it has one value only in the state at that point (and so variance 0),
      the one expected if it is named; and that `observable` commutes with it.

    Args:
        cost: answers `Value`, `ValueAndGrad` and, where `conserved` is given, `Sample` or `probabilities(x)`.
        shape: of the parameters.
        key: of the random point and of the requests, or an integer seed.
        observable: what the cost measures, a `PauliSum` or a PennyLane operator; None leaves it unchecked.
        conserved: quantities by name, as sums of words of I and Z (`PauliSum` or operator), such as the number of
            electrons; or pairs of such a sum and the value it must have.
        at: the parameters to look at; None draws each from [-pi, pi).
        step: of the differences, in radians; None chooses it.
        tolerance: of exact gradients, relative to the largest of value and slopes, and of exact probabilities. Use
            1e-3 in single precision.
        leakage: largest share of outcomes that may have another value of a conserved quantity: 0 but for noisy devices;
            1 where it is not known how much they may, and conservation is told and not checked.
        shots: of the sample that shows conservation, where the cost is sampled and lets one choose.

    Raises:
        VerificationError: if a check failed; it lists what failed and what to do.
        ValueError: for a step that shot noise drowns, or a conserved quantity that has other letters than I and Z.

    Example:
        >>> from varq.node.nodes import Nodes
        >>> cost = Nodes("default.qubit").cost(lambda x: qml.RY(x[0], 0), qml.Z(0), wires=1, shape=(1,))
        >>> print(verify(cost, (1,), 0, observable=qml.Z(0)))
        hermiticity: ok. The largest imaginary coefficient is 0.
        gradient: ok. 2 slopes agree with differences over 0.004; the largest gap is ...
    """
    root = as_key(key)
    shape = tuple(shape)
    x = root.fold("point").generator().uniform(-np.pi, np.pi, shape) if at is None else at
    x = checks.array("at", x, shape)
    limit = checks.real("tolerance", tolerance, above=0.0)
    most = max(checks.real("leakage", leakage, 0.0, 1.0), limit)
    sample = Sample(x, checks.integer("shots", shots, 1))
    quantities = {name: _quantity(name, entry) for name, entry in (conserved or {}).items()}
    pauli = None if observable is None else _pauli(observable)
    findings = [] if observable is None else [_hermiticity(observable, pauli)]
    first = cost.evaluate(ValueAndGrad(x), root.fold("gradient"))
    executions = first.executions
    if x.size:
        difference = _Difference(x, _chosen_step(first, pauli, step), root.fold("directions"))
        second = cost.evaluate(difference.request, root.fold("differences"))
        executions += second.executions
        findings.append(_gradient(first, second, difference, limit))
    if quantities:
        bits, chances, ran = _outcomes(cost, sample, first.stderr is None, root.fold("outcomes"))
        executions += ran
        for name, (quantity, expected) in quantities.items():
            findings.append(_conservation(name, quantity, expected, bits, chances, most))
            if pauli is not None:
                findings.append(_symmetry(name, quantity, pauli))
    report = Report(x, tuple(findings), executions)
    if not report.passed:
        raise VerificationError(report)
    return report


# -- the observable ------------------------------------------------------------------------------------------------


def _pauli(observable: Any) -> PauliSum | None:
    """The observable's Pauli form, where it has one."""
    if isinstance(observable, PauliSum):
        return observable
    checks.instance("observable", observable, qml.operation.Operator, "Give a PauliSum or a PennyLane operator.")
    return None if observable.pauli_rep is None else PauliSum.from_operator(observable)


def _hermiticity(observable: Any, pauli: PauliSum | None) -> Finding:
    if pauli is not None:
        values = pauli.simplify().coefficients
        gap, scale = float(np.max(np.abs(values.imag), initial=0.0)), float(np.max(np.abs(values), initial=0.0))
        said = f"The largest imaginary coefficient is {gap:.3g}"
    elif len(observable.wires) <= DENSE_WIRES and observable.has_matrix:
        matrix = np.asarray(qml.matrix(observable))
        gap, scale = float(np.max(np.abs(matrix - matrix.conj().T))), float(np.max(np.abs(matrix)))
        said = f"The matrix differs from its adjoint by {gap:.3g}"
    else:
        return Finding("hermiticity", None, f"{observable.name} has neither a Pauli form nor a small matrix.")
    if gap <= SYMMETRIC * scale:
        return Finding("hermiticity", True, f"{said}.")
    return Finding("hermiticity", False, f"{said}. Only (A + adjoint of A) / 2 would be measured: make it Hermitian.")


# -- the gradient --------------------------------------------------------------------------------------------------


def _chosen_step(first: Reply, pauli: PauliSum | None, step: float | None) -> float:
    if first.stderr is None:
        return EXACT_STEP if step is None else checks.real("step", step, above=0.0)
    if pauli is not None:
        scale = float(np.linalg.norm(pauli.coefficients[(pauli.x | pauli.z) != 0]))
    else:
        scale = float(np.max(np.abs([first.value, *np.ravel(first.grad)])))  # type: ignore[arg-type]
    scale = scale or 1.0
    if step is not None:
        return sound_step(step, first.stderr, scale)
    # Half of what is best for second order: fourth order then holds for frequencies up to four.
    return difference_step(first.stderr, scale) / 2 or EXACT_STEP


class _Difference:
    """Directions in the space of parameters, and the points that fourth-order differences along them need."""

    def __init__(self, x: Array, step: float, key: Key) -> None:
        generator = key.generator()
        entries = np.sort(generator.permutation(x.size)[:ENTRIES])
        dense = generator.choice([-1.0, 1.0], x.size) / np.sqrt(x.size)
        self.entries = entries
        self.step = step
        self.directions = np.concatenate([np.eye(x.size)[entries], dense[None]])
        self.labels = [f"entry {tuple(int(i) for i in np.unravel_index(e, x.shape))}" for e in entries]
        self.labels.append("the direction through all entries")
        moves = [m * step * d.reshape(x.shape) for d in self.directions for m in (1.0, -1.0, 2.0, -2.0)]
        self.request = Many(tuple(Value(x + move) for move in moves))

    def slopes(self, reply: Reply) -> tuple[Array, Array, Array]:
        """Slopes of fourth order, their standard errors, and how far those of second order are away."""
        values, errors = (
            np.array([part or 0.0 for part in parts], dtype=np.float64).reshape(-1, 4)
            for parts in ([p.value for p in reply.parts], [p.stderr for p in reply.parts])
        )
        near, far = values[:, 0] - values[:, 1], values[:, 2] - values[:, 3]
        fourth = (8 * near - far) / (12 * self.step)
        noise = np.sqrt(errors**2 @ np.array([64.0, 64.0, 1.0, 1.0])) / (12 * self.step)
        return fourth, noise, np.abs(fourth - near / (2 * self.step))


def _gradient(first: Reply, second: Reply, difference: _Difference, tolerance: float) -> Finding:
    grad = np.ravel(np.asarray(first.grad, dtype=np.float64))
    # Not one product with all directions: 0 times NaN would spread what is wrong with one entry.
    own = np.append(grad[difference.entries], difference.directions[-1] @ grad)
    slopes, noise, apart = difference.slopes(second)
    if first.grad_stderr is not None:
        # Errors of entries may be correlated, by gates that share a parameter: along a direction they add at worst.
        noise = np.hypot(noise, np.abs(difference.directions) @ np.ravel(first.grad_stderr))
    known = np.abs([first.value or 0.0, *grad, *slopes])
    scale = float(np.max(known[np.isfinite(known)], initial=0.0))
    gaps, allowed = np.abs(own - slopes), SIGMAS * noise + LEFT_OVER * apart + tolerance * scale
    wrong = np.flatnonzero(~(gaps <= allowed))
    if not len(wrong):
        said = (
            f"{len(gaps)} slopes agree with differences over {difference.step:.3g}; the largest gap is {gaps.max():.2g}"
        )
        return Finding(
            "gradient",
            True,
            said + (f", {SIGMAS:g} error bars are {SIGMAS * noise.max():.2g}." if noise.any() else "."),
        )
    worst = wrong[np.argsort(-np.nan_to_num(gaps[wrong] / allowed[wrong], nan=np.inf), kind="stable")]
    shown = "; ".join(
        f"{difference.labels[k]}: the gradient says {own[k]:.6g}, differences say {slopes[k]:.6g}, "
        f"allowed is {allowed[k]:.2g} apart"
        for k in worst[:SHOWN]
    )
    advice = "Use another device, or write gates whose derivative is in doubt with rotations."
    return Finding("gradient", False, f"{len(wrong)} of {len(gaps)} slopes are wrong. {shown}. {advice}")


# -- what is conserved ---------------------------------------------------------------------------------------------


def _quantity(name: str, entry: Any) -> tuple[PauliSum, float | None]:
    quantity, expected = entry if isinstance(entry, tuple) else (entry, None)
    pauli = _pauli(quantity)
    if pauli is None or not pauli.is_diagonal or not pauli.is_hermitian():
        raise ValueError(
            f"conserved[{name!r}] must be a real sum of words of I and Z, which outcomes show. "
            "Particle number and S_z are; give other quantities to `tracked` and compare them."
        )
    return pauli, None if expected is None else checks.real(f"conserved[{name!r}]", expected)


def _outcomes(cost: Any, request: Sample, exact: bool, key: Key) -> tuple[NDArray[Any], NDArray[np.float64], int]:
    """Outcomes as bits, shape (outcomes, wires), their probabilities, and how many circuits ran."""
    if not exact:
        reply = cost.evaluate(request, key)
        bits = np.asarray(reply.outcomes)
        return bits, np.full(len(bits), 1 / len(bits)), reply.executions
    chances = np.asarray(cost.probabilities(request.x), dtype=np.float64)
    seen = np.flatnonzero(chances > 0)
    places = np.arange(len(chances).bit_length() - 2, -1, -1)
    return ((seen[:, None] >> places) & 1).astype(np.uint8), chances[seen], 1


def _conservation(
    name: str,
    quantity: PauliSum,
    expected: float | None,
    bits: NDArray[Any],
    chances: NDArray[np.float64],
    most: float,
) -> Finding:
    where = (quantity.z != 0).nonzero()[0]
    group = Group("Z" * quantity.wires, quantity.z[where], np.real(quantity.coefficients[where]))
    values = np.round(group.energies(bits) + float(np.real(quantity.constant)), 9)
    mean = float(chances @ values)
    variance = float(chances @ (values - mean) ** 2)
    levels, which = np.unique(values, return_inverse=True)
    usual = float(levels[np.argmax(np.bincount(which, weights=chances))]) if expected is None else expected
    outside = float(chances[np.abs(values - usual) > 1e-8].sum())
    said = f"Mean {mean:.6g}, variance {variance:.3g}; a share of {outside:.3g} is not {usual:g}"
    if most >= 1:
        return Finding(f"conservation of {name}", None, f"{said}; how much of that is the device's noise is not known.")
    if outside <= most:
        return Finding(f"conservation of {name}", True, f"{said}.")
    advice = f"Allowed is {most:.3g}. Use a circuit that conserves it; for a noisy device, state its leakage."
    return Finding(f"conservation of {name}", False, f"{said}. {advice}")


def _symmetry(name: str, quantity: PauliSum, observable: PauliSum) -> Finding:
    wires = max(quantity.wires, observable.wires)
    left, right = (PauliSum(wires, p.x, p.z, p.coefficients) for p in (observable, quantity))
    words = (left @ right - right @ left).coefficients
    gap = float(np.max(np.abs(words), initial=0.0))
    scale = float(np.max(np.abs(left.coefficients), initial=0.0) * np.max(np.abs(right.coefficients), initial=0.0))
    said = f"The largest word of the commutator is {gap:.3g}"
    if gap <= SYMMETRIC * scale:
        return Finding(f"symmetry under {name}", True, f"{said}.")
    advice = "The observable changes this quantity: check its terms and its fermion-to-qubit map."
    return Finding(f"symmetry under {name}", False, f"{said}. {advice}")
