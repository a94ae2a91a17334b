"""What every ansatz is (a protocol) and what those of this package share (a plain base class)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import pennylane as qml
from numpy.typing import NDArray

from varq.keys import Key, as_key

__all__ = ["Ansatz", "Template"]


@runtime_checkable
class Ansatz(Protocol):
    """A parametrized circuit: what a node needs to build it, and an optimizer to start it."""

    @property
    def wires(self) -> int:
        """How many wires it acts on: 0 to wires - 1."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its parameters."""

    def init(self, key: Key | int) -> NDArray[np.float64]:
        """Starting parameters, of shape `shape`."""

    def __call__(self, params: Any) -> None:
        """Queue the circuit's operations on |0...0>, inside a QNode."""


class Template:
    """What the ansatze of this package share; each of them adds fields, `wires`, `shape`, `_start` and `_apply`."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1

    if TYPE_CHECKING:  # not at run time: a dataclass would take an inherited property for its field's default

        @property
        def wires(self) -> int:
            """How many wires the circuit acts on: 0 to wires - 1."""

        @property
        def shape(self) -> tuple[int, ...]:
            """The shape of the parameters."""

        def _apply(self, params: Any) -> None:
            """Queue the circuit; `params` have the right shape."""

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return math.prod(self.shape)

    @property
    def frequencies(self) -> tuple[float, ...] | None:
        """The positive Fourier frequencies of an expectation value in any one parameter; None if many or unknown."""
        return None

    @property
    def title(self) -> str:
        """The ansatz in a few words."""
        return type(self).__name__

    def init(self, key: Key | int) -> NDArray[np.float64]:
        """Starting parameters: float64, shape `shape`; a function of `key` alone.

        Args:
            key: a random key, or an integer seed.
        """
        return np.asarray(self._start(as_key(key)), dtype=np.float64).reshape(self.shape)

    def draw(self, params: Any = None) -> str:
        """The circuit as text; at the starting parameters of seed 0 where none are given.

        Args:
            params: shape `shape`.
        """
        values = self.init(0) if params is None else params
        picture = qml.draw(self, decimals=2, wire_order=list(range(self.wires)), show_all_wires=True, max_length=120)
        return str(picture(values))

    def __call__(self, params: Any) -> None:
        """Queue the circuit's operations on |0...0>; for use inside a QNode.

        Args:
            params: shape `shape`: an array of any interface, or a tracer; it is indexed, never converted.

        Raises:
            ValueError: if `params` has another shape.
        """
        got = getattr(params, "shape", None)
        came = tuple(np.shape(params) if got is None else got)
        if came != self.shape:
            raise ValueError(
                f"params of {self.title} must have shape {self.shape}. Got shape {came}. "
                "`ansatz.init(seed)` gives parameters of the right shape."
            )
        self._apply(params)

    def _start(self, key: Key) -> Any:
        return 0.1 * key.generator().standard_normal(self.shape)
