"""One parameter at a time, each put at its exact global minimum: Rotosolve and ExcitationSolve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from varq import checks
from varq.keys import Key
from varq.optimizers.trigonometry import Grid, base_frequency, grid, minimum
from varq.optimizers.vectors import vector
from varq.protocol import Array, Finished, Many, Reason, Reply, Request, Stop, Value

__all__ = ["ExcitationSolve", "Rotosolve"]

ORDERS = ("forward", "backward", "random")
MISMATCH = 1e-4  # an exact value further from its prediction than this part of the amplitude: the frequencies are wrong
SWEEPS = 50  # where parameters are strongly coupled, sweeps creep: further ones cost much and gain little

Frequencies = tuple[float, ...] | tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Rotosolve:
    """Each parameter in turn is put at the exact minimum of the cost along it.

    Along one parameter of R frequencies the cost is a trigonometric polynomial with 2R + 1 coefficients: the value
    carried over from the parameter before and 2R new ones give them, and the roots of the derivative give the global
    minimum.  One step is one parameter, its values travel together; no gradient is needed.

    Args:
        frequencies: of the cost in each parameter (radians^-1), the same for all, or one tuple for each parameter in
            flattened order.  A rotation exp(-i t P / 2) about a Pauli word has (1.0,); a parameter that stands in
            several gates has all sums and differences of theirs.
        sweeps: most sweeps over all parameters; a run that has done them without converging ends with STEPS.
        order: of the parameters in a sweep: "forward", "backward", or "random", anew for each.
        refresh: parameters between two fresh evaluations of the carried value, which stop rounding or shots from
            piling up in it; None for one a sweep.  Under shots 1 is best, for one more value a step.
        tolerance: a sweep that improves the cost by less (or by less than one standard error, under shots) is the
            last, in the cost's unit.

    Raises:
        ValueError: if frequencies are not positive, or no whole multiples of a common one.

    References:
        K. M. Nakanishi, K. Fujii, S. Todo, Phys. Rev. Research 2, 043158 (2020); M. Ostaszewski, E. Grant,
        M. Benedetti, Quantum 5, 391 (2021).

    Example:
        >>> method = Rotosolve().method()
        >>> state = method.init(np.zeros(1), Key.from_seed(0))
        >>> values = tuple(Reply(value=float(np.cos(point.x[0]))) for point in method.ask(state).parts)
        >>> state, info = method.tell(state, Reply(parts=values))
        >>> round(info["value"], 12), np.round(abs(info["x"]), 12)
        (-1.0, array([3.14159265]))
    """

    frequencies: Frequencies = (1.0,)
    sweeps: int = SWEEPS
    order: str = "forward"
    refresh: int | None = None
    tolerance: float = 1e-8
    kind: ClassVar[str] = "optimizer:rotosolve"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "frequencies", _frequencies(self.frequencies))
        object.__setattr__(self, "sweeps", checks.integer("sweeps", self.sweeps, minimum=1))
        checks.choice("order", self.order, ORDERS)
        if self.refresh is not None:
            object.__setattr__(self, "refresh", checks.integer("refresh", self.refresh, minimum=1))
        object.__setattr__(self, "tolerance", checks.real("tolerance", self.tolerance, minimum=0.0))

    @property
    def stop(self) -> Stop:
        """The method's own convergence and its number of sweeps, and nothing else."""
        return Stop()

    def method(self) -> CoordinateMethod:
        """The method, ready to be asked."""
        return CoordinateMethod(self)


@dataclass(frozen=True)
class ExcitationSolve(Rotosolve):
    """`Rotosolve` for excitations: gates exp(-i t G) whose generator obeys G^3 = G, up to a factor.

    The cost along the angle of a fermionic, qubit or Givens excitation has two frequencies, so four new values find
    its exact minimum.  The defaults are those of PennyLane's `SingleExcitation`, `DoubleExcitation` and
    `FermionicDoubleExcitation`, which rotate by half their angle.

    Args:
        frequencies: as for `Rotosolve`.
        sweeps: as for `Rotosolve`.
        order: as for `Rotosolve`.
        refresh: as for `Rotosolve`.
        tolerance: as for `Rotosolve`.

    References:
        J. Jaeger, T. N. Kaldenbach, M. Haas, E. Schultheis, Commun. Phys. 8 (2025), s42005-025-02375-9.

    Example:
        >>> method = ExcitationSolve(sweeps=1).method()
        >>> len(method.ask(method.init(np.zeros(3), Key.from_seed(0))).parts)
        5
    """

    frequencies: Frequencies = (0.5, 1.0)
    kind: ClassVar[str] = "optimizer:excitation-solve"


def _frequencies(value: Any) -> Frequencies:
    rows = checks.instance("frequencies", value, (tuple, list, np.ndarray), "Give a tuple such as (0.5, 1.0).")
    if len(rows) == 0:
        raise ValueError("frequencies must not be empty. Give a tuple such as (0.5, 1.0).")
    if all(isinstance(row, (tuple, list, np.ndarray)) for row in rows):
        return tuple(_ascending(f"frequencies[{i}]", row) for i, row in enumerate(rows))
    return _ascending("frequencies", rows)


def _ascending(name: str, row: Any) -> tuple[float, ...]:
    out = tuple(sorted({checks.real(f"{name}[{i}]", f, above=0.0) for i, f in enumerate(row)}))
    if not out:
        raise ValueError(f"{name} must not be empty. Give a tuple such as (0.5, 1.0).")
    base_frequency(out)
    return out


@dataclass(frozen=True)
class _State:
    """Where the run is.

    Args:
        x: the current point.
        key: of the run.
        done: parameters visited so far, over all sweeps.
        value: the carried value at `x` and its standard error; None until it is evaluated.
        fresh: parameters visited since the carried value was evaluated.
        begin: value and standard error at the beginning of this sweep.
        amplitude: the largest swing of the cost along a parameter since the carried value was evaluated.
        exact: whether no reply had a standard error.
        end: why the run is over.
    """

    x: Array
    key: Key
    done: int = 0
    value: tuple[float, float] | None = None
    fresh: int = 0
    begin: tuple[float, float] | None = None
    amplitude: float = 0.0
    exact: bool = True
    end: Finished | None = None


@dataclass(frozen=True)
class CoordinateMethod:
    """A `Rotosolve` or `ExcitationSolve` spec at work."""

    spec: Rotosolve

    def init(self, start: Array, key: Key) -> _State:
        """The first state, at `start`.

        Raises:
            ValueError: if `frequencies` has a tuple for each parameter, but not as many as there are.
        """
        x = vector(start)
        rows = self.spec.frequencies
        if isinstance(rows[0], tuple) and len(rows) != x.size:
            raise ValueError(f"frequencies must hold one tuple for each of the {x.size} parameters. Got {len(rows)}.")
        return _State(x, key)

    def ask(self, state: _State) -> Request | Finished:
        """The values along the next parameter, and the value here where it is due."""
        if state.end is not None:
            return state.end
        points = [state.x] if self._due(state) else []
        if state.x.size:
            index, along = self._next(state)
            points += [_shifted(state.x, index, shift) for shift in along.shifts[1:]]
        return Many(tuple(Value(vector(point)) for point in points))

    def tell(self, state: _State, reply: Reply) -> tuple[_State, Mapping[str, Any]]:
        """Put the parameter at its minimum."""
        parts = list(reply.parts)
        drift = 0.0
        if self._due(state):
            here = _measured(parts.pop(0))
            drift = here[0] - state.value[0] if state.value is not None else 0.0
            state = replace(state, value=here, fresh=0, begin=here if state.begin is None else state.begin)
        if not state.x.size:
            return self._empty(state)
        state = replace(state, exact=state.exact and all(part.stderr is None for part in parts))
        if state.exact and abs(drift) > MISMATCH * state.amplitude + np.finfo(np.float32).eps * abs(_of(state)[0]):
            return self._mismatch(state, drift)
        index, along = self._next(state)
        moved, info = self._solve(state, index, along, parts)
        return self._closed(moved), {**info, "drift": drift, "parameter": index}

    def _solve(self, state: _State, index: int, along: Grid, parts: list[Reply]) -> tuple[_State, dict[str, Any]]:
        measured = np.array([_of(state), *map(_measured, parts)])
        coefficients = along.inverse @ measured[:, 0]
        shift, value = minimum(vector(coefficients), along)
        weights = along.row(shift) @ along.inverse
        stderr = float(np.sqrt(np.sum((weights * measured[:, 1]) ** 2)))
        amplitude = float(np.sum(np.hypot(coefficients[1::2], coefficients[2::2])))
        x = _shifted(state.x, index, shift)
        moved = replace(
            state,
            x=x,
            value=(value, stderr),
            done=state.done + 1,
            fresh=state.fresh + 1,
            amplitude=max(amplitude, state.amplitude if state.fresh else 0.0),
        )
        info = {"value": value, "improvement": float(measured[0, 0]) - value, "shift": shift, "x": vector(x)}
        return moved, info if state.exact else {**info, "stderr": stderr}

    def _closed(self, state: _State) -> _State:
        """End a sweep that has visited every parameter: over, or begin the next one."""
        sweeps, rest = divmod(state.done, state.x.size)
        if rest:
            return state
        (before, before_error), (now, now_error) = state.begin or _of(state), _of(state)
        if before - now < max(self.spec.tolerance, float(np.hypot(before_error, now_error))):
            message = f"sweep {sweeps} improved the cost by {before - now:.3g}, less than its tolerance or error"
            return replace(state, end=Finished(Reason.CONVERGED, message))
        if sweeps == self.spec.sweeps:
            message = (
                f"sweep {sweeps}, the last one allowed, still improved the cost by {before - now:.3g}. "
                "Allow more sweeps, raise tolerance, or use a method that moves all parameters at once"
            )
            return replace(state, end=Finished(Reason.STEPS, message))
        return replace(state, begin=None if self._due(state) else state.value)

    def _mismatch(self, state: _State, drift: float) -> tuple[_State, dict[str, Any]]:
        message = (
            f"the cost is not what its values along each parameter foretold, by {drift:.3g}: frequencies "
            f"{self.spec.frequencies} are not those of this circuit. Give the right ones, or use another optimizer."
        )
        info = {"value": _of(state)[0], "drift": drift}
        return replace(state, end=Finished(Reason.STALLED, message)), info

    def _empty(self, state: _State) -> tuple[_State, dict[str, Any]]:
        return replace(state, end=Finished(Reason.CONVERGED, "there are no parameters")), {"value": _of(state)[0]}

    def _due(self, state: _State) -> bool:
        return state.value is None or state.fresh >= (self.spec.refresh or state.x.size)

    def _next(self, state: _State) -> tuple[int, Grid]:
        """The parameter whose turn it is, and where its values are wanted."""
        size = state.x.size
        sweep, place = divmod(state.done, size)
        if self.spec.order == "random":
            index = int(state.key.fold("order", sweep).generator().permutation(size)[place])
        else:
            index = place if self.spec.order == "forward" else size - 1 - place
        rows: Any = self.spec.frequencies
        return index, grid(rows[index] if isinstance(rows[0], tuple) else rows)


def _shifted(x: Array, index: int, shift: float) -> Array:
    out = vector(x)
    out.flat[index] += shift
    return out


def _measured(reply: Reply) -> tuple[float, float]:
    return float(reply.value), float(reply.stderr or 0.0)  # type: ignore[arg-type]


def _of(state: _State) -> tuple[float, float]:
    """The carried value; there is one from the first reply on."""
    return state.value or (float("nan"), 0.0)
