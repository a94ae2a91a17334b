"""A circuit of the user's own as an ansatz."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq import checks, spec
from varq.ansatze.base import Template
from varq.keys import Key

__all__ = ["Circuit"]


@dataclass(frozen=True, eq=False)
class Circuit(Template):
    """A function of the parameters that queues PennyLane operations.

    A plain function is kept by its source and the values it reads, so a run of it is found again.  Any other callable,
    or a function that reads what is neither data nor an array, still works: give it a `name` to resume its run in
    another process with `varq.resume(id, objects={name: function})`.

    Args:
        function: called with the parameters inside a QNode; not called when the ansatz is made, but once with zeros,
            to `check` it, when it is given to an algorithm.
        shape: of the parameters; an integer n stands for (n,).
        wires: how many wires the function uses: 0 to wires - 1; None for those of the problem that it is given with.
        start: starting parameters, of that shape; None draws them from a normal distribution of width 0.1.
        name: under which the function is handed in again; None where that is not needed.

    Raises:
        TypeError: if `function` cannot be called.
        ValueError: if `start` has another shape.

    Example:
        >>> import pennylane as qml
        >>> def rotate(params):
        ...     qml.RY(params[0], 0)
        ...     qml.CNOT([0, 1])
        >>> ansatz = Circuit(rotate, shape=1, wires=2, start=[0.5])
        >>> print(ansatz.draw())
        0: ──RY(0.50)─╭●─┤
        1: ───────────╰X─┤
    """

    function: Callable[[Any], Any] | spec.Opaque
    shape: tuple[int, ...]
    wires: int | None = None  # type: ignore[assignment]  # an integer as soon as a problem tells
    start: NDArray[np.float64] | None = None
    name: str | None = None
    kind: ClassVar[str] = "ansatz:circuit"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        self._keep_function()
        given: Any = self.shape
        sizes = (given,) if isinstance(given, (int, np.integer)) else given
        hint = "Use a tuple of lengths, such as (3, 2), or one length."
        checks.instance("shape", sizes, (tuple, list), hint=hint)
        lengths = tuple(checks.integer("shape", n, minimum=0, hint=hint) for n in sizes)
        object.__setattr__(self, "shape", lengths)
        if self.wires is not None:
            object.__setattr__(self, "wires", checks.integer("wires", self.wires, minimum=1))
        if self.start is not None:
            object.__setattr__(self, "start", checks.array("start", self.start, lengths))

    def _keep_function(self) -> None:
        if not callable(spec.unwrap(self.function)):
            raise TypeError(
                f"function must be callable with the parameters. Got {spec.unwrap(self.function)!r}. "
                "Pass the function itself, without calling it."
            )
        if self.name is not None:
            checks.text("name", self.name, hint="Use None for no name.")
            object.__setattr__(self, "function", spec.Opaque(spec.unwrap(self.function), self.name))

    def on(self, wires: int) -> Circuit:
        """This circuit on so many wires, where it was made for those of any problem; itself where it has its own."""
        return self if self.wires is not None else dataclasses.replace(self, wires=wires)

    def draw(self, params: Any = None) -> str:
        """The circuit as text; at the starting parameters of seed 0 where none are given.

        Args:
            params: shape `shape`.

        Raises:
            ValueError: if it was given no wires.
        """
        if self.wires is None:
            raise ValueError(
                f"A circuit is drawn on its wires. Got {self.title} with wires=None, which stands for those of a "
                "problem. Give Circuit(function, shape, wires=...)."
            )
        return super().draw(params)

    def check(self) -> None:
        """Call the function once, with zeros and apart from any circuit: does it read parameters that `shape` lacks?

        JAX answers an index beyond an array's end with its last entry, so a run would silently use a parameter twice.

        Raises:
            ValueError: if the function reads beyond `shape`.

        Example:
            >>> Circuit(lambda x: qml.RX(x[2], 0), shape=2, wires=1).check()
            Traceback (most recent call last):
                ...
            ValueError: shape must hold every parameter that <lambda> reads. Got shape=(2,): ...
        """
        if "_checked" in vars(self):
            return
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"), qml.QueuingManager.stop_recording():
                warnings.simplefilter("ignore")
                with qml.queuing.AnnotatedQueue():
                    spec.unwrap(self.function)(np.zeros(self.shape))
        except IndexError as error:
            raise ValueError(
                f"shape must hold every parameter that {self.title} reads. Got shape={self.shape}: {error}. "
                "Give the shape that it reads, or mend the index."
            ) from error
        except Exception:
            return  # zeros may be no fit parameters; an error that is one comes again when the circuit is used
        object.__setattr__(self, "_checked", True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Circuit):
            return NotImplemented
        same = spec.unwrap(self.function) is spec.unwrap(other.function)
        return (same or not self._opaque) and spec.digest(self) == spec.digest(other)

    def __hash__(self) -> int:
        return hash(spec.digest(self))

    @property
    def _opaque(self) -> bool:
        return not spec.identity(self)[1]

    @classmethod
    def for_problem(cls, problem: Any) -> Circuit:
        """Always an error: a circuit of your own is not derived from a problem.

        Raises:
            ValueError: always; says what to do.
        """
        raise ValueError("A Circuit needs your own function. Pass Circuit(function, shape=...) in place of its name.")

    @property
    def title(self) -> str:
        """The name of the ansatz, or of its function."""
        function = spec.unwrap(self.function)
        return self.name or str(getattr(function, "__name__", type(function).__name__))

    def _start(self, key: Key) -> NDArray[np.float64]:
        return np.array(super()._start(key) if self.start is None else self.start)

    def _apply(self, params: Any) -> None:
        spec.unwrap(self.function)(params)
