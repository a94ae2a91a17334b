"""What `explain` finds, and how it is printed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["GRADIENT", "Explanation", "Part"]

GRADIENT = "a value and gradient"
"""What `Part.work` says where a gradient is run."""

_MILLI = 1e3
_MEBI = 2**20
_COUNTS = ("amplitudes", "gates", "steps", "measurements", "branches", "trajectories")
_BYTES = {
    "state_bytes": "of the state",
    "held_bytes": "of states held at once",
    "bytes_per_gradient": "moved by a gradient",
    "bytes_per_run": "moved by a run",
    "stored_bytes": "of states stored for it",
}
_OF_GRADIENTS = {"bytes_per_gradient", "stored_bytes"}  # said where one was run


@dataclass(frozen=True)
class Part:
    """One circuit of the batch that a QNode comes to.

    Args:
        path: "sector", "layers", "alternating", "general" or "measured".
        why: why this path.
        facts: sizes, by name; "batch" is how many elements a batch has, of all of which bytes and operations are.
        seconds: measured times by name: "trace", "compile", "run" of what is measured, and "gradient" (a value and
            gradient) where everything measured is an expectation value of Pauli words.
        expected: seconds that `work` would take at this machine's rates; None where it is not run, or its bytes are
            not known.  Where that is no gradient: without the arithmetic of what is measured or drawn.
        hits: programs found in the compile cache on disk.
        hints: what would make it faster.
        work: what the expected seconds are for.
    """

    path: str
    why: str
    facts: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)
    expected: float | None = None
    hits: int = 0
    hints: tuple[str, ...] = ()
    work: str = GRADIENT

    def __str__(self) -> str:
        rows = [("path", f"{self.path}: {self.why}"), ("size", _sizes(self._shown))]
        if self.seconds:
            rows.append(("seconds", ", ".join(f"{name} {value:.3g}" for name, value in self.seconds.items())))
            rows.append(("compile cache", f"{self.hits} programs found on disk"))
        if self.expected is not None:
            rows.append(("expected", f"{self.expected * _MILLI:.3g} ms for {self.work}, by this machine's best rates"))
        rows += [("faster", hint) for hint in self.hints]
        return "\n".join(f"{name:14}{text}" for name, text in rows)

    @property
    def _shown(self) -> dict[str, Any]:
        """The facts of what was run."""
        hidden = set() if "gradient" in self.seconds else _OF_GRADIENTS
        if self.work == GRADIENT:
            hidden = {"bytes_per_run"}
        return {name: value for name, value in self.facts.items() if name not in hidden}


@dataclass(frozen=True)
class Explanation:
    """What `explain` found, one part for each circuit; its text is what is printed."""

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        if len(self.parts) == 1:
            return str(self.parts[0])
        return "\n\n".join(f"circuit {k + 1} of {len(self.parts)}\n{part}" for k, part in enumerate(self.parts))

    def __repr__(self) -> str:
        return f"<Explanation: {', '.join(p.path for p in self.parts)}>"


def _sizes(facts: dict[str, Any]) -> str:
    named = [f"{facts[k]:,} {k}" for k in _COUNTS if k in facts]
    if "columns" in facts:
        states = "states at once" if "batch" not in facts else "elements of a batch at once"
        named.append(f"{facts['columns']:,} {states}")
    named += [f"{facts[k] / _MEBI:,.3g} MiB {what}" for k, what in _BYTES.items() if facts.get(k)]
    if "arithmetic" in facts:
        named.append(f"{facts['arithmetic']} arithmetic")
    return ", ".join(named)
