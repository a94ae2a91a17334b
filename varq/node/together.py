"""Costs of one shape, evaluated together: one compiled function for several Hamiltonians and parameters at once.

Each cost has a seat, and the function always computes all seats, whoever asks: what a cost gets depends on the costs
that have a seat, and not on who of them asks.  So all of a batch are given theirs, those that are done among them: the
function has the words of all Hamiltonians, and with other words it may differ in the last bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq import checks, spec
from varq.devices.catalog import DEFAULT, open_device
from varq.node.compiled import measured, weighed
from varq.node.nodes import Cost, Nodes
from varq.node.traced import traceable
from varq.precision import double
from varq.problems.pauli import PauliSum
from varq.protocol import Array, Law, Many, Reply, Request, Value, ValueAndGrad
from varq.simulator.kept import Kept
from varq.simulator.observables import WordSum

__all__ = ["Together"]

_Word = tuple[int, int]  # x and z mask


class Together:
    """The costs of several runs on `varq.qubit` without shots.

    Args:
        seats: how many.
        precision: "double" or "single".

    Example:
        >>> import numpy as np, pennylane as qml
        >>> from varq.ansatze import HardwareEfficient
        >>> costs = Together(2)
        >>> ansatz = HardwareEfficient(wires=1, depth=1)
        >>> for seat, scale in enumerate((1.0, 2.0)):
        ...     cost = costs.seat(seat).cost(ansatz, scale * qml.Z(0), 1, ansatz.shape)
        >>> x = np.zeros(ansatz.shape)
        >>> [round(reply.value, 9) for reply in costs.evaluate({0: ValueAndGrad(x), 1: ValueAndGrad(x)}).values()]
        [1.0, 2.0]
    """

    def __init__(self, seats: int, precision: str = "double") -> None:
        self.seats = checks.integer("seats", seats, minimum=1)
        self._precision = precision
        self._circuit: Any = None
        self._sums: dict[int, PauliSum] = {}
        self._program: _Program | None = None
        self._numbers: NDArray[np.float64] | None = None

    def seat(self, number: int) -> Nodes:
        """What builds the cost of one seat; of each cost all seats have the same circuit."""
        return _Seat(DEFAULT, None, self._precision, self, number)

    def take(self, number: int, circuit: Any, observable: PauliSum, shape: tuple[int, ...]) -> None:
        """Put a cost on its seat.

        Raises:
            ValueError: if the circuit is not that of the others, or a coefficient not real.
        """
        if self._circuit is None:
            self._circuit, self._text, self.shape, self._wires = circuit, spec.dumps(circuit), shape, observable.wires
        elif spec.dumps(circuit) != self._text or observable.wires != self._wires:
            raise ValueError(
                f"Costs that are evaluated together have one circuit. Got {circuit!r} beside {self._circuit!r}. "
                "Evaluate them apart."
            )
        if np.iscomplexobj(observable.coefficients):
            raise ValueError("The Hamiltonian of a cost must be Hermitian. Got complex coefficients.")
        self._sums[number] = observable.simplify()
        self._program = None

    def evaluate(self, requests: Mapping[int, Request]) -> dict[int, Reply]:
        """The replies to requests, by seat.

        Raises:
            TypeError: for a request of something else than values, gradients and laws.
            ValueError: if parameters have another shape or are not finite.
        """
        parts = {seat: list(_parts(request)) for seat, request in requests.items()}
        replies: dict[int, list[Reply]] = {seat: [] for seat in requests}
        for turn in range(max(map(len, parts.values()), default=0)):
            for kind in (ValueAndGrad, Value):
                asked = {s: p[turn].x for s, p in parts.items() if turn < len(p) and type(p[turn]) is kind}
                if asked:
                    for seat, reply in self._answers(asked, kind is ValueAndGrad).items():
                        replies[seat].append(reply)
            for seat, some in parts.items():  # at a run's end alone, and so seat by seat
                if turn < len(some) and isinstance(some[turn], Law):
                    replies[seat].append(Reply(law=self.probabilities(some[turn].x), executions=1))
        return {seat: _whole(request, replies[seat]) for seat, request in requests.items()}

    def _answers(self, asked: Mapping[int, Array], slopes: bool) -> dict[int, Reply]:
        program, numbers = self._made()
        points = np.zeros((self.seats, *self.shape))
        for seat, x in asked.items():
            points[seat] = checks.array("parameters", x, self.shape)
        values, grads = program.run(numbers, points, slopes)
        return {
            seat: Reply(value=float(values[seat]), grad=None if grads is None else np.array(grads[seat]), executions=1)
            for seat in asked
        }

    def probabilities(self, x: Array) -> NDArray[np.float64]:
        """The probability of each basis state at parameters `x`, shape (2**wires,), wire 0 first: of any seat."""
        return self._made()[0].probabilities(checks.array("parameters", x, self.shape))

    def _made(self) -> tuple[_Program, NDArray[np.float64]]:
        """The compiled function of this shape, and every seat's coefficients of all words."""
        if self._program is None or self._numbers is None:
            words = sorted({word for found in self._sums.values() for word in _words(found)})
            key = (self._text, self._wires, self.seats, self._precision, tuple(words))
            make = partial(_Program, self._circuit, self._wires, self.shape, words, self._precision)
            self._program = _programs.get(key, make)
            self._numbers = np.zeros((self.seats, len(words)))
            place = {word: k for k, word in enumerate(words)}
            for seat, found in self._sums.items():
                self._numbers[seat, [place[word] for word in _words(found)]] = found.coefficients
        return self._program, self._numbers

    @property
    def held_bytes(self) -> int:
        """Of the numbers that one call computes with, a gradient's states not counted."""
        amplitudes = 1 << self._wires if self._circuit is not None else 0
        return int(self.seats * 16 * amplitudes)


class _Program:
    """Value and gradient of one circuit for several sums of the same words and several points, as one function."""

    def __init__(
        self, circuit: Any, wires: int, shape: tuple[int, ...], words: Iterable[_Word], precision: str
    ) -> None:
        masks = np.array(list(words), np.uint64).reshape(-1, 2)
        whole = PauliSum(wires, masks[:, 0], masks[:, 1], np.ones(len(masks)))
        self._words = tuple(whole.sentence())
        self._order = _order(self._words, masks)
        self._circuit, self._wires = circuit, wires
        self._device = open_device(DEFAULT, wires, precision).device
        self._double = partial(double, precision == "double")
        self.held_bytes = 0  # of tables of the simulator that the compiled functions hold
        self._values = jax.jit(jax.vmap(self._cost))
        self._slopes = jax.jit(jax.vmap(jax.value_and_grad(self._cost, argnums=1)))
        self._probabilities = jax.jit(partial(measured, circuit, self._device, qml.probs(wires=range(wires))))

    def _cost(self, coefficients: Any, x: Any) -> Any:
        """One cost, by the device's own stages; its coefficients are numbers of the compiled function."""
        with qml.QueuingManager.stop_recording():
            observable = WordSum(coefficients, self._words, range(self._wires))
        found, held = weighed(self._circuit, self._device, qml.expval(observable), x)
        self.held_bytes = max(self.held_bytes, held)
        return found

    def run(self, numbers: NDArray[np.float64], points: Array, slopes: bool) -> tuple[Any, Any]:
        """Values, shape (seats,), and gradients, shape (seats, *parameters), or None."""
        with traceable(), self._double():
            ordered = numbers[:, self._order]
            if not slopes:
                return np.asarray(self._values(ordered, points), dtype=np.float64), None
            values, grads = self._slopes(ordered, points)
            return np.asarray(values, dtype=np.float64), np.asarray(grads, dtype=np.float64)

    def probabilities(self, x: Array) -> NDArray[np.float64]:
        """Of each basis state at one point."""
        with traceable(), self._double():
            return np.asarray(self._probabilities(x), dtype=np.float64).ravel()


_programs: Kept[_Program] = Kept(lambda program: program.held_bytes, most_entries=8)


def _words(found: PauliSum) -> list[_Word]:
    return [(int(x), int(z)) for x, z in zip(found.x, found.z, strict=True)]


def _order(words: Iterable[Any], masks: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where each of PennyLane's words stands among the masks."""
    place = {(int(x), int(z)): k for k, (x, z) in enumerate(masks)}
    found = []
    for word in words:
        x = sum(1 << w for w, letter in word.items() if letter in "XY")
        found.append(place[x, sum(1 << w for w, letter in word.items() if letter in "ZY")])
    return np.array(found, np.int64)


def _parts(request: Request) -> tuple[Any, ...]:
    parts = request.parts if isinstance(request, Many) else (request,)
    for part in parts:
        if not isinstance(part, (Value, ValueAndGrad, Law)):
            raise TypeError(f"Costs that are evaluated together answer values, gradients and laws. Got {part!r}.")
    return parts


def _whole(request: Request, replies: list[Reply]) -> Reply:
    if not isinstance(request, Many):
        return replies[0]
    return Reply(parts=tuple(replies), executions=sum(reply.executions for reply in replies))


class _Seat(Nodes):
    """Builds the cost of one seat."""

    def __init__(self, device: Any, shots: int | None, precision: str, together: Together, number: int) -> None:
        super().__init__(device, shots, precision)
        object.__setattr__(self, "_together", together)
        object.__setattr__(self, "_number", number)

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
        """As `Nodes.cost`, but that it is evaluated with those of the other seats.

        Raises:
            ValueError: if something is tracked, or the circuit is another one than that of the other seats.
        """
        if tracked:
            raise ValueError(f"Costs that are evaluated together track nothing. Got {sorted(tracked)}.")
        together: Together = self._together  # type: ignore[attr-defined]
        number: int = self._number  # type: ignore[attr-defined]
        found = observable if isinstance(observable, PauliSum) else PauliSum.from_operator(observable, wires)
        together.take(number, circuit, found, shape)
        return Cost(_Seated(together, number), None, None, shape)  # type: ignore[arg-type]


class _Seated:
    """One seat's cost alone, in the shape of `CompiledCost`."""

    def __init__(self, together: Together, number: int) -> None:
        self._together, self._number = together, number

    def _ask(self, request: Request) -> Reply:
        return self._together.evaluate({self._number: request})[self._number]

    def value(self, x: Array) -> tuple[Any, int]:
        """The cost, and how many circuits ran."""
        return self._ask(Value(x)).value, 1

    def value_and_grad(self, x: Array) -> tuple[Any, Any, int]:
        """The cost, its gradient, and how many circuits ran."""
        reply = self._ask(ValueAndGrad(x))
        return reply.value, reply.grad, 1

    def probabilities(self, x: Array) -> NDArray[np.float64]:
        """The probability of each basis state."""
        return self._together.probabilities(x)

    def tracked(self, x: Array) -> tuple[dict[str, float], int]:
        """Nothing is tracked."""
        return {}, 0
