"""A cost on a device that JAX traces: value and gradient compiled as one function of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.devices import ExecutionConfig
from pennylane.pauli import PauliWord
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from varq.devices.catalog import OpenDevice
from varq.node.traced import checked, traceable, unwrapped
from varq.precision import double
from varq.protocol import Array
from varq.simulator.kept import Kept
from varq.simulator.observables import WordSum, word_sum
from varq.simulator.programs import noted

__all__ = ["CompiledCost", "measured", "weighed"]


@dataclass(frozen=True)
class _Sum:
    """An observable whose coefficients enter at run time."""

    words: tuple[PauliWord, ...]
    wires: Wires

    def __call__(self, coefficients: Any) -> WordSum:
        return WordSum(coefficients, self.words, self.wires)


def _parts(observable: Any) -> tuple[Callable[[Any], Any], NDArray[np.float64]]:
    """What makes an observable of its coefficients, and these; one that is no real Pauli sum has none."""
    found = word_sum(observable)
    if found is None:
        return lambda _: observable, np.zeros(0)
    return _Sum(found.words, found.wires), np.asarray(found.data[0], np.float64)


def measured(circuit: Callable[[Any], Any], device: Any, measurement: Any, x: Any) -> Any:
    """One measurement's result at the end of a circuit, by the stages of a PennyLane device that JAX traces.

    Args:
        circuit: queues operations for parameters.
        device: a PennyLane device.
        measurement: a PennyLane measurement; its observable may be a `WordSum`.
        x: the parameters, traced.

    Raises:
        ValueError: for unknown wires, arrays in place of numbers, or measurements in the middle.
    """
    script = checked(qml.tape.make_qscript(circuit)(x), device.wires)
    full = QuantumScript(script.operations, [measurement])
    full.trainable_params = []  # JAX differentiates through all of it
    wanted = ExecutionConfig(gradient_method="best", interface="jax-jit")
    config = device.setup_execution_config(wanted, full)
    tapes, join = device.preprocess_transforms(config)([full])
    return unwrapped(join(device.execute(tuple(tapes), config)))


def weighed(circuit: Callable[[Any], Any], device: Any, measurement: Any, x: Any) -> tuple[Any, int]:
    """`measured`, and the bytes of the simulator's tables that a function compiled of it holds."""
    with noted() as used:
        found = measured(circuit, device, measurement, x)
    return found, sum(program.held_bytes for program in used)


class CompiledCost:
    """Expectation values without shot noise on a device whose results JAX differentiates.

    Costs of one circuit that differ in the coefficients of their observables alone, as those of a molecule at several
    geometries do, share what is traced and compiled.

    The arguments are those of `ExactCost`, and:

    Args:
        shared: names the circuit and the device; None for what cannot be told from others.
    """

    def __init__(
        self,
        circuit: Callable[[Any], Any],
        observable: Any,
        wires: int,
        shape: tuple[int, ...],
        opened: OpenDevice,
        tracked: Mapping[str, Any],
        precision: str = "double",
        shared: str | None = None,
    ) -> None:
        self._names = tuple(tracked)
        makers, numbers = zip(*map(_parts, (observable, *tracked.values())), strict=True)

        def make() -> _Functions:
            return _Functions(circuit, makers, wires, shape, opened.device, precision == "double")

        whole = shared is not None and all(isinstance(maker, _Sum) for maker in makers)
        self._run = _functions.get((shared, makers, wires, shape, precision), make) if whole else make()
        self._double = self._run.double
        with self._double():
            self._coefficients, *self._further = [jnp.asarray(c) for c in numbers]

    def value(self, x: Array) -> tuple[float, int]:
        """The cost, and how many circuits ran."""
        with self._double():
            return float(self._run.value(x, self._coefficients)), 1

    def value_and_grad(self, x: Array) -> tuple[float, Array, int]:
        """The cost, its gradient (the shape of x), and how many circuits ran."""
        with self._double():
            value, grad = self._run.both(x, self._coefficients)
            return float(value), np.asarray(grad, dtype=np.float64), 1

    def tracked(self, x: Array) -> tuple[dict[str, float], int]:
        """The further expectation values by name, and how many circuits ran."""
        if not self._names:
            return {}, 0
        with self._double():
            values = [float(v) for v in self._run.further(x, self._further)]
        return dict(zip(self._names, values, strict=True)), len(values)

    def metric(self, x: Array) -> NDArray[np.float64]:
        """The Fubini-Study metric with respect to the parameters, shape (n, n)."""
        with self._double():
            return np.asarray(self._run.metric(x), dtype=np.float64)

    def state(self, x: Array) -> NDArray[np.complex128]:
        """The state vector, shape (2**wires,), wire 0 first."""
        with self._double():
            return np.asarray(self._run.state(x), dtype=np.complex128).ravel()

    def probabilities(self, x: Array) -> NDArray[np.float64]:
        """The probability of each basis state, shape (2**wires,), wire 0 first."""
        with self._double():
            return np.asarray(self._run.probabilities(x), dtype=np.float64).ravel()


class _Functions:
    """Compiled functions of a circuit's parameters and of the coefficients of what is measured.

    Args:
        circuit: queues operations for parameters of `shape`.
        observables: make each observable of its coefficients: the cost's, then those of tracked quantities.
        wires: how many wires.
        shape: of the parameters.
        device: a PennyLane device that JAX traces.
        is_double: whether to compute in double precision.
    """

    def __init__(
        self,
        circuit: Callable[[Any], Any],
        observables: Sequence[Callable[[Any], Any]],
        wires: int,
        shape: tuple[int, ...],
        device: Any,
        is_double: bool,
    ) -> None:
        self._circuit = circuit
        self._shape = shape
        self._device = device
        self.double = partial(double, is_double)
        self.held_bytes = 0  # of tables of the simulator that the compiled functions hold
        first, *others = observables

        def cost(x: Any, coefficients: Any) -> Any:
            return self._measured(qml.expval(first(coefficients)), x)

        def further(x: Any, coefficients: Any) -> list[Any]:
            return [self._measured(qml.expval(o(c)), x) for o, c in zip(others, coefficients, strict=True)]

        self.value = jax.jit(cost)
        self.both = jax.jit(jax.value_and_grad(cost))
        self.further = jax.jit(further)
        self.metric = jax.jit(self._fubini_study)
        self.probabilities = jax.jit(partial(self._measured, qml.probs(wires=range(wires))))
        self.state = jax.jit(partial(self._measured, qml.state()))
        size = len(first.words) if isinstance(first, _Sum) else 0
        with traceable(), self.double():
            jax.eval_shape(self.value, np.zeros(shape), np.zeros(size))

    def _measured(self, measurement: Any, x: Any) -> Any:
        found, held = weighed(self._circuit, self._device, measurement, x)
        self.held_bytes = max(self.held_bytes, held)
        return found

    def _fubini_study(self, x: Any) -> Any:
        """Re(<d psi|d psi> - <d psi|psi><psi|d psi>), https://arxiv.org/abs/1909.02108, equation 3."""

        def state(flat: Any) -> Any:
            return self._measured(qml.state(), flat.reshape(self._shape))

        flat = jnp.ravel(x)
        psi, moved = state(flat), jax.jacfwd(state)(flat)
        along = psi.conj() @ moved
        return jnp.real(moved.conj().T @ moved - jnp.outer(along.conj(), along))


_functions: Kept[_Functions] = Kept(weigh=lambda functions: functions.held_bytes, most_entries=32)
