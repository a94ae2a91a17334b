"""Gate angles and conditions as any function of measured outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import autoray  # type: ignore[import-untyped]
import jax
import jax.numpy as jnp
import numpy as np
from pennylane.ops import MeasurementValue

__all__ = ["Outcome", "from_host", "nodes", "outcome", "value_at"]

_WAY_OUT = (
    "A value computed from measured outcomes is known only while the circuit runs. Run the circuit on the device "
    "'varq.qubit' with its own treatment of measurements (leave out mcm_method and qml.defer_measurements), and draw "
    "it by qml.draw(..., decimals=None)."
)


class Outcome(MeasurementValue):  # type: ignore[misc]  # PennyLane is untyped
    """What `outcome` gives: a `MeasurementValue` that knows its function and the values that this is applied to."""

    ndim = 0
    shape: tuple[int, ...] = ()
    live = False
    """Whether the function has to be called while the circuit runs, and not beforehand for a table of its values."""

    def __init__(self, fn: Callable[..., Any], args: Sequence[Any]) -> None:
        self.fn = fn
        self.args = tuple(args)
        self._mapped: dict[frozenset[tuple[Any, Any]], Outcome] = {}
        found: dict[Any, Any] = {}
        for arg in self.args:
            if isinstance(arg, MeasurementValue):
                found.update((m.meas_uid, m) for m in arg.measurements)
        super().__init__(list(found.values()), self._from_bits)

    def __deepcopy__(self, memo: dict[int, Any]) -> Outcome:
        """Itself: PennyLane copies conditions when it binds numbers, and a copy would be computed once more."""
        return self

    def _from_bits(self, *bits: Any) -> Any:
        """The value for outcomes in the order of `measurements`; arrays of outcomes give an array of values."""
        keys = [m.meas_uid for m in self.measurements]
        if all(np.ndim(b) == 0 for b in bits):
            return value_at(self, dict(zip(keys, bits, strict=True)))
        shape = np.broadcast_shapes(*(np.shape(b) for b in bits))
        flat = [jnp.ravel(jnp.broadcast_to(jnp.asarray(b), shape)) for b in bits]
        values = jax.vmap(lambda *b: value_at(self, dict(zip(keys, b, strict=True))))(*flat)
        return jnp.reshape(values, shape + values.shape[1:])

    def map_wires(self, wire_map: Mapping[Any, Any]) -> Outcome:
        """The same function of the same measurements on other wires.

        What several operations of a tape share, they share on the other wires too, so that it is computed once.
        """
        key = frozenset(wire_map.items())
        for node in nodes(self):
            if key not in node._mapped:
                args = (
                    a._mapped[key] if isinstance(a, Outcome) else a.map_wires(wire_map) if _measured(a) else a
                    for a in node.args
                )
                node._mapped[key] = Outcome(node.fn, tuple(args))
                node._mapped[key].live = node.live
        return self._mapped[key]

    def _apply(self, fn: Callable[[Any], Any]) -> Outcome:
        return Outcome(fn, (self,))

    def _transform_bin_op(self, base_bin: Callable[[Any, Any], Any], other: Any) -> Outcome:
        return Outcome(base_bin, (self, other))

    def __radd__(self, other: Any) -> Outcome:
        return Outcome(lambda a, b: b + a, (self, other))

    def __rsub__(self, other: Any) -> Outcome:
        return Outcome(lambda a, b: b - a, (self, other))

    def __rmul__(self, other: Any) -> Outcome:
        return Outcome(lambda a, b: b * a, (self, other))

    def __rtruediv__(self, other: Any) -> Outcome:
        return Outcome(lambda a, b: b / a, (self, other))

    def __neg__(self) -> Outcome:
        return Outcome(lambda a: -a, (self,))

    def __abs__(self) -> Outcome:
        return Outcome(abs, (self,))

    def __pow__(self, other: Any) -> Outcome:
        return Outcome(lambda a, b: a**b, (self, other))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Outcome:
        if method != "__call__" or options or not hasattr(jnp, ufunc.__name__):
            raise TypeError(f"numpy.{ufunc.__name__} cannot be applied to a measured value so. {_WAY_OUT}")
        return Outcome(getattr(jnp, ufunc.__name__), inputs)

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise TypeError(f"A measured value cannot become an array. {_WAY_OUT}")

    def __float__(self) -> float:
        raise TypeError(f"A measured value cannot become a number. {_WAY_OUT}")


# PennyLane takes such an angle for a plain number when it looks for the interface of a tape.
autoray.register_backend(Outcome, "numpy")


def outcome(fn: Callable[..., Any], *args: Any) -> Outcome:
    """A function of measured outcomes, to be used as gate angle, as condition or in statistics.

    Works wherever a `MeasurementValue` does on the device `varq.qubit`: `qml.RX(outcome(f, m), 0)`,
    `qml.cond(outcome(f, m0, m1), qml.X)(0)`, `qml.expval(outcome(f, m0, m1))`.

    PennyLane's own arithmetic (`m * x`) gives the same results.  But PennyLane takes what it makes for a number of
    autograd and warns of "tensors of types {'jax', 'autograd'}" where JAX parameters stand beside it; it does not warn
    of what this function makes.  On other devices, in transforms that compute with angles, and in `qml.draw` both are
    errors as gate angles, never another number.  Of this function it is one that names the way out.  Of PennyLane's
    arithmetic it is one from inside PennyLane, which varq has no part in: "loop of ufunc does not support argument 0 of
    type MeasurementValue" on default.qubit without shots, "'MeasurementValue' object has no attribute 'numpy'" with
    shots, on lightning.qubit and in drawings.  In both cases the way out is the same: `qml.draw(..., decimals=None)`,
    the device `varq.qubit`, and no `qml.defer_measurements` or `mcm_method="deferred"`.  On a device that has to be
    another one, `qml.cond(m, qml.RX)(0.4, wires=0)` is what `qml.RX(0.4 * m, wires=0)` is, and for several outcomes
    one `qml.cond` for each of their values.

    A `qml.cond` within a `qml.cond` holds where both do.  PennyLane's deferred measurements, which `default.qubit` uses
    without shots, keep the outer condition alone there and give another number in silence: join such conditions in one.

    Args:
        fn: any function that JAX can trace.  It gets the outcomes as integers 0 or 1, and may use traced parameters of
            the circuit from outside: derivatives go through them.
        args: what it is called with: measured values, other values from `outcome` (also such that are arrays, to
            carry a running estimate from round to round), and plain numbers or arrays.

    Returns:
        The value-to-be.  For a gate angle or a condition, fn must give a scalar.

    Raises:
        TypeError: if fn cannot be called.
        ValueError: if none of args is a measured value.

    Example:
        >>> import pennylane as qml
        >>> import jax.numpy as jnp
        >>> with qml.tape.QuantumTape() as tape:
        ...     m0, m1 = qml.measure(0), qml.measure(1)
        ...     angle = outcome(lambda a, b: jnp.pi / 2 ** (a + 2 * b), m0, m1)
        ...     gate = qml.RX(angle, wires=0)
        >>> print(round(float(angle.processing_fn(1, 1)), 4))
        0.3927
    """
    if not callable(fn):
        raise TypeError(f"`fn` must be a function of outcomes. Got {fn!r}. Write outcome(fn, m0, m1, ...).")
    if not any(_measured(a) for a in args):
        raise ValueError(
            f"`outcome` needs at least one measured value besides the function. Got {args!r}. "
            "Pass what qml.measure returned."
        )
    return Outcome(fn, args)


def from_host(fn: Callable[[Any], Any], *bits: MeasurementValue, answers: int = 1) -> list[Outcome]:
    """What a Python function says of measured outcomes while the circuit runs, such as a decoder of errors.

    The function is called once for each chunk of shots, in the process that runs the circuit.  It must not call JAX,
    and must answer equal outcomes equally: how often and when it is called is not promised.

    Args:
        fn: gets outcomes 0 or 1, int8, shape (shots, bits), and gives integers of shape (shots, answers).  Pass the
            same function in each call of a circuit: another one is compiled anew.
        bits: measured values.
        answers: how many.

    Returns:
        The answers, each a value for gates, conditions and statistics.  Derivatives do not go through them.

    Raises:
        TypeError: if fn cannot be called.
        ValueError: for no measured value, or fewer than one answer.

    Example:
        >>> import numpy as np
        >>> import pennylane as qml
        >>> @qml.qnode(qml.device("varq.qubit", wires=4))
        ... def circuit():
        ...     qml.X(1)
        ...     bits = [qml.measure(w) for w in range(3)]
        ...     (most,) = from_host(lambda found: (found.sum(axis=1, keepdims=True) >= 2), *bits)
        ...     qml.cond(most == 0, qml.X)(3)
        ...     return qml.expval(qml.Z(3))
        >>> print(circuit())
        -1.0
    """
    if answers < 1:
        raise ValueError(f"`from_host` gives at least one answer. Got answers={answers}.")
    if not callable(fn):
        raise TypeError(f"`fn` must be a function of outcomes. Got {fn!r}. Write from_host(fn, m0, m1, ...).")
    told = _host(fn, answers)
    make: Any = jax.ShapeDtypeStruct  # untyped in JAX
    shape = make((answers,), np.int32)

    def together(*values: Any) -> Any:
        stacked = jnp.stack([jnp.asarray(v, np.int8) for v in values])
        return jax.pure_callback(told, shape, stacked, vmap_method="expand_dims")

    whole = outcome(together, *bits)
    whole.live = True
    return [outcome(lambda found, k=k: found[k], whole) for k in range(answers)]


@lru_cache(maxsize=64)
def _host(fn: Callable[[Any], Any], answers: int) -> Callable[[Any], Any]:
    """A plain function that calls `fn`: programs are told apart by what it prints as, which is its address."""

    def call(found: Any) -> Any:
        given = np.asarray(found)
        rows = np.asarray(fn(given.reshape(-1, given.shape[-1])), dtype=np.int32)
        return rows.reshape(*given.shape[:-1], answers)

    return call


def _measured(value: Any) -> bool:
    return isinstance(value, MeasurementValue)


def nodes(value: Outcome) -> Iterator[Outcome]:
    """Every `Outcome` that `value` is computed from, each once, after those that it needs; `value` comes last."""
    done: set[int] = set()
    stack: list[tuple[Outcome, bool]] = [(value, False)]
    while stack:
        node, ready = stack.pop()
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            yield node
            continue
        stack.append((node, True))
        stack.extend((a, False) for a in node.args if isinstance(a, Outcome))


def value_at(value: Outcome, bits: Mapping[Any, Any]) -> Any:
    """The value for scalar outcomes by measurement id."""
    known: dict[int, Any] = {}

    def of(arg: Any) -> Any:
        if isinstance(arg, Outcome):
            return known[id(arg)]
        if _measured(arg):
            return arg.processing_fn(*(bits[m.meas_uid] for m in arg.measurements))
        return arg

    for node in nodes(value):
        known[id(node)] = node.fn(*(of(a) for a in node.args))
    return known[id(value)]
