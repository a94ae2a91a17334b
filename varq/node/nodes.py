"""Costs: requests in, replies out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from varq import checks, spec
from varq.devices.catalog import DEFAULT, abilities, open_device, open_service
from varq.devices.service import Service, run_now
from varq.devices.several import Spread
from varq.keys import Key
from varq.node.bits import Bitwise
from varq.node.compiled import CompiledCost
from varq.node.exact import ExactCost
from varq.node.experiments import Experiments
from varq.node.rounds import Rounds
from varq.node.sampled import SampledCost
from varq.problems.pauli import PauliSum
from varq.protocol import Array, Experiment, Law, Many, Metric, Prepared, Reply, Request, Sample, Value

__all__ = ["Cost", "Nodes"]


@dataclass(frozen=True)
class Nodes:
    """Builds costs on one device.

    Args:
        device: a PennyLane device name or device object; None for varq's default.
        shots: of each circuit, on average over measurement groups; None for exact expectation values.
        precision: "double" or "single".

    Raises:
        ValueError: for an unknown device, or shots below 1.

    Example:
        >>> import numpy as np, pennylane as qml
        >>> from varq.protocol import ValueAndGrad
        >>> cost = Nodes("default.qubit").cost(lambda x: qml.RY(x[0], 0), qml.Z(0), wires=1, shape=(1,))
        >>> reply = cost.evaluate(ValueAndGrad(np.array([0.3])), Key.from_seed(0))
        >>> bool(abs(reply.value - np.cos(0.3)) < 1e-12), bool(abs(reply.grad[0] + np.sin(0.3)) < 1e-12)
        (True, True)
    """

    device: Any = None
    shots: int | None = None
    precision: str = "double"

    def __post_init__(self) -> None:
        if self.shots is not None:
            checks.integer("shots", self.shots, minimum=1, hint="Use shots=None for exact values.")
        checks.choice("precision", self.precision, ("double", "single"))

    def cost(
        self,
        circuit: Callable[[Any], Any],
        observable: Any,
        wires: int,
        shape: tuple[int, ...],
        tracked: Mapping[str, Any] | None = None,
        grouping: str = "qubit-wise",
        allocation: str = "variance",
    ) -> Cost:
        """The expectation value of `observable` in the state that `circuit` prepares, as a function of its parameters.

        Args:
            circuit: queues PennyLane operations on wires 0 .. wires-1 for parameters of `shape`.
            observable: a PennyLane operator or a `PauliSum`.
            wires: how many wires.
            shape: of the parameters.
            tracked: further observables, evaluated at each point asked for, by name.
            grouping: with shots, which Pauli words are measured together: "qubit-wise" or "commuting".
            allocation: how shots are shared out over groups: "equal", or by "variance" (that of the maximally mixed
                state).

        Raises:
            ValueError: for exact values on a spread of devices, or on a device that costs something.
        """
        device = DEFAULT if self.device is None else self.device
        opened = open_device(device, wires, self.precision)
        further = dict(tracked or {})
        if self.shots is None and isinstance(device, Spread):
            raise ValueError(
                f"A spread shares out shots, and needs some. Got shots=None on {device.name}. "
                "Give shots, such as shots=1000, or one device for exact values."
            )
        if self.shots is None and opened.abilities.paid:
            raise ValueError(
                f"A device that costs something gives samples, which a journal keeps. Got shots=None on {opened.name}. "
                "Give shots, such as shots=1000, or use varq.qubit for exact values."
            )
        if self.shots is None:
            watched = {k: _operator(o) for k, o in further.items()}
            given = (circuit, _operator(observable), wires, shape, opened, watched, self.precision)
            if opened.abilities.gradient != "jax":
                return Cost(ExactCost(*given), None, None, shape)
            name, certain = spec.identity([circuit, device])
            return Cost(CompiledCost(*given, shared=name if certain else None), None, None, shape)
        # A session opens by itself, once, what takes its jobs: to open an account's machine twice doubles its calls.
        reach = cache(partial(open_service, device, self.precision))
        sums = {k: _pauli(o, wires) for k, o in further.items()}
        pauli = _pauli(observable, wires)
        ways = {"grouping": grouping, "allocation": allocation}
        sampled = SampledCost(circuit, pauli, shape, opened, self.shots, sums, self.precision, **ways)
        return Cost(None, sampled, reach, shape)

    def experiments(self, problem: Any) -> Experiments:
        """Phase estimation on this device: one control qubit, and a unitary's powers on a fresh state each time.

        Args:
            problem: an `EigenPhase`, or what has its `state` and `power(exponent)`.
        """
        device = DEFAULT if self.device is None else self.device
        opened = open_device(device, len(problem.state).bit_length(), self.precision)
        reach = cache(partial(open_service, device, self.precision))
        return Experiments(problem, opened, reach, self.precision)

    def bits(self, circuit: Callable[[Array], Any], wires: int, asked: tuple[int, ...] = ()) -> Bitwise:
        """What answers samples of a circuit's bits.

        Args:
            circuit: queues PennyLane operations on wires 0 .. wires-1 for parameters; returns None, or a list of
                measured values that are asked for, where it measures in its middle.
            wires: how many wires.
            asked: the wires whose bits are asked for, where it measures at its end.

        Example:
            >>> import numpy as np, pennylane as qml
            >>> bell = Nodes().bits(lambda x: (qml.Hadamard(0), qml.CNOT([0, 1])), wires=2, asked=(0, 1))
            >>> [round(float(p), 9) for p in bell.probabilities(np.zeros(0))]
            [0.5, 0.0, 0.0, 0.5]
        """
        device = DEFAULT if self.device is None else self.device
        opened = open_device(device, wires, self.precision)
        return Bitwise(circuit, wires, asked, opened, cache(partial(open_service, device, self.precision)))

    def rounds(
        self,
        first: Callable[[Array], None],
        each: Callable[[Array, int, tuple[int, ...]], None],
        count: int,
        wires: int,
    ) -> Rounds:
        """What answers samples of a circuit of rounds that each measure and reset wire 0, as `Rounds` says.

        Raises:
            ValueError: for a device that gives no states.

        Example:
            >>> import numpy as np, pennylane as qml
            >>> def same(x, number, bits):
            ...     qml.X(0) if sum(bits) == 0 else qml.I(0)
            >>> found = Nodes("default.qubit").rounds(lambda x: None, same, count=3, wires=1)
            >>> found.evaluate(Sample(np.zeros(0), 2), Key.from_seed(0)).outcomes.tolist()
            [[1, 0, 0], [1, 0, 0]]
        """
        device = DEFAULT if self.device is None else self.device
        opened = open_device(device, wires, self.precision)
        each_of = [abilities(one) for one in (device.devices if isinstance(device, Spread) else (device,))]
        if not all(able.analytic and not able.noise for able in each_of):
            raise ValueError(
                f"Rounds that go on by what was measured need a simulator of pure states. Got {opened.name}. "
                "Use varq.qubit, lightning.qubit or default.qubit, or control='qft'."
            )
        return Rounds(first, each, count, wires, opened, cache(partial(open_service, device, self.precision)))


def _operator(observable: Any) -> Any:
    return observable.operator() if isinstance(observable, PauliSum) else observable


def _pauli(observable: Any, wires: int) -> PauliSum:
    return observable if isinstance(observable, PauliSum) else PauliSum.from_operator(observable, wires)


@dataclass(frozen=True, eq=False)
class Cost:
    """Answers requests about one circuit and one observable; NumPy float64 in, NumPy float64 out.

    Args:
        exact: computes expectation values; None with shots.
        sampled: makes circuits of requests, and replies of their bits; None without shots.
        reach: opens, once, the device that runs the circuits where no session does.
        shape: of the parameters.
    """

    exact: CompiledCost | ExactCost | None
    sampled: SampledCost | None
    reach: Callable[[], Service] | None
    shape: tuple[int, ...]

    @property
    def prepare(self) -> Callable[[Request, Key, float], Prepared] | None:
        """What makes circuits of requests; None for exact values, which need none."""
        return None if self.sampled is None else self.sampled.prepare

    def evaluate(self, request: Request, key: Key) -> Reply:
        """The reply to a request.

        Args:
            request: what to evaluate.
            key: the request's device key; each part of a `Many` uses a child of it.

        Raises:
            ValueError: if the parameters have another shape or are not finite.
            TypeError: for a request that a cost cannot answer.
        """
        if self.sampled is not None and self.reach is not None:
            prepared = self.sampled.prepare(request, key)
            return prepared.decode(run_now(self.reach(), prepared.circuits))
        if isinstance(request, Many):
            parts = tuple(self._single(part) for part in request.parts)
            return Reply(parts=parts, executions=sum(p.executions for p in parts))
        return self._single(request)

    def _single(self, request: Request) -> Reply:
        assert self.exact is not None
        if isinstance(request, (Experiment, Many)):
            raise TypeError(
                f"A variational cost answers values, gradients, metrics, samples and laws. Got {request!r}."
            )
        x = checks.array("parameters", request.x, self.shape)
        if isinstance(request, Metric):
            return Reply(metric=self.exact.metric(x), executions=1)
        if isinstance(request, Law):
            return Reply(law=self.exact.probabilities(x), executions=1)
        if isinstance(request, Sample):
            raise ValueError("Samples need a number of shots. Got shots=None. Give shots, such as shots=1000.")
        reply = self._value(x) if isinstance(request, Value) else self._gradient(x)
        tracked, circuits = self.exact.tracked(x)
        return replace(reply, tracked=tracked, executions=reply.executions + circuits)

    def _value(self, x: Array) -> Reply:
        assert self.exact is not None
        value, circuits = self.exact.value(x)
        return Reply(value=value, executions=circuits)

    def _gradient(self, x: Array) -> Reply:
        assert self.exact is not None
        value, grad, circuits = self.exact.value_and_grad(x)
        return Reply(value=value, grad=grad, executions=circuits)

    def state(self, x: Array) -> NDArray[np.complex128]:
        """The state vector, shape (2**wires,), of a device that JAX compiles."""
        if not isinstance(self.exact, CompiledCost):
            raise ValueError("A state vector needs shots=None and the device varq.qubit.")
        return self.exact.state(checks.array("parameters", x, self.shape))

    def probabilities(self, x: Array) -> NDArray[np.float64]:
        """The exact probability of each basis state, shape (2**wires,)."""
        if self.exact is None:
            raise ValueError("Exact probabilities need shots=None. With shots, ask for a Sample.")
        return self.exact.probabilities(checks.array("parameters", x, self.shape))
