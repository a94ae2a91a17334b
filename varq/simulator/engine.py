"""What every path gives: the one shape in which a circuit is run forwards and backwards."""

from __future__ import annotations

from typing import Any, Protocol

from varq.simulator.circuit import Numbers

__all__ = ["Engine"]


class Engine(Protocol):
    """A circuit made runnable by one path.  Static: it holds no traced value, and JAX may use it as a static argument.

    A state is a pytree of real JAX arrays in the engine's own layout, with real and imaginary part stacked where it
    has an imaginary part; `dtype` is float32 or float64, as given by `numbers.angles`.  Methods are plain JAX and may
    be traced, batched and differentiated in any mode; large tables come in by `tables`, never as constants.
    """

    path: str
    """"sector", "layers", "alternating" or "general"."""

    why: str
    """One sentence: why this path was taken."""

    tables: Any
    """A pytree of NumPy arrays that the methods need as run-time arguments."""

    facts: dict[str, Any]
    """For `explain`: amplitudes, steps, and what else says how large the work is."""

    def forward(self, tables: Any, numbers: Numbers, keep: bool = False) -> tuple[Any, Any]:
        """The final state, and (if `keep`) what `backward` needs besides: stored states, or None."""

    def backward(self, tables: Any, numbers: Numbers, state: Any, kept: Any, bra: Any) -> Numbers:
        """2 Re <bra| d state / d numbers>, by running the circuit backwards from its final state."""

    def state(self, tables: Any, numbers: Numbers) -> Any:
        """The final state as one complex vector of 2**wires amplitudes; position 0 is the most significant bit."""

    def observable(self, structure: Any) -> Any:
        """The `Observable` that applies a Pauli sum in this engine's layout, or None if it cannot."""
