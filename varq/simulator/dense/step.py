"""What every step of a layer gives."""

from __future__ import annotations

from typing import Any, Protocol

from varq.simulator.dense.segments import Local

__all__ = ["Step"]


class Step(Protocol):
    """One pass over the state.

    A step is prepared once for all repeats (`shared`, `prepare`), and then run with what is its own in each of them
    (`inputs`, cut to one repeat).  In the methods that run it, `tables` is what `prepare` gave.
    """

    cheap: bool
    """Whether undoing it costs about as much as reading the state once."""

    tables: Any

    def inputs(self, local: Local) -> Any:
        """What the step needs at each repeat, leading axis repeats."""

    def apply(self, tables: Any, inputs: Any, state: Any) -> Any:
        """The step."""

    def undo(self, tables: Any, inputs: Any, state: Any) -> Any:
        """Its inverse."""

    def slopes(self, tables: Any, inputs: Any, bra: Any, ket: Any) -> Any:
        """2 Re <bra| d(step) |ket before> / d inputs, with bra and ket as they are after the step."""

    def shared(self, local: Local) -> Any:
        """The numbers that all repeats have in common; none, unless a step says otherwise."""
        return ()

    def prepare(self, tables: Any, shared: Any) -> Any:
        """What is made of tables and shared numbers before the first repeat."""
        return tables

    def gathered(self, tables: Any, inputs: Any, bra: Any, ket: Any) -> Any:
        """What each repeat adds to the slopes by shared numbers."""
        return ()

    def collected(self, tables: Any, sums: Any) -> Any:
        """The slopes by shared numbers, from the sums over all repeats of what was gathered."""
        return ()
